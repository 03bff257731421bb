package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/quant"
)

const fence = -12345.5

// fenced returns n numbers between two runs of fences, and a check of them.
func fenced(t *testing.T, n int) ([]float32, func()) {
	b := make([]float32, n+64)
	for i := range b {
		b[i] = fence
	}
	return b[32 : 32+n : 32+n], func() {
		t.Helper()
		for i, v := range b {
			if (i < 32 || i >= 32+n) && v != fence {
				t.Fatalf("number %d of %d was written", i-32, n)
			}
		}
	}
}

func attendCase[T cell](t *testing.T, narrow func(float32) T, wide func(T) float32) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, d := range []int{1, 2, 15, 16, 20, 32, 48, 64, 80, 96, 128} {
		// The most of each; every case takes the first of them.
		const queries, most = 9, 9
		allQ := make([]float32, queries*d)
		for i := range allQ {
			allQ[i] = float32(rng.NormFloat64())
		}
		allK := make([]T, most*d*KeyTile)
		for i := range allK {
			allK[i] = narrow(float32(rng.NormFloat64()))
		}
		alone := make([]float32, queries*most*KeyTile) // each query with each tile alone
		for j := range queries {
			for t0 := range most {
				at := (j*most + t0) * KeyTile
				Scores(alone[at:][:KeyTile], KeyTile, allQ[j*d:][:d], d, allK[t0*d*KeyTile:][:d*KeyTile])
				for l := range KeyTile {
					want, size := 0.0, 0.0
					for c := range d {
						x := float64(allQ[j*d+c]) * float64(wide(allK[(t0*d+c)*KeyTile+l]))
						want += x
						size += math.Abs(x)
					}
					if got := float64(alone[at+l]); !(math.Abs(got-want) <= 1e-6*size*float64(d)) {
						t.Fatalf("d %d: score %d of tile %d of query %d is %g, want %g", d, l, t0, j, got, want)
					}
				}
			}
		}
		for n := 0; n <= queries; n++ {
			for _, tiles := range []int{0, 1, 2, 3, 4, 5, 8, most} {
				lds := tiles*KeyTile + rng.IntN(3)
				s, check := fenced(t, n*lds)
				Scores(s, lds, allQ[:n*d], d, allK[:tiles*d*KeyTile])
				check()
				// Alone, a query's scores and a tile's scores have the same bits.
				for j := range n {
					if !slices.Equal(s[j*lds:][:tiles*KeyTile], alone[j*most*KeyTile:][:tiles*KeyTile]) {
						t.Fatalf("d %d: scores of query %d of %d with %d tiles differ alone", d, j, n, tiles)
					}
					for l, v := range s[j*lds+tiles*KeyTile : (j+1)*lds] {
						if v != fence {
							t.Fatalf("d %d, %d queries: score %d beyond %d tiles was written", d, n, l, tiles)
						}
					}
				}

				rows := tiles*3 + n%2
				v := make([]T, rows*d)
				for i := range v {
					v[i] = narrow(float32(rng.NormFloat64()))
				}
				ldp := rows + rng.IntN(3)
				p := make([]float32, n*ldp)
				for i := range p {
					p[i] = rng.Float32()
				}
				out, check := fenced(t, n*d)
				for i := range out {
					out[i] = float32(i)
				}
				Mix(out, p, ldp, d, v)
				check()
				for j := range n {
					alone := make([]float32, d)
					for c := range alone {
						alone[c] = float32(j*d + c)
						want, size := float64(alone[c]), float64(alone[c])
						for i := range rows {
							x := float64(p[j*ldp+i]) * float64(wide(v[i*d+c]))
							want += x
							size += math.Abs(x)
						}
						if got := float64(out[j*d+c]); !(math.Abs(got-want) <= 1e-6*size*float64(rows+1)) {
							t.Fatalf("d %d, %d queries, %d rows: number %d of %d is %g, want %g", d, n, rows, c, j, got, want)
						}
					}
					// In two parts, and alone, the same bits.
					cut := 0
					if rows > 0 {
						cut = rng.IntN(rows + 1)
					}
					Mix(alone, p[j*ldp:][:cut], cut, d, v[:cut*d])
					Mix(alone, p[j*ldp+cut:][:rows-cut], rows-cut, d, v[cut*d:])
					for c, x := range alone {
						if out[j*d+c] != x {
							t.Fatalf("d %d: query %d of %d, number %d differs alone and cut at %d of %d", d, j, n, c, cut, rows)
						}
					}
				}
			}
		}
	}
}

func TestAttend(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		t.Run("f16", func(t *testing.T) { attendCase(t, quant.F32ToF16, quant.F16ToF32) })
		t.Run("f32", func(t *testing.T) {
			same := func(x float32) float32 { return x }
			attendCase(t, same, same)
		})
	})
}

// Operands that do not fit each other are internal errors, never a read or
// write beyond them.
func TestAttendMisuse(t *testing.T) {
	for name, f := range map[string]func(){
		"short scores":  func() { Scores(make([]float32, 31), 16, make([]float32, 8), 4, make([]uint16, 64)) },
		"narrow scores": func() { Scores(make([]float32, 64), 15, make([]float32, 8), 4, make([]uint16, 64)) },
		"ragged query":  func() { Scores(make([]float32, 64), 16, make([]float32, 7), 4, make([]uint16, 64)) },
		"ragged keys":   func() { Scores(make([]float32, 64), 16, make([]float32, 8), 4, make([]uint16, 63)) },
		"no head":       func() { Scores(make([]float32, 64), 16, nil, 0, make([]uint16, 64)) },
		"short weights": func() { Mix(make([]float32, 8), make([]float32, 9), 5, 4, make([]float32, 20)) },
		"ragged output": func() { Mix(make([]float32, 7), make([]float32, 50), 5, 4, make([]float32, 20)) },
		"ragged values": func() { Mix(make([]float32, 8), make([]float32, 50), 5, 4, make([]float32, 19)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func BenchmarkAttend(b *testing.B) {
	const d, tiles = 64, 16
	for _, n := range []int{1, 2, 4} {
		q, k := make([]float32, n*d), make([]uint16, tiles*KeyTile*d)
		s := make([]float32, n*tiles*KeyTile)
		macs := float64(n * d * tiles * KeyTile)
		b.Run(fmt.Sprintf("scores/queries=%d", n), func(b *testing.B) {
			for b.Loop() {
				Scores(s, tiles*KeyTile, q, d, k)
			}
			b.ReportMetric(macs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
		b.Run(fmt.Sprintf("mix/queries=%d", n), func(b *testing.B) {
			for b.Loop() {
				Mix(q, s, tiles*KeyTile, d, k)
			}
			b.ReportMetric(macs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
	}
}
