package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*max(1, math.Abs(b)) }

func TestMeans(t *testing.T) {
	for _, c := range []struct {
		x         []float64
		mean, geo float64
	}{
		{nil, math.NaN(), math.NaN()},
		{[]float64{3}, 3, 3},
		{[]float64{1, 4}, 2.5, 2},
		{[]float64{1, 2, 4, 8}, 3.75, math.Pow(64, 0.25)},
		{[]float64{2, 0}, 1, math.NaN()},
		{[]float64{2, -2}, 0, math.NaN()},
		{[]float64{math.NaN(), 1}, math.NaN(), math.NaN()},
	} {
		if got := Mean(c.x); !near(got, c.mean) && !(math.IsNaN(got) && math.IsNaN(c.mean)) {
			t.Errorf("Mean(%v) = %v, want %v", c.x, got, c.mean)
		}
		if got := GeoMean(c.x); !near(got, c.geo) && !(math.IsNaN(got) && math.IsNaN(c.geo)) {
			t.Errorf("GeoMean(%v) = %v, want %v", c.x, got, c.geo)
		}
	}
}

func TestQuantiles(t *testing.T) {
	one := func(v ...float64) (out []Weighted) {
		for _, x := range v {
			out = append(out, Weighted{x, 1})
		}
		return
	}
	for _, c := range []struct {
		x    []Weighted
		p    float64
		want float64
	}{
		{one(5, 1, 3), 0.5, 3},
		{one(4, 1, 3, 2), 0.5, 2}, // the lower of the two in the middle: half are at or below it
		{one(4, 1, 3, 2), 0.51, 3},
		{one(4, 1, 3, 2), 0.95, 4},
		{one(4, 1, 3, 2), 0, 1},
		{one(4, 1, 3, 2), 1, 4},
		// A step of 10 ms with 1 token and one of 8 ms with 4: four of five tokens took 2 ms.
		{[]Weighted{{10, 1}, {2, 4}}, 0.5, 2},
		{[]Weighted{{10, 1}, {2, 4}}, 0.8, 2},
		{[]Weighted{{10, 1}, {2, 4}}, 0.95, 10},
		{[]Weighted{{10, 0}, {2, 4}}, 1, 2},
	} {
		if got := Quantiles(c.x, c.p)[0]; got != c.want {
			t.Errorf("Quantiles(%v, %v) = %v, want %v", c.x, c.p, got, c.want)
		}
	}
	if got := Quantiles(nil, 0.5)[0]; !math.IsNaN(got) {
		t.Errorf("quantile of nothing = %v", got)
	}
	// A weight is the same as that many equal values.
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var weighted, repeated []Weighted
		for range 1 + rng.IntN(20) {
			v, n := math.Floor(10*rng.Float64()), 1+rng.IntN(5)
			weighted = append(weighted, Weighted{v, float64(n)})
			for range n {
				repeated = append(repeated, Weighted{v, 1})
			}
		}
		for _, p := range []float64{0.05, 0.5, 0.9} {
			if a, b := Quantiles(weighted, p)[0], Quantiles(repeated, p)[0]; a != b {
				t.Fatalf("p %v of %v: %v weighted, %v repeated", p, weighted, a, b)
			}
		}
	}
}

func TestBootstrapKnownAnswers(t *testing.T) {
	ratio := func(tab *Table, o Options) Estimate { return Bootstrap(tab, o, Ratio(0, 1))[0] }

	tab := NewTable(2, 1)
	if e := ratio(tab, Options{}); !math.IsNaN(e.Value) || !math.IsNaN(e.Lo) {
		t.Errorf("no units: %+v", e)
	}
	tab.Add(6, 2)
	if e := ratio(tab, Options{}); e.Value != 3 || !math.IsNaN(e.Lo) || !math.IsNaN(e.Hi) {
		t.Errorf("one unit: %v [%v, %v]", e.Value, e.Lo, e.Hi)
	}
	tab.Add(30, 10)
	tab.Add(1.5, 0.5)
	if e := ratio(tab, Options{}); !near(e.Value, 3) || !near(e.Lo, 3) || !near(e.Hi, 3) {
		t.Errorf("equal ratios: %v [%v, %v]", e.Value, e.Lo, e.Hi)
	}
	// The ratio of sums, not the mean of ratios.
	tab = NewTable(2, 1)
	tab.Add(10, 1)
	tab.Add(90, 99)
	if e := ratio(tab, Options{}); e.Value != 1 {
		t.Errorf("ratio of sums = %v, want 1", e.Value)
	}
	// Repeats are summed.
	tab = NewTable(2, 2)
	tab.Add(1, 1, 3, 1)
	tab.Add(2, 1, 2, 1)
	if e := ratio(tab, Options{}); e.Value != 2 {
		t.Errorf("two blocks: %v, want 2", e.Value)
	}
	// Prompts that agree in each block: only the blocks vary.
	tab = NewTable(2, 2)
	for range 8 {
		tab.Add(1, 1, 3, 1)
	}
	if e := ratio(tab, Options{}); e.Lo != 2 || e.Hi != 2 {
		t.Errorf("prompts only: [%v, %v], want [2, 2]", e.Lo, e.Hi)
	}
	if e := ratio(tab, Options{Blocks: true}); e.Lo != 1 || e.Hi != 3 {
		t.Errorf("prompts and blocks: [%v, %v], want [1, 3]", e.Lo, e.Hi)
	}
	// The bootstrap's standard error of a mean is σ/√n (population σ): the plain
	// interval of 0…99 is 49.5 ± 1.96·28.866/10, to within resampling noise.
	tab = NewTable(2, 1)
	for i := range 100 {
		tab.Add(float64(i), 1)
	}
	e := ratio(tab, Options{Plain: true, Resamples: 20000})
	if math.Abs(e.Lo-(49.5-5.658)) > 0.15 || math.Abs(e.Hi-(49.5+5.658)) > 0.15 {
		t.Errorf("mean of 0…99: [%v, %v], want 49.5 ± 5.658", e.Lo, e.Hi)
	}
	// Expanded: t with 99 degrees of freedom and √(100/99) instead: ± 1.984·28.866/10·1.005.
	x := ratio(tab, Options{Resamples: 20000})
	if half := 1.98422 * 2.88661 * math.Sqrt(100./99); math.Abs(x.Lo-(49.5-half)) > 0.15 || math.Abs(x.Hi-(49.5+half)) > 0.15 {
		t.Errorf("expanded mean of 0…99: [%v, %v], want 49.5 ± %v", x.Lo, x.Hi, half)
	}
	// A resample without a value leaves no interval.
	tab = NewTable(2, 1)
	tab.Add(1, 0)
	tab.Add(1, 1)
	if e := ratio(tab, Options{}); e.Value != 2 || !math.IsNaN(e.Lo) || !math.IsNaN(e.Hi) {
		t.Errorf("empty resample: %v [%v, %v]", e.Value, e.Lo, e.Hi)
	}
}

func TestBootstrapIsDeterministic(t *testing.T) {
	tab := NewTable(2, 1)
	for i := range 9 {
		tab.Add(float64(i*i+3), float64(i+1))
	}
	f := Ratio(0, 1)
	a, b, c := Bootstrap(tab, Options{Seed: 1}, f)[0], Bootstrap(tab, Options{Seed: 1}, f, f)[1], Bootstrap(tab, Options{Seed: 2}, f)[0]
	if a.Lo != b.Lo || a.Hi != b.Hi {
		t.Errorf("same seed: [%v, %v] and [%v, %v]", a.Lo, a.Hi, b.Lo, b.Hi)
	}
	if a.Lo == c.Lo && a.Hi == c.Hi {
		t.Error("another seed: the same interval")
	}
	if !(a.Lo < a.Value && a.Value < a.Hi) {
		t.Errorf("%v is not within [%v, %v]", a.Value, a.Lo, a.Hi)
	}
}

func TestGeoMeanOf(t *testing.T) {
	fixed := func(ratio float64) Estimate {
		tab := NewTable(2, 1)
		for i := range 6 {
			tab.Add(ratio*float64(i+1), float64(i+1))
		}
		return Bootstrap(tab, Options{}, Ratio(0, 1))[0]
	}
	e := GeoMeanOf([]Estimate{fixed(1), fixed(4)})
	if !near(e.Value, 2) || !near(e.Lo, 2) || !near(e.Hi, 2) || e.Units != 12 {
		t.Errorf("%v [%v, %v] of %d units", e.Value, e.Lo, e.Hi, e.Units)
	}
	if e := GeoMeanOf(nil); !math.IsNaN(e.Value) {
		t.Errorf("of nothing: %v", e.Value)
	}
	one := NewTable(2, 1)
	one.Add(9, 1)
	if e := GeoMeanOf([]Estimate{fixed(4), Bootstrap(one, Options{}, Ratio(0, 1))[0]}); e.Value != 6 || !math.IsNaN(e.Lo) {
		t.Errorf("with a single unit: %v [%v, %v]", e.Value, e.Lo, e.Hi)
	}
	if e := GeoMeanOf([]Estimate{fixed(4), Bootstrap(NewTable(2, 1), Options{}, Ratio(0, 1))[0]}); !math.IsNaN(e.Value) {
		t.Errorf("with an empty stratum: %v", e.Value)
	}
}

// prompts simulates n prompts: lengths spread like log-normals, the system's
// speedup varies between prompts, both systems are timed with noise in each
// block. The true ratio of expected totals is speedup.
func prompts(rng *rand.Rand, n, blocks int, speedup float64) *Table {
	t := NewTable(2, blocks)
	for range n {
		length := math.Exp(0.5 * rng.NormFloat64())
		// Mean 1, so that the ratio of expectations is exactly 1/speedup.
		own := math.Exp(0.2*rng.NormFloat64() - 0.02)
		row := make([]float64, 0, 2*blocks)
		for range blocks {
			row = append(row, length*(1+0.05*rng.NormFloat64()), length*own/speedup*(1+0.05*rng.NormFloat64()))
		}
		t.Add(row...)
	}
	return t
}

// TestCoverage counts how often the 95 % interval holds the true ratio. Under
// the binomial law 600 trials of a 95 % event stay within 92.3 … 97.7 % but for
// one time in 400; the bounds are wider because the bootstrap is approximate.
// Seeds are fixed: the test computes the same each time.
func TestCoverage(t *testing.T) {
	const sets, truth = 600, 1.7
	cover := func(n, blocks int, o Options) float64 {
		rng := rand.New(rand.NewPCG(uint64(n), uint64(blocks)))
		in := 0
		for i := range sets {
			o.Seed, o.Resamples = uint64(i), 400
			e := Bootstrap(prompts(rng, n, blocks, truth), o, Ratio(0, 1))[0]
			if e.Lo <= truth && truth <= e.Hi {
				in++
			}
		}
		return 100 * float64(in) / sets
	}
	for _, c := range []struct {
		name      string
		n, blocks int
		o         Options
		lo, hi    float64
	}{
		{"6 prompts", 6, 1, Options{}, 90, 99},
		{"10 prompts", 10, 1, Options{}, 90, 98},
		{"30 prompts", 30, 1, Options{}, 90, 98},
		{"30 prompts, 3 blocks averaged", 30, 3, Options{}, 90, 98},
		// Every block holds all prompts and the blocks differ by noise alone, so
		// that counting their spread as well makes the interval wider than needed.
		{"30 prompts, 3 blocks resampled", 30, 3, Options{Blocks: true}, 92, 100},
	} {
		got := cover(c.n, c.blocks, c.o)
		t.Logf("%s: the 95%% interval held the truth in %.1f%% of %d data sets", c.name, got, sets)
		if got < c.lo || got > c.hi {
			t.Errorf("%s: coverage %.1f%%, want %v … %v", c.name, got, c.lo, c.hi)
		}
	}
	plain, expanded := cover(6, 1, Options{Plain: true}), cover(6, 1, Options{})
	t.Logf("6 prompts: plain percentile %.1f%%, expanded %.1f%%", plain, expanded)
	if !(plain < expanded) {
		t.Errorf("the expansion does not help at 6 prompts: plain %.1f%%, expanded %.1f%%", plain, expanded)
	}
}

func BenchmarkBootstrap(b *testing.B) {
	t := prompts(rand.New(rand.NewPCG(1, 2)), 30, 1, 2)
	for b.Loop() {
		Bootstrap(t, Options{}, Ratio(0, 1))
	}
}
