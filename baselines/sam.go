package baselines

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/speculate"
)

// sam is SAM-Decoding without its static automaton, by its published rule: a
// chain of ⌊4·L⌋ tokens behind a match of L, at most 40, from the earliest
// occurrence in prompt and output. hyx1999/SAM-Decoding, arXiv 2411.10666.
var sam = definition{
	name: "sam",
	doc:  "suffix automaton: drafts what followed the longest suffix that occurred before, 4 tokens per matched one",
	setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
		return automaton("sam", false, decode.MaxNodes)
	},
}

// samFill drafts as long a chain as the verification has rows for, which on a
// static graph costs nothing.
var samFill = definition{
	name: "sam-fill",
	doc:  "suffix automaton that fills the whole width, whatever the length of the match",
	setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
		return automaton("sam-fill", true, 32)
	},
}

func automaton(name string, fill bool, width int) ([]option, func(Config, map[string]string) (decode.System, error)) {
	o := draft.AutomatonDefaults()
	o.Fill = fill
	var options []option
	if !fill {
		options = []option{
			floatOption(&o.Alpha, "alpha", 0, 64, "drafted tokens per matched token"),
			intOption(&o.Cap, "cap", 1, decode.MaxNodes-1, "most tokens drafted"),
		}
	}
	options = append(options, occurrenceOption(&o.Occurrence), minMatchOption(&o.MinMatch), widthOption(&width))
	return options, func(c Config, in map[string]string) (decode.System, error) {
		return speculate.New(c.Target, []draft.Source{draft.NewAutomaton(o)}, speculate.Options{Name: name, Options: in, Width: speculate.Fixed(width)})
	}
}

func occurrenceOption(p *draft.Occurrence) option {
	return enumOption(p, "occurrence", []string{"earliest", "latest", "both"}, "which earlier occurrence of the match is continued")
}

func minMatchOption(p *int) option {
	return intOption(p, "min_match", 1, 64, "shorter matches draft nothing")
}
