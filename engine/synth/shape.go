// Package synth writes GGUF files with random weights in the shapes of
// published models: speed and memory depend on the shape and the format, not
// on what the weights know, so they can be measured without a download.
//
// The text such a model generates is noise. Files are a function of shape,
// format and seed alone, and keep to llama.cpp's names and keys.
package synth

import (
	"fmt"
	"math"
	"strings"
)

// Shape is the geometry of a published model.
type Shape struct {
	Name    string  // as accepted by FindShape
	Source  string  // the published model, whose config.json has the numbers
	Arch    string  // GGUF architecture: llama, qwen2 or qwen3
	Layers  int     // num_hidden_layers
	Dim     int     // hidden_size
	Heads   int     // num_attention_heads
	KVHeads int     // num_key_value_heads
	HeadDim int     // head_dim
	FF      int     // intermediate_size
	Vocab   int     // vocab_size
	Context int     // max_position_embeddings
	Theta   float64 // rope_theta
	Eps     float64 // rms_norm_eps
	Bias    bool    // q, k and v have biases
	QKNorm  bool    // q and k are RMS-normalised per head
	Tied    bool    // tie_word_embeddings: no output.weight
	Rope    *RopeScaling
}

// RopeScaling is the "llama3" rope_scaling of a config.json.
type RopeScaling struct {
	Factor, LowFreq, HighFreq float64
	OriginalContext           int // original_max_position_embeddings, tokens
}

var llama32 = &RopeScaling{Factor: 32, LowFreq: 1, HighFreq: 4, OriginalContext: 8192}

// Shapes returns the known shapes, smallest first.
func Shapes() []Shape {
	return []Shape{
		{Name: "smollm2-135m", Source: "HuggingFaceTB/SmolLM2-135M-Instruct", Arch: "llama", Layers: 30, Dim: 576, Heads: 9, KVHeads: 3, HeadDim: 64, FF: 1536,
			Vocab: 49152, Context: 8192, Theta: 1e5, Eps: 1e-5, Tied: true},
		{Name: "qwen2.5-0.5b", Source: "Qwen/Qwen2.5-0.5B-Instruct", Arch: "qwen2", Layers: 24, Dim: 896, Heads: 14, KVHeads: 2, HeadDim: 64, FF: 4864,
			Vocab: 151936, Context: 32768, Theta: 1e6, Eps: 1e-6, Bias: true, Tied: true},
		{Name: "qwen3-0.6b", Source: "Qwen/Qwen3-0.6B", Arch: "qwen3", Layers: 28, Dim: 1024, Heads: 16, KVHeads: 8, HeadDim: 128, FF: 3072,
			Vocab: 151936, Context: 40960, Theta: 1e6, Eps: 1e-6, QKNorm: true, Tied: true},
		{Name: "llama3.2-1b", Source: "meta-llama/Llama-3.2-1B-Instruct", Arch: "llama", Layers: 16, Dim: 2048, Heads: 32, KVHeads: 8, HeadDim: 64, FF: 8192,
			Vocab: 128256, Context: 131072, Theta: 5e5, Eps: 1e-5, Tied: true, Rope: llama32},
		{Name: "qwen2.5-1.5b", Source: "Qwen/Qwen2.5-1.5B-Instruct", Arch: "qwen2", Layers: 28, Dim: 1536, Heads: 12, KVHeads: 2, HeadDim: 128, FF: 8960,
			Vocab: 151936, Context: 32768, Theta: 1e6, Eps: 1e-6, Bias: true, Tied: true},
		{Name: "llama3.2-3b", Source: "meta-llama/Llama-3.2-3B-Instruct", Arch: "llama", Layers: 28, Dim: 3072, Heads: 24, KVHeads: 8, HeadDim: 128, FF: 8192,
			Vocab: 128256, Context: 131072, Theta: 5e5, Eps: 1e-5, Tied: true, Rope: llama32},
	}
}

// FindShape returns the shape called name.
func FindShape(name string) (Shape, error) {
	var known []string
	for _, s := range Shapes() {
		if strings.EqualFold(s.Name, name) {
			return s, nil
		}
		known = append(known, s.Name)
	}
	return Shape{}, fmt.Errorf("synth: unknown model shape %q; known are %s", name, strings.Join(known, ", "))
}

// Parameters returns the number of weights.
func (s Shape) Parameters() int64 {
	var n int64
	for _, t := range s.tensors(F32) {
		if t.fill != ropeFactors {
			n += t.values()
		}
	}
	return n
}

// ropeFactors returns what rope_freqs.weight holds: for each of the HeadDim/2
// rotation frequencies the number it is divided by. Wavelengths below
// OriginalContext/HighFreq keep their frequency, those above
// OriginalContext/LowFreq are stretched by Factor, between them the two
// frequencies are mixed (LlamaConfig rope_type "llama3", transformers
// modeling_rope_utils.py).
func (s Shape) ropeFactors() []float32 {
	r := s.Rope
	out := make([]float32, s.HeadDim/2)
	for i := range out {
		freq := math.Pow(s.Theta, -2*float64(i)/float64(s.HeadDim))
		wavelength := 2 * math.Pi / freq
		switch ratio := float64(r.OriginalContext) / wavelength; {
		case ratio > r.HighFreq:
			out[i] = 1
		case ratio < r.LowFreq:
			out[i] = float32(r.Factor)
		default:
			smooth := (ratio - r.LowFreq) / (r.HighFreq - r.LowFreq)
			out[i] = float32(1 / ((1-smooth)/r.Factor + smooth))
		}
	}
	return out
}
