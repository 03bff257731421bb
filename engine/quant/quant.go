package quant

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Dequantize writes the values of src to dst.
//
//	dst  (n)  n a multiple of t.BlockSize()
//	src  n/BlockSize blocks, BlockBytes bytes each, of format t
//
// Sizes that do not match, or an unsupported type, are an internal error: the
// file reader has checked both.
func Dequantize(t Type, dst []float32, src []byte) {
	checkSizes(t, len(dst), len(src))
	switch t {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	default:
		bs, bb := t.BlockSize(), t.BlockBytes()
		for len(dst) > 0 {
			switch t {
			case Q4_0:
				dequantizeQ4_0(dst[:bs], src)
			case Q8_0:
				dequantizeQ8_0(dst[:bs], src)
			case Q4_K:
				dequantizeQ4K(dst[:bs], src)
			case Q5_K:
				dequantizeQ5K(dst[:bs], src)
			case Q6_K:
				dequantizeQ6K(dst[:bs], src)
			}
			dst, src = dst[bs:], src[bb:]
		}
	}
}

// Quantize writes src to dst in format t: the rules of ggml's
// quantize_row_*_ref, no importance matrix. Sizes are as for Dequantize.
//
// The values must be finite. A block scale is an f16, so a block whose scale
// leaves its range (for Q8_0 a largest magnitude above 127·65504) becomes
// infinite, as in ggml.
func Quantize(t Type, dst []byte, src []float32) {
	checkSizes(t, len(src), len(dst))
	switch t {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(v))
		}
	default:
		bs, bb := t.BlockSize(), t.BlockBytes()
		for len(src) > 0 {
			switch t {
			case Q4_0:
				quantizeQ4_0(dst[:bb], src[:bs])
			case Q8_0:
				quantizeQ8_0(dst[:bb], src[:bs])
			case Q4_K:
				quantizeQ4K(dst[:bb], src[:bs])
			case Q5_K:
				quantizeQ5K(dst[:bb], src[:bs])
			case Q6_K:
				quantizeQ6K(dst[:bb], src[:bs])
			}
			dst, src = dst[bb:], src[bs:]
		}
	}
}

func checkSizes(t Type, values, bytes int) {
	want, err := t.RowBytes(values)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	if bytes != want {
		panic(fmt.Sprintf("internal error: quant: %d values of %v take %d bytes, not %d", values, t, want, bytes))
	}
}

func dequantizeQ4_0(y []float32, b []byte) {
	d := F16ToF32(binary.LittleEndian.Uint16(b))
	for i, q := range b[2:q4_0Bytes] {
		y[i] = d * float32(int(q&15)-8)
		y[i+16] = d * float32(int(q>>4)-8)
	}
}

// quantizeQ4_0 maps the value of largest magnitude, with its sign, to −8·d, so
// that the asymmetric range −8…7 is used in full on that side.
func quantizeQ4_0(b []byte, x []float32) {
	var amax, signed float32
	for _, v := range x {
		if a := abs(v); a > amax {
			amax, signed = a, v
		}
	}
	d := signed / -8
	inv := inverse(d)
	binary.LittleEndian.PutUint16(b, F32ToF16(d))
	for i := range 16 {
		lo := min(15, int8(float32(x[i]*inv)+8.5))
		hi := min(15, int8(float32(x[i+16]*inv)+8.5))
		b[2+i] = byte(lo) | byte(hi)<<4
	}
}

func dequantizeQ8_0(y []float32, b []byte) {
	d := F16ToF32(binary.LittleEndian.Uint16(b))
	for i, q := range b[2:q8_0Bytes] {
		y[i] = d * float32(int8(q))
	}
}

// quantizeQ8_0 rounds half away from zero, as C's roundf does.
func quantizeQ8_0(b []byte, x []float32) {
	var amax float32
	for _, v := range x {
		amax = max(amax, abs(v))
	}
	d := amax / 127
	inv := inverse(d)
	binary.LittleEndian.PutUint16(b, F32ToF16(d))
	for i, v := range x {
		b[2+i] = byte(int8(math.Round(float64(v * inv))))
	}
}

// inverse returns 1/d, and 0 where d is 0 or so small (below 2⁻¹²⁸) that 1/d
// is infinite: such a scale is 0 in f16 anyway, and Inf·0 would be NaN.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	if inv := 1 / d; !math.IsInf(float64(inv), 0) {
		return inv
	}
	return 0
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
