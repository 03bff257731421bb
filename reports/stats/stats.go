// Package stats summarises measurements: quantiles, means, and bootstrap
// intervals for figures that are functions of sums over prompts.
//
// Intervals are percentile intervals, expanded for small samples (T. Hesterberg,
// "What Teachers Should Know About the Bootstrap", The American Statistician
// 69(4), 2015): a bootstrap of n units is too narrow by √((n-1)/n) and knows no
// t tails, which the expansion puts back. Not BCa: at 6 to 30 units the
// narrowness is the larger error, and the expansion also serves figures made of
// several strata, such as geometric means over workloads. TestCoverage holds
// the plain and the expanded interval side by side.
package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Mean is the arithmetic mean of x; NaN where x is empty.
func Mean(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	return stat.Mean(x, nil)
}

// GeoMean is the geometric mean of x; NaN where x is empty or holds a value
// that is not positive.
func GeoMean(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	for _, v := range x {
		if !(v > 0) {
			return math.NaN()
		}
	}
	return stat.GeometricMean(x, nil)
}

// A Weighted is a value that stands for several equal ones.
type Weighted struct {
	Value, Weight float64
}

// Quantiles returns, for each p of ps, the smallest value such that at least
// the share p of the total weight is at or below it: an observed value, never
// one between two. NaN where x is empty. It sorts x.
func Quantiles(x []Weighted, ps ...float64) []float64 {
	out := make([]float64, len(ps))
	slices.SortFunc(x, func(a, b Weighted) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		}
		return 0
	})
	vals, weights := make([]float64, 0, len(x)), make([]float64, 0, len(x))
	for _, w := range x {
		if w.Weight > 0 {
			vals, weights = append(vals, w.Value), append(weights, w.Weight)
		}
	}
	for i, p := range ps {
		if len(vals) == 0 {
			out[i] = math.NaN()
			continue
		}
		out[i] = stat.Quantile(p, stat.Empirical, vals, weights)
	}
	return out
}
