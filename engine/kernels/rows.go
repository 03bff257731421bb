package kernels

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/coordbench/coordbench/engine/quant"
)

// wide reports whether n values can go through the AVX-512 row kernels, which
// take 16 at a time. A row of another length goes through Go alone, so that its
// bits depend on its length but never on where it stands.
func wide(n int) bool { return useAVX512 && n >= 16 && n%16 == 0 }

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
		sum = squaresAVX512(&x[0], len(x))
	} else {
		for _, v := range x {
			sum += v * v
		}
	}
	s := float32(1 / math.Sqrt(float64(sum)/float64(len(x))+float64(eps)))
	if wide(len(x)) {
		scaleMulAVX512(&dst[0], &x[0], &w[0], s, len(x))
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
		addAVX512(&dst[0], &x[0], len(x))
		return
	}
	for i, v := range x {
		dst[i] += v
	}
}

// Scale multiplies x by s.
func Scale(x []float32, s float32) {
	if wide(len(x)) {
		scaleAVX512(&x[0], s, len(x))
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
		swiGLUAVX512(&dst[0], &gate[0], &up[0], len(dst))
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
		toF16AVX512(&dst[0], &src[0], len(src))
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
	if useAVX512 && len(x) >= 16 {
		n = len(x) &^ 15
		m = maxAVX512(&x[0], n)
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
	if len(x) >= 64 && useAVX512 {
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
	if useAVX512 {
		return expSumAVX512(&x[0], len(x), top)
	}
	var sum float32
	for j, v := range x {
		x[j] = float32(math.Exp(float64(v - top)))
		sum += x[j]
	}
	return sum
}

// QK16 sets s[j] to q·k[j] for the len(s) rows of k (len(s), len(q)), in binary16.
func QK16(s, q []float32, k []uint16) {
	d := heads("QK16", len(s), len(q), len(k))
	switch {
	case len(s) == 0:
	case useAVX512 && d%16 == 0:
		qk16AVX512(&s[0], &q[0], (*byte)(unsafe.Pointer(&k[0])), len(s), d/16)
	case useAVX2 && d%16 == 0:
		qk16AVX2(&s[0], &q[0], (*byte)(unsafe.Pointer(&k[0])), len(s), d/16)
	default:
		for j := range s {
			var sum float32
			for c, v := range q {
				sum += v * quant.F16ToF32(k[j*d+c])
			}
			s[j] = sum
		}
	}
}

// QK32 is QK16 for keys in float32.
func QK32(s, q, k []float32) {
	d := heads("QK32", len(s), len(q), len(k))
	switch {
	case len(s) == 0:
	case useAVX512 && d%16 == 0:
		qk32AVX512(&s[0], &q[0], (*byte)(unsafe.Pointer(&k[0])), len(s), d/16)
	case useAVX2 && d%16 == 0:
		qk32AVX2(&s[0], &q[0], (*byte)(unsafe.Pointer(&k[0])), len(s), d/16)
	default:
		for j := range s {
			var sum float32
			for c, v := range q {
				sum += v * k[j*d+c]
			}
			s[j] = sum
		}
	}
}

// PV16 adds Σ_j p[j]·v[j] to out, for the len(p) rows of v (len(p), len(out)), in
// binary16. Rows are added in order, so that two calls for parts of p leave the
// same bits as one for the whole.
func PV16(out, p []float32, v []uint16) {
	d := heads("PV16", len(p), len(out), len(v))
	switch {
	case len(p) == 0:
	case useAVX512 && d%16 == 0:
		pv16AVX512(&out[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), len(p), d/16)
	case useAVX2 && d%16 == 0:
		pv16AVX2(&out[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), len(p), d/16)
	default:
		for j, f := range p {
			for c := range out {
				out[c] += f * quant.F16ToF32(v[j*d+c])
			}
		}
	}
}

// PV32 is PV16 for values in float32.
func PV32(out, p, v []float32) {
	d := heads("PV32", len(p), len(out), len(v))
	switch {
	case len(p) == 0:
	case useAVX512 && d%16 == 0:
		pv32AVX512(&out[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), len(p), d/16)
	case useAVX2 && d%16 == 0:
		pv32AVX2(&out[0], &p[0], (*byte)(unsafe.Pointer(&v[0])), len(p), d/16)
	default:
		for j, f := range p {
			for c := range out {
				out[c] += f * v[j*d+c]
			}
		}
	}
}

// heads checks that n rows of d values were given, and returns d.
func heads(what string, n, d, values int) int {
	if n*d != values || d == 0 {
		panic(fmt.Sprintf("internal error: kernels: %s of %d rows of %d values, given %d", what, n, d, values))
	}
	return d
}
