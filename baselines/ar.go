package baselines

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/speculate"
)

// ar is what all others are compared with: the loop without sources.
var ar = definition{
	name: "ar",
	doc:  "autoregressive decoding: one token per forward pass",
	setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
		return nil, func(c Config, in map[string]string) (decode.System, error) {
			return speculate.New(c.Target, nil, speculate.Options{Name: "ar", Options: in, Width: speculate.Fixed(1)})
		}
	},
}
