package draft

import (
	"math"

	"github.com/coordbench/coordbench/engine/decode"
)

// An Order says in which order a calibrated tree is walked until the budget is
// spent.
type Order uint8

const (
	BestFirst  Order = iota // by path probability: what is cut is the unlikeliest
	DepthFirst              // by the likeliest child, as the paper describes it
)

// A Mean says how the distributions after several occurrences become one.
type Mean uint8

const (
	// MeanLog averages log-probabilities. A token that an occurrence does not list
	// has MinProb there, the most it can have had.
	MeanLog Mean = iota
	// MeanProb averages probabilities. An unlisted token has none.
	MeanProb
)

// CalibratedOptions are those of in-context distribution calibration.
type CalibratedOptions struct {
	TopK        int     // likeliest tokens kept for each position
	MinProb     float64 // tokens below are not kept
	Depth       int     // longest branch
	Breadth     []int   // most children by depth, the root's first; the last one goes on
	PathProb    float64 // a path below this probability is not drafted
	Occurrences int     // occurrences of a token that are averaged, at most 8
	Scan        int     // latest occurrences of a token that are looked at
	Suffix      int     // a longer common suffix neither ranks higher nor weighs more than one of this length
	Mean        Mean
	Order       Order
	Eager       bool    // build the tree within all bounds first, then take from it; the same draft
	Live        bool    // keep what verifications say after each node, accepted or not
	Reserve     float64 // share of the slots that is left for later sources
}

// CalibratedDefaults follow CoordGen where the paper says, and trace replay where
// it does not.
func CalibratedDefaults() CalibratedOptions {
	return CalibratedOptions{TopK: 8, MinProb: 0.01, Depth: 5, Breadth: []int{8, 3, 2, 1, 1}, PathProb: 0.01,
		Occurrences: 4, Scan: 32, Suffix: 8, Reserve: 0.25}
}

// A Calibrated drafts from the target's own next-token distributions over the
// prompt, which the prefill computes anyway: what the target would have put after
// a token there is what it may put after that token now, even where the text went
// on differently. The tree of such continuations is expanded from the root. A
// token's successors are the average over its occurrences whose contexts have the
// longest suffix in common with the draft's, the latest first where that ties.
//
// CoordGen, section 3.3.
type Calibrated struct {
	o       CalibratedOptions
	logMin  float32 // of MinProb
	logPath float64 // of PathProb

	stream []decode.Token
	at     []position
	top    []decode.Candidate
	newest map[decode.Token]int32 // its newest position
	tip    int32                  // the position of the token before the root, -1 where it is not known

	// One draft: the tree as far as it is expanded, and who is to be expanded next.
	tree []leaf
	heap []entry
	used []int32 // positions that nodes were expanded from
	next []successor
	best [maxOccurrences]occurrence
	ctx  []decode.Token // the tokens before a node's successors, newest first
}

const maxOccurrences = 8

// A position is a place where the target's distribution is known: one of the
// prompt, or a verified node.
type position struct {
	tok      decode.Token
	before   int32 // position of the token before, or -1
	older    int32 // the next older position of the same token, or -1
	from, to int32 // its candidates in top
}

var _ Source = (*Calibrated)(nil)

// NewCalibrated returns a source with these options.
func NewCalibrated(o CalibratedOptions) *Calibrated {
	o.Occurrences = min(o.Occurrences, maxOccurrences)
	return &Calibrated{o: o, logMin: logProb32(o.MinProb), logPath: math.Log(o.PathProb), newest: map[decode.Token]int32{}}
}

// logProb32 is rounded down, so that a probability equal to p is not below it.
func logProb32(p float64) float32 {
	return math.Nextafter32(float32(math.Log(p)), float32(math.Inf(-1)))
}

// TopK is how many candidates a prefill should leave for each position.
func (c *Calibrated) TopK() int { return c.o.TopK }

// Live reports whether verifications should leave candidates too.
func (c *Calibrated) Live() bool { return c.o.Live }

// Positions is the number of positions whose distribution is known.
func (c *Calibrated) Positions() int { return len(c.at) }

// Begin is Source's. Its cost is that of copying TopK candidates a token.
func (c *Calibrated) Begin(prompt []decode.Token, p decode.PrefillResult) {
	c.stream = append(c.stream[:0], prompt...)
	c.at, c.top, c.tip = c.at[:0], c.top[:0], -1
	clear(c.newest)
	if p.K == 0 || len(p.Top) == 0 {
		return
	}
	for i, tok := range prompt {
		c.tip = c.learn(tok, c.tip, p.Top[i*p.K:(i+1)*p.K])
	}
}

// learn adds a position of tok, behind the one at before, and returns it.
func (c *Calibrated) learn(tok decode.Token, before int32, top []decode.Candidate) int32 {
	i := int32(len(c.at))
	from := int32(len(c.top))
	for _, x := range top[:min(len(top), c.o.TopK)] {
		if x.LogProb < c.logMin {
			break // likeliest first
		}
		c.top = append(c.top, x)
	}
	older, ok := c.newest[tok]
	if !ok {
		older = -1
	}
	c.newest[tok] = i
	c.at = append(c.at, position{tok, before, older, from, int32(len(c.top))})
	return i
}

// Observe is Source's.
func (c *Calibrated) Observe(committed []decode.Token, v *Verdict) {
	if c.o.Live && v != nil && v.TopOf(0) != nil {
		c.learnVerdict(v)
	} else if v != nil {
		c.tip = -1 // the tokens between are in no position
	}
	c.stream = append(c.stream, committed...)
}

// learnVerdict adds a position for every node: first the rejected ones, so that
// the accepted ones are the newest.
func (c *Calibrated) learnVerdict(v *Verdict) {
	var accepted uint64
	for _, n := range v.Path {
		accepted |= 1 << uint(n)
	}
	var where [decode.MaxNodes]int32
	n := int32(len(c.at))
	for _, want := range [2]uint64{0, 1} {
		for i := range v.Tree.Len() {
			if accepted>>uint(i)&1 == want {
				where[i] = n
				n++
			}
		}
	}
	for _, want := range [2]uint64{0, 1} {
		for i, tok := range v.Tree.Tokens {
			if accepted>>uint(i)&1 != want {
				continue
			}
			before := c.tip
			if p := v.Tree.Parents[i]; p >= 0 {
				before = where[p]
			}
			c.learn(tok, before, v.TopOf(i))
		}
	}
	c.tip = where[v.Path[len(v.Path)-1]]
}

// A successor is a token that may follow, with the logarithm of its mean.
type successor struct {
	tok     decode.Token
	logProb float64
	sum     float64 // of weights (MeanLog) or weighted probabilities (MeanProb) so far
}

// An occurrence is a position whose token is that of the node to expand.
type occurrence struct {
	at    int32
	match int // length of the common suffix of the contexts, 1 to Suffix
}

// successors leaves in c.next what may follow node u of the tree, likeliest first
// and at most breadth of them, and records which positions said so. No position is
// used twice on a path: a path must not run in circles.
func (c *Calibrated) successors(u int32, breadth int) {
	c.next = c.next[:0]
	tok := c.tree[u].tok
	p, ok := c.newest[tok]
	if !ok {
		return
	}
	c.context(u)
	n := 0
	for scanned := 0; p >= 0 && scanned < c.o.Scan; p, scanned = c.at[p].older, scanned+1 {
		if c.at[p].from == c.at[p].to || c.onPath(u, p) {
			continue
		}
		match := 1
		for q := c.at[p].before; match < len(c.ctx) && q >= 0 && c.at[q].tok == c.ctx[match]; q = c.at[q].before {
			match++
		}
		i := n // newest come first, so an equal match stays behind
		for i > 0 && c.best[i-1].match < match {
			i--
		}
		if i < c.o.Occurrences {
			n = min(n+1, c.o.Occurrences)
			copy(c.best[i+1:n], c.best[i:])
			c.best[i] = occurrence{p, match}
		}
	}
	c.tree[u].used = int32(len(c.used))
	total := 0.0
	for _, o := range c.best[:n] {
		c.used = append(c.used, o.at)
		weight := math.Ldexp(1, o.match)
		total += weight
		for _, x := range c.top[c.at[o.at].from:c.at[o.at].to] {
			c.count(x, weight)
		}
	}
	c.tree[u].usedEnd = int32(len(c.used))
	c.rank(total, breadth)
}

// context writes the last tokens up to node u, newest first, at most Suffix.
func (c *Calibrated) context(u int32) {
	c.ctx = c.ctx[:0]
	for ; u > 0 && len(c.ctx) < c.o.Suffix; u = c.tree[u].parent {
		c.ctx = append(c.ctx, c.tree[u].tok)
	}
	for i := len(c.stream) - 1; i >= 0 && len(c.ctx) < c.o.Suffix; i-- {
		c.ctx = append(c.ctx, c.stream[i])
	}
}

// onPath reports whether a node above u was expanded from position p.
func (c *Calibrated) onPath(u, p int32) bool {
	tok := c.tree[u].tok
	for v := c.tree[u].parent; v >= 0; v = c.tree[v].parent {
		if c.tree[v].tok != tok {
			continue
		}
		for _, q := range c.used[c.tree[v].used:c.tree[v].usedEnd] {
			if q == p {
				return true
			}
		}
	}
	return false
}

func (c *Calibrated) count(x decode.Candidate, weight float64) {
	i := 0
	for i < len(c.next) && c.next[i].tok != x.Token {
		i++
	}
	if i == len(c.next) {
		c.next = append(c.next, successor{tok: x.Token})
	}
	s := &c.next[i]
	if c.o.Mean == MeanLog {
		s.logProb += weight * float64(x.LogProb)
		s.sum += weight
	} else {
		s.sum += weight * math.Exp(float64(x.LogProb))
	}
}

// rank turns sums into means and sorts: likelier first, then as inserted, which
// is by the better occurrence and its likelier token.
func (c *Calibrated) rank(total float64, breadth int) {
	for i := range c.next {
		s := &c.next[i]
		if c.o.Mean == MeanLog {
			s.logProb = (s.logProb + (total-s.sum)*float64(c.logMin)) / total
		} else {
			s.logProb = math.Log(s.sum / total)
		}
		s.logProb = min(s.logProb, 0) // rounding
	}
	for i := 1; i < len(c.next); i++ {
		s := c.next[i]
		j := i
		for ; j > 0 && c.next[j-1].logProb < s.logProb; j-- {
			c.next[j] = c.next[j-1]
		}
		c.next[j] = s
	}
	c.next = c.next[:min(len(c.next), max(0, breadth))]
}
