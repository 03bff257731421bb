package draft

import (
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// ReuseOptions are those of draft reuse.
type ReuseOptions struct {
	Life   int // drafts that a segment is offered to
	MinRun int // tokens that a run must have
	Pool   int // most segments kept
}

// ReuseDefaults follow CoordGen where the paper says, and trace replay where it
// does not.
func ReuseDefaults() ReuseOptions { return ReuseOptions{Life: 2, MinRun: 2, Pool: 4} }

// A Reuse offers rejected segments of earlier drafts again. Where a draft
// x_1 x_2 … went wrong at position e, the target has still said what it would put
// at each later position, y_i. A run of positions with x_i = y_i was rejected for
// what stood before it, and is likely to be right once the stream is past the
// mismatch.
//
// CoordGen, section 3.4, equation 3. Because x_e is never equal to y_e, a run
// starts at e+1 at the earliest. Where it does (γ = 1), the copy with x_e in front
// is offered too: the target may have put its own token before x_e rather than
// for it. Segments are offered as branches of the root, the newest first.
//
// Of a tree, the branch that counts is the one that was accepted farthest,
// followed on along first children; where nothing was accepted that is the spine.
// If it has no run, the branch with the longest counts.
type Reuse struct {
	o    ReuseOptions
	pool []segment // newest first
}

type segment struct {
	toks    [decode.MaxNodes]decode.Token // x_e and the run, or the run alone
	n       int
	adjoins bool // toks starts with x_e
	offered int  // drafts that it was offered to
}

func (s *segment) run() []decode.Token {
	if s.adjoins {
		return s.toks[1:s.n]
	}
	return s.toks[:s.n]
}

var _ Source = (*Reuse)(nil)

// NewReuse returns a source with these options.
func NewReuse(o ReuseOptions) *Reuse { return &Reuse{o: o, pool: make([]segment, 0, o.Pool+1)} }

// Begin is Source's.
func (r *Reuse) Begin([]decode.Token, decode.PrefillResult) { r.pool = r.pool[:0] }

// Observe is Source's.
func (r *Reuse) Observe(_ []decode.Token, v *Verdict) {
	if v == nil || r.o.Pool < 1 {
		return
	}
	s, ok := r.rejected(v)
	if !ok {
		return
	}
	r.pool = append(r.pool, segment{})
	copy(r.pool[1:], r.pool)
	r.pool[0] = s
	r.pool = r.pool[:min(len(r.pool), r.o.Pool)]
}

// rejected finds the segment of v's draft that is worth keeping.
func (r *Reuse) rejected(v *Verdict) (segment, bool) {
	t := v.Tree
	e := len(v.Path) // position of the mismatch: nodes at this depth were rejected
	main := v.Path[e-1]
	for i := main + 1; i < t.Len(); i++ {
		if t.Parents[i] == main { // its first child, because then main moves on
			main = i
		}
	}
	if s, ok := r.segment(v, main, e); ok {
		return s, true
	}
	var best segment
	found := false
	for i := 1; i < t.Len(); i++ {
		if slices.Contains(t.Parents[i+1:], i) {
			continue // not a leaf
		}
		if s, ok := r.segment(v, i, e); ok && (!found || len(s.run()) > len(best.run())) {
			best, found = s, true
		}
	}
	return best, found
}

// segment finds the longest run of positions beyond e, the earliest on a tie, on
// the branch that ends at leaf.
func (r *Reuse) segment(v *Verdict, leaf, e int) (segment, bool) {
	t := v.Tree
	from, to := 0, 0 // depths of the best run, to exclusive
	j := t.Depths[leaf] + 1
	var x [decode.MaxNodes]decode.Token
	run := 0 // length of the run that starts at the node's position
	for u := leaf; t.Depths[u] > 0 && t.Depths[u] >= e; u = t.Parents[u] {
		j--
		x[j] = t.Tokens[u]
		if j > e && v.Picked[t.Parents[u]] == t.Tokens[u] {
			run++
		} else {
			run = 0
		}
		// From the leaf upwards a run is seen whole at its first position; on a tie
		// the earlier one, which comes later here, wins.
		if run > 0 && run >= to-from {
			from, to = j, j+run
		}
	}
	if to-from < max(1, r.o.MinRun) {
		return segment{}, false
	}
	s := segment{adjoins: from == e+1}
	if s.adjoins {
		from = e
	}
	s.n = copy(s.toks[:], x[from:to])
	return s, true
}

// Propose is Source's. A segment that finds no slot at all has had its turn: the
// draft is as long as it may be without it.
func (r *Reuse) Propose(b *Builder) {
	kept := 0
	for i := range r.pool {
		s := &r.pool[i]
		full := r.offer(b, s.run())
		if s.adjoins {
			full = r.offer(b, s.toks[:s.n]) && full
		}
		if s.offered++; s.offered < r.o.Life && !full {
			if kept < i {
				r.pool[kept] = *s
			}
			kept++
		}
	}
	r.pool = r.pool[:kept]
}

// offer adds toks as a branch of the root, unless a branch with the same first
// token is as long already. It reports whether there was no slot for any of it.
func (r *Reuse) offer(b *Builder, toks []decode.Token) (full bool) {
	if c := b.Child(0, toks[0]); c >= 0 && 1+b.Height(c) >= len(toks) {
		return false
	}
	free := b.Free()
	_, added := b.AddChain(0, toks, decode.FromReuse)
	return added == 0 && free == 0
}
