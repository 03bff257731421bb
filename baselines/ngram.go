package baselines

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/draft/ngram"
	"github.com/coordbench/coordbench/engine/speculate"
)

// llama.cpp's drafters without a draft model, by the rules and defaults of its
// common/ folder; see package ngram.
var (
	ngramSimple = definition{
		name: "ngram-simple",
		doc:  "llama.cpp's ngram-simple: drafts what followed the latest occurrence of the last 12 tokens",
		setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
			o := ngram.SimpleDefaults()
			return ngramSystem("ngram-simple", func() draft.Source { return ngram.NewSimple(o) },
				intOption(&o.N, "n", 1, 64, "tokens that must match"),
				intOption(&o.M, "m", 1, decode.MaxNodes-1, "most tokens drafted"))
		},
	}
	ngramMap = definition{
		name: "ngram-map-k",
		doc:  "llama.cpp's ngram-map-k: keys of 12 tokens with what followed them, one continuation or four",
		setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
			o := ngram.MapDefaults()
			return ngramSystem("ngram-map-k", func() draft.Source { return ngram.NewMap(o) },
				intOption(&o.N, "n", 1, 64, "tokens that must match"),
				intOption(&o.M, "m", 1, decode.MaxNodes-1, "most tokens drafted"),
				intOption(&o.MinHits, "min_hits", 1, 1000, "look-ups of a key before its continuations count; with values"),
				boolOption(&o.Values, "values", "ngram-map-k4v: up to four continuations a key, one used only if it dominates"))
		},
	}
	ngramMod = definition{
		name: "ngram-mod",
		doc:  "llama.cpp's ngram-mod: a hash table from the last 24 tokens to the next, iterated",
		setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
			o := ngram.ModDefaults()
			return ngramSystem("ngram-mod", func() draft.Source { return ngram.NewMod(o) },
				intOption(&o.N, "n", 1, 64, "tokens hashed"),
				intOption(&o.Min, "min", 1, decode.MaxNodes-1, "shorter drafts are dropped"),
				intOption(&o.Max, "max", 1, decode.MaxNodes-1, "most tokens drafted"),
				floatOption(&o.Low, "low", 0, 1, "drafts accepted below this share count against the table"),
				intOption(&o.Times, "times", 1, 1000, "so many of them in a row wipe it"),
				boolOption(&o.Keep, "keep", "keep the table over requests, as llama.cpp's server does; drafts then depend on what ran before"))
		},
	}
	ngramCache = definition{
		name: "ngram-cache",
		doc:  "llama.cpp's ngram-cache (lookup): counts of what followed 1 to 4 tokens, drafted while one dominates",
		setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
			o := ngram.CacheDefaults()
			return ngramSystem("ngram-cache", func() draft.Source { return ngram.NewCache(o) },
				intOption(&o.Max, "max", 1, decode.MaxNodes-1, "most tokens drafted"),
				boolOption(&o.Dynamic, "dynamic", "draft from earlier requests, too, under stricter thresholds"))
		},
	}
)

func ngramSystem(name string, source func() draft.Source, options ...option) ([]option, func(Config, map[string]string) (decode.System, error)) {
	return options, func(c Config, in map[string]string) (decode.System, error) {
		return speculate.New(c.Target, []draft.Source{source()}, speculate.Options{Name: name, Options: in, Width: speculate.Fixed(decode.MaxNodes)})
	}
}
