package suffix

import "github.com/coordbench/coordbench/engine/decode"

// A Cursor follows a stream and knows its longest suffix that occurs in an
// automaton. The automaton may grow meanwhile: the match stays the one found
// at the last Advance, and its ends and count are those of the automaton as it
// is when asked. To match a stream against its own past, Advance before Extend.
type Cursor struct {
	a     *Automaton
	state int32
	len   int32
}

// Cursor returns a cursor on a at the beginning of a stream.
func (a *Automaton) Cursor() Cursor { return Cursor{a: a} }

// Reset starts a new stream.
func (c *Cursor) Reset() { c.state, c.len = root, 0 }

// settle moves c to the state that holds its match: a split since the last
// Advance may have taken it out of c.state.
func (c *Cursor) settle() {
	s := c.a.states
	for c.state != root && s[s[c.state].link].len >= c.len {
		c.state = s[c.state].link
	}
}

// Advance appends tok to the stream. A separator, or a token that never occurs
// in the automaton, leaves no match.
func (c *Cursor) Advance(tok decode.Token) {
	if tok < 0 {
		c.Reset()
		return
	}
	c.settle()
	for {
		if to := c.a.next(c.state, tok); to != 0 {
			c.state = to
			c.len++
			return
		}
		if c.state == root {
			c.len = 0
			return
		}
		c.state = c.a.states[c.state].link
		c.len = c.a.states[c.state].len
	}
}

// Len is the length of the match in tokens, 0 for none.
func (c *Cursor) Len() int { return int(c.len) }

// Match is the length of the match and the end of its earliest occurrence.
func (c *Cursor) Match() (length, end int) { return c.Len(), c.First() }

// First is the end of the match's earliest occurrence, -1 for none. It takes
// constant time: a split leaves the same first end to both states.
func (c *Cursor) First() int {
	return int(c.a.states[c.state].first)
}

// Last is the end of the match's latest occurrence, -1 for none. Like Count it
// takes amortised logarithmic time.
func (c *Cursor) Last() int {
	c.settle()
	if c.state == root {
		return -1
	}
	c.a.splay(c.state)
	return int(c.a.states[c.state].last)
}

// Count is how often the match occurs, overlaps included, 0 for none.
func (c *Cursor) Count() int {
	c.settle()
	if c.state == root {
		return 0
	}
	c.a.splay(c.state)
	return int(c.a.states[c.state].count)
}

// Shorten drops tokens from the front of the match until it occurs more often,
// and reports whether any match is left.
func (c *Cursor) Shorten() bool {
	c.settle()
	if c.state == root {
		return false
	}
	c.state = c.a.states[c.state].link
	c.len = c.a.states[c.state].len
	return c.state != root
}
