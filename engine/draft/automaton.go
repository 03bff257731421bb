package draft

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/suffix"
)

// An Occurrence says which earlier occurrence of a matched suffix is continued.
type Occurrence uint8

const (
	Earliest Occurrence = iota // the published rule: a state keeps its first end position
	Latest
	Both // the earliest as spine, the latest as a branch
)

// AutomatonOptions are those of suffix automaton decoding.
type AutomatonOptions struct {
	Alpha      float64 // drafted tokens per matched token
	Cap        int     // most tokens drafted
	Fill       bool    // draft as much as the budget allows, whatever the match
	Occurrence Occurrence
	MinMatch   int // shorter matches draft nothing

	History *History // earlier answers, or nil
	Bias    int      // the history's match must be longer than the stream's by more than this
}

// AutomatonDefaults are those of the published SAM decoding without a static
// corpus: ⌊4·L⌋ tokens behind the root after a match of L tokens, at most 40.
func AutomatonDefaults() AutomatonOptions { return AutomatonOptions{Alpha: 4, Cap: 40, MinMatch: 1} }

// An Automaton drafts what followed an earlier occurrence of the longest suffix
// of the stream that has one, in the prompt and output, or in earlier answers.
//
// Hu et al., SAM-Decoding, arXiv 2411.10666 (hyx1999/SAM-Decoding). Their chain
// of n = 1 + ⌊α·L⌋ counts the root; ⌊α·L⌋ here does not.
type Automaton struct {
	o      AutomatonOptions
	own    *suffix.Automaton
	cursor suffix.Cursor
	group  string
	past   *suffix.Automaton // the group's history, or nil
	behind suffix.Cursor     // follows the stream in past
}

var _ Source = (*Automaton)(nil)

// NewAutomaton returns a source with these options.
func NewAutomaton(o AutomatonOptions) *Automaton {
	a := &Automaton{o: o, own: suffix.New()}
	a.cursor = a.own.Cursor()
	return a
}

// Use names the task group of the request that Begin starts next.
func (a *Automaton) Use(group string) { a.group = group }

// Begin is Source's.
func (a *Automaton) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	a.own.Reset()
	a.cursor.Reset()
	a.past = nil
	if a.o.History != nil {
		if a.past = a.o.History.index(a.group); a.past != nil {
			a.behind = a.past.Cursor()
		}
	}
	a.follow(prompt)
}

// Observe is Source's.
func (a *Automaton) Observe(committed []decode.Token, _ *Verdict) { a.follow(committed) }

func (a *Automaton) follow(toks []decode.Token) {
	for _, tok := range toks {
		a.cursor.Advance(tok) // before Extend: an occurrence must be an earlier one
		a.own.Extend(tok)
		if a.past != nil {
			a.behind.Advance(tok)
		}
	}
}

// Propose is Source's.
func (a *Automaton) Propose(b *Builder) {
	length, end := a.cursor.Match()
	if a.past != nil {
		if n, e := a.behind.Match(); n > length+a.o.Bias && n >= a.o.MinMatch {
			b.AddChain(0, a.chain(a.past.Tokens(), e, n, b), decode.FromHistory)
			return
		}
	}
	if length < max(1, a.o.MinMatch) {
		return
	}
	tokens := a.own.Tokens()
	latest := end
	if a.o.Occurrence != Earliest {
		latest = suffix.Latest(tokens, length)
	}
	if a.o.Occurrence == Latest {
		end = latest
	}
	b.AddChain(0, a.chain(tokens, end, length, b), decode.FromDynamic)
	if a.o.Occurrence == Both && latest != end {
		b.AddChain(0, a.chain(tokens, latest, length, b), decode.FromDynamic)
	}
}

// chain is what follows tokens[end], as long as a match of n tokens deserves.
func (a *Automaton) chain(tokens []decode.Token, end, n int, b *Builder) []decode.Token {
	most := b.Width() - 1
	if !a.o.Fill {
		most = min(a.o.Cap, int(a.o.Alpha*float64(n)))
	}
	return tokens[end+1 : min(end+1+most, len(tokens))]
}
