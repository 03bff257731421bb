package model

import (
	"fmt"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
)

// A context is a decode.Target: the seam's own suite says what that means.
func TestTarget(t *testing.T) {
	for _, s := range []tiny{tinies[0], tinies[5]} {
		for _, threads := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/threads=%d", s.name, threads), func(t *testing.T) {
				decodetest.RunTarget(t, func(t *testing.T) decode.Target {
					return open(t, s.file(t, edit{}), threads, ContextOptions{Context: 200, Chunk: 16})
				})
			})
		}
	}
}
