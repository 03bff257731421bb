package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// benchContext is the demonstration model with tokens in its context.
func benchContext(b *testing.B, threads, tokens int) *Context {
	c := open(b, demoFile(b), threads, ContextOptions{})
	if _, err := c.Prefill(context.Background(), goldenTokens(b, tokens), decode.Want{}, 0); err != nil {
		b.Fatal(err)
	}
	return c
}

func goldenTokens(b *testing.B, n int) []decode.Token {
	var s []decode.Token
	for _, g := range goldens(b) {
		s = append(s, g.Prompt...)
	}
	return s[:n]
}

// BenchmarkVerify times trees of 1 (a decoding step) to 64 nodes after 300
// tokens of context, half of each tree a chain.
func BenchmarkVerify(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
			b.Run(fmt.Sprintf("threads=%d/rows=%d", threads, n), func(b *testing.B) {
				c := benchContext(b, threads, 300)
				rng := rand.New(rand.NewPCG(1, 2))
				tree := root(7)
				for tree.Len() < n {
					u := tree.Len() - 1
					if tree.Len() > n/2 {
						u = rng.IntN(tree.Len())
					}
					if tok := decode.Token(rng.IntN(4096)); tree.Child(u, tok) < 0 {
						tree.Add(u, tok, decode.FromRandom)
					}
				}
				for b.Loop() {
					if _, err := c.Verify(context.Background(), tree, decode.Want{}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
			})
		}
	}
}

// BenchmarkDecode generates 128 tokens, one at a time, after 300.
func BenchmarkDecode(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			c := benchContext(b, threads, 300)
			tree := root(7)
			for b.Loop() {
				if c.Len() == 428 {
					if err := c.Truncate(300); err != nil {
						b.Fatal(err)
					}
				}
				s, err := c.Verify(context.Background(), tree, decode.Want{})
				if err != nil {
					b.Fatal(err)
				}
				tree.Reset(s.Best[0])
				if err := c.Commit([]int{0}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkPrefill reads a prompt of 512 tokens, with and without candidates for
// each position.
func BenchmarkPrefill(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, k := range []int{0, 8} {
			b.Run(fmt.Sprintf("threads=%d/top=%d", threads, k), func(b *testing.B) {
				c := benchContext(b, threads, 1)
				prompt := goldenTokens(b, 512)
				for b.Loop() {
					if err := c.Truncate(0); err != nil {
						b.Fatal(err)
					}
					if _, err := c.Prefill(context.Background(), prompt, decode.Want{}, k); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}
