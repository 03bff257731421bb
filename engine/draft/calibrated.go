package draft

import (
	"cmp"
	"math"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// An Order says in which order a calibrated tree is walked.
type Order uint8

const (
	BestFirst  Order = iota // by path probability; cut anywhere, the best nodes are in
	DepthFirst              // by the likeliest child; as the paper describes it
)

// CalibratedOptions are those of in-context distribution calibration.
type CalibratedOptions struct {
	TopK        int     // likeliest tokens kept for each position
	MinProb     float64 // tokens below are not kept
	Depth       int     // longest branch
	Breadth     []int   // most children by depth, the root's first; the last goes on
	PathProb    float64 // branches below this probability end
	Occurrences int     // occurrences of a token that are averaged
	Scan        int     // latest occurrences that are looked at
	Suffix      int     // longest suffix that ranks occurrences
	Order       Order
	Eager       bool    // build the bounded tree whole, then take from it; the same draft
	Live        bool    // use what verifications say of accepted positions, too
	Reserve     float64 // share of the width that is left for later sources
}

// CalibratedDefaults follow CoordGen where the paper says and measurements where
// it does not.
func CalibratedDefaults() CalibratedOptions {
	return CalibratedOptions{TopK: 8, MinProb: 0.01, Depth: 5, Breadth: []int{8, 3, 2, 1, 1}, PathProb: 0.01,
		Occurrences: 4, Scan: 64, Suffix: 8, Order: BestFirst, Reserve: 0.25}
}

// A Calibrated drafts from the target's own next-token distributions over the
// prompt, which the prefill computes anyway: what the target would have put after
// a token there is what it may put after that token now, even where the text went
// on differently. The tree of such continuations is expanded from the root, each
// token's successors being the average over its occurrences whose contexts agree
// best with the draft's.
//
// CoordGen, section 3.3.
type Calibrated struct {
	o      CalibratedOptions
	stream []decode.Token
	top    []decode.Candidate // (len(stream), TopK); Token is -1 where there is none
	before []int32            // the occurrence of the same token before this one, or -1
	latest map[decode.Token]int32

	heap  []branch
	all   []branch
	found []occurrence
	next  []decode.Candidate
	ctx   []decode.Token
}

var _ Source = (*Calibrated)(nil)

// NewCalibrated returns a source with these options.
func NewCalibrated(o CalibratedOptions) *Calibrated {
	return &Calibrated{o: o, latest: map[decode.Token]int32{}}
}

// TopK is how many candidates a prefill should leave for each position.
func (c *Calibrated) TopK() int { return c.o.TopK }

// Live reports whether verifications should leave candidates too.
func (c *Calibrated) Live() bool { return c.o.Live }

// Begin is Source's.
func (c *Calibrated) Begin(prompt []decode.Token, p decode.PrefillResult) {
	c.stream, c.top, c.before = c.stream[:0], c.top[:0], c.before[:0]
	clear(c.latest)
	for i, tok := range prompt {
		c.push(tok)
		if p.K > 0 {
			c.keep(i, p.Top[i*p.K:(i+1)*p.K])
		}
	}
}

// push appends a token of which no distribution is known.
func (c *Calibrated) push(tok decode.Token) {
	at := int32(len(c.stream))
	c.stream = append(c.stream, tok)
	if prev, ok := c.latest[tok]; ok {
		c.before = append(c.before, prev)
	} else {
		c.before = append(c.before, -1)
	}
	c.latest[tok] = at
	for range c.o.TopK {
		c.top = append(c.top, decode.Candidate{Token: -1})
	}
}

// keep stores what may follow position i.
func (c *Calibrated) keep(i int, top []decode.Candidate) {
	row := c.top[i*c.o.TopK : (i+1)*c.o.TopK]
	least := float32(math.Log(c.o.MinProb))
	n := 0
	for _, x := range top[:min(len(top), len(row))] {
		if x.LogProb >= least {
			row[n] = x
			n++
		}
	}
	for ; n < len(row); n++ {
		row[n] = decode.Candidate{Token: -1}
	}
}

// Observe is Source's.
func (c *Calibrated) Observe(committed []decode.Token, v *Verdict) {
	if c.o.Live && v != nil && v.K > 0 {
		// The root is the stream's last token; accepted nodes follow it.
		base := len(c.stream) - 1
		for j, node := range v.Path {
			if j > 0 && j <= len(committed) {
				c.push(committed[j-1])
			}
			c.keep(base+j, v.Top[node*v.K:(node+1)*v.K])
		}
		committed = committed[min(len(committed), max(0, len(v.Path)-1)):]
	}
	for _, tok := range committed {
		c.push(tok)
	}
}

// A branch is a path below the root, not yet or already a node of the draft.
type branch struct {
	logProb float64
	toks    [maxDepth]decode.Token
	at      [maxDepth]int32 // the occurrence whose context agreed best, for each step
	depth   int
}

const maxDepth = 16

// before orders branches: likelier, then shorter, then by lower tokens. It is a
// total order, so that a draft does not depend on how the tree was walked.
func (a *branch) compare(b *branch) int {
	if n := cmp.Compare(b.logProb, a.logProb); n != 0 {
		return n
	}
	if n := cmp.Compare(a.depth, b.depth); n != 0 {
		return n
	}
	return slices.Compare(a.toks[:a.depth], b.toks[:b.depth])
}

// Propose is Source's.
func (c *Calibrated) Propose(b *Builder) {
	reserve := int(c.o.Reserve * float64(b.Width()))
	c.ctx = append(c.ctx[:0], c.stream...)
	if len(c.ctx) == 0 {
		return
	}
	switch {
	case c.o.Order == DepthFirst:
		c.descend(b, 0, branch{}, reserve)
	case c.o.Eager:
		c.whole(b, reserve)
	default:
		c.bestFirst(b, reserve)
	}
}

// add puts a branch, whose parents are in the draft, into it; false when the
// draft has no room for it.
func add(b *Builder, x *branch, reserve int) (int, bool) {
	u := 0
	for _, tok := range x.toks[:x.depth-1] {
		if u = b.Child(u, tok); u < 0 {
			return -1, true // a parent was refused: the branch cannot go on
		}
	}
	if b.Child(u, x.toks[x.depth-1]) < 0 && b.Free() <= reserve {
		return -1, false
	}
	u, _ = b.Add(u, x.toks[x.depth-1], decode.FromCalibrated)
	return u, true
}

func (c *Calibrated) bestFirst(b *Builder, reserve int) {
	c.heap = c.heap[:0]
	c.expand(branch{}, func(x branch) { c.pushHeap(x) })
	for len(c.heap) > 0 {
		x := c.popHeap()
		u, room := add(b, &x, reserve)
		if !room {
			return
		}
		if u >= 0 {
			c.expand(x, func(y branch) { c.pushHeap(y) })
		}
	}
}

// whole enumerates the tree within all bounds before it takes the best of it.
func (c *Calibrated) whole(b *Builder, reserve int) {
	c.all = c.all[:0]
	c.expand(branch{}, func(x branch) { c.all = append(c.all, x) })
	for i := 0; i < len(c.all); i++ {
		c.expand(c.all[i], func(x branch) { c.all = append(c.all, x) })
	}
	slices.SortFunc(c.all, func(x, y branch) int { return x.compare(&y) })
	for i := range c.all {
		if _, room := add(b, &c.all[i], reserve); !room {
			return
		}
	}
}

func (c *Calibrated) descend(b *Builder, u int, x branch, reserve int) bool {
	at := len(c.all)
	if u == 0 {
		at = 0
	}
	c.all = c.all[:at]
	c.expand(x, func(y branch) { c.all = append(c.all, y) })
	end := len(c.all)
	for i := at; i < end; i++ {
		y := c.all[i]
		v, room := add(b, &y, reserve)
		if !room {
			return false
		}
		if v >= 0 && !c.descend(b, v, y, reserve) {
			return false
		}
	}
	c.all = c.all[:at]
	return true
}

// expand calls child for each continuation of x within the bounds, likeliest first.
func (c *Calibrated) expand(x branch, child func(branch)) {
	if x.depth >= min(c.o.Depth, maxDepth) {
		return
	}
	at := c.successors(&x)
	breadth := c.o.Breadth[min(x.depth, len(c.o.Breadth)-1)]
	least := math.Log(c.o.PathProb)
	for _, n := range c.next[:min(breadth, len(c.next))] {
		y := x
		y.logProb += float64(n.LogProb)
		if y.logProb < least {
			continue
		}
		y.toks[y.depth], y.at[y.depth] = n.Token, at
		y.depth++
		child(y)
	}
}

// An occurrence is a position of the token that a branch ends with.
type occurrence struct {
	at    int32
	match int // length of the common suffix of the contexts
}

// successors leaves in c.next what may follow x, likeliest first, as an average
// over the occurrences whose contexts agree best; it returns the best of those.
//
// Probabilities are averaged, not their logarithms: a token that one occurrence
// does not list has no logarithm to average.
func (c *Calibrated) successors(x *branch) int32 {
	c.next = c.next[:0]
	ctx := append(c.ctx[:len(c.stream)], x.toks[:x.depth]...)
	c.ctx = ctx
	last := ctx[len(ctx)-1]
	p, ok := c.latest[last]
	if !ok {
		return -1
	}
	c.found = c.found[:0]
	for range c.o.Scan {
		// No position is used twice on a path: a path must not run in circles. A
		// position whose distribution is unknown says nothing.
		if c.top[int(p)*c.o.TopK].Token >= 0 && !slices.Contains(x.at[:x.depth], p) {
			n := 1
			for n < c.o.Suffix && n <= int(p) && n < len(ctx) && c.stream[int(p)-n] == ctx[len(ctx)-1-n] {
				n++
			}
			c.found = append(c.found, occurrence{p, n})
		}
		if p = c.before[p]; p < 0 {
			break
		}
	}
	if len(c.found) == 0 {
		return -1
	}
	slices.SortFunc(c.found, func(a, b occurrence) int {
		return cmp.Or(cmp.Compare(b.match, a.match), cmp.Compare(b.at, a.at))
	})
	used := c.found[:min(c.o.Occurrences, len(c.found))]
	total := 0.0
	for _, o := range used {
		weight := float64(int(1) << o.match)
		total += weight
		for _, n := range c.top[int(o.at)*c.o.TopK : (int(o.at)+1)*c.o.TopK] {
			if n.Token < 0 {
				break
			}
			share := float32(weight * math.Exp(float64(n.LogProb)))
			if i := slices.IndexFunc(c.next, func(m decode.Candidate) bool { return m.Token == n.Token }); i >= 0 {
				c.next[i].LogProb += share
			} else {
				c.next = append(c.next, decode.Candidate{Token: n.Token, LogProb: share})
			}
		}
	}
	for i := range c.next {
		c.next[i].LogProb = float32(math.Log(float64(c.next[i].LogProb) / total))
	}
	slices.SortFunc(c.next, func(a, b decode.Candidate) int {
		return cmp.Or(cmp.Compare(b.LogProb, a.LogProb), cmp.Compare(a.Token, b.Token))
	})
	return used[0].at
}

func (c *Calibrated) pushHeap(x branch) {
	c.heap = append(c.heap, x)
	i := len(c.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if c.heap[i].compare(&c.heap[up]) >= 0 {
			return
		}
		c.heap[i], c.heap[up] = c.heap[up], c.heap[i]
		i = up
	}
}

func (c *Calibrated) popHeap() branch {
	top := c.heap[0]
	last := len(c.heap) - 1
	c.heap[0] = c.heap[last]
	c.heap = c.heap[:last]
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= last {
			break
		}
		if kid+1 < last && c.heap[kid+1].compare(&c.heap[kid]) < 0 {
			kid++
		}
		if c.heap[kid].compare(&c.heap[i]) >= 0 {
			break
		}
		c.heap[i], c.heap[kid] = c.heap[kid], c.heap[i]
		i = kid
	}
	return top
}
