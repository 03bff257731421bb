package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/quant"
)

// eachPath runs f under every path that this CPU has.
func eachPath(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if err := Require(); err != nil {
		t.Fatal(err)
	}
	before := Path()
	defer Use(before)
	for _, p := range Paths() {
		if err := Use(p); err != nil {
			t.Fatal(err)
		}
		t.Run(p, f)
	}
}

var types = []quant.Type{quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q4_0, quant.Q4_K, quant.Q5_K, quant.Q6_K}

// weights returns random weights of type t; hard ones reach the ends of the format.
func weights(rng *rand.Rand, t quant.Type, rows, cols int, hard bool) []byte {
	n, _ := t.RowBytes(cols)
	data := make([]byte, rows*n)
	x := make([]float32, cols)
	for r := range rows {
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		quant.Quantize(t, data[r*n:(r+1)*n], x)
	}
	if hard && f16Fields(t) != nil {
		b := t.BlockBytes()
		for o := 0; o < len(data); o += b {
			block := data[o : o+b]
			// Same bytes throughout: scales, minima and values at the ends of their
			// ranges. Every other K-quant has scales and values of its own.
			v := [...]byte{0x80, 0x7f, 0x81, 0x00, 0xff}
			one, mixed := v[rng.IntN(5)], t.BlockSize() > blockCols && rng.IntN(2) == 0
			for i := range block {
				block[i] = one
				if mixed {
					block[i] = v[rng.IntN(5)]
				}
			}
			for _, at := range f16Fields(t) {
				scale := [...]uint16{0x3c00, 0x0001, 0x7bff, 0x0000, 0x8400}[rng.IntN(5)]
				binary.LittleEndian.PutUint16(block[at:], scale)
			}
		}
	}
	return data
}

// f16Fields is where a block of t holds a binary16.
func f16Fields(t quant.Type) []int {
	switch t {
	case quant.Q8_0, quant.Q4_0:
		return []int{0}
	case quant.Q4_K, quant.Q5_K:
		return []int{0, 2}
	case quant.Q6_K:
		return []int{208}
	}
	return nil
}

// minima returns what the weights in data are where their quants are zero: for
// formats with minima, how much two large products may cancel.
func minima(t quant.Type, n int, data []byte) []float32 {
	y := make([]float32, n)
	if t == quant.Q4_K || t == quant.Q5_K {
		data = slices.Clone(data)
		for o := 0; o < len(data); o += t.BlockBytes() {
			clear(data[o+16 : o+t.BlockBytes()])
		}
		quant.Dequantize(t, y, data)
	}
	return y
}

func activations(rng *rand.Rand, n, cols int, hard bool) [][]float32 {
	x := make([][]float32, n)
	for i := range x {
		x[i] = make([]float32, cols)
		for c := range x[i] {
			x[i][c] = float32(rng.NormFloat64())
			if hard {
				x[i][c] = [...]float32{1, -1, 0, 1e-40, 3e4}[rng.IntN(5)]
			}
		}
	}
	return x
}

func load(x [][]float32, cols int, forms ...Form) *Activations {
	a := NewActivations(max(len(x), 1), cols, forms...)
	a.Reset(len(x), cols)
	for i, row := range x {
		a.SetRow(i, row)
	}
	return a
}

// held is what the activations of a matrix of this form stand for.
func held(f Form, x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	if f == Float {
		return out
	}
	for b := 0; b < len(x); b += blockCols {
		amax := float32(0)
		for _, v := range x[b : b+blockCols] {
			amax = max(amax, float32(math.Abs(float64(v))))
		}
		if amax <= 1e-30 {
			clear(out[b : b+blockCols])
			continue
		}
		inv, scale := 127/amax, amax*(1./127)
		for i := b; i < b+blockCols; i++ {
			out[i] = math.RoundToEven(float64(x[i]*inv)) * float64(scale)
		}
	}
	return out
}

const guard = float32(12345.678)

// Every path equals the sum in float64 of what it was given, to within rounding,
// for every number of rows and every split of the matrix, and writes nothing else.
func TestMul(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	eachPath(t, func(t *testing.T) {
		for _, kind := range types {
			for _, rows := range []int{1, 15, 16, 17, 40} {
				for _, blocks := range []int{1, 2, 3, 8} {
					cols := blocks * kind.BlockSize()
					if kind.BlockSize() == 1 {
						cols = 29 * blocks
					} else if cols > 768 {
						continue
					}
					for _, hard := range []bool{false, true} {
						testMul(t, pool, kind, rows, cols, hard)
					}
				}
			}
		}
	})
}

func testMul(t *testing.T, pool *Pool, kind quant.Type, rows, cols int, hard bool) {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	data := weights(rng, kind, rows, cols, hard)
	m, err := NewMatrix(pool, kind, rows, cols, data)
	if err != nil {
		t.Fatal(err)
	}
	w := make([]float32, rows*cols)
	quant.Dequantize(kind, w, data)
	low := minima(kind, rows*cols, data)
	row := make([]float32, cols)
	for r := range rows {
		m.Row(row, r)
		if !slices.Equal(row, w[r*cols:(r+1)*cols]) {
			t.Fatalf("%v %d×%d: row %d is not what quant.Dequantize gives", kind, rows, cols, r)
		}
	}
	// What every batch must give: its rows are the first of these.
	const most = 64
	x := activations(rng, most, cols, hard)
	want, size := make([]float64, most*rows), make([]float64, most*rows)
	for i := range most {
		v := held(m.Form(), x[i])
		for r := range rows {
			for c, f := range v {
				p := float64(w[r*cols+c]) * f
				want[i*rows+r] += p
				size[i*rows+r] += math.Abs(p) + 2*math.Abs(float64(low[r*cols+c])*f)
			}
		}
	}
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, most} {
		a := load(x[:n], cols)
		ldy := rows + 3
		y := make([]float32, n*ldy+5)
		for i := range y {
			y[i] = guard
		}
		split := rng.IntN(rows/panelRows+1) * panelRows
		m.Mul(y, ldy, a, 0, split)
		m.Mul(y, ldy, a, split, rows)
		to := make([]float32, n*panelRows+1)
		to[n*panelRows] = guard
		last := (rows - 1) / panelRows * panelRows
		m.MulTo(to, panelRows, a, last, rows)
		for i := range n {
			for r := range rows {
				want, size := want[i*rows+r], size[i*rows+r]
				got := float64(y[i*ldy+r])
				if !(math.Abs(got-want) <= 1e-5*size+1e-30) {
					t.Fatalf("%v %d×%d hard %t: %d rows: y[%d,%d] = %g, want %g within %g", kind, rows, cols, hard, n, i, r, got, want, 1e-5*size)
				}
				if r >= last && to[i*panelRows+r-last] != y[i*ldy+r] {
					t.Fatalf("%v %d×%d: MulTo[%d,%d] = %g, Mul %g", kind, rows, cols, i, r, to[i*panelRows+r-last], got)
				}
			}
			for r := rows; r < ldy; r++ {
				if y[i*ldy+r] != guard {
					t.Fatalf("%v %d×%d: %d rows: wrote beyond the outputs of row %d", kind, rows, cols, n, i)
				}
			}
		}
		if y[n*ldy] != guard || to[n*panelRows] != guard {
			t.Fatalf("%v %d×%d: %d rows: wrote beyond the last row", kind, rows, cols, n)
		}
	}
}

// A row's outputs have the same bits alone, in any batch, at any place and beside
// anything, NaN and infinities included.
func TestRowIndependence(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for _, kind := range types {
			rows, cols := 48, 256
			m, err := NewMatrix(nil, kind, rows, cols, weights(rng, kind, rows, cols, false))
			if err != nil {
				t.Fatal(err)
			}
			x := activations(rng, 1, cols, false)
			want := make([]float32, rows)
			m.Mul(want, rows, load(x, cols), 0, rows)
			others := activations(rng, 64, cols, false)
			for _, row := range others[:32] {
				row[rng.IntN(cols)] = float32(math.Inf(1 - 2*rng.IntN(2)))
				row[rng.IntN(cols)] = float32(math.NaN())
			}
			for n := 1; n <= 64; n++ {
				rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
				batch := slices.Clone(others[:n])
				at := rng.IntN(n)
				batch[at] = x[0]
				y := make([]float32, n*rows)
				m.Mul(y, rows, load(batch, cols), 0, rows)
				if !slices.Equal(y[at*rows:(at+1)*rows], want) {
					t.Fatalf("%v: row %d of %d differs from the row alone", kind, at, n)
				}
			}
		}
	})
}

// The integer sums are exact: weights and activations that are small whole
// numbers with scale 1 give whole results on every path.
func TestQuantizedSumsAreExact(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		for _, kind := range []quant.Type{quant.Q8_0, quant.Q4_0} {
			for _, w := range []byte{0x80, 0x7f, 0xff, 0x01, 0x88, 0x00} {
				cols := 32
				block := make([]byte, kind.BlockBytes())
				binary.LittleEndian.PutUint16(block, 0x3c00)
				for i := 2; i < len(block); i++ {
					block[i] = w
				}
				m, err := NewMatrix(nil, kind, 1, cols, block)
				if err != nil {
					t.Fatal(err)
				}
				row := make([]float32, cols)
				m.Row(row, 0)
				x := make([]float32, cols)
				want := float32(0)
				for i := range x {
					x[i] = float32([...]int{127, -127, 126, -1}[i%4])
					want += x[i] * row[i]
				}
				y := make([]float32, 1)
				m.Mul(y, 1, load([][]float32{x}, cols), 0, 1)
				if y[0] != want {
					t.Errorf("%v of bytes %#x: %g, want %g", kind, w, y[0], want)
				}
			}
		}
	})
}

func TestNewMatrixRefuses(t *testing.T) {
	for _, c := range []struct {
		kind       quant.Type
		rows, cols int
		bytes      int
		want       string
	}{
		{quant.F32, 0, 4, 0, "matrix of 0 × 4 weights"},
		{quant.F32, 2, 4, 31, "2 × 4 weights of type F32 take 32 bytes, not 31"},
		{quant.Q8_0, 1, 64, 34, "1 × 64 weights of type Q8_0 take 68 bytes, not 34"},
	} {
		_, err := NewMatrix(nil, c.kind, c.rows, c.cols, make([]byte, c.bytes))
		if err == nil || err.Error() != c.want {
			t.Errorf("%v %d×%d of %d bytes: error %v, want %q", c.kind, c.rows, c.cols, c.bytes, err, c.want)
		}
	}
	if _, err := NewMatrix(nil, quant.Q8_0, 1, 33, make([]byte, 35)); err == nil {
		t.Error("a Q8_0 row of 33 values is accepted")
	}
}

func TestNoAllocation(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	m, err := NewMatrix(pool, quant.Q8_0, 40, 64, weights(rng, quant.Q8_0, 40, 64, false))
	if err != nil {
		t.Fatal(err)
	}
	x := activations(rng, 3, 64, false)
	a := load(x, 64)
	y := make([]float32, 3*40)
	task := &mulTask{m: m, a: a, y: y}
	if n := testing.AllocsPerRun(50, func() {
		a.Reset(3, 64)
		for i := range x {
			a.SetRow(i, x[i])
		}
		pool.Run(task)
	}); n != 0 {
		t.Errorf("%v allocations a multiplication, want 0", n)
	}
}

// mulTask is a product split between workers.
type mulTask struct {
	m *Matrix
	a *Activations
	y []float32
}

func (t *mulTask) Do(worker, workers int) {
	panels := (t.m.rows + panelRows - 1) / panelRows
	lo, hi := worker*panels/workers*panelRows, min(t.m.rows, (worker+1)*panels/workers*panelRows)
	t.m.Mul(t.y, t.m.rows, t.a, lo, hi)
}

// BenchmarkMul reads 64 MB of weights, more than any cache holds.
func BenchmarkMul(b *testing.B) {
	for _, kind := range []quant.Type{quant.Q8_0, quant.Q4_0, quant.Q4_K, quant.Q5_K, quant.Q6_K, quant.F16, quant.F32} {
		cols := 896
		if kind.BlockSize() > blockCols {
			cols = 1024
		}
		rowBytes, _ := kind.RowBytes(cols)
		rows := (64 << 20) / rowBytes / panelRows * panelRows
		data := make([]byte, rows*rowBytes)
		if scales := f16Fields(kind); scales != nil {
			for i := range data {
				data[i] = byte(i * 7)
			}
			for o := 0; o < len(data); o += kind.BlockBytes() {
				for _, at := range scales {
					binary.LittleEndian.PutUint16(data[o+at:], 0x2000)
				}
			}
		}
		for _, threads := range []int{1, 2} {
			pool := NewPool(threads)
			m, err := NewMatrix(pool, kind, rows, cols, data)
			if err != nil {
				b.Fatal(err)
			}
			for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
				b.Run(fmt.Sprintf("%v/threads=%d/rows=%d", kind, threads, n), func(b *testing.B) {
					x := activations(rand.New(rand.NewPCG(1, 1)), n, cols, false)
					task := &mulTask{m: m, a: load(x, cols), y: make([]float32, n*rows)}
					for b.Loop() {
						pool.Run(task)
					}
					s := b.Elapsed().Seconds() / float64(b.N)
					b.ReportMetric(float64(m.Bytes())/s/1e9, "GB/s")
					b.ReportMetric(float64(n)*float64(rows)*float64(cols)/s/1e9, "GMAC/s")
				})
			}
			pool.Close()
		}
	}
}
