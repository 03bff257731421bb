package quant

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var blockTypes = []Type{Q4_0, Q8_0, Q4_K, Q5_K, Q6_K}

// TestKnownAnswers holds both directions of every block format to ggml's own
// results, byte for byte.
func TestKnownAnswers(t *testing.T) {
	f, err := os.Open("testdata/ggml.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var x []float32
	tested := map[Type]int{}
	sc := bufio.NewScanner(f)
	for line := 1; sc.Scan(); line++ {
		p := strings.Fields(sc.Text())
		switch p[0] {
		case "#":
			continue
		case "x":
			b, err := hex.DecodeString(p[1])
			if err != nil {
				t.Fatal(err)
			}
			x = make([]float32, len(b)/4)
			for i := range x {
				x[i] = math.Float32frombits(binary.BigEndian.Uint32(b[4*i:]))
			}
			continue
		}
		typ, err := ParseType(p[0])
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(p[1])
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		for i := range got {
			got[i] = 0xa5 // a quantiser must write every byte
		}
		Quantize(typ, got, x)
		if !bytes.Equal(got, want) {
			t.Errorf("line %d: %v\n got %x\nwant %x", line, typ, got, want)
		}
		y := make([]float32, len(x))
		Dequantize(typ, y, want)
		raw := make([]byte, 4*len(y))
		Quantize(F32, raw, y)
		if sum := fmt.Sprintf("%.8x", sha256.Sum256(raw)); sum[:16] != p[2] {
			t.Errorf("line %d: dequantised %v has digest %s, want %s; values %v", line, typ, sum[:16], p[2], y[:16])
		}
		tested[typ]++
	}
	for _, typ := range blockTypes {
		if tested[typ] != 13 {
			t.Errorf("%v: %d known answers, want 13", typ, tested[typ])
		}
	}
}

// TestBlocksByHand decodes blocks written out from the layout in ggml-common.h.
func TestBlocksByHand(t *testing.T) {
	half := func(v float32) []byte { return binary.LittleEndian.AppendUint16(nil, F32ToF16(v)) }
	check := func(typ Type, block []byte, want map[int]float32, rest float32) {
		t.Helper()
		y := make([]float32, typ.BlockSize())
		Dequantize(typ, y, block)
		for i, v := range y {
			w, ok := want[i]
			if !ok {
				w = rest
			}
			if v != w {
				t.Errorf("%v: value %d is %v, want %v", typ, i, v, w)
			}
		}
	}
	b := append(half(0.5), make([]byte, 16)...)
	b[2], b[2+15] = 0xf0, 0x8f // values 0 and 16; 15 and 31
	check(Q4_0, b, map[int]float32{0: -4, 16: 3.5, 15: 3.5, 31: 0}, -4)

	b = append(half(-2), make([]byte, 32)...)
	b[2], b[3], b[33] = 0x80, 0x7f, 0xff // −128, 127, −1
	check(Q8_0, b, map[int]float32{0: 256, 1: -254, 31: 2}, 0)

	// Q4_K: d = 1, dmin = 0.5. Group 0: scale 3, minimum 4. Group 5: scale
	// 0b101101 = 45, minimum 0b110010 = 50.
	b = append(append(half(1), half(0.5)...), make([]byte, 12+128)...)
	s := b[4:16]
	s[0], s[4] = 3, 4
	s[9] = 0b1101 | 0b0010<<4
	s[1], s[5] = 0b10<<6, 0b11<<6
	b[16] = 0x0a      // value 0 of group 0
	b[16+64+7] = 0x90 // value 7 of group 5
	want := map[int]float32{0: 3*10 - 2, 5*32 + 7: 45*9 - 25}
	for i := 1; i < 32; i++ {
		want[i] = -2
	}
	for i := range 32 {
		if i != 7 {
			want[5*32+i] = -25
		}
	}
	check(Q4_K, b, want, 0)

	// Q5_K: the same with the fifth bit of both values set.
	q5 := append(append(append([]byte{}, b[:16]...), make([]byte, 32)...), b[16:]...)
	q5[16] |= 1 << 0   // value 0, group 0
	q5[16+7] |= 1 << 5 // value 7, group 5
	want[0], want[5*32+7] = 3*26-2, 45*25-25
	check(Q5_K, q5, want, 0)

	// Q6_K: d = 0.25, all scales 1 but group 9 (values 144–159) with −128.
	b = make([]byte, 210)
	copy(b[208:], half(0.25))
	for g := range 16 {
		b[192+g] = 1
	}
	b[192+9] = 0x80
	// Value 128+3·32+31 = 255 is run 3 of half 1: high nibble of byte 64+63,
	// bits 6–7 of high byte 63. q = 0b11_1010 = 58 → 26.
	b[127] |= 0xa << 4
	b[128+63] |= 3 << 6
	want = map[int]float32{255: 0.25 * 26}
	for i := 144; i < 160; i++ {
		want[i] = 0.25 * -128 * -32
	}
	check(Q6_K, b, want, 0.25*-32)
}

func randomRow(rng *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * scale)
	}
	return x
}

// TestErrorBounds: a value is off by at most half a step of its group, as far
// as the group's scale and minimum are exact. The bound is relative to the
// largest magnitude of the block.
func TestErrorBounds(t *testing.T) {
	bound := map[Type]float64{
		F32: 0, F16: 1.0 / 2048, BF16: 1.0 / 256,
		Q8_0: 0.5/127 + 1.0/2048,      // half a step, and the rounding of d
		Q4_0: 1.0/8 + 1.0/2048,        // the side opposite to the extreme value loses up to a step
		Q4_K: 1.0/15 + 2*(1.0/63)*1.1, // range ≤ 2·max in 15 steps; scale and minimum in 63
		Q5_K: 1.0/31 + 2*(1.0/63)*1.1,
		Q6_K: 1.0/31 + 1.0/32,
	}
	rms := map[Type]float64{Q8_0: 0.006, Q4_0: 0.095, Q4_K: 0.085, Q5_K: 0.045, Q6_K: 0.02, F16: 0.0004, BF16: 0.003}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range Types() {
		for _, scale := range []float64{0.02, 1, 300} {
			x := randomRow(rng, 4096, scale)
			n, err := typ.RowBytes(len(x))
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, n)
			Quantize(typ, b, x)
			y := make([]float32, len(x))
			Dequantize(typ, y, b)
			var e2, x2 float64
			bs := typ.BlockSize()
			for i := 0; i < len(x); i += bs {
				var top float64
				for _, v := range x[i : i+bs] {
					top = max(top, math.Abs(float64(v)))
				}
				for j := i; j < i+bs; j++ {
					e := math.Abs(float64(x[j]) - float64(y[j]))
					e2, x2 = e2+e*e, x2+float64(x[j])*float64(x[j])
					if e > bound[typ]*top+0x1p-25 { // half a step of the smallest f16
						t.Fatalf("%v at scale %g: value %d is %v after %v, off by %.3g of the block's largest (%.3g), bound %.3g", typ, scale, j, y[j], x[j], e/top, top, bound[typ])
					}
				}
			}
			if r := math.Sqrt(e2 / x2); r > rms[typ] {
				t.Errorf("%v at scale %g: relative RMS error %.4g, want at most %.4g", typ, scale, r, rms[typ])
			}
		}
	}
}

// TestIdempotent: what a format can represent exactly it keeps.
func TestIdempotent(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, typ := range []Type{F32, F16, BF16, Q8_0, Q4_0} {
		n, _ := typ.RowBytes(2048)
		b, again := make([]byte, n), make([]byte, n)
		x, y := randomRow(rng, 2048, 0.05), make([]float32, 2048)
		Quantize(typ, b, x)
		Dequantize(typ, x, b)
		Quantize(typ, again, x)
		Dequantize(typ, y, again)
		for i := range x {
			if math.Abs(float64(x[i]-y[i])) > 1e-6 { // the f16 scale may change its last bit
				t.Fatalf("%v: value %d becomes %v, then %v", typ, i, x[i], y[i])
			}
		}
	}
}

// TestExtremes: zeros, tiny and large values, single outliers and negative
// maxima give finite results of the right sign and size.
func TestExtremes(t *testing.T) {
	const top = 60000 // d = top/8 and top/127 are well inside f16, and so are K-quant scales
	rows := map[string]func(i int) float32{
		"zero":              func(int) float32 { return 0 },
		"constant":          func(int) float32 { return 0.75 },
		"negative constant": func(int) float32 { return -0.75 },
		"negative maximum":  func(i int) float32 { return []float32{-top, top / 2, 1, 0}[i%4] },
		"one outlier":       func(i int) float32 { return map[int]float32{77: top}[i] },
		"denormal":          func(i int) float32 { return math.SmallestNonzeroFloat32 * float32(i) },
		"tiny":              func(i int) float32 { return 1e-30 * float32(i-100) },
		"large":             func(i int) float32 { return top * float32(i%3-1) },
	}
	for name, row := range rows {
		x, y := make([]float32, 256), make([]float32, 256)
		var span float64
		for i := range x {
			x[i] = row(i)
			span = max(span, math.Abs(float64(x[i])))
		}
		for _, typ := range blockTypes {
			n, _ := typ.RowBytes(len(x))
			b := make([]byte, n)
			Quantize(typ, b, x)
			Dequantize(typ, y, b)
			for i, v := range y {
				e := math.Abs(float64(v) - float64(x[i]))
				if !(e <= 0.15*span+1e-7) { // also false for NaN and Inf
					t.Errorf("%s, %v: value %d is %v, want about %v", name, typ, i, v, x[i])
					break
				}
			}
		}
	}
}

// TestScaleMin: the 6-bit packing is a bijection on its eight pairs.
func TestScaleMin(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var packed [12]byte
		var want [8][2]byte
		for j := range want {
			want[j] = [2]byte{byte(rng.IntN(64)), byte(rng.IntN(64))}
			putScaleMin(j, packed[:], want[j][0], want[j][1])
		}
		for j := range want {
			if s, m := scaleMin(j, packed[:]); s != want[j][0] || m != want[j][1] {
				t.Fatalf("group %d: (%d, %d), want %v", j, s, m, want[j])
			}
		}
	}
}

func TestSizes(t *testing.T) {
	for typ, want := range map[Type][2]int{F32: {1, 4}, F16: {1, 2}, BF16: {1, 2}, Q4_0: {32, 18}, Q8_0: {32, 34}, Q4_K: {256, 144}, Q5_K: {256, 176}, Q6_K: {256, 210}} {
		if got := [2]int{typ.BlockSize(), typ.BlockBytes()}; got != want {
			t.Errorf("%v: block %v, want %v", typ, got, want)
		}
		if n, err := typ.RowBytes(512); err != nil || n != 512/want[0]*want[1] {
			t.Errorf("%v: 512 values take %d bytes, %v", typ, n, err)
		}
		if got, err := ParseType(strings.ToLower(typ.String())); err != nil || got != typ {
			t.Errorf("ParseType(%q) = %v, %v", typ.String(), got, err)
		}
	}
	for _, c := range []struct {
		typ  Type
		cols int
		want string
	}{
		{Q8_0, 33, "quant: a row of 33 values is not a multiple of the Q8_0 block of 32"},
		{Q6_K, -256, "quant: a row of -256 values is not a multiple of the Q6_K block of 256"},
		{20, 32, "quant: unsupported format IQ4_NL (number 20)"},
		{77, 32, "quant: unsupported format type(77) (number 77)"},
	} {
		if _, err := c.typ.RowBytes(c.cols); err == nil || err.Error() != c.want {
			t.Errorf("RowBytes(%v, %d): %v, want %s", c.typ, c.cols, err, c.want)
		}
	}
	if _, err := ParseType("q5_0"); err == nil {
		t.Error("ParseType accepts q5_0, which is not supported")
	}
}
