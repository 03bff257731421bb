// Package decodetest is the executable specification of decode.Target and
// decode.System: suites that every implementation runs, and an in-memory target
// that is real enough to be decoded.
package decodetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// Loose is by how much, in nats, a log-probability may differ between two ways
// of computing it on a target that is not exact. Its likeliest token may differ
// where two are that close.
const Loose = 0.5

// A row is a copy of one row of scores.
type row struct {
	best   decode.Token
	top    []decode.Candidate
	logits []float32
}

func rowOf(s decode.Scores, i int) row {
	r := row{best: s.Best[i], logits: slices.Clone(s.Row(i))}
	if s.K > 0 {
		r.top = slices.Clone(s.TopOf(i))
	}
	return r
}

// differs says how b differs from a, or "".
func differs(a, b row, exact bool) string {
	if len(a.top) != len(b.top) || len(a.logits) != len(b.logits) {
		return fmt.Sprintf("%d candidates and %d logits against %d and %d", len(a.top), len(a.logits), len(b.top), len(b.logits))
	}
	if exact {
		if a.best != b.best {
			return fmt.Sprintf("likeliest token %d against %d", a.best, b.best)
		}
		for i := range a.top {
			if a.top[i].Token != b.top[i].Token || math.Float32bits(a.top[i].LogProb) != math.Float32bits(b.top[i].LogProb) {
				return fmt.Sprintf("candidate %d is %v against %v", i, a.top[i], b.top[i])
			}
		}
		for i := range a.logits {
			if math.Float32bits(a.logits[i]) != math.Float32bits(b.logits[i]) {
				return fmt.Sprintf("logit %d is %g against %g", i, a.logits[i], b.logits[i])
			}
		}
		return ""
	}
	for i := range a.top {
		if d := math.Abs(float64(a.top[i].LogProb - b.top[i].LogProb)); !(d <= Loose) {
			return fmt.Sprintf("log-probability of rank %d is %g against %g", i, a.top[i].LogProb, b.top[i].LogProb)
		}
	}
	return ""
}

// check reports what is inconsistent within one row that was asked for
// candidates and logits.
func check(t *testing.T, what string, r row) {
	t.Helper()
	if len(r.logits) == 0 || len(r.top) == 0 {
		t.Errorf("%s: %d logits and %d candidates; both were asked for", what, len(r.logits), len(r.top))
		return
	}
	best, high := 0, math.Inf(-1)
	for i, l := range r.logits {
		if math.IsNaN(float64(l)) {
			t.Errorf("%s: logit %d is NaN", what, i)
			return
		}
		if float64(l) > high {
			best, high = i, float64(l)
		}
	}
	if r.best != decode.Token(best) {
		t.Errorf("%s: Best is %d, the arg-max of the logits, lowest id first, is %d", what, r.best, best)
	}
	if r.top[0].Token != r.best {
		t.Errorf("%s: first candidate %d, Best %d", what, r.top[0].Token, r.best)
	}
	sum := 0.0
	for _, l := range r.logits {
		sum += math.Exp(float64(l) - high)
	}
	norm := high + math.Log(sum)
	seen := map[decode.Token]bool{}
	for i, c := range r.top {
		if c.Token < 0 || int(c.Token) >= len(r.logits) || seen[c.Token] {
			t.Errorf("%s: candidate %d is token %d, unknown or a second time", what, i, c.Token)
			return
		}
		seen[c.Token] = true
		if want := float64(r.logits[c.Token]) - norm; !(math.Abs(float64(c.LogProb)-want) <= 1e-3) {
			t.Errorf("%s: candidate %d: log-probability of token %d is %g, the logits say %g", what, i, c.Token, c.LogProb, want)
		}
		if i > 0 {
			p, l, q := r.top[i-1], r.logits[c.Token], r.logits[r.top[i-1].Token]
			if l > q || l == q && c.Token < p.Token {
				t.Errorf("%s: candidates %d and %d are in the wrong order: %v (logit %g), %v (logit %g)", what, i-1, i, p, q, c, l)
			}
		}
	}
	low := r.logits[r.top[len(r.top)-1].Token]
	for i, l := range r.logits {
		if l > low && !seen[decode.Token(i)] {
			t.Errorf("%s: token %d with logit %g is missing from %d candidates that go down to %g", what, i, l, len(r.top), low)
		}
	}
}

// Prompt returns n tokens below vocab, parts of which repeat earlier parts, and
// the first and last token of the vocabulary among them.
func Prompt(rng *rand.Rand, n, vocab int) []decode.Token {
	out := make([]decode.Token, 0, n)
	for len(out) < n {
		switch {
		case len(out) > 8 && rng.IntN(3) == 0:
			at := rng.IntN(len(out) - 4)
			out = append(out, out[at:min(at+4+rng.IntN(12), len(out))]...)
		case rng.IntN(16) == 0:
			out = append(out, decode.Token(rng.IntN(2)*(vocab-1)))
		default:
			out = append(out, decode.Token(rng.IntN(vocab)))
		}
	}
	return out[:n]
}

// RandomTree returns a tree of n nodes below root; deep in 0 … 1 is the share of
// nodes that continue the newest node.
func RandomTree(rng *rand.Rand, root decode.Token, n, vocab int, deep float64) *decode.Tree {
	t := &decode.Tree{}
	t.Reset(root)
	for t.Len() < n {
		u := t.Len() - 1
		if rng.Float64() >= deep {
			u = rng.IntN(t.Len())
		}
		if tok := decode.Token(rng.IntN(vocab)); t.Child(u, tok) < 0 {
			t.Add(u, tok, decode.FromRandom)
		}
	}
	return t
}

// PathTo returns the nodes from t's root to node i.
func PathTo(t *decode.Tree, i int) []int {
	path := make([]int, t.Depths[i]+1)
	for d := t.Depths[i]; d >= 0; d-- {
		path[d] = i
		i = t.Parents[i]
	}
	return path
}
