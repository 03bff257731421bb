package synth

import (
	"fmt"
	"io"

	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/quant"
)

// fill says what a tensor holds.
type fill int

const (
	random fill = iota
	ones
	ropeFactors
)

type tensor struct {
	name string
	typ  quant.Type
	dims []int
	fill fill
	std  float64 // of random values
}

func (t tensor) values() int64 {
	n := int64(1)
	for _, d := range t.dims {
		n *= int64(d)
	}
	return n
}

// Standard deviations. With RMSNorm weights of one, rows of 576 to 3072 values
// at 0.03 give activations between 0.7 and 1.7, so attention scores, the gate
// and the residual stay in the range of a trained model over 16 to 30 layers.
const (
	stdEmbedding = 0.02
	stdMatrix    = 0.03
	stdDown      = 0.02
	stdBias      = 0.1
)

// tensors lists the tensors in the order convert_hf_to_gguf.py writes them.
func (s Shape) tensors(f Format) []tensor {
	norm := func(name string, n int) tensor { return tensor{name, quant.F32, []int{n}, ones, 0} }
	matrix := func(name string, r role, layer, cols, rows int, std float64) tensor {
		return tensor{name, f.matrixType(r, layer, s.Layers, cols), []int{cols, rows}, random, std}
	}
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	embedding := plainMatrix
	if s.Tied {
		embedding = headMatrix
	}
	var ts []tensor
	if s.Rope != nil {
		ts = append(ts, tensor{"rope_freqs.weight", quant.F32, []int{s.HeadDim / 2}, ropeFactors, 0})
	}
	ts = append(ts, matrix("token_embd.weight", embedding, 0, s.Dim, s.Vocab, stdEmbedding))
	for l := range s.Layers {
		p := fmt.Sprintf("blk.%d.", l)
		ts = append(ts,
			norm(p+"attn_norm.weight", s.Dim),
			matrix(p+"ffn_down.weight", downMatrix, l, s.FF, s.Dim, stdDown),
			matrix(p+"ffn_gate.weight", plainMatrix, l, s.Dim, s.FF, stdMatrix),
			matrix(p+"ffn_up.weight", plainMatrix, l, s.Dim, s.FF, stdMatrix),
			norm(p+"ffn_norm.weight", s.Dim),
			matrix(p+"attn_k.weight", plainMatrix, l, s.Dim, kv, stdMatrix),
			matrix(p+"attn_output.weight", plainMatrix, l, q, s.Dim, stdMatrix),
			matrix(p+"attn_q.weight", plainMatrix, l, s.Dim, q, stdMatrix),
			matrix(p+"attn_v.weight", valueMatrix, l, s.Dim, kv, stdMatrix))
		if s.Bias {
			for _, b := range []struct {
				name string
				n    int
			}{{"attn_k.bias", kv}, {"attn_q.bias", q}, {"attn_v.bias", kv}} {
				ts = append(ts, tensor{p + b.name, quant.F32, []int{b.n}, random, stdBias})
			}
		}
		if s.QKNorm {
			ts = append(ts, norm(p+"attn_k_norm.weight", s.HeadDim), norm(p+"attn_q_norm.weight", s.HeadDim))
		}
	}
	ts = append(ts, norm("output_norm.weight", s.Dim))
	if !s.Tied {
		ts = append(ts, matrix("output.weight", headMatrix, 0, s.Dim, s.Vocab, stdEmbedding))
	}
	return ts
}

// WeightBytes returns the bytes of all tensors in format f; the file adds a
// header and, with a vocabulary, 20 to 30 bytes per token.
func (s Shape) WeightBytes(f Format) int64 {
	var n int64
	for _, t := range s.tensors(f) {
		row, err := t.typ.RowBytes(t.dims[0])
		if err != nil {
			panic("internal error: synth: " + err.Error())
		}
		n += int64(row) * (t.values() / int64(t.dims[0]))
	}
	return n
}

// Write writes a model of shape s in format f to w. The same arguments give
// the same bytes on every machine. Memory in use stays at a few megabytes
// (plus the vocabulary).
//
// With vocab the file has a working byte-level tokenizer and a ChatML
// template, so text can be run through it; without, it says "no_vocab" and
// only token ids can be used.
func Write(w io.Writer, s Shape, f Format, seed uint64, vocab bool) error {
	if _, err := ParseFormat(string(f)); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	g := gguf.NewWriter(w)
	s.metadata(g, f, seed)
	if vocab {
		if err := s.tokenizer(g); err != nil {
			return err
		}
	} else {
		g.Add("tokenizer.ggml.model", "no_vocab")
	}
	for i, t := range s.tensors(f) {
		write := func(dst io.Writer) error { return t.write(dst, s, seed, uint64(i)) }
		g.AddTensorFunc(t.name, t.typ, t.dims, write)
	}
	return g.Flush()
}

// check rejects shapes made by hand that cannot be a model. Rows must hold
// whole blocks of 32, the smallest quantised block.
func (s Shape) check() error {
	for _, n := range []struct {
		name  string
		value int
	}{{"layers", s.Layers}, {"width", s.Dim}, {"heads", s.Heads}, {"key/value heads", s.KVHeads}, {"head size", s.HeadDim}, {"feed-forward width", s.FF}, {"context", s.Context}} {
		if n.value < 1 {
			return fmt.Errorf("synth: shape %q: %d %s", s.Name, n.value, n.name)
		}
	}
	if s.Dim%32 != 0 || s.FF%32 != 0 || s.HeadDim%32 != 0 {
		return fmt.Errorf("synth: shape %q: width %d, head size %d and feed-forward width %d must be multiples of 32", s.Name, s.Dim, s.HeadDim, s.FF)
	}
	if s.Heads%s.KVHeads != 0 {
		return fmt.Errorf("synth: shape %q: %d heads cannot share %d key/value heads", s.Name, s.Heads, s.KVHeads)
	}
	if s.Vocab < minVocab {
		return fmt.Errorf("synth: shape %q: a vocabulary of %d tokens; at least %d are needed", s.Name, s.Vocab, minVocab)
	}
	switch s.Arch {
	case "llama", "qwen2", "qwen3":
		return nil
	}
	return fmt.Errorf("synth: shape %q: unknown architecture %q", s.Name, s.Arch)
}

func (s Shape) metadata(g *gguf.Writer, f Format, seed uint64) {
	_, fileType := f.base()
	add := func(key string, v any) { g.Add(key, v) } // errors come back from Flush
	arch := func(key string, v any) { g.Add(s.Arch+"."+key, v) }
	add("general.architecture", s.Arch)
	add("general.type", "model")
	add("general.name", s.Name+" shape, random weights")
	add("general.description", fmt.Sprintf("Random weights in the shape of %s, seed %d: for measuring speed, it knows nothing.", s.Source, seed))
	add("general.file_type", fileType)
	add("general.quantization_version", uint32(2))
	arch("block_count", uint32(s.Layers))
	arch("context_length", uint32(s.Context))
	arch("embedding_length", uint32(s.Dim))
	arch("feed_forward_length", uint32(s.FF))
	arch("attention.head_count", uint32(s.Heads))
	arch("attention.head_count_kv", uint32(s.KVHeads))
	arch("attention.key_length", uint32(s.HeadDim))
	arch("attention.value_length", uint32(s.HeadDim))
	arch("attention.layer_norm_rms_epsilon", float32(s.Eps))
	arch("rope.freq_base", float32(s.Theta))
	arch("rope.dimension_count", uint32(s.HeadDim))
	arch("vocab_size", uint32(s.Vocab))
}
