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
