package baselines

import (
	"fmt"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/speculate"
)

// pld is prompt lookup decoding by its published rule: suffixes of 3, 2, 1
// tokens, the earliest match with all 10 tokens behind it, all or nothing.
// apoorvumang/prompt-lookup-decoding; Spec-Bench runs the same.
var pld = definition{
	name: "pld",
	doc:  "prompt lookup decoding: drafts what followed the earliest occurrence of the last tokens",
	setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
		o, width := draft.LookupDefaults(), decode.MaxNodes
		return []option{
				intOption(&o.NMax, "n_max", 1, 32, "longest suffix looked up"),
				intOption(&o.NMin, "n_min", 1, 32, "shortest suffix looked up"),
				intOption(&o.K, "k", 1, decode.MaxNodes-1, "tokens drafted"),
				boolOption(&o.Latest, "latest", "continue the latest occurrence instead of the earliest"),
				boolOption(&o.Partial, "partial", "draft also where fewer than k tokens follow"),
				widthOption(&width),
			}, func(c Config, in map[string]string) (decode.System, error) {
				if o.NMin > o.NMax {
					return nil, fmt.Errorf("option n_min is %d, above n_max, which is %d", o.NMin, o.NMax)
				}
				return speculate.New(c.Target, []draft.Source{draft.NewLookup(o)}, speculate.Options{Name: "pld", Options: in, Width: speculate.Fixed(width)})
			}
	},
}

func widthOption(p *int) option {
	return intOption(p, "width", 1, decode.MaxNodes, "most rows of a verification, the root included")
}
