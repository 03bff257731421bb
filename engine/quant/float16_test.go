package quant

import (
	"math"
	"testing"
)

// f16Value is binary16 by its definition.
func f16Value(h uint16) float64 {
	exp, man := int(h>>10)&31, float64(h&1023)
	v := 0.0
	switch exp {
	case 0:
		v = math.Ldexp(man, -24)
	case 31:
		if man != 0 {
			return math.NaN()
		}
		v = math.Inf(1)
	default:
		v = math.Ldexp(1024+man, exp-25)
	}
	if h>>15 != 0 {
		return -v
	}
	return v
}

func TestF16ToF32(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		got, want := float64(F16ToF32(h)), f16Value(h)
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h>>15 != 0) {
			t.Fatalf("%#04x: %v, want %v", h, got, want)
		}
	}
}

// TestF32ToF16: every binary16 comes back, and the values at, just below and
// just above each midpoint go to the nearest, ties to the even one.
func TestF32ToF16(t *testing.T) {
	for i := range 0x7c00 {
		h := uint16(i)
		v := F16ToF32(h)
		if got := F32ToF16(v); got != h {
			t.Fatalf("%v: %#04x, want %#04x", v, got, h)
		}
		next := f16Value(h + 1)
		if h == 0x7bff {
			next = 65536 // overflow is decided as if the range went on
		}
		mid := float32((f16Value(h) + next) / 2)
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, math.MaxFloat32), h + 1}} {
			if got := F32ToF16(c.f); got != c.want {
				t.Fatalf("%v: %#04x, want %#04x", c.f, got, c.want)
			}
			if got := F32ToF16(-c.f); got != c.want|0x8000 {
				t.Fatalf("%v: %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
	for f, want := range map[float32]uint16{
		float32(math.Inf(1)): 0x7c00, float32(math.Inf(-1)): 0xfc00, math.MaxFloat32: 0x7c00, 65519.996: 0x7bff,
		math.SmallestNonzeroFloat32: 0, -math.SmallestNonzeroFloat32: 0x8000,
	} {
		if got := F32ToF16(f); got != want {
			t.Errorf("%v: %#04x, want %#04x", f, got, want)
		}
	}
	for _, bits := range []uint32{0x7f800001, 0x7fc00000, 0xffffffff} {
		if got := F32ToF16(math.Float32frombits(bits)); !math.IsNaN(f16Value(got)) || got>>15 != uint16(bits>>31) {
			t.Errorf("NaN %#08x becomes %#04x", bits, got)
		}
	}
}

func TestBF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		v := BF16ToF32(h)
		if math.Float32bits(v) != uint32(h)<<16 {
			t.Fatalf("%#04x: %v", h, v)
		}
		if v == v {
			if got := F32ToBF16(v); got != h {
				t.Fatalf("%v: %#04x, want %#04x", v, got, h)
			}
		}
	}
	for bits, want := range map[uint32]uint16{
		0x3f808000: 0x3f80, // tie, even below
		0x3f818000: 0x3f82, // tie, even above
		0x3f808001: 0x3f81,
		0x3f817fff: 0x3f81,
		0x7f7fffff: 0x7f80, // the largest float32 rounds to infinity
		0x00000001: 0x0000,
		0x80018000: 0x8002, // subnormal tie
	} {
		if got := F32ToBF16(math.Float32frombits(bits)); got != want {
			t.Errorf("%#08x: %#04x, want %#04x", bits, got, want)
		}
	}
	if got := F32ToBF16(math.Float32frombits(0x7f800001)); got&0x7f == 0 {
		t.Errorf("a NaN becomes %#04x, an infinity", got)
	}
}
