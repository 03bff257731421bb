package kernels

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/quant"
)

var kTypes = []quant.Type{quant.Q4_K, quant.Q5_K, quant.Q6_K}

// kBlock is a block of t with d = dmin = ±1 and all quants, scales and minima as
// given; scales of Q6_K alternate between scale and minimum.
func kBlock(t quant.Type, negative bool, q, scale, minimum byte) []byte {
	b := make([]byte, t.BlockBytes())
	for _, at := range f16Fields(t) {
		binary.LittleEndian.PutUint16(b[at:], 0x3c00)
		if negative {
			binary.LittleEndian.PutUint16(b[at:], 0xbc00)
		}
	}
	fill := func(b []byte, v byte) {
		for i := range b {
			b[i] = v
		}
	}
	switch t {
	case quant.Q6_K:
		fill(b[:128], q&15*0x11)
		fill(b[128:192], q>>4*0x55)
		for i := range 16 {
			b[192+i] = [...]byte{scale, minimum}[i%2]
		}
		return b
	case quant.Q5_K:
		fill(b[16:48], -(q >> 4))
		fill(b[48:], q&15*0x11)
	default:
		fill(b[16:], q*0x11)
	}
	fill(b[4:8], scale>>4<<6|scale)
	fill(b[8:12], minimum>>4<<6|minimum)
	fill(b[12:16], minimum<<4|scale&15)
	return b
}

// The sums of a block of 32 are exact integers: one block with activations of scale
// 1 gives the whole number that its weights do, with scales, minima and values at
// the ends of their ranges.
func TestKQuantSumsAreExact(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		for _, kind := range kTypes {
			scales, top := []byte{0, 1, 63}, byte(15)
			switch kind {
			case quant.Q5_K:
				top = 31
			case quant.Q6_K:
				scales, top = []byte{0x80, 0x7f, 0xff}, 63
			}
			for _, q := range []byte{0, 1, top / 2, top} {
				for _, scale := range scales {
					for _, minimum := range scales {
						for _, negative := range []bool{false, true} {
							testKSum(t, kind, kBlock(kind, negative, q, scale, minimum))
						}
					}
				}
			}
		}
	})
}

func testKSum(t *testing.T, kind quant.Type, block []byte) {
	t.Helper()
	m, err := NewMatrix(nil, kind, 1, superCols, block)
	if err != nil {
		t.Fatal(err)
	}
	w := make([]float32, superCols)
	quant.Dequantize(kind, w, block)
	for j := range superBlocks {
		x := make([]float32, superCols)
		want := float64(0)
		for i := range blockCols {
			// Of one sign in each half, so that the sums are the largest.
			x[j*blockCols+i] = float32([...]int{127, -127}[i/16*(j%2)])
			want += float64(x[j*blockCols+i]) * float64(w[j*blockCols+i])
		}
		y := make([]float32, 1)
		m.Mul(y, 1, load([][]float32{x}, superCols), 0, 1)
		if y[0] != float32(want) {
			t.Fatalf("%v of bytes %x: block %d: %g, want %g", kind, block, j, y[0], want)
		}
	}
}

// Every value of every column comes back: quants that count through their range
// meet scales, minima and high bits that all differ.
func TestKQuantRowsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const rows, cols = 19, 512
	for _, kind := range kTypes {
		n, _ := kind.RowBytes(cols)
		data := make([]byte, rows*n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for o := 0; o < len(data); o += kind.BlockBytes() {
			for _, at := range f16Fields(kind) {
				data[o+at+1] &= 0xbb // an exponent below that of infinities and NaN
			}
		}
		m, err := NewMatrix(nil, kind, rows, cols, data)
		if err != nil {
			t.Fatal(err)
		}
		got, want := make([]float32, cols), make([]float32, cols)
		for r := range rows {
			m.Row(got, r)
			quant.Dequantize(kind, want, data[r*n:][:n])
			if !slices.Equal(got, want) {
				t.Fatalf("%v: row %d is not what quant.Dequantize gives", kind, r)
			}
		}
	}
}

// Weights take little more memory than in the file, rows of the last panel aside.
func TestMemory(t *testing.T) {
	for kind, most := range map[quant.Type]float64{
		quant.F32: 1, quant.F16: 1, quant.BF16: 1, quant.Q8_0: 1, quant.Q4_0: 1,
		quant.Q4_K: 1.04, quant.Q5_K: 1.05, quant.Q6_K: 1.06,
	} {
		const rows, cols = 64, 1536
		n, _ := kind.RowBytes(cols)
		m, err := NewMatrix(nil, kind, rows, cols, make([]byte, rows*n))
		if err != nil {
			t.Fatal(err)
		}
		if factor := float64(m.Bytes()) / float64(rows*n); factor > most {
			t.Errorf("%v: %d bytes of weights take %d, %.3f times as many; at most %.2f", kind, rows*n, m.Bytes(), factor, most)
		}
	}
}
