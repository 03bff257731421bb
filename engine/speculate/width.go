package speculate

import (
	"fmt"
	"math/bits"

	"github.com/coordbench/coordbench/engine/decode"
)

// A WidthPolicy decides how many rows a verification has. It cannot change what
// is generated, only in how many passes.
type WidthPolicy interface {
	// Limit is the most rows that the next tree may have, root included.
	Limit() int

	// Keep says which nodes of a drafted tree to verify, as a set like those of
	// Tree.Ancestors: the root is in it, and every node's parent.
	Keep(t *decode.Tree) uint64

	// Learn is told a draft, whole as Keep was given it, and the tokens that the
	// step emitted, at least one.
	Learn(t *decode.Tree, emitted []decode.Token)

	// Forget drops what was learned.
	Forget()

	// String describes the policy.
	String() string
}

// Fixed verifies whatever was drafted, up to rows.
func Fixed(rows int) WidthPolicy { return fixed(rows) }

type fixed int

func (f fixed) Limit() int                         { return int(f) }
func (f fixed) Keep(t *decode.Tree) uint64         { return ^uint64(0) >> (64 - uint(t.Len())) }
func (f fixed) Learn(*decode.Tree, []decode.Token) {}
func (f fixed) Forget()                            {}
func (f fixed) String() string                     { return fmt.Sprintf("fixed %d", int(f)) }

// Adaptive verifies the w likeliest nodes of a draft of up to rows, with the w
// that maximises (1 + Σ of the w−1 largest p̂) / cost(w); w = 1, the root alone, is
// among the choices. p̂ of a node is the product, down its path, of the
// estimated chance that a child of its origin, depth and rank among its siblings
// is the next token, given for how many tokens in a row the drafts have been right.
//
// The estimates count on in every step. What was drafted but not verified is
// judged too, as far as the emitted tokens go: a policy that verifies nothing still
// learns when verifying would pay.
func Adaptive(rows int, cost Curve) (WidthPolicy, error) {
	if err := cost.validate(); err != nil {
		return nil, err
	}
	a := &adaptive{rows: rows, curve: cost}
	for w := 1; w <= decode.MaxNodes; w++ {
		a.cost[w] = cost.At(w)
	}
	a.Forget()
	return a, nil
}

const (
	runs   = 4   // classes of how long the drafts have been right: 0, 1–2, 3–7, 8 and more tokens
	depths = 6   // deeper nodes count as this deep
	ranks  = 4   // later siblings count as of this rank
	weight = 4   // of the prior, in observations
	memory = 128 // observations after which older ones count half
)

// A tally counts how often a child was judged and how often it was the next token.
type tally struct{ seen, hit float64 }

type adaptive struct {
	rows  int
	curve Curve
	cost  [decode.MaxNodes + 1]float64
	tally [runs][decode.NumOrigins][depths][ranks]tally
	run   int // tokens in a row that were drafted right

	p    [decode.MaxNodes]float64 // p̂ of each node
	rank [decode.MaxNodes]uint8   // among its siblings, in the order of the tree
	kids [decode.MaxNodes]uint8
}

func (a *adaptive) Limit() int     { return a.rows }
func (a *adaptive) String() string { return fmt.Sprintf("adaptive up to %d, cost %s", a.rows, a.curve) }

// Forget returns to the prior: first children are right the more often the
// longer the drafts have been, and each later sibling half as often.
func (a *adaptive) Forget() {
	for r, q := range [runs]float64{0.35, 0.6, 0.75, 0.9} {
		for o := range a.tally[r] {
			for d := range a.tally[r][o] {
				for k := range a.tally[r][o][d] {
					// A right parent speaks for its child.
					q := q + (1-q)*0.5*float64(d)/depths
					a.tally[r][o][d][k] = tally{weight, weight * q / float64(int(1)<<k)}
				}
			}
		}
	}
	a.run = 0
}

func (a *adaptive) at(t *decode.Tree, i int) *tally {
	class := 0
	switch {
	case a.run >= 8:
		class = 3
	case a.run >= 3:
		class = 2
	case a.run >= 1:
		class = 1
	}
	return &a.tally[class][t.Origins[i]][min(t.Depths[i], depths)-1][min(int(a.rank[i]), ranks-1)]
}

// ranking fills a.rank.
func (a *adaptive) ranking(t *decode.Tree) {
	clear(a.kids[:t.Len()])
	for i := 1; i < t.Len(); i++ {
		u := t.Parents[i]
		a.rank[i] = a.kids[u]
		a.kids[u]++
	}
}

func (a *adaptive) Keep(t *decode.Tree) uint64 {
	n := t.Len()
	if n == 1 {
		return 1
	}
	a.ranking(t)
	a.p[0] = 1
	for i := 1; i < n; i++ {
		c := a.at(t, i)
		a.p[i] = a.p[t.Parents[i]] * c.hit / c.seen
	}
	best, bestSet := 1/a.cost[1], uint64(1)
	set, sum := uint64(1), 1.0
	for w := 2; w <= n; w++ {
		// A parent's p̂ is at least its child's and it stands first, so the next
		// largest always has its parent in the set.
		next := -1
		for i := 1; i < n; i++ {
			if set&(1<<uint(i)) == 0 && (next < 0 || a.p[i] > a.p[next]) {
				next = i
			}
		}
		set |= 1 << uint(next)
		sum += a.p[next]
		if v := sum / a.cost[w]; v > best {
			best, bestSet = v, set
		}
	}
	return bestSet
}

func (a *adaptive) Learn(t *decode.Tree, emitted []decode.Token) {
	a.ranking(t)
	u, right := 0, 0
	for _, tok := range emitted {
		next := -1
		for i := u + 1; i < t.Len(); i++ {
			if t.Parents[i] != u {
				continue
			}
			c := a.at(t, i)
			if c.seen >= memory {
				c.seen, c.hit = c.seen/2, c.hit/2
			}
			c.seen++
			if t.Tokens[i] == tok {
				c.hit++
				next = i
			}
		}
		if next < 0 {
			break
		}
		u = next
		right++
	}
	if right == len(emitted) {
		a.run += right
	} else {
		a.run = 0
	}
}

// prune makes dst the part of t in keep and returns dst, or t where keep is all of it.
func prune(dst, t *decode.Tree, keep uint64) *decode.Tree {
	if bits.OnesCount64(keep) == t.Len() {
		return t
	}
	var at [decode.MaxNodes]int
	dst.Reset(t.Tokens[0])
	for i := 1; i < t.Len(); i++ {
		if keep&(1<<uint(i)) != 0 {
			at[i] = dst.Add(at[t.Parents[i]], t.Tokens[i], t.Origins[i])
		}
	}
	return dst
}
