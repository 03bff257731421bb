// Package quant describes the block-quantised formats GGUF stores weights in,
// with a reference quantiser and dequantiser for each.
//
// The reference is the meaning: plain Go, the same bits on every machine (no
// product is fused into a sum), and the layouts and rounding rules of ggml's
// ggml-common.h and quantize_row_*_ref (ggml-quants.c). Fast paths elsewhere
// are compared with it.
package quant

import (
	"fmt"
	"strings"
)

// Type is ggml's number for a storage format (enum ggml_type, ggml.h).
type Type uint32

// The formats this engine reads and writes. Every other number is a format of
// ggml's that is not supported.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2  // 32 values: f16 scale d, 16 bytes of nibbles; value d·(q−8)
	Q8_0 Type = 8  // 32 values: f16 scale d, 32 int8; value d·q
	Q4_K Type = 12 // 256 values in 8 groups: 4-bit q, 6-bit scale and minimum per group
	Q5_K Type = 13 // as Q4_K with 5-bit q
	Q6_K Type = 14 // 256 values in 16 groups: 6-bit q, int8 scale per group, no minimum
	BF16 Type = 30
)

// superBlock is QK_K, the values of a K-quant block.
const superBlock = 256

// Bytes per block, ggml-common.h.
const (
	q4_0Bytes = 2 + 16
	q8_0Bytes = 2 + 32
	q4KBytes  = 2 + 2 + 12 + 128
	q5KBytes  = 2 + 2 + 12 + 32 + 128
	q6KBytes  = 128 + 64 + 16 + 2
)

// names holds ggml's type names, the unsupported ones too, so that an error
// can say what a file contains instead of a bare number.
var names = map[Type]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
	10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
	16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
	24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
	34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

// Types returns the supported formats in the order of their numbers.
func Types() []Type { return []Type{F32, F16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, BF16} }

// String returns ggml's name in capitals, or "type(N)" for a number without one.
func (t Type) String() string {
	if s, ok := names[t]; ok {
		return s
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// ParseType returns the supported format called name, in any letter case.
func ParseType(name string) (Type, error) {
	var known []string
	for _, t := range Types() {
		if strings.EqualFold(name, t.String()) {
			return t, nil
		}
		known = append(known, t.String())
	}
	return 0, fmt.Errorf("quant: unknown or unsupported format %q; supported are %s", name, strings.Join(known, ", "))
}

// BlockSize returns the values per block: 1, 32 or 256; 0 for an unsupported type.
func (t Type) BlockSize() int {
	switch t {
	case F32, F16, BF16:
		return 1
	case Q4_0, Q8_0:
		return 32
	case Q4_K, Q5_K, Q6_K:
		return superBlock
	}
	return 0
}

// BlockBytes returns the bytes per block; 0 for an unsupported type.
func (t Type) BlockBytes() int {
	switch t {
	case F32:
		return 4
	case F16, BF16:
		return 2
	case Q4_0:
		return q4_0Bytes
	case Q8_0:
		return q8_0Bytes
	case Q4_K:
		return q4KBytes
	case Q5_K:
		return q5KBytes
	case Q6_K:
		return q6KBytes
	}
	return 0
}

// RowBytes returns the bytes of a row of cols values. It is an error when the
// type is unsupported or cols is negative or not a multiple of the block.
func (t Type) RowBytes(cols int) (int, error) {
	bs := t.BlockSize()
	if bs == 0 {
		return 0, fmt.Errorf("quant: unsupported format %v (number %d)", t, uint32(t))
	}
	if cols < 0 || cols%bs != 0 {
		return 0, fmt.Errorf("quant: a row of %d values is not a multiple of the %v block of %d", cols, t, bs)
	}
	return cols / bs * t.BlockBytes(), nil
}
