package model

import (
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/engine/kvcache"
	"github.com/coordbench/coordbench/engine/quant"
)

// A file that is not a model of the family is refused with one line that names
// the file and the key or tensor at fault.
func TestLoadRefuses(t *testing.T) {
	llama := tiny{name: "t", arch: "llama", layers: 2, width: 64, ff: 96, vocab: 300, heads: 4, kvHeads: 2, headDim: 16, weights: quant.F32}
	qwen2, qwen3 := llama, llama
	qwen2.arch, qwen3.arch = "qwen2", "qwen3"
	factors := llama
	factors.factors = true
	meta := func(key string, v any) edit { return edit{meta: map[string]any{key: v}} }
	drop := func(tensor string) edit {
		return edit{tensor: func(name string, dims []int) []int {
			if name == tensor {
				return nil
			}
			return dims
		}}
	}
	dims := func(tensor string, d ...int) edit {
		return edit{tensor: func(name string, dims []int) []int {
			if name == tensor {
				return d
			}
			return dims
		}}
	}
	for name, x := range map[string]struct {
		model tiny
		edit  edit
		want  string
	}{
		"no architecture":        {llama, meta("general.architecture", nil), `t.gguf: no metadata key "general.architecture"`},
		"unknown architecture":   {llama, meta("general.architecture", "mamba"), `t.gguf: unknown architecture "mamba"; supported: llama, qwen2, qwen3`},
		"no layers":              {llama, meta("llama.block_count", uint32(0)), `t.gguf: llama.block_count is 0; expected 1 to 4096`},
		"too many layers":        {llama, meta("llama.block_count", uint32(1<<31)), `t.gguf: llama.block_count is 2147483648; expected 1 to 4096`},
		"layers not there":       {llama, meta("llama.block_count", uint32(3)), `t.gguf: no tensor "blk.2.attn_norm.weight"`},
		"layers left over":       {llama, meta("llama.block_count", uint32(1)), `t.gguf: tensor "blk.1.attn_norm.weight" has no place in a model of this architecture`},
		"no width":               {llama, meta("llama.embedding_length", nil), `t.gguf: no metadata key "llama.embedding_length"`},
		"width of a string":      {llama, meta("llama.embedding_length", "64"), `t.gguf: metadata "llama.embedding_length" is`},
		"other width":            {llama, meta("llama.embedding_length", uint32(96)), `t.gguf: tensor "token_embd.weight" has dimensions [64 300]; expected [96 300]`},
		"heads do not group":     {llama, meta("llama.attention.head_count_kv", uint32(3)), `t.gguf: llama.attention.head_count is 4, which is no multiple of the 3 key/value heads`},
		"no epsilon":             {llama, meta("llama.attention.layer_norm_rms_epsilon", float32(0)), `t.gguf: llama.attention.layer_norm_rms_epsilon is 0; expected more than 0`},
		"value length":           {llama, meta("llama.attention.value_length", uint32(8)), `t.gguf: llama.attention.value_length is 8, but key_length is 16; expected the same`},
		"odd head":               {llama, meta("llama.attention.key_length", uint32(15)), `t.gguf: a head of 15 numbers cannot be rotated in pairs`},
		"partial rotation":       {llama, meta("llama.rope.dimension_count", uint32(8)), `t.gguf: llama.rope.dimension_count is 8, but a head has 16 numbers; partial rotation is not supported`},
		"rope scaling":           {llama, meta("llama.rope.scaling.type", "yarn"), `t.gguf: llama.rope.scaling.type "yarn" is not supported; supported: none, linear`},
		"linear without factor":  {llama, meta("llama.rope.scaling.type", "linear"), `t.gguf: no metadata key "llama.rope.scaling.factor"`},
		"experts":                {llama, meta("llama.expert_count", uint32(8)), `t.gguf: llama.expert_count is 8; mixtures of experts are not supported`},
		"window":                 {llama, meta("llama.attention.sliding_window", uint32(64)), `t.gguf: llama.attention.sliding_window is 64 in a context of 512`},
		"vocabulary size":        {llama, meta("llama.vocab_size", uint32(301)), `t.gguf: llama.vocab_size is 301, but tensor "token_embd.weight" has 300 rows`},
		"vocabulary of a vector": {llama, dims("token_embd.weight", 64), `t.gguf: tensor "token_embd.weight" has dimensions [64]; expected [64, vocabulary]`},
		"no embedding":           {llama, drop("token_embd.weight"), `t.gguf: no tensor "token_embd.weight"`},
		"no projection":          {llama, drop("blk.1.ffn_up.weight"), `t.gguf: no tensor "blk.1.ffn_up.weight"`},
		"transposed":             {llama, dims("blk.0.ffn_down.weight", 64, 96), `t.gguf: tensor "blk.0.ffn_down.weight" has dimensions [64 96]; expected [96 64]`},
		"three dimensions":       {llama, dims("blk.0.attn_q.weight", 64, 64, 1), `t.gguf: tensor "blk.0.attn_q.weight" has dimensions [64 64 1]; expected [64 64]`},
		"short norm":             {llama, dims("blk.1.ffn_norm.weight", 32), `t.gguf: tensor "blk.1.ffn_norm.weight" has dimensions [32]; expected [64]`},
		"bias of the output":     {llama, edit{extra: "blk.0.attn_output.bias"}, `t.gguf: tensor "blk.0.attn_output.bias" has no place in a model of this architecture`},
		"rope factors":           {factors, dims("rope_freqs.weight", 16), `t.gguf: tensor "rope_freqs.weight" has dimensions [16]; expected [8]`},
		"head":                   {llama, dims("output.weight", 64, 299), `t.gguf: tensor "output.weight" has dimensions [64 299]; expected [64 300]`},
		"qwen2 without bias":     {qwen2, drop("blk.0.attn_k.bias"), `t.gguf: no tensor "blk.0.attn_k.bias"`},
		"qwen3 without norm":     {qwen3, drop("blk.1.attn_k_norm.weight"), `t.gguf: no tensor "blk.1.attn_k_norm.weight"`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Load(x.model.file(t, x.edit), Options{Threads: 1})
			if err == nil {
				m.Close()
				t.Fatalf("loaded; want an error that begins %q", x.want)
			}
			if got := err.Error(); !strings.HasPrefix(got, x.want) || strings.Contains(got, "\n") {
				t.Errorf("got  %s\nwant %s…", got, x.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	m, err := Load(demoFile(t), Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := Config{
		Name: "coordlm-6m", Architecture: "qwen2", Layers: 6, Width: 256, Heads: 4, KVHeads: 2, HeadDim: 64, FF: 768,
		Vocab: 4096, TrainContext: 1024, Epsilon: 1e-6, RopeBase: 1e6, RopeScale: 1, TiedHead: true,
	}
	if got := m.Config(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for n, want := range map[int][]Block{1: {{0, 6}}, 4: {{0, 1}, {1, 3}, {3, 4}, {4, 6}}, 6: {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}}} {
		if got, err := m.Blocks(n); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d blocks: %v, %v; want %v", n, got, err, want)
		}
	}
	for _, n := range []int{0, 7} {
		if _, err := m.Blocks(n); err == nil {
			t.Errorf("%d blocks of 6 layers gave no error", n)
		}
	}
}

func TestContextOptions(t *testing.T) {
	m, err := Load(demoFile(t), Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.NewContext(ContextOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i := c.Info()
	if i.Context != 1024 || i.MaxNodes != decode.MaxNodes || i.Vocab != 4096 || i.Model != demo.Name || !i.Exact || len(i.ModelDigest) != 64 {
		t.Errorf("defaults: %+v", i)
	}
	if got, want := c.KVBytes(), int64(2*6*2*64*1024*2); got != want {
		t.Errorf("an f16 cache of 1024 positions takes %d bytes, want %d", got, want)
	}
	for _, x := range []struct {
		o    ContextOptions
		want string
	}{
		{ContextOptions{Context: -1}, "coordlm-6m: a context of -1 tokens; expected 1 to 1048576"},
		{ContextOptions{Context: 1<<20 + 1}, "coordlm-6m: a context of 1048577 tokens; expected 1 to 1048576"},
		{ContextOptions{KV: kvcache.Type("q8_0")}, `coordlm-6m: unknown key/value format "q8_0"; supported: f16, f32`},
		{ContextOptions{Nodes: 65}, "coordlm-6m: draft trees of 65 nodes; expected 1 to 64"},
		{ContextOptions{Chunk: -1}, "coordlm-6m: prompt chunks of -1 tokens; expected 1 to 4096"},
	} {
		if _, err := m.NewContext(x.o); err == nil || err.Error() != x.want {
			t.Errorf("%+v: got %v, want %s", x.o, err, x.want)
		}
	}
}
