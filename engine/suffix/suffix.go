// Package suffix holds a suffix automaton over tokens: it says, as a stream
// grows by one token at a time, how long a suffix of the stream has occurred
// before and where that was first.
//
// Blumer et al., "The smallest automaton recognizing the subwords of a text",
// 1985. As a drafter's index: Hu et al., SAM-Decoding, arXiv 2411.10666.
package suffix

import "github.com/coordbench/coordbench/engine/decode"

// A state stands for a set of substrings with the same end positions: the
// suffixes of its longest one that are longer than its link's longest.
type state struct {
	len   int32 // of the longest substring
	link  int32 // state of the longest suffix with more end positions; -1 at the root
	first int32 // end of the earliest occurrence, the index of its last token
	// Most states have one transition: it stands here. The others are in edges.
	tok  decode.Token
	next int32 // 0 is none: no transition leads to the root
	more int32 // first of the other transitions in Automaton.edges, -1 if none
}

// An edge is a transition beyond a state's first.
type edge struct {
	tok    decode.Token
	next   int32
	behind int32 // next edge of the same state, -1 at the end
}

// An Automaton recognises every substring of the tokens that Extend was given.
// A decode.Separator starts a new document: no substring contains one. The zero
// value is not usable; see New.
//
// Extend and Cursor.Advance take amortised constant time; memory is about 60
// bytes a token.
type Automaton struct {
	tokens []decode.Token
	states []state
	edges  []edge
	slots  []int32 // open addressing: index of the edge of (state, token), plus 1
	owners []int32 // the state that edge i leaves
	last   int32   // state of the whole current document
}

// New returns an automaton of no tokens.
func New() *Automaton {
	a := &Automaton{}
	a.Reset()
	return a
}

// Reset forgets all tokens and keeps the memory.
func (a *Automaton) Reset() {
	a.tokens = a.tokens[:0]
	a.states = append(a.states[:0], state{link: -1, more: -1, first: -1})
	a.edges, a.owners = a.edges[:0], a.owners[:0]
	if a.slots == nil {
		a.slots = make([]int32, 64)
	} else {
		clear(a.slots)
	}
	a.last = 0
}

// Tokens are all that Extend was given, separators included. The caller must not
// change them.
func (a *Automaton) Tokens() []decode.Token { return a.tokens }

// Len is the number of tokens.
func (a *Automaton) Len() int { return len(a.tokens) }

func hash(s int32, tok decode.Token) uint32 {
	h := (uint64(uint32(s))<<32 | uint64(uint32(tok))) * 0x9e3779b97f4a7c15
	return uint32(h >> 32)
}

// find returns the edge of (s, tok) beyond the first transition, or -1.
func (a *Automaton) find(s int32, tok decode.Token) int32 {
	mask := uint32(len(a.slots) - 1)
	for i := hash(s, tok) & mask; a.slots[i] != 0; i = (i + 1) & mask {
		if e := a.slots[i] - 1; a.owners[e] == s && a.edges[e].tok == tok {
			return e
		}
	}
	return -1
}

// to returns the state that tok leads to from s, 0 for none.
func (a *Automaton) to(s int32, tok decode.Token) int32 {
	st := &a.states[s]
	if st.next != 0 && st.tok == tok {
		return st.next
	}
	if st.more < 0 {
		return 0
	}
	if e := a.find(s, tok); e >= 0 {
		return a.edges[e].next
	}
	return 0
}

// set makes tok lead from s to next.
func (a *Automaton) set(s int32, tok decode.Token, next int32) {
	st := &a.states[s]
	if st.next == 0 || st.tok == tok {
		st.tok, st.next = tok, next
		return
	}
	if e := a.find(s, tok); e >= 0 {
		a.edges[e].next = next
		return
	}
	if 2*(len(a.edges)+1) > len(a.slots) {
		a.slots = make([]int32, 2*len(a.slots))
		for e := range a.edges {
			a.place(int32(e))
		}
	}
	e := int32(len(a.edges))
	a.edges = append(a.edges, edge{tok: tok, next: next, behind: st.more})
	a.owners = append(a.owners, s)
	st.more = e
	a.place(e)
}

func (a *Automaton) place(e int32) {
	mask := uint32(len(a.slots) - 1)
	i := hash(a.owners[e], a.edges[e].tok) & mask
	for a.slots[i] != 0 {
		i = (i + 1) & mask
	}
	a.slots[i] = e + 1
}

// Extend appends tok to the stream. Negative tokens are separators.
func (a *Automaton) Extend(tok decode.Token) {
	at := int32(len(a.tokens))
	a.tokens = append(a.tokens, tok)
	if tok < 0 {
		a.last = 0
		return
	}
	p := a.last
	// In a second document the substring may be known already.
	if q := a.to(p, tok); q != 0 {
		if a.states[q].len == a.states[p].len+1 {
			a.last = q
		} else {
			a.last = a.split(p, tok, q)
		}
		return
	}
	cur := int32(len(a.states))
	a.states = append(a.states, state{len: a.states[p].len + 1, first: at, more: -1})
	q := int32(0)
	for p >= 0 {
		if q = a.to(p, tok); q != 0 {
			break
		}
		a.set(p, tok, cur)
		p = a.states[p].link
	}
	switch {
	case p < 0:
		a.states[cur].link = 0
	case a.states[q].len == a.states[p].len+1:
		a.states[cur].link = q
	default:
		a.states[cur].link = a.split(p, tok, q)
	}
	a.last = cur
}

// split takes from q the substrings that are at most one longer than p's and
// returns their new state. They end where q's do, and first where q's do.
func (a *Automaton) split(p int32, tok decode.Token, q int32) int32 {
	c := int32(len(a.states))
	clone := a.states[q]
	clone.len = a.states[p].len + 1
	clone.more = -1
	a.states = append(a.states, clone)
	for e := a.states[q].more; e >= 0; e = a.edges[e].behind {
		a.set(c, a.edges[e].tok, a.edges[e].next)
	}
	a.states[q].link = c
	for p >= 0 && a.to(p, tok) == q {
		a.set(p, tok, c)
		p = a.states[p].link
	}
	return c
}

// A Cursor follows a stream and knows the longest suffix of it that is a
// substring of an automaton. Its automaton may grow, also by the same stream.
type Cursor struct {
	a   *Automaton
	s   int32
	len int32
}

// Cursor returns one that has followed nothing yet.
func (a *Automaton) Cursor() Cursor { return Cursor{a: a} }

// Advance follows the stream by one token. To find earlier occurrences in the
// stream's own automaton, advance before extending it.
func (c *Cursor) Advance(tok decode.Token) {
	if tok < 0 {
		c.s, c.len = 0, 0
		return
	}
	c.settle()
	for {
		if next := c.a.to(c.s, tok); next != 0 {
			c.s = next
			c.len++
			return
		}
		if c.s == 0 {
			c.len = 0
			return
		}
		c.s = c.a.states[c.s].link
		c.len = c.a.states[c.s].len
	}
}

// settle moves the cursor to the state of its substring: a split may have moved
// the substring to a state further up.
func (c *Cursor) settle() {
	for c.s != 0 {
		up := c.a.states[c.s].link
		if c.len > c.a.states[up].len {
			return
		}
		c.s = up
	}
}

// Match returns the length of the longest suffix of the stream that is a
// substring of the automaton, and the index in Tokens of the last token of its
// earliest occurrence, -1 for length 0.
func (c *Cursor) Match() (length, end int) {
	c.settle()
	if c.len == 0 {
		return 0, -1
	}
	return int(c.len), int(c.a.states[c.s].first)
}

// Reset makes the cursor follow nothing.
func (c *Cursor) Reset() { c.s, c.len = 0, 0 }

// Latest returns the index of the last token of the latest occurrence in tokens
// of its own last n tokens that ends before the end, or -1. It looks at every
// token: a few microseconds for a few thousand.
func Latest(tokens []decode.Token, n int) int {
	if n < 1 || n >= len(tokens) {
		return -1
	}
	key := tokens[len(tokens)-n:]
	final := key[n-1]
next:
	for e := len(tokens) - 2; e >= n-1; e-- {
		if tokens[e] != final {
			continue
		}
		for i, tok := range key[:n-1] {
			if tokens[e-n+1+i] != tok {
				continue next
			}
		}
		return e
	}
	return -1
}
