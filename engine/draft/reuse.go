package draft

import (
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// ReuseOptions are those of draft reuse.
type ReuseOptions struct {
	Life   int // steps for which a segment is offered
	MinRun int // tokens that a segment must have
	Pool   int // most segments kept
}

// ReuseDefaults follow CoordGen where the paper says, and trace replay where it
// does not.
func ReuseDefaults() ReuseOptions { return ReuseOptions{Life: 2, MinRun: 2, Pool: 4} }

// A Reuse offers rejected segments of earlier drafts again. Behind the first
// mismatch e of a draft x_1 x_2 …, the target has still said what it would put
// after each x_i. A run of x_i that it agreed with is likely to be right once
// the stream is past the mismatch: it was rejected for what stood before it.
//
// CoordGen, section 3.4, equation 3. Because x_e itself is never agreed with, a
// run starts at e+1 at the earliest; where it does, the copy with x_e in front is
// offered too: the target's own token may have been inserted before x_e instead of
// replacing it. Segments are offered as branches of the root, newest first.
type Reuse struct {
	o    ReuseOptions
	pool []segment // newest first
	work []int
}

type segment struct {
	tokens  []decode.Token // x_e and the run
	adjoins bool           // the run follows x_e at once
	age     int
}

var _ Source = (*Reuse)(nil)

// NewReuse returns a source with these options.
func NewReuse(o ReuseOptions) *Reuse { return &Reuse{o: o} }

// Begin is Source's.
func (r *Reuse) Begin([]decode.Token, decode.PrefillResult) { r.pool = r.pool[:0] }

// Observe is Source's.
func (r *Reuse) Observe(_ []decode.Token, v *Verdict) {
	if v == nil {
		return
	}
	for i := range r.pool {
		r.pool[i].age++
	}
	r.pool = slices.DeleteFunc(r.pool, func(s segment) bool { return s.age >= r.o.Life })
	if s, ok := r.rejected(v); ok {
		r.pool = slices.Insert(r.pool, 0, s)
		r.pool = r.pool[:min(len(r.pool), r.o.Pool)]
	}
}

// rejected finds the segment of v's draft that is worth keeping: of the spine,
// or where the spine has none, of the branch with the longest.
func (r *Reuse) rejected(v *Verdict) (segment, bool) {
	var best segment
	spine := true
	for leaf := range v.Tree.Len() {
		if leaf == 0 || slices.Contains(v.Tree.Parents[leaf:], leaf) {
			continue
		}
		s, ok := r.run(v, leaf)
		if ok && len(s.tokens) > len(best.tokens) {
			best = s
		}
		if spine && ok {
			break
		}
		spine = false // leaves come in depth-first order: the first one ends the spine
	}
	return best, len(best.tokens) > 0
}

// run finds the longest run of the branch that ends at leaf, the earliest on a tie.
func (r *Reuse) run(v *Verdict, leaf int) (segment, bool) {
	path := r.work[:0]
	for u := leaf; u >= 0; u = v.Tree.Parents[u] {
		path = append(path, u)
	}
	slices.Reverse(path)
	r.work = path
	// agreed(i): the target would have put path[i]'s token after path[i-1].
	agreed := func(i int) bool { return v.Picked[path[i-1]] == v.Tree.Tokens[path[i]] }
	e := 1
	for e < len(path) && agreed(e) {
		e++
	}
	from, length := 0, 0
	for i := e + 1; i < len(path); {
		j := i
		for j < len(path) && agreed(j) {
			j++
		}
		if j-i > length {
			from, length = i, j-i
		}
		i = j + 1
	}
	if length < r.o.MinRun {
		return segment{}, false
	}
	s := segment{adjoins: from == e+1}
	s.tokens = make([]decode.Token, 0, 1+length)
	for i := from - 1; i < from+length; i++ {
		s.tokens = append(s.tokens, v.Tree.Tokens[path[i]])
	}
	return s, true
}

// Propose is Source's.
func (r *Reuse) Propose(b *Builder) {
	kept := r.pool[:0]
	for _, s := range r.pool {
		_, added := b.AddChain(0, s.tokens[1:], decode.FromReuse)
		if s.adjoins {
			_, more := b.AddChain(0, s.tokens, decode.FromReuse)
			added += more
		}
		// A segment that found the tree full has had its turn.
		if added > 0 || b.Free() > 0 {
			kept = append(kept, s)
		}
	}
	r.pool = kept
}
