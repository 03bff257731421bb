// Package baselines is the list of systems that a trial can measure, CoordGen
// among them. Adding one takes a file that defines it and a line in systems.
package baselines

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coordbench/coordbench/engine/decode"
)

// systems in the order in which they are listed.
var systems = []definition{ar, pld, sam, samFill, speculative, coordgen, ngramSimple, ngramMap, ngramMod, ngramCache}

// A definition is a system before its options are set.
type definition struct {
	name  string
	doc   string // one line
	draft bool   // needs a draft model
	parts []Part

	// setup returns the system's options, bound to variables that hold their
	// defaults, and a function that opens the system with what they then hold.
	setup func() (options []option, open func(c Config, in map[string]string) (decode.System, error))
}

// Info describes a system to those who choose one.
type Info struct {
	Name       string
	Doc        string // one line
	NeedsDraft bool   // Config.Draft must be set
	Options    []Option
	Parts      []Part
}

// A Part of a system can be turned off by an option, for ablations.
type Part struct {
	Name   string
	Option string // "calibration"
	Off    string // its value that turns the part off: "false"
}

// Config is what a system is opened with. The system does not own the targets:
// closing it leaves them open.
type Config struct {
	Target decode.Target
	Draft  decode.Target // a draft model, for systems that need one
	// DraftCheck says why Draft cannot draft for Target, such as a tokenizer of
	// another kind; nil if it can.
	DraftCheck error
	Options    map[string]string // those that are not set have their defaults
}

// Names lists the systems.
func Names() []string {
	var names []string
	for _, s := range systems {
		names = append(names, s.name)
	}
	return names
}

func find(name string) (definition, error) {
	for _, s := range systems {
		if s.name == name {
			return s, nil
		}
	}
	return definition{}, fmt.Errorf("unknown system %q%s; there are %s", name, nearest(name, Names()), strings.Join(Names(), ", "))
}

// Describe says what a system is and which options it takes.
func Describe(name string) (Info, error) {
	s, err := find(name)
	if err != nil {
		return Info{}, err
	}
	options, _ := s.setup()
	info := Info{Name: s.name, Doc: s.doc, NeedsDraft: s.draft, Parts: slices.Clone(s.parts)}
	for _, o := range options {
		info.Options = append(info.Options, o.Option)
	}
	return info, nil
}

// Parts lists what an ablation can turn off in a system, in the order in which
// an additive table adds it; nil where there is nothing or no such system.
func Parts(name string) []Part {
	s, err := find(name)
	if err != nil {
		return nil
	}
	return slices.Clone(s.parts)
}

// Check says what is wrong with a system's name or options.
func Check(name string, options map[string]string) error {
	s, err := find(name)
	if err != nil {
		return err
	}
	bound, _ := s.setup()
	return apply(name, bound, options)
}

// Open returns a system.
func Open(name string, c Config) (decode.System, error) {
	s, err := find(name)
	if err != nil {
		return nil, err
	}
	bound, open := s.setup()
	if err := apply(name, bound, c.Options); err != nil {
		return nil, err
	}
	switch {
	case c.Target == nil:
		return nil, fmt.Errorf("%s: no target model", name)
	case s.draft && c.Draft == nil:
		return nil, fmt.Errorf("%s: needs a draft model, and none was given", name)
	case s.draft && c.DraftCheck != nil:
		return nil, fmt.Errorf("%s: draft model %q does not fit %q: %w", name, c.Draft.Info().Model, c.Target.Info().Model, c.DraftCheck)
	}
	in := map[string]string{}
	for _, o := range bound {
		in[o.Name] = o.get()
	}
	x, err := open(c, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return x, nil
}
