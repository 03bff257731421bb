package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"gonum.org/v1/gonum/stat/distuv"
)

func must(t *testing.T, p decode.Sampling) *Sampler {
	t.Helper()
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// exact is the processed distribution by the definition: full sorts, no heap.
func exact(p decode.Sampling, logits []float32) map[decode.Token]float64 {
	type tok struct {
		id int
		l  float64
	}
	var all []tok
	for i, l := range logits {
		all = append(all, tok{i, float64(l)})
	}
	slices.SortStableFunc(all, func(a, b tok) int {
		if a.l > b.l {
			return -1
		}
		if a.l < b.l {
			return 1
		}
		return 0
	})
	if p.TopK > 0 {
		all = all[:min(p.TopK, len(all))]
	}
	sum := func(temp float64) (z float64) {
		for _, c := range all {
			z += math.Exp((c.l - all[0].l) / temp)
		}
		return z
	}
	if p.TopP > 0 && p.TopP < 1 {
		z, mass := sum(1), 0.0
		for i, c := range all {
			if mass += math.Exp(c.l - all[0].l); mass >= p.TopP*z {
				all = all[:i+1]
				break
			}
		}
	}
	if p.MinP > 0 {
		n := 0
		for n < len(all) && math.Exp(all[n].l-all[0].l) >= p.MinP*(1-1e-12) {
			n++
		}
		all = all[:n]
	}
	out := map[decode.Token]float64{}
	z := sum(p.Temperature)
	for _, c := range all {
		out[decode.Token(c.id)] = math.Exp((c.l-all[0].l)/p.Temperature) / z
	}
	return out
}

var settings = []decode.Sampling{
	{Temperature: 1},
	{Temperature: 0.8},
	{Temperature: 0.3, TopK: 5},
	{Temperature: 2, TopK: 40},
	{Temperature: 0.8, TopP: 0.9},
	{Temperature: 0.8, TopP: 0.999999},
	{Temperature: 1.3, MinP: 0.1},
	{Temperature: 0.8, TopK: 20, TopP: 0.95, MinP: 0.05},
	{Temperature: 5, TopK: 7, TopP: 0.5, MinP: 0.2},
}

func randomLogits(rng *rand.Rand, n int, spread float64) []float32 {
	l := make([]float32, n)
	for i := range l {
		l[i] = float32(math.Round(rng.NormFloat64()*spread*4) / 4) // ties
	}
	return l
}

// The weights are the distribution of the definition, for sizes and spreads at
// which the shortcuts take every branch.
func TestDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 3, 50, 1000, 5000} {
		for _, spread := range []float64{0, 0.5, 3, 20, 300} {
			logits := randomLogits(rng, n, spread)
			for _, p := range settings {
				s := must(t, p)
				total := s.weigh(logits, ArgMax(logits))
				want := exact(p, logits)
				if len(s.kept) < len(want) {
					t.Fatalf("%+v, %d logits of spread %g: %d tokens kept, want %d", p, n, spread, len(s.kept), len(want))
				}
				for i, c := range s.kept {
					if i > 0 && c.token <= s.kept[i-1].token {
						t.Fatalf("%+v: tokens out of order", p)
					}
					if got := c.w / total; math.Abs(got-want[c.token]) > 1e-12 {
						t.Fatalf("%+v, %d logits of spread %g: token %d has probability %g, want %g", p, n, spread, c.token, got, want[c.token])
					}
				}
			}
		}
	}
}

// 40,000 positions follow the exact probabilities: χ² at a level at which one
// fixed seed either passes for ever or never.
func TestPickFollowsDistribution(t *testing.T) {
	const n = 40_000
	rng := rand.New(rand.NewPCG(2, 2))
	logits := randomLogits(rng, 60, 1.5)
	for _, p := range settings {
		p.Seed = 99
		s := must(t, p)
		count := map[decode.Token]int{}
		for pos := range n {
			count[s.Pick(pos, logits)]++
		}
		chi, cells, restWant, restGot := 0.0, 0, 0.0, 0.0
		for tok, q := range exact(p, logits) {
			c := float64(count[tok])
			delete(count, tok)
			if q*n < 10 { // pooled: χ² needs cells of some size
				restWant += q * n
				restGot += c
				continue
			}
			cells++
			chi += (c - q*n) * (c - q*n) / (q * n)
		}
		if restWant > 0 {
			cells++
			chi += (restGot - restWant) * (restGot - restWant) / restWant
		}
		if len(count) > 0 {
			t.Errorf("%+v: tokens outside the distribution were picked: %v", p, count)
		}
		if cells > 1 {
			if level := (distuv.ChiSquared{K: float64(cells - 1)}).Survival(chi); level < 1e-4 {
				t.Errorf("%+v: χ² = %.1f over %d cells, p = %.2g", p, chi, cells, level)
			}
		}
	}
}

// The token at a position depends on seed, position and logits alone.
func TestPositionKeyed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	logits := randomLogits(rng, 200, 2)
	a, b := must(t, decode.Sampling{Temperature: 1, Seed: 7}), must(t, decode.Sampling{Temperature: 1, Seed: 7})
	want := make([]decode.Token, 300)
	for pos := range want {
		want[pos] = a.Pick(pos, logits)
	}
	for _, pos := range rng.Perm(len(want)) {
		b.Pick(pos+1, randomLogits(rng, 50, 3))
		if got := b.Pick(pos, logits); got != want[pos] {
			t.Fatalf("position %d: %d, want %d as before", pos, got, want[pos])
		}
	}
	c := must(t, decode.Sampling{Temperature: 1, Seed: 8})
	same := 0
	for pos := range want {
		if c.Pick(pos, logits) == want[pos] {
			same++
		}
	}
	if same > 100 {
		t.Errorf("seeds 7 and 8 agree at %d of 300 positions", same)
	}
}

// The first outputs of splitmix64 from state 0 (its reference implementation,
// S. Vigna, prng.di.unimi.it), which seed 0 stands for.
func TestBits(t *testing.T) {
	for i, want := range []uint64{0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC} {
		if got := Bits(0, i); got != want {
			t.Errorf("Bits(0, %d) = %#x, want %#x", i, got, want)
		}
	}
	if Uniform(0, 0) != float64(0xE220A8397B1DCDAF>>11)/(1<<53) {
		t.Errorf("Uniform(0, 0) = %v", Uniform(0, 0))
	}
}

// Positions and seeds are uniform and uncorrelated.
func TestUniform(t *testing.T) {
	const n = 1 << 14
	var hist [16][16]float64
	for seed := range uint64(16) {
		for pos := range n {
			u := Uniform(seed, pos)
			if u < 0 || u >= 1 {
				t.Fatalf("Uniform(%d, %d) = %v", seed, pos, u)
			}
			hist[int(u*16)][int(Uniform(seed+1, pos)*16)]++
		}
	}
	chi := 0.0
	for i := range hist {
		for _, c := range hist[i] {
			e := float64(n) * 16 / 256
			chi += (c - e) * (c - e) / e
		}
	}
	if level := (distuv.ChiSquared{K: 255}).Survival(chi); level < 1e-4 || level > 1-1e-4 {
		t.Errorf("pairs of neighbouring seeds: χ² = %.1f over 256 cells, p = %.2g", chi, level)
	}
}

func TestEdges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	hot := decode.Sampling{Temperature: 1.5, Seed: 4}
	with := func(f func(*decode.Sampling)) decode.Sampling { p := hot; f(&p); return p }
	for _, c := range []struct {
		name   string
		p      decode.Sampling
		logits []float32
		want   []decode.Token // what may be picked, all of it in 200 positions
	}{
		{"one token", hot, []float32{3}, []decode.Token{0}},
		{"all equal", hot, []float32{1, 1, 1}, []decode.Token{0, 1, 2}},
		{"greedy tie", decode.Sampling{}, []float32{1, 5, 5}, []decode.Token{1}},
		{"top-k 1 of a tie", with(func(p *decode.Sampling) { p.TopK = 1 }), []float32{1, 5, 5, 5}, []decode.Token{1}},
		{"top-k 2 of a tie", with(func(p *decode.Sampling) { p.TopK = 2 }), []float32{1, 5, 5, 5}, []decode.Token{1, 2}},
		{"top-k above the vocabulary", with(func(p *decode.Sampling) { p.TopK = 9 }), []float32{1, 1}, []decode.Token{0, 1}},
		{"tiny top-p", with(func(p *decode.Sampling) { p.TopP = 1e-9 }), []float32{1, 2, 2}, []decode.Token{1}},
		{"top-p of exactly half", with(func(p *decode.Sampling) { p.TopP = 0.5 }), []float32{2, 2}, []decode.Token{0}},
		{"min-p 1", with(func(p *decode.Sampling) { p.MinP = 1 }), []float32{1, 2, 2, -3}, []decode.Token{1, 2}},
		{"all but one -Inf", hot, []float32{-inf, -inf, 0, -inf}, []decode.Token{2}},
		{"all -Inf", hot, []float32{-inf, -inf}, []decode.Token{0}},
		{"all -Inf, top-k", with(func(p *decode.Sampling) { p.TopK = 1 }), []float32{-inf, -inf}, []decode.Token{0}},
		{"NaN", hot, []float32{nan, 1, nan, 1}, []decode.Token{1, 3}},
		{"NaN, top-k", with(func(p *decode.Sampling) { p.TopK = 2 }), []float32{nan, 1, nan, 1}, []decode.Token{1, 3}},
		{"all NaN", hot, []float32{nan, nan}, []decode.Token{0}},
		{"NaN, greedy", decode.Sampling{}, []float32{nan, -inf, 2}, []decode.Token{2}},
		{"+Inf", hot, []float32{inf, 90, inf}, []decode.Token{0, 2}},
		{"+Inf, all filters", with(func(p *decode.Sampling) { p.TopK, p.TopP, p.MinP = 2, 0.99, 0.5 }), []float32{inf, 90, inf}, []decode.Token{0, 2}},
		{"huge spread", hot, []float32{-3e38, 3e38, -3e38}, []decode.Token{1}},
		{"almost greedy", decode.Sampling{Temperature: 1e-300}, []float32{0, 1e-3, 1}, []decode.Token{2}},
	} {
		s := must(t, c.p)
		seen := map[decode.Token]bool{}
		for pos := range 200 {
			seen[s.Pick(pos, c.logits)] = true
		}
		for _, tok := range c.want {
			if !seen[tok] {
				t.Errorf("%s: token %d was never picked", c.name, tok)
			}
			delete(seen, tok)
		}
		if len(seen) > 0 {
			t.Errorf("%s: picked %v, want only %v", c.name, seen, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, p := range []decode.Sampling{
		{Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)}, {TopK: -1}, {TopP: -0.1}, {TopP: 1.1}, {TopP: math.NaN()}, {MinP: 2}, {MinP: -1},
	} {
		if _, err := New(p); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}

// Greedy picks need no logits.
func TestPickRow(t *testing.T) {
	x := decode.Scores{Best: []decode.Token{4, 9}, Vocab: 3, Logits: []float32{0, 0, 0, -50, 50, -50}}
	if got := must(t, decode.Sampling{}).PickRow(0, x, 1); got != 9 {
		t.Errorf("greedy: %d, want Best's 9", got)
	}
	if got := must(t, decode.Sampling{Temperature: 1}).PickRow(0, x, 1); got != 1 {
		t.Errorf("sampled: %d, want 1", got)
	}
	if must(t, decode.Sampling{}).Want().Logits || !must(t, decode.Sampling{Temperature: 1}).Want().Logits {
		t.Error("only sampling needs logits")
	}
}

func BenchmarkPick(b *testing.B) {
	logits := randomLogits(rand.New(rand.NewPCG(1, 1)), 151_936, 2.5)
	for _, c := range []struct {
		name string
		p    decode.Sampling
	}{
		{"temperature", decode.Sampling{Temperature: 0.8}},
		{"topk40", decode.Sampling{Temperature: 0.8, TopK: 40}},
		{"topp95", decode.Sampling{Temperature: 0.8, TopP: 0.95}},
		{"minp5", decode.Sampling{Temperature: 0.8, MinP: 0.05}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := New(c.p)
			for pos := 0; b.Loop(); pos++ {
				s.Pick(pos, logits)
			}
		})
	}
}
