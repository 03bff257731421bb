package stats

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Table holds measurements of units (prompts) in blocks (repeats): for each
// unit and block one row of Cols numbers, such as the time of the baseline, the
// time of a system and the tokens emitted. What is compared with each other
// stands in one row, so that resampling keeps it paired.
type Table struct {
	Cols, Blocks int
	data         [][]float64 // by unit: Blocks·Cols numbers
}

// NewTable returns a table without units. blocks is 1 where repeats were averaged.
func NewTable(cols, blocks int) *Table { return &Table{Cols: cols, Blocks: blocks} }

// Add appends a unit: Blocks·Cols numbers, block after block.
func (t *Table) Add(row ...float64) {
	if len(row) != t.Cols*t.Blocks {
		panic("internal error: stats: a unit of another shape")
	}
	t.data = append(t.data, row)
}

// Units is the number of units.
func (t *Table) Units() int { return len(t.data) }

// Sums returns the column sums over all units and blocks.
func (t *Table) Sums() []float64 {
	sums := make([]float64, t.Cols)
	for _, row := range t.data {
		for b := range t.Blocks {
			addRow(sums, row[b*t.Cols:])
		}
	}
	return sums
}

// Options of a bootstrap. The zero value is usable.
type Options struct {
	Resamples int     // 0 is 2000
	Level     float64 // of the interval; 0 is 0.95
	Seed      uint64  // equal seeds draw equal samples: give strata that are combined different ones
	// Blocks resamples blocks as well as units, each with replacement and
	// independently ("pigeonhole" bootstrap: A. Owen, Annals of Applied Statistics
	// 1(2), 2007): the interval then covers another choice of prompts and other
	// repeats, and errs on the wide side.
	Blocks bool
	// Plain leaves the expansion for small samples out.
	Plain bool
}

// A Statistic is a figure computed from the column sums over the units.
type Statistic func(sums []float64) float64

// Ratio is the Statistic sums[num] / sums[den].
func Ratio(num, den int) Statistic {
	return func(s []float64) float64 { return s[num] / s[den] }
}

// An Estimate is a figure with its interval. Lo and Hi are NaN where no
// interval can be given: fewer than two units, or a resample without a value.
type Estimate struct {
	Value, Lo, Hi float64
	Units         int

	replicates []float64 // in the order of the resamples
	o          Options
}

// Bootstrap computes each statistic on t and on resamples of its units. All
// statistics see the same resamples. Same input, same output, on every machine
// up to rounding.
func Bootstrap(t *Table, o Options, fs ...Statistic) []Estimate {
	if o.Resamples == 0 {
		o.Resamples = 2000
	}
	if o.Level == 0 {
		o.Level = 0.95
	}
	n := t.Units()
	out := make([]Estimate, len(fs))
	sums := t.Sums()
	for i, f := range fs {
		out[i] = Estimate{Value: math.NaN(), Lo: math.NaN(), Hi: math.NaN(), Units: n, o: o}
		if n > 0 {
			out[i].Value = f(sums)
		}
		if n > 1 {
			out[i].replicates = make([]float64, o.Resamples)
		}
	}
	if n < 2 {
		return out
	}
	rng := rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)
	blocks := make([]int, t.Blocks)
	for b := range blocks {
		blocks[b] = b
	}
	for r := range o.Resamples {
		clear(sums)
		if o.Blocks {
			for b := range blocks {
				blocks[b] = below(rng, t.Blocks)
			}
		}
		for range n {
			row := t.data[below(rng, n)]
			for _, b := range blocks {
				addRow(sums, row[b*t.Cols:])
			}
		}
		for i, f := range fs {
			out[i].replicates[r] = f(sums)
		}
	}
	for i := range out {
		out[i].interval(n)
	}
	return out
}

// GeoMeanOf is the geometric mean of independent estimates (one per workload),
// with the interval that their resamples give together. The estimates must come
// from different seeds. Where one has no value or no interval, neither has the mean.
func GeoMeanOf(es []Estimate) Estimate {
	out := Estimate{Value: math.NaN(), Lo: math.NaN(), Hi: math.NaN()}
	if len(es) == 0 {
		return out
	}
	out.o = es[0].o
	smallest := es[0].Units
	vals := make([]float64, len(es))
	whole := true
	for i, e := range es {
		vals[i] = e.Value
		out.Units += e.Units
		smallest = min(smallest, e.Units)
		whole = whole && len(e.replicates) == len(es[0].replicates) && len(e.replicates) > 0
	}
	out.Value = GeoMean(vals)
	if !whole {
		return out
	}
	out.replicates = make([]float64, len(es[0].replicates))
	for r := range out.replicates {
		for i, e := range es {
			vals[i] = e.replicates[r]
		}
		out.replicates[r] = GeoMean(vals)
	}
	// The smallest stratum decides: the interval rather too wide than too narrow.
	out.interval(smallest)
	return out
}

// interval sets Lo and Hi from the replicates of a sample of n units.
func (e *Estimate) interval(n int) {
	sorted := slices.Clone(e.replicates)
	for _, v := range sorted {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
	}
	slices.Sort(sorted)
	tail := (1 - e.o.Level) / 2
	if !e.o.Plain {
		t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}.Quantile(tail)
		tail = distuv.UnitNormal.CDF(math.Sqrt(float64(n)/float64(n-1)) * t)
	}
	e.Lo = stat.Quantile(tail, stat.LinInterp, sorted, nil)
	e.Hi = stat.Quantile(1-tail, stat.LinInterp, sorted, nil)
}

// below returns a number from 0 to n-1. Not rand.Rand.IntN: whose way from bits
// to numbers Go may change, and reports with it.
func below(src *rand.PCG, n int) int {
	hi, _ := bits.Mul64(src.Uint64(), uint64(n))
	return int(hi)
}

func addRow(sums, row []float64) {
	for c := range sums {
		sums[c] += row[c]
	}
}
