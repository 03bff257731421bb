package draft

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/suffix"
)

// An Occurrence says which earlier occurrence of a matched suffix is continued.
type Occurrence uint8

const (
	Earliest Occurrence = iota // the published rule: a state keeps its first end
	Latest
	Both // the earliest as the spine, the latest as a branch
)

// AutomatonOptions are those of suffix automaton decoding.
type AutomatonOptions struct {
	Alpha      float64 // drafted tokens per matched token
	Cap        int     // most tokens of a chain
	Fill       bool    // chains as long as the budget, whatever Alpha and Cap say
	BeforeRoot bool    // a chain ends before the root, the stream's last token
	Occurrence Occurrence
	MinMatch   int // shorter matches draft nothing; at least 1

	History *History // earlier answers, or nil
	Bias    int      // the history's match must be longer than the stream's by more than this
}

// AutomatonDefaults are those of the published SAM decoding without a static
// corpus: ⌊4·L⌋ tokens below the root after a match of L tokens, at most 40, none
// of them from beyond the root.
func AutomatonDefaults() AutomatonOptions {
	return AutomatonOptions{Alpha: 4, Cap: 40, MinMatch: 1, BeforeRoot: true}
}

// An Automaton drafts what followed an earlier occurrence of the longest suffix
// of the stream that has one, in the prompt and output or in earlier answers.
//
// Hu et al., SAM-Decoding, arXiv 2411.10666 (hyx1999/SAM-Decoding,
// samd_sam_only/sam/dyn_sam.py). The published chain of 1 + ⌊α·L⌋ tokens counts the
// root; Alpha and Cap here count the tokens below it. What is looked up ends with
// the root, and what it is looked up in ends before the root; in the published
// code so does a chain, because the root is inserted only after it was drafted
// from. Without BeforeRoot a chain may go on into the root, at most one token more.
type Automaton struct {
	o     AutomatonOptions
	group string

	own    *suffix.Automaton // prompt and output
	cursor suffix.Cursor
	latest int // end of the match's latest occurrence before the root, where Occurrence needs it

	past    *archive // the group's earlier answers, or nil
	edition int      // of past, when the request began
	behind  suffix.Cursor
}

var _ Source = (*Automaton)(nil)

// NewAutomaton returns a source with these options.
func NewAutomaton(o AutomatonOptions) *Automaton {
	a := &Automaton{o: o, own: suffix.New()}
	a.cursor = a.own.Cursor()
	return a
}

// Use names the task group of the requests that Begin starts from now on.
func (a *Automaton) Use(group string) { a.group = group }

// Begin is Source's.
func (a *Automaton) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	a.own.Reset()
	a.cursor.Reset()
	if a.o.History != nil {
		if a.past = a.o.History.groups[a.group]; a.past != nil {
			a.edition = a.past.edition
			a.behind = a.past.index.Cursor()
		}
	}
	a.follow(prompt)
}

// Observe is Source's.
func (a *Automaton) Observe(committed []decode.Token, _ *Verdict) { a.follow(committed) }

func (a *Automaton) follow(toks []decode.Token) {
	if a.past != nil && a.past.edition != a.edition {
		a.past = nil
	}
	for i, tok := range toks {
		a.cursor.Advance(tok)
		if i == len(toks)-1 && a.o.Occurrence != Earliest {
			a.latest = a.cursor.Last() // before Extend makes the root itself the latest
		}
		a.own.Extend(tok)
		if a.past != nil {
			a.behind.Advance(tok)
		}
	}
}

// Propose is Source's.
func (a *Automaton) Propose(b *Builder) {
	own := a.cursor.Len()
	if a.past != nil && a.past.edition == a.edition {
		if n := a.behind.Len(); n > own+a.o.Bias {
			a.propose(b, a.past.index.Tokens(), n, &a.behind, a.behind.Last, decode.FromHistory)
			return
		}
	}
	tokens := a.own.Tokens()
	if a.o.BeforeRoot && len(tokens) > 0 {
		tokens = tokens[:len(tokens)-1]
	}
	a.propose(b, tokens, own, &a.cursor, func() int { return a.latest }, decode.FromDynamic)
}

// propose adds what followed the chosen occurrences of a match of n tokens.
func (a *Automaton) propose(b *Builder, tokens []decode.Token, n int, c *suffix.Cursor, latest func() int, from decode.Origin) {
	if n < max(1, a.o.MinMatch) {
		return
	}
	most := b.Width() - 1
	if !a.o.Fill {
		most = min(a.o.Cap, int(a.o.Alpha*float64(n)))
	}
	add := func(end int) {
		chain := tokens[min(end+1, len(tokens)):min(end+1+most, len(tokens))]
		b.AddChain(0, chain, from) // the builder ends it at a separator
	}
	if a.o.Occurrence != Latest {
		add(c.First())
	}
	if a.o.Occurrence != Earliest {
		add(latest())
	}
}
