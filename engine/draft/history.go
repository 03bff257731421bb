package draft

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/suffix"
)

// A History holds earlier answers by task group, in a suffix automaton each.
// Prompts are not part of it. It belongs to a system and outlives requests.
type History struct {
	most   int // tokens of a group
	groups map[string]*archive
}

type archive struct {
	answers [][]decode.Token // oldest first
	tokens  int
	index   *suffix.Automaton
}

// HistoryCap is the default number of tokens that a group keeps.
const HistoryCap = 64 << 10

// NewHistory returns an empty history that keeps at most tokens tokens a group.
func NewHistory(tokens int) *History {
	return &History{most: tokens, groups: map[string]*archive{}}
}

// Remember adds an answer to a group. The oldest go once there are too many
// tokens, a quarter of the cap at a time, so that rebuilding the index costs
// amortised constant time a token.
func (h *History) Remember(group string, output []decode.Token) {
	if len(output) == 0 || len(output) > h.most {
		return
	}
	a := h.groups[group]
	if a == nil {
		a = &archive{index: suffix.New()}
		h.groups[group] = a
	}
	a.answers = append(a.answers, append([]decode.Token(nil), output...))
	a.tokens += len(output)
	if a.tokens <= h.most {
		addDocument(a.index, output)
		return
	}
	for a.tokens > h.most*3/4 && len(a.answers) > 1 {
		a.tokens -= len(a.answers[0])
		a.answers = a.answers[1:]
	}
	a.index.Reset()
	for _, answer := range a.answers {
		addDocument(a.index, answer)
	}
}

// Forget empties all groups.
func (h *History) Forget() { clear(h.groups) }

// Tokens is the number of tokens that a group holds.
func (h *History) Tokens(group string) int {
	if a := h.groups[group]; a != nil {
		return a.tokens
	}
	return 0
}

// index is the automaton of a group, nil if it has no answers.
func (h *History) index(group string) *suffix.Automaton {
	if a := h.groups[group]; a != nil {
		return a.index
	}
	return nil
}

// addDocument appends tokens and a separator, which no match crosses.
func addDocument(a *suffix.Automaton, tokens []decode.Token) {
	for _, tok := range tokens {
		a.Extend(tok)
	}
	a.Extend(decode.Separator)
}
