// Package suffix finds the longest suffix of one token stream that occurs in
// another, online, with a suffix automaton (Blumer et al. 1985; as a drafter:
// SAM-Decoding, arXiv 2411.10666).
package suffix

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/coordbench/coordbench/engine/decode"
)

// An Automaton recognises every substring of a token stream that contains no
// separator. Negative tokens are separators: they take a position, and no
// match contains or crosses one. Use New. It is used by one goroutine at a
// time, queries included: asking for a last end or a count rearranges it.
//
// An occurrence is named by its end, the index in Tokens of its last token: what
// followed it is Tokens()[end+1:].
//
// Each state is a class of strings with the same ends. Between calls all of
// these are exact:
//
//	len    length of the class's longest string
//	link   the class of its longest suffix that has more ends, or the root
//	first  its smallest end
//	last   its largest end
//	count  how many ends it has
//
// first is set when a state is made and inherited by its clones. A new end
// belongs to a state and all that its links lead to, a path that can be as long
// as the stream (aaaa…), so last and count are not written there: they are kept
// in a forest of splay trees over the links; see occurrences.go. Extend so takes
// amortised logarithmic time at worst. On text and on aaaa… its cost does not
// grow; without last and count it would be constant on every stream.
type Automaton struct {
	tokens []decode.Token
	states []state
	newest int32 // state of the stream since the last separator
	edges  edges
	work   int // states that were stepped over since New, for the test of what a token costs
}

const root = 0

// A state takes 44 bytes; a stream of n tokens has fewer than 2n states and 3n
// transitions, and ordinary text about 1.4n and 2n.
type state struct {
	len, link, first int32

	// The first transition, which for most states is the only one. No transition
	// leads to the root, so to is 0 where there is none.
	tok  decode.Token
	to   int32
	more int32 // 1 + index of the newest further transition in edges, or 0

	node
}

// New returns the automaton of the empty stream.
func New() *Automaton {
	a := &Automaton{}
	a.Reset()
	return a
}

// Reset empties a and keeps its memory. Cursors on a must be made anew.
func (a *Automaton) Reset() {
	a.tokens = a.tokens[:0]
	a.states = append(a.states[:0], state{link: -1, first: -1})
	a.newest = root
	a.edges.reset()
}

// Len is the number of tokens in the stream, separators included.
func (a *Automaton) Len() int { return len(a.tokens) }

// Tokens is the stream. It is valid until the next Extend or Reset and must not
// be changed.
func (a *Automaton) Tokens() []decode.Token { return a.tokens }

// States is the number of states, the root included.
func (a *Automaton) States() int { return len(a.states) }

// Bytes is the memory that a holds, unused capacity included.
func (a *Automaton) Bytes() int {
	return cap(a.tokens)*int(unsafe.Sizeof(decode.Token(0))) + cap(a.states)*int(unsafe.Sizeof(state{})) + a.edges.bytes()
}

// Extend appends tok to the stream.
func (a *Automaton) Extend(tok decode.Token) {
	if len(a.states) > math.MaxInt32-2 || len(a.tokens) == math.MaxInt32 {
		panic(fmt.Sprintf("internal error: suffix automaton of %d tokens and %d states", len(a.tokens), len(a.states)))
	}
	a.tokens = append(a.tokens, tok)
	if tok < 0 {
		a.newest = root
		return
	}
	end := int32(len(a.tokens) - 1)
	p := a.newest
	// After a separator the stream may repeat what it already held: then the
	// state exists, or is a part of one.
	if q := a.next(p, tok); q != 0 {
		if a.states[p].len+1 != a.states[q].len {
			q = a.split(p, q, tok)
		}
		a.newest = q
		a.visit(q, end)
		return
	}
	cur := int32(len(a.states))
	a.states = append(a.states, state{len: a.states[p].len + 1, first: end})
	link := int32(root)
	for ; p >= 0; p = a.states[p].link {
		a.work++
		q := a.next(p, tok)
		if q == 0 {
			a.connect(p, tok, cur)
			continue
		}
		if a.states[p].len+1 != a.states[q].len {
			q = a.split(p, q, tok)
		}
		link = q
		break
	}
	a.states[cur].link = link
	a.states[cur].up = link
	a.newest = cur
	a.visit(cur, end)
}

// split takes the strings of q that are no longer than p's followed by tok out
// of q and returns their own state. The caller is about to add an end to it.
func (a *Automaton) split(p, q int32, tok decode.Token) int32 {
	c := int32(len(a.states))
	from := a.states[q]
	a.states = append(a.states, state{len: a.states[p].len + 1, link: from.link, first: from.first, tok: from.tok, to: from.to})
	for e := from.more; e != 0; {
		a.work++
		x := a.edges.list[e-1]
		a.states[c].more = a.edges.add(c, x.tok, x.to, a.states[c].more)
		e = x.next
	}
	for ; p >= 0; p = a.states[p].link {
		a.work++
		slot := a.slot(p, tok)
		if slot == nil || *slot != q {
			break
		}
		*slot = c
	}
	a.states[q].link = c
	a.insertAbove(c, q)
	return c
}

// next is the state that tok leads to from s, or 0.
func (a *Automaton) next(s int32, tok decode.Token) int32 {
	x := &a.states[s]
	if x.tok == tok {
		return x.to // 0 where there is no transition at all
	}
	if x.more == 0 {
		return 0
	}
	if e := a.edges.find(s, tok); e >= 0 {
		return a.edges.list[e].to
	}
	return 0
}

// slot is where the target of s's transition on tok is kept, or nil.
func (a *Automaton) slot(s int32, tok decode.Token) *int32 {
	x := &a.states[s]
	if x.tok == tok && x.to != 0 {
		return &x.to
	}
	if x.more == 0 {
		return nil
	}
	if e := a.edges.find(s, tok); e >= 0 {
		return &a.edges.list[e].to
	}
	return nil
}

// connect adds a transition that s does not have.
func (a *Automaton) connect(s int32, tok decode.Token, to int32) {
	x := &a.states[s]
	if x.to == 0 {
		x.tok, x.to = tok, to
		return
	}
	x.more = a.edges.add(s, tok, to, x.more)
}
