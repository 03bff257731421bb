package kernels

import (
	"fmt"
	"math"

	"github.com/coordbench/coordbench/engine/quant"
)

// wide reports whether n values can go through the row kernels in assembly, which
// take 16 at a time. A row of another length goes through Go alone, so that its
// bits depend on its length but never on where it stands.
func wide(n int) bool { return haveWide() && n >= 16 && n%16 == 0 }

// haveWide reports whether the path in use has the row kernels.
func haveWide() bool { return useAVX2 || useNEON }

func same(what string, n, m int) {
	if n != m {
		panic(fmt.Sprintf("internal error: kernels: %s of rows of %d and %d values", what, n, m))
	}
}

// RMSNorm sets dst[i] to x[i]·w[i]/√(Σx²/n + eps). dst may be x.
func RMSNorm(dst, x, w []float32, eps float32) {
	same("RMSNorm", len(x), len(dst))
	same("RMSNorm", len(x), len(w))
	var sum float32
	if wide(len(x)) {
		sum = squaresWide(&x[0], len(x))
	} else {
		for _, v := range x {
			sum += v * v
		}
	}
	s := float32(1 / math.Sqrt(float64(sum)/float64(len(x))+float64(eps)))
	if wide(len(x)) {
		scaleMulWide(&dst[0], &x[0], &w[0], s, len(x))
		return
	}
	for i, v := range x {
		dst[i] = v * s * w[i]
	}
}

// Add adds x to dst.
func Add(dst, x []float32) {
	same("Add", len(dst), len(x))
	if wide(len(x)) {
		addWide(&dst[0], &x[0], len(x))
		return
	}
	for i, v := range x {
		dst[i] += v
	}
}

// Scale multiplies x by s.
func Scale(x []float32, s float32) {
	if wide(len(x)) {
		scaleWide(&x[0], s, len(x))
		return
	}
	for i := range x {
		x[i] *= s
	}
}

// SwiGLU sets dst[i] to gate[i]/(1+exp(-gate[i]))·up[i]. dst may be gate or up.
func SwiGLU(dst, gate, up []float32) {
	same("SwiGLU", len(dst), len(gate))
	same("SwiGLU", len(dst), len(up))
	if wide(len(dst)) {
		swiGLUWide(&dst[0], &gate[0], &up[0], len(dst))
		return
	}
	for i, g := range gate {
		dst[i] = g / (1 + float32(math.Exp(-float64(g)))) * up[i]
	}
}

// RopeNeox turns the pairs (x[i], x[i+d/2]) of a head of d values by the angles
// whose cosines and sines (d/2) are given.
func RopeNeox(x, cos, sin []float32) {
	h := len(x) / 2
	same("RopeNeox", h, len(cos))
	same("RopeNeox", h, len(sin))
	a, b := x[:h], x[h:2*h]
	for i, c := range cos {
		u, v, s := a[i], b[i], sin[i]
		a[i] = u*c - v*s
		b[i] = u*s + v*c
	}
}

// RopeNorm turns the pairs (x[2i], x[2i+1]), as llama's weights are stored.
func RopeNorm(x, cos, sin []float32) {
	same("RopeNorm", len(x)/2, len(cos))
	same("RopeNorm", len(x)/2, len(sin))
	for i, c := range cos {
		u, v, s := x[2*i], x[2*i+1], sin[i]
		x[2*i] = u*c - v*s
		x[2*i+1] = u*s + v*c
	}
}

// F32ToF16 rounds src to binary16, to nearest, ties to even.
func F32ToF16(dst []uint16, src []float32) {
	same("F32ToF16", len(dst), len(src))
	if wide(len(src)) {
		toF16Wide(&dst[0], &src[0], len(src))
		return
	}
	for i, v := range src {
		dst[i] = quant.F32ToF16(v)
	}
}

// Max is the largest of x, which is not empty. A NaN makes it arbitrary.
func Max(x []float32) float32 {
	m := x[0]
	n := 0
	if haveWide() && len(x) >= 16 {
		n = len(x) &^ 15
		m = maxWide(&x[0], n)
	}
	for _, v := range x[n:] {
		if v > m {
			m = v
		}
	}
	return m
}

// ArgMax is the index of the largest of x, the lowest on a tie. A NaN is never
// the largest; if all are NaN, it is 0.
func ArgMax(x []float32) int {
	if len(x) >= 64 && haveWide() {
		// The value first, then its first index: both passes are simple.
		m := Max(x)
		for i, v := range x {
			if v == m {
				return i
			}
		}
	}
	best := -1
	for i, v := range x {
		if v == v && (best < 0 || v > x[best]) {
			best = i
		}
	}
	return max(best, 0)
}

// ExpSum replaces x[j] by exp(x[j]-top), for x[j] ≤ top, and returns their sum,
// added in an order that depends on len(x) alone.
func ExpSum(x []float32, top float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if haveWide() {
		return expSumWide(&x[0], len(x), top)
	}
	var sum float32
	for j, v := range x {
		x[j] = float32(math.Exp(float64(v - top)))
		sum += x[j]
	}
	return sum
}
