package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/coordbench/coordbench/engine/quant"
)

// near fails unless got is want to within a part of size.
func near(t *testing.T, what string, n, i int, got float32, want, part, size float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= part*math.Abs(size)+1e-44) {
		t.Fatalf("%s of %d values: number %d is %g, want %g", what, n, i, got, want)
	}
}

// Every path's row operations are those in float64, to within rounding, for every
// length, and write nothing beyond the row.
func TestRows(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		row := func(n int, scale float64) ([]float32, func()) {
			x, check := fenced(t, n)
			for i := range x {
				x[i] = float32(scale * rng.NormFloat64())
			}
			return x, check
		}
		for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 48, 64, 80, 896} {
			x, _ := row(n, 2)
			y, _ := row(n, 3)

			dst, check := row(n, 1)
			RMSNorm(dst, x, y, 1e-5)
			check()
			sum := 0.0
			for _, v := range x {
				sum += float64(v) * float64(v)
			}
			s := 1 / math.Sqrt(sum/float64(n)+1e-5)
			for i := range dst {
				want := float64(x[i]) * s * float64(y[i])
				near(t, "RMSNorm", n, i, dst[i], want, 1e-5, want)
			}

			copy(dst, x)
			Add(dst, y)
			check()
			for i := range dst {
				if dst[i] != x[i]+y[i] {
					t.Fatalf("Add of %d values: number %d is %g, want %g", n, i, dst[i], x[i]+y[i])
				}
			}
			copy(dst, x)
			Scale(dst, 0.3)
			check()
			for i := range dst {
				if dst[i] != x[i]*0.3 {
					t.Fatalf("Scale of %d values: number %d is %g, want %g", n, i, dst[i], x[i]*0.3)
				}
			}

			gate, _ := row(n, 20)
			copy(gate, []float32{0, -86, 86, 1000, 30, -30, 1e-8, -1e-8, -1000, -3e38, 1e36, -88.5})
			SwiGLU(dst, gate, y)
			check()
			for i := range dst {
				want := float64(gate[i]) / (1 + math.Exp(-float64(gate[i]))) * float64(y[i])
				near(t, "SwiGLU", n, i, dst[i], want, 2e-6, want)
			}

			top := Max(x)
			for i, v := range x {
				if v > top {
					t.Fatalf("Max of %d values: %g, but number %d is %g", n, top, i, v)
				}
			}
			if at := ArgMax(x); x[at] != top {
				t.Fatalf("ArgMax of %d values: %d, where %g is, not %g", n, at, x[at], top)
			}
			for at := range x { // the largest at any place, once more behind it
				z := append([]float32(nil), x...)
				z[at], z[n-1] = 100, 100
				if got := ArgMax(z); got != at || Max(z) != 100 {
					t.Fatalf("ArgMax of %d values: %d, want %d", n, got, at)
				}
			}

			// Exponents from 0 down to where float32 ends, and beyond.
			e, check := fenced(t, n)
			want := make([]float64, n)
			sum = 0
			for i := range e {
				e[i] = 3 - float32(i)*110/float32(n)
				if i%7 == 6 {
					e[i] = [...]float32{-3e38, float32(math.Inf(-1))}[i%2]
				}
				want[i] = math.Exp(float64(e[i] - 3))
				sum += want[i]
			}
			got := ExpSum(e, 3)
			check()
			near(t, "ExpSum", n, -1, got, sum, 2e-6, sum)
			for i, v := range e {
				// Where float32 is denormal, its step bounds the error.
				near(t, "ExpSum", n, i, v, want[i], 1e-6, want[i]+1.5e-39)
				if want[i] == 0 && v != 0 {
					t.Fatalf("ExpSum of %d values: number %d is %g, want 0", n, i, v)
				}
			}

			h := make([]uint16, n+2)
			h[0], h[n+1] = 0xabcd, 0xabcd
			copy(x, []float32{0, 1, 65504, 65519.9, 65520, 1e9, 6e-8, 2e-8, 5.97e-5, 2049, 2051, -2049, 1e-40, float32(math.Inf(1)), -0.1})
			F32ToF16(h[1:n+1], x)
			for i, v := range x {
				if want := quant.F32ToF16(v); h[i+1] != want {
					t.Fatalf("F32ToF16 of %d values: %g becomes %#04x, want %#04x", n, v, h[i+1], want)
				}
			}
			if h[0] != 0xabcd || h[n+1] != 0xabcd {
				t.Fatalf("F32ToF16 of %d values wrote beyond them", n)
			}
		}
	})
}

// Rows of no values are no error.
func TestEmptyRows(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		if s := ExpSum(nil, 0); s != 0 {
			t.Errorf("ExpSum of nothing is %g", s)
		}
		Add(nil, nil)
		Scale(nil, 2)
		F32ToF16(nil, nil)
		SwiGLU(nil, nil, nil)
	})
}

// Both ropes turn pairs by their angles: the same rotation of different pairs.
func TestRope(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, d := range []int{2, 6, 32, 64, 128} {
		cos, sin := make([]float32, d/2), make([]float32, d/2)
		x := make([]float32, d)
		for i := range cos {
			angle := 7 * rng.NormFloat64()
			cos[i], sin[i] = float32(math.Cos(angle)), float32(math.Sin(angle))
			x[i], x[i+d/2] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
		}
		neox, norm := append([]float32(nil), x...), make([]float32, d)
		for i := range cos {
			norm[2*i], norm[2*i+1] = x[i], x[i+d/2]
		}
		RopeNeox(neox, cos, sin)
		RopeNorm(norm, cos, sin)
		for i, c := range cos {
			u, v := complex(float64(x[i]), float64(x[i+d/2])), complex(float64(c), float64(sin[i]))
			near(t, "RopeNeox", d, i, neox[i], real(u*v), 1e-6, 4)
			near(t, "RopeNeox", d, i+d/2, neox[i+d/2], imag(u*v), 1e-6, 4)
			if norm[2*i] != neox[i] || norm[2*i+1] != neox[i+d/2] {
				t.Fatalf("rope of %d values: pair %d turns to (%g, %g) when neighbours, (%g, %g) half a head apart", d, i, norm[2*i], norm[2*i+1], neox[i], neox[i+d/2])
			}
		}
	}
}

// BenchmarkRows is the cost of a value: 4,864 of them are a row of a model of half
// a billion weights, 1,024 a row of scores.
func BenchmarkRows(b *testing.B) {
	const n = 4864
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(i%17-8), float32(i%13-6)
	}
	a := NewActivations(1, n, Quantized)
	for name, f := range map[string]func() int{
		"SwiGLU":  func() int { SwiGLU(x, y, y); return n },
		"SetRow":  func() int { a.SetRow(0, y); return n },
		"RMSNorm": func() int { RMSNorm(x, y, y, 1e-6); return n },
		"ExpSum":  func() int { copy(x[:1024], y); ExpSum(x[:1024], 8); return 1024 },
		"ArgMax":  func() int { ArgMax(y); return n },
	} {
		b.Run(name, func(b *testing.B) {
			values := 0
			for b.Loop() {
				values = f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(values), "ns/value")
		})
	}
}
