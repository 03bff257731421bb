package synth

import (
	"fmt"
	"strings"

	"github.com/coordbench/coordbench/engine/quant"
)

// Format is a storage format of a whole model: which type each tensor has.
type Format string

// The formats. Q4_K_M and Q5_K_M mix types as llama.cpp's quantiser does.
const (
	F32    Format = "f32"
	F16    Format = "f16"
	BF16   Format = "bf16"
	Q8_0   Format = "q8_0"
	Q4_0   Format = "q4_0"
	Q4_K_M Format = "q4_k_m"
	Q5_K_M Format = "q5_k_m"
	Q6_K   Format = "q6_k"
)

// Formats returns all formats.
func Formats() []Format { return []Format{F32, F16, BF16, Q8_0, Q4_0, Q4_K_M, Q5_K_M, Q6_K} }

// ParseFormat returns the format called name, in any letter case.
func ParseFormat(name string) (Format, error) {
	var known []string
	for _, f := range Formats() {
		if strings.EqualFold(string(f), name) {
			return f, nil
		}
		known = append(known, string(f))
	}
	return "", fmt.Errorf("synth: unknown format %q; known are %s", name, strings.Join(known, ", "))
}

// base is the type of most matrices, and the number general.file_type has for
// the format (enum llama_ftype, llama.h).
func (f Format) base() (t quant.Type, fileType uint32) {
	switch f {
	case F32:
		return quant.F32, 0
	case F16:
		return quant.F16, 1
	case BF16:
		return quant.BF16, 32
	case Q8_0:
		return quant.Q8_0, 7
	case Q4_0:
		return quant.Q4_0, 2
	case Q4_K_M:
		return quant.Q4_K, 15
	case Q5_K_M:
		return quant.Q5_K, 17
	case Q6_K:
		return quant.Q6_K, 18
	}
	panic(fmt.Sprintf("internal error: synth: format %q", string(f)))
}

type role int

const (
	plainMatrix role = iota
	headMatrix       // output.weight, or token_embd.weight where the two are tied
	valueMatrix      // attn_v
	downMatrix       // ffn_down
)

// matrixType is the rule of llama.cpp's quantiser without an importance matrix
// (llama_tensor_get_type, src/llama-quant.cpp): the head of a quantised model
// is Q6_K, and the _M mixtures give some layers' attn_v and ffn_down Q6_K.
//
// Rows that are no multiple of 256 cannot be K-quants. llama.cpp falls back to
// Q5_0, Q5_1 or Q8_0 there; here it is always Q8_0, as the engine has no Q5
// formats, so such files (smollm2-135m, qwen2.5-0.5b) are larger than theirs.
func (f Format) matrixType(r role, layer, layers, cols int) quant.Type {
	t, _ := f.base()
	switch f {
	case F32, F16, BF16, Q8_0:
		return t
	case Q4_K_M, Q5_K_M:
		if (r == valueMatrix || r == downMatrix) && useMoreBits(layer, layers) {
			t = quant.Q6_K
		}
	}
	if r == headMatrix {
		t = quant.Q6_K
	}
	if cols%t.BlockSize() != 0 {
		t = quant.Q8_0
	}
	return t
}

// useMoreBits picks the first and last eighth of the layers and every third between.
func useMoreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}
