package draft

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/suffix"
)

// A History holds earlier answers by task group, in a suffix automaton each, with
// separators that no match crosses. Prompts are not part of it. It belongs to a
// system and outlives requests; it changes only between them. It is used by one
// goroutine at a time.
type History struct {
	most   int // tokens of a group
	groups map[string]*archive
}

// An archive is what one group answered. index.Tokens() is answers, each followed
// by a separator, and tokens counts both.
type archive struct {
	answers [][]decode.Token // oldest first
	tokens  int
	index   *suffix.Automaton
	edition int // grows when index is rebuilt: cursors on it are void
}

// HistoryCap is the default number of tokens that a group keeps.
const HistoryCap = 64 << 10

// NewHistory returns an empty history that keeps at most tokens tokens for each
// group, separators included.
func NewHistory(tokens int) *History {
	return &History{most: tokens, groups: map[string]*archive{}}
}

// Remember adds an answer to a group. Of an answer beyond the cap the end is
// kept. Once there are too many tokens the oldest answers go, down to three
// quarters of the cap, so that rebuilding the index costs amortised constant time
// a token.
func (h *History) Remember(group string, output []decode.Token) {
	if len(output) == 0 || h.most < 2 {
		return
	}
	output = output[max(0, len(output)+1-h.most):]
	a := h.groups[group]
	if a == nil {
		a = &archive{index: suffix.New()}
		h.groups[group] = a
	}
	a.answers = append(a.answers, append([]decode.Token(nil), output...))
	a.tokens += len(output) + 1
	if a.tokens <= h.most {
		a.add(output)
		return
	}
	for a.tokens > h.most*3/4 && len(a.answers) > 1 {
		a.tokens -= len(a.answers[0]) + 1
		a.answers = append(a.answers[:0], a.answers[1:]...)
	}
	a.index.Reset()
	a.edition++
	for _, answer := range a.answers {
		a.add(answer)
	}
}

func (a *archive) add(answer []decode.Token) {
	for _, tok := range answer {
		a.index.Extend(tok)
	}
	a.index.Extend(decode.Separator)
}

// Forget empties all groups.
func (h *History) Forget() {
	for _, a := range h.groups {
		a.edition++ // a source in the middle of a request must not go on with it
	}
	clear(h.groups)
}

// Tokens is the number of tokens that a group holds, a separator for each answer
// included.
func (h *History) Tokens(group string) int {
	if a := h.groups[group]; a != nil {
		return a.tokens
	}
	return 0
}

// Bytes is the memory that the groups' automata hold.
func (h *History) Bytes() int {
	n := 0
	for _, a := range h.groups {
		n += a.index.Bytes() + 4*a.tokens
	}
	return n
}
