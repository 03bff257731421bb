package kernels

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/quant"
)

// assembly lists the paths of this CPU that are not plain Go.
func assembly() []string {
	return slices.DeleteFunc(Paths(), func(p string) bool { return p == "generic" })
}

// All paths in assembly do one multiply-add a term in one order, so that a CPU's
// paths agree to the bit, whatever the width of registers and turns of rows. The
// plain Go path is held to the sums themselves by TestMul.
func TestPathsAgree(t *testing.T) {
	defer Use(Path())
	const rows, cols, n = 37, 512, 21
	for _, kind := range []quant.Type{quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q4_0, quant.Q4_K, quant.Q5_K, quant.Q6_K} {
		var first []float32
		for _, p := range assembly() {
			if err := Use(p); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(5, 6))
			m, err := NewMatrix(nil, kind, rows, cols, weights(rng, kind, rows, cols, false))
			if err != nil {
				t.Fatal(err)
			}
			y := make([]float32, n*rows)
			m.Mul(y, rows, load(activations(rng, n, cols, false), cols), 0, rows)
			if first == nil {
				first = y
			}
			if !slices.Equal(y, first) {
				t.Errorf("%v: path %s differs from path %s", kind, p, assembly()[0])
			}
		}
	}
}

// The same for operations on rows, attention's among them.
func TestRowPathsAgree(t *testing.T) {
	defer Use(Path())
	for _, n := range []int{1, 7, 8, 9, 15, 16, 17, 24, 29, 31, 32, 33, 47, 61, 64, 77, 80, 95, 896} {
		type result struct {
			norm, swi, exp, out []float32
			half                []uint16
			sum, top            float32
			at                  int
		}
		var first result
		for i, p := range assembly() {
			if err := Use(p); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(7, uint64(n)))
			x := activations(rng, 2, n, false)
			copy(x[0], []float32{-90, 90, -103, 0, float32(math.Copysign(0, -1)), 1e-40, -200, 200, float32(math.Inf(-1)), 3e38})
			r := result{norm: make([]float32, n), swi: make([]float32, n), exp: slices.Clone(x[1]), out: slices.Clone(x[1]), half: make([]uint16, n)}
			RMSNorm(r.norm, x[1], x[1], 1e-6)
			SwiGLU(r.swi, x[0], x[1])
			for j := range r.exp {
				if j%4 == 3 {
					r.exp[j] -= 100 // to where float32 ends
				}
			}
			r.sum, r.top, r.at = ExpSum(r.exp, 4), Max(x[1]), ArgMax(x[1])
			Add(r.out, x[1])
			Scale(r.out, 0.7)
			F32ToF16(r.half, x[0])
			if i == 0 {
				first = r
			}
			// SwiGLU of -∞ is NaN.
			for what, pair := range map[string][2][]float32{
				"RMSNorm": {r.norm, first.norm}, "SwiGLU": {r.swi, first.swi}, "Add, Scale": {r.out, first.out}, "ExpSum": {r.exp, first.exp},
				"sum, max": {{r.sum, r.top}, {first.sum, first.top}},
			} {
				if !slices.EqualFunc(pair[0], pair[1], func(a, b float32) bool { return a == b || a != a && b != b }) {
					t.Errorf("%s of %d values: path %s differs from path %s", what, n, p, assembly()[0])
				}
			}
			if r.at != first.at || !slices.Equal(r.half, first.half) {
				t.Errorf("ArgMax or F32ToF16 of %d values: path %s differs from path %s", n, p, assembly()[0])
			}
		}
	}
}

// A number that is none stays visible: no path turns a NaN or an infinity among
// its operands into finite results.
func TestNaNSpreads(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	finite := func(v float32) bool { return v-v == 0 }
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(8, 8))
		for _, kind := range types {
			const rows, cols = 17, 256
			m, err := NewMatrix(nil, kind, rows, cols, weights(rng, kind, rows, cols, false))
			if err != nil {
				t.Fatal(err)
			}
			for at := range cols {
				for _, v := range []float32{nan, inf, -inf} {
					x := activations(rng, 1, cols, false)
					x[0][at] = v
					y := make([]float32, rows)
					m.Mul(y, rows, load(x, cols), 0, rows)
					if slices.ContainsFunc(y, finite) {
						t.Fatalf("%v: column %d is %v, and outputs are %v", kind, at, v, y)
					}
				}
			}
		}
		for _, n := range []int{1, 16, 17, 31, 64, 100} {
			for at := range n {
				x, ones := make([]float32, n), make([]float32, n)
				for i := range ones {
					x[i], ones[i] = -float32(i%5), 1
				}
				x[at] = nan
				dst := make([]float32, n)
				if SwiGLU(dst, x, ones); finite(dst[at]) {
					t.Fatalf("SwiGLU of %d values: of NaN is %g", n, dst[at])
				}
				if SwiGLU(dst, ones, x); finite(dst[at]) {
					t.Fatalf("SwiGLU of %d values: times NaN is %g", n, dst[at])
				}
				if RMSNorm(dst, x, ones, 1e-6); slices.ContainsFunc(dst, finite) {
					t.Fatalf("RMSNorm of %d values with NaN is %v", n, dst)
				}
				half := make([]uint16, n)
				if F32ToF16(half, x); finite(quant.F16ToF32(half[at])) {
					t.Fatalf("F32ToF16 of %d values: of NaN is %#04x", n, half[at])
				}
				if sum := ExpSum(slices.Clone(x), 0); finite(sum) {
					t.Fatalf("ExpSum of %d values with NaN is %g", n, sum)
				}
			}
		}
	})
}

// ArgMax passes over NaN wherever they are.
func TestArgMaxNaN(t *testing.T) {
	nan, least := float32(math.NaN()), float32(math.Inf(-1))
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 9))
		for range 300 {
			n := 1 + rng.IntN(200)
			x := activations(rng, 1, n, false)[0]
			for i := range x {
				if rng.IntN(3) == 0 {
					x[i] = [...]float32{nan, least}[rng.IntN(2)]
				}
			}
			want := 0
			for i, v := range x {
				if v == v && (x[want] != x[want] || v > x[want]) {
					want = i
				}
			}
			if got := ArgMax(x); got != want {
				t.Fatalf("ArgMax of %d values: %d (%g), want %d (%g)", n, got, x[got], want, x[want])
			}
		}
		x := make([]float32, 100)
		for i := range x {
			x[i] = nan
		}
		if got := ArgMax(x); got != 0 {
			t.Errorf("ArgMax of NaN alone: %d, want 0", got)
		}
	})
}

// Every path quantises a row to the bytes that quantizeRowGeneric gives and
// touches no other row's.
func TestSetRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	rows := map[string]func(i int) float32{
		"normal":    func(int) float32 { return float32(rng.NormFloat64()) },
		"zero":      func(int) float32 { return 0 },
		"ties":      func(i int) float32 { return [...]float32{127, 0.5, 1.5, -0.5, -1.5, 2.5, -126.5, 126.5}[i%8] },
		"tiny":      func(i int) float32 { return 1e-30 * float32(i%3) },
		"denormal":  func(i int) float32 { return math.Float32frombits(uint32(i)) },
		"least":     func(int) float32 { return -1 },
		"large":     func(i int) float32 { return float32(math.Copysign(math.MaxFloat32, float64(i%2)-0.5)) },
		"one large": func(i int) float32 { return [...]float32{1e38, 1}[min(i%32, 1)] },
	}
	eachPath(t, func(t *testing.T) {
		for name, f := range rows {
			for _, cols := range []int{32, 64, 96, 1024} {
				x := make([]float32, cols)
				for i := range x {
					x[i] = f(i)
				}
				for r := range tileRows {
					a := NewActivations(tileRows, cols, Quantized)
					for i := range a.q {
						a.q[i] = 0xa5
					}
					want := alignedBytes(len(a.q))
					copy(want, a.q)
					quantizeRowGeneric(want, r, x)
					a.SetRow(r, x)
					if !bytes.Equal(a.q, want) {
						t.Fatalf("%s: row %d of %d columns differs from quantizeRowGeneric", name, r, cols)
					}
				}
			}
		}
	})
}

// A path that is required and not in use, and a word that is no path, are errors.
func TestRequire(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		uses := map[string][]string{
			"avx512-vnni": {"vnni", "avx512-vnni", "avx2"},
			"avx-vnni":    {"vnni", "avx-vnni", "avx2"},
			"avx2":        {"avx2"},
			"i8mm":        {"i8mm", "dotprod", "neon"},
			"dotprod":     {"dotprod", "neon"},
			"neon":        {"neon"},
			"generic":     {"generic"},
		}[Path()]
		for word := range requirable() {
			if got, want := require(word) == nil, slices.Contains(uses, word); got != want {
				t.Errorf("path %s: %q in use: %t, want %t", Path(), word, got, want)
			}
		}
		if require("neno") == nil {
			t.Error("an unknown word is accepted")
		}
	})
}
