package model

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kvcache"
	"github.com/coordbench/coordbench/engine/quant"
)

// A tiny is the recipe of a random model, small enough for the reference.
type tiny struct {
	name                         string
	arch                         string
	layers, width, ff, vocab     int
	heads, kvHeads, headDim      int
	tied, factors, linear, qBias bool
	weights                      quant.Type
	other                        quant.Type // of attn_v and ffn_down; quant.F32 means weights
}

// Each member of the family, tied and untied, with one to seven query heads per
// key/value head, in every format.
var tinies = []tiny{
	{name: "qwen2-f32", arch: "qwen2", layers: 2, width: 64, ff: 100, vocab: 300, heads: 4, kvHeads: 2, headDim: 16, tied: true, weights: quant.F32},
	{name: "qwen2-q8_0", arch: "qwen2", layers: 3, width: 64, ff: 128, vocab: 517, heads: 7, kvHeads: 1, headDim: 32, tied: true, weights: quant.Q8_0},
	{name: "qwen2-bf16", arch: "qwen2", layers: 1, width: 32, ff: 64, vocab: 64, heads: 2, kvHeads: 2, headDim: 16, weights: quant.BF16},
	{name: "llama-f16", arch: "llama", layers: 2, width: 64, ff: 96, vocab: 300, heads: 4, kvHeads: 4, headDim: 16, weights: quant.F16},
	{name: "llama-factors", arch: "llama", layers: 2, width: 64, ff: 96, vocab: 300, heads: 4, kvHeads: 2, headDim: 16, factors: true, tied: true, weights: quant.F32},
	{name: "llama-linear-q4_0", arch: "llama", layers: 2, width: 128, ff: 160, vocab: 320, heads: 7, kvHeads: 1, headDim: 64, linear: true, qBias: true, weights: quant.Q4_0},
	{name: "llama-q4_k", arch: "llama", layers: 2, width: 256, ff: 256, vocab: 70, heads: 4, kvHeads: 2, headDim: 64, tied: true, weights: quant.Q4_K, other: quant.Q6_K},
	{name: "llama-q5_k", arch: "llama", layers: 1, width: 256, ff: 256, vocab: 70, heads: 4, kvHeads: 1, headDim: 64, weights: quant.Q5_K, other: quant.Q8_0},
	{name: "qwen3-f32", arch: "qwen3", layers: 2, width: 48, ff: 96, vocab: 300, heads: 4, kvHeads: 2, headDim: 20, weights: quant.F32},
	{name: "qwen3-q6_k", arch: "qwen3", layers: 1, width: 256, ff: 256, vocab: 70, heads: 2, kvHeads: 1, headDim: 128, tied: true, weights: quant.Q6_K},
}

// An edit changes one thing about a tiny model's file: it returns the dimensions
// to write, or nil to leave the tensor out.
type edit struct {
	meta   map[string]any // nil deletes the key
	tensor func(name string, dims []int) []int
	extra  string // one more tensor
}

// file is the model as a GGUF file, the same for the same recipe.
func (s tiny) file(t testing.TB, e edit) *gguf.File {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(s.name)), uint64(s.vocab)))
	var buf bytes.Buffer
	w := gguf.NewWriter(&buf)
	meta := []struct {
		key   string
		value any
	}{
		{"general.architecture", s.arch}, {"general.name", s.name},
		{s.arch + ".block_count", uint32(s.layers)}, {s.arch + ".context_length", uint32(512)},
		{s.arch + ".embedding_length", uint32(s.width)}, {s.arch + ".feed_forward_length", uint32(s.ff)},
		{s.arch + ".attention.head_count", uint32(s.heads)}, {s.arch + ".attention.head_count_kv", uint32(s.kvHeads)},
		{s.arch + ".attention.layer_norm_rms_epsilon", float32(1e-5)}, {s.arch + ".rope.freq_base", float32(50000)},
	}
	put := func(key string, value any) {
		if v, ok := e.meta[key]; ok {
			value = v
		}
		if value != nil {
			if err := w.Add(key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	given := map[string]bool{}
	for _, m := range meta {
		put(m.key, m.value)
		given[m.key] = true
	}
	if s.headDim*s.heads != s.width {
		put(s.arch+".attention.key_length", uint32(s.headDim))
		put(s.arch+".attention.value_length", uint32(s.headDim))
	}
	if s.linear {
		put(s.arch+".rope.scaling.type", "linear")
		put(s.arch+".rope.scaling.factor", float32(4))
	}
	for key, v := range e.meta {
		if !given[key] && v != nil {
			put(key, v)
		}
	}

	add := func(name string, typ quant.Type, mean, spread float64, dims ...int) {
		if e.tensor != nil {
			if dims = e.tensor(name, dims); dims == nil {
				return
			}
		}
		n := 1
		for _, d := range dims {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(mean + spread*rng.NormFloat64())
		}
		row, err := typ.RowBytes(dims[0])
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, row*(n/dims[0]))
		quant.Quantize(typ, data, x)
		if err := w.AddTensor(name, typ, dims, data); err != nil {
			t.Fatal(err)
		}
	}
	other := s.other
	if other == quant.F32 {
		other = s.weights
	}
	spread := 0.12
	add("token_embd.weight", s.weights, 0, 0.5, s.width, s.vocab)
	add("output_norm.weight", quant.F32, 1, 0.1, s.width)
	if !s.tied {
		add("output.weight", s.weights, 0, 0.3, s.width, s.vocab)
	}
	if s.factors {
		add("rope_freqs.weight", quant.F32, 4, 0.5, s.headDim/2)
	}
	q, kv := s.heads*s.headDim, s.kvHeads*s.headDim
	for i := range s.layers {
		at := func(name string) string { return fmt.Sprintf("blk.%d.%s", i, name) }
		add(at("attn_norm.weight"), quant.F32, 1, 0.1, s.width)
		add(at("attn_q.weight"), s.weights, 0, spread, s.width, q)
		add(at("attn_k.weight"), s.weights, 0, spread, s.width, kv)
		add(at("attn_v.weight"), other, 0, spread, s.width, kv)
		if s.arch == "qwen2" || s.qBias {
			add(at("attn_q.bias"), quant.F32, 0, 0.3, q)
		}
		if s.arch == "qwen2" {
			add(at("attn_k.bias"), quant.F32, 0, 0.3, kv)
			add(at("attn_v.bias"), quant.F32, 0, 0.3, kv)
		}
		if s.arch == "qwen3" {
			add(at("attn_q_norm.weight"), quant.F32, 1, 0.2, s.headDim)
			add(at("attn_k_norm.weight"), quant.F32, 1, 0.2, s.headDim)
		}
		add(at("attn_output.weight"), s.weights, 0, spread, q, s.width)
		add(at("ffn_norm.weight"), quant.F32, 1, 0.1, s.width)
		add(at("ffn_gate.weight"), s.weights, 0, spread, s.width, s.ff)
		add(at("ffn_up.weight"), s.weights, 0, spread, s.width, s.ff)
		add(at("ffn_down.weight"), other, 0, spread, s.ff, s.width)
	}
	if e.extra != "" {
		add(e.extra, quant.F32, 0, 1, 8)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse(s.name+".gguf", buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// open loads f and returns a context, both closed at the end of the test.
func open(t testing.TB, f *gguf.File, threads int, o ContextOptions) *Context {
	t.Helper()
	m, err := Load(f, Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	c, err := m.NewContext(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func demoFile(t testing.TB) *gguf.File { return parse(t, demo.Name, demo.Model()) }

func parse(t testing.TB, name string, data []byte) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sentence returns n random tokens.
func sentence(rng *rand.Rand, n, vocab int) []decode.Token {
	s := make([]decode.Token, n)
	for i := range s {
		s[i] = decode.Token(rng.IntN(vocab))
	}
	return s
}

// randomTree returns a tree of up to nodes nodes of one of several shapes, with
// no two siblings alike.
func randomTree(rng *rand.Rand, nodes, vocab int) *decode.Tree {
	t := &decode.Tree{}
	t.Reset(decode.Token(rng.IntN(vocab)))
	shape := rng.IntN(4)
	for t.Len() < nodes {
		u := t.Len() - 1 // a chain
		switch shape {
		case 1: // anything
			u = rng.IntN(t.Len())
		case 2: // a star of chains
			if rng.IntN(5) == 0 {
				u = 0
			}
		case 3: // bushy
			u = rng.IntN(t.Len()) / 2
		}
		if tok := decode.Token(rng.IntN(vocab)); t.Child(u, tok) < 0 {
			t.Add(u, tok, decode.FromRandom)
		}
	}
	return t
}

// pathTo is the path from the root to node i.
func pathTo(t *decode.Tree, i int) []int {
	var path []int
	for ; i >= 0; i = t.Parents[i] {
		path = append([]int{i}, path...)
	}
	return path
}

var bothCaches = []kvcache.Type{kvcache.F16, kvcache.F32}
