package decodetest

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

func TestToy(t *testing.T) {
	for _, o := range []ToyOptions{
		{Context: 200},
		{Context: 160, Vocab: 16, Seed: 3, Nodes: 5},
		{Context: 300, Vocab: 5000, Seed: 4, Repetitive: -1, Noise: 0.5},
	} {
		RunTarget(t, func(*testing.T) decode.Target { return NewToy(o) })
	}
}

func argMax(x []float32) int {
	b := 0
	for i := range x {
		if x[i] > x[b] {
			b = i
		}
	}
	return b
}

// The toy is worth decoding: its output repeats, ties at the top occur, the ends
// of the vocabulary occur, and far-away context matters.
func TestToyIsWorthDecoding(t *testing.T) {
	x := NewToy(ToyOptions{Context: 2000})
	rng := rand.New(rand.NewPCG(1, 2))
	p, err := x.Prefill(context.Background(), Prompt(rng, 100, 64), decode.Want{Logits: true}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Last
	ties, repeats, ends := 0, 0, 0
	seen := map[[3]decode.Token]bool{}
	for x.Len() < 1600 {
		tok := s.Best[0]
		if x.Len()%10 == 0 {
			tok = decode.Token(rng.IntN(64))
		}
		high := s.Logits[argMax(s.Logits)]
		n := 0
		for _, l := range s.Logits {
			if l == high {
				n++
			}
		}
		if n > 1 {
			ties++
		}
		if tok == 0 || tok == 63 {
			ends++
		}
		tree := &decode.Tree{}
		tree.Reset(tok)
		if s, err = x.Verify(context.Background(), tree, decode.Want{Logits: true}); err != nil {
			t.Fatal(err)
		}
		c := s
		c.Best, c.Logits = slices.Clone(s.Best), slices.Clone(s.Logits)
		s = c
		if err := x.Commit([]int{0}); err != nil {
			t.Fatal(err)
		}
		all := x.Context()
		key := [3]decode.Token(all[len(all)-3:])
		if seen[key] {
			repeats++
		}
		seen[key] = true
	}
	t.Logf("1500 tokens: %d ties at the top, %d repeated 3-grams, %d tokens at the ends of the vocabulary", ties, repeats, ends)
	if ties < 20 || repeats < 300 || ends < 20 {
		t.Error("too few")
	}
	far := 0
	for i := range 300 {
		mid := Prompt(rng, 40, 64)
		a, _ := fresh(append([]decode.Token{1}, mid...))
		b, _ := fresh(append([]decode.Token{2}, mid...))
		if a != b {
			far++
		}
		_ = i
	}
	if far == 0 {
		t.Error("the first of 41 tokens never changes the next")
	}
}

func fresh(p []decode.Token) (decode.Token, error) {
	r, err := NewToy(ToyOptions{Repetitive: -1}).Prefill(context.Background(), p, decode.Want{}, 0)
	if err != nil {
		return -1, err
	}
	return r.Last.Best[0], nil
}

// A mutant is a toy with one defect.
type mutant struct {
	*Toy
	defect string
	calls  int
}

func (m *mutant) Prefill(ctx context.Context, p []decode.Token, w decode.Want, k int) (decode.PrefillResult, error) {
	if m.defect == "prefill in pieces forgets" && m.Len() > 0 {
		if err := m.Toy.Truncate(m.Len() - 1); err != nil {
			return decode.PrefillResult{}, err
		}
	}
	if m.defect == "cancelled prefill stays" && ctx.Err() != nil {
		m.Toy.Prefill(context.Background(), p, w, k)
	}
	if m.defect == "separator accepted" {
		p = slices.Clone(p)
		for i := range p {
			p[i] = max(p[i], 0)
		}
	}
	r, err := m.Toy.Prefill(ctx, p, w, k)
	if m.defect == "prompt candidates shifted" && r.K > 0 && len(p) > 1 {
		r.Top = append(slices.Clone(r.Top[r.K:]), r.Top[:r.K]...)
	}
	return r, err
}

func (m *mutant) Verify(ctx context.Context, t *decode.Tree, w decode.Want) (decode.Scores, error) {
	m.calls++
	if m.defect == "no room check" && m.Len()+t.Len() > m.o.Context {
		m.o.Context += t.Len()
		defer func() { m.o.Context -= t.Len() }()
	}
	s, err := m.Toy.Verify(ctx, t, w)
	if err != nil {
		return s, err
	}
	switch m.defect {
	case "tie to the higher id":
		for i := range s.Best {
			for j, l := range s.Row(i) {
				if l >= s.Row(i)[s.Best[i]] {
					s.Best[i] = decode.Token(j)
				}
			}
		}
	case "siblings see each other":
		for i := 1; i < t.Len(); i++ {
			if t.Parents[i] != i-1 {
				s.Best[i] = s.Best[i-1]
				if w.TopK > 0 {
					copy(s.TopOf(i), s.TopOf(i-1))
				}
				copy(s.Row(i), s.Row(i-1))
			}
		}
	case "log-probabilities off":
		for i := range s.Top {
			s.Top[i].LogProb -= 0.01
		}
	case "candidates unsorted":
		if w.TopK > 2 {
			for i := range t.Len() {
				c := s.TopOf(i)
				c[1], c[2] = c[2], c[1]
			}
		}
	case "verify commits":
		m.Toy.Commit([]int{0})
	case "a bit lost":
		if w.Logits && m.calls%3 == 0 {
			s.Logits[0] += 1e-6
		}
	}
	return s, nil
}

func (m *mutant) Commit(path []int) error {
	if m.defect == "commit ignores the path" && len(path) > 1 {
		path = path[:len(path)-1]
		if err := m.Toy.Commit(path); err != nil {
			return err
		}
		m.Toy.put(m.n, 0)
		m.n++
		return nil
	}
	if m.defect == "bad path accepted" && m.tree != nil && m.tree.ValidatePath(path) != nil {
		return m.Toy.Commit([]int{0})
	}
	return m.Toy.Commit(path)
}

func (m *mutant) Truncate(n int) error {
	if m.defect == "truncate keeps one" && n > 0 && n < m.Len() {
		n++
	}
	if m.defect == "truncate beyond" && n > m.Len() {
		return nil
	}
	return m.Toy.Truncate(n)
}

var targetDefects = []string{
	"prefill in pieces forgets", "cancelled prefill stays", "separator accepted", "prompt candidates shifted", "no room check",
	"tie to the higher id", "siblings see each other", "log-probabilities off", "candidates unsorted", "verify commits", "a bit lost",
	"commit ignores the path", "bad path accepted", "truncate keeps one", "truncate beyond",
}

// Each planted defect makes the suite fail: it runs in a second process, since a
// test cannot fail on purpose.
func TestSuiteFindsDefects(t *testing.T) {
	if d := os.Getenv("DECODETEST_DEFECT"); d != "" {
		RunTarget(t, func(*testing.T) decode.Target {
			return &mutant{Toy: NewToy(ToyOptions{Context: 200}), defect: d}
		})
		return
	}
	for _, d := range append([]string{"none"}, targetDefects...) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSuiteFindsDefects$")
		cmd.Env = append(os.Environ(), "DECODETEST_DEFECT="+d)
		out, err := cmd.CombinedOutput()
		if failed := strings.Contains(string(out), "--- FAIL"); failed != (d != "none") {
			t.Errorf("defect %q: the suite's answer is %v\n%s", d, err, out)
		}
	}
}
