package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/quant"
)

// tiny is a shape with every optional part and rows of whole K-quant blocks.
func tiny() Shape {
	return Shape{Name: "tiny", Source: "a test", Arch: "llama", Layers: 9, Dim: 256, Heads: 4, KVHeads: 2, HeadDim: 64, FF: 512, Vocab: 1500,
		Context: 2048, Theta: 5e5, Eps: 1e-5, Bias: true, QKNorm: true, Rope: llama32}
}

func write(t *testing.T, s Shape, f Format, seed uint64, vocab bool) *gguf.File {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, s, f, seed, vocab); err != nil {
		t.Fatal(err)
	}
	g, err := gguf.Parse(s.Name, buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestParameters: the tensors add up to the published parameter counts
// (model cards; for Qwen3-0.6B 0.44 B of them outside the embedding).
func TestParameters(t *testing.T) {
	got := map[string]int64{}
	for _, s := range Shapes() {
		got[s.Name] = s.Parameters()
		if err := s.check(); err != nil {
			t.Error(err)
		}
		if found, err := FindShape(strings.ToUpper(s.Name)); err != nil || found.Name != s.Name {
			t.Errorf("FindShape(%q) = %v, %v", s.Name, found.Name, err)
		}
	}
	want := map[string]int64{"smollm2-135m": 134515008, "qwen2.5-0.5b": 494032768, "qwen2.5-1.5b": 1543714304,
		"llama3.2-1b": 1235814400, "llama3.2-3b": 3212749824, "qwen3-0.6b": 596049920}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := FindShape("gpt-5"); err == nil || !strings.Contains(err.Error(), `"gpt-5"`) || !strings.Contains(err.Error(), "smollm2-135m") {
		t.Errorf("unknown shape: %v", err)
	}
}

// TestMixture: which tensors of Llama-3.2-1B are Q6_K in Q4_K_M. llama.cpp's
// rule for 16 layers gives 0, 1 (first eighth), 14, 15 (last), and 4, 7, 10, 13.
func TestMixture(t *testing.T) {
	s, err := FindShape("llama3.2-1b")
	if err != nil {
		t.Fatal(err)
	}
	for f, base := range map[Format]quant.Type{Q4_K_M: quant.Q4_K, Q5_K_M: quant.Q5_K} {
		more := map[string][]string{}
		for _, x := range s.tensors(f) {
			if x.typ == quant.Q6_K {
				layer, name := "", x.name
				if m := regexp.MustCompile(`^blk\.(\d+)\.(.*)$`).FindStringSubmatch(x.name); m != nil {
					layer, name = m[1], m[2]
				}
				more[name] = append(more[name], layer)
			} else if len(x.dims) == 2 && x.typ != base {
				t.Errorf("%s: %s is %v", f, x.name, x.typ)
			}
		}
		layers := []string{"0", "1", "4", "7", "10", "13", "14", "15"}
		if d := cmp.Diff(map[string][]string{"token_embd.weight": {""}, "attn_v.weight": layers, "ffn_down.weight": layers}, more); d != "" {
			t.Errorf("%s: Q6_K tensors (-want +got):\n%s", f, d)
		}
	}
	for _, c := range []struct {
		shape string
		f     Format
		want  map[string]quant.Type
	}{
		// Rows of 896 are no whole K-quant blocks, rows of 4864 are.
		{"qwen2.5-0.5b", Q4_K_M, map[string]quant.Type{"token_embd.weight": quant.Q8_0, "blk.4.attn_q.weight": quant.Q8_0, "blk.4.ffn_down.weight": quant.Q4_K, "blk.5.ffn_down.weight": quant.Q6_K}},
		{"qwen2.5-0.5b", Q4_0, map[string]quant.Type{"token_embd.weight": quant.Q8_0, "blk.4.attn_q.weight": quant.Q4_0, "blk.4.attn_q.bias": quant.F32}},
		{"qwen3-0.6b", Q4_0, map[string]quant.Type{"token_embd.weight": quant.Q6_K, "blk.0.attn_v.weight": quant.Q4_0, "blk.0.attn_q_norm.weight": quant.F32}},
		{"qwen3-0.6b", Q8_0, map[string]quant.Type{"token_embd.weight": quant.Q8_0, "blk.0.attn_v.weight": quant.Q8_0}},
		{"llama3.2-3b", BF16, map[string]quant.Type{"token_embd.weight": quant.BF16, "rope_freqs.weight": quant.F32, "output_norm.weight": quant.F32}},
	} {
		s, err := FindShape(c.shape)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range c.want {
			i := slices.IndexFunc(s.tensors(c.f), func(x tensor) bool { return x.name == name })
			if i < 0 {
				t.Errorf("%s: no tensor %s", c.shape, name)
			} else if got := s.tensors(c.f)[i].typ; got != want {
				t.Errorf("%s %s: %s is %v, want %v", c.shape, c.f, name, got, want)
			}
		}
	}
}

// TestStatistics: in every format each random tensor has mean 0 and the
// standard deviation asked for, no value is extreme, and the norms are ones.
func TestStatistics(t *testing.T) {
	s := tiny()
	for _, f := range Formats() {
		g := write(t, s, f, 1, false)
		want := map[string]tensor{}
		for _, x := range s.tensors(f) {
			want[x.name] = x
		}
		if len(g.Tensors()) != len(want) {
			t.Fatalf("%s: %d tensors, want %d", f, len(g.Tensors()), len(want))
		}
		for _, x := range g.Tensors() {
			w := want[x.Name]
			v, err := x.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			if x.Type != w.typ || !slices.Equal(x.Dims, w.dims) {
				t.Errorf("%s: %s is %v %v, want %v %v", f, x.Name, x.Type, x.Dims, w.typ, w.dims)
			}
			var sum, sum2, top float64
			for _, y := range v {
				sum, sum2, top = sum+float64(y), sum2+float64(y)*float64(y), max(top, math.Abs(float64(y)))
			}
			n := float64(len(v))
			switch w.fill {
			case ones:
				if sum != n || sum2 != n {
					t.Errorf("%s: %s is not all ones", f, x.Name)
				}
			case random:
				mean, std := sum/n, math.Sqrt(sum2/n)
				if math.Abs(mean) > 5*w.std/math.Sqrt(n)+0.01*w.std || math.Abs(std/w.std-1) > 0.02+3/math.Sqrt(n) || top > 5*w.std {
					t.Errorf("%s: %s has mean %.2g, standard deviation %.4g (want %g), largest %.3g", f, x.Name, mean, std, w.std, top)
				}
			}
		}
	}
}

// TestQ8NeverMinimum: −128 is not a Q8_0 value of the reference quantiser.
func TestQ8NeverMinimum(t *testing.T) {
	g := write(t, tiny(), Q8_0, 3, false)
	seen := map[byte]int{}
	for _, x := range g.Tensors() {
		if x.Type == quant.Q8_0 {
			for i, b := range x.Data {
				if i%34 >= 2 {
					seen[b]++
				}
			}
		}
	}
	if seen[0x80] != 0 || seen[0x81] == 0 || seen[0x7f] == 0 || len(seen) != 255 {
		t.Errorf("%d distinct values, %d times −128, %d times −127, %d times 127", len(seen), seen[0x80], seen[0x81], seen[0x7f])
	}
}

// TestDeterministic: the bytes depend on shape, format and seed alone, not on
// the number of processors; the digest is pinned so that a change shows.
func TestDeterministic(t *testing.T) {
	digest := func(seed uint64) string {
		h := sha256.New()
		s := tiny()
		s.FF = 8192 // tensors of several chunks
		if err := Write(h, s, Q8_0, seed, true); err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(h.Sum(nil))[:16]
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one := digest(1)
	runtime.GOMAXPROCS(3)
	if got := digest(1); got != one {
		t.Errorf("three processors give %s, one %s", got, one)
	}
	if got := digest(2); got == one {
		t.Error("seeds 1 and 2 give the same file")
	}
	const pinned = "8ec0ee24f85bc9ad"
	if one != pinned {
		t.Errorf("digest %s, want %s", one, pinned)
	}
}

// TestVocabulary checks what llama.cpp demands of a gpt2 vocabulary: unique
// tokens, a type for each, all 256 bytes, merges of existing tokens.
func TestVocabulary(t *testing.T) {
	for _, name := range []string{"smollm2-135m", "tiny"} {
		s := tiny()
		if name != "tiny" {
			var err error
			if s, err = FindShape(name); err != nil {
				t.Fatal(err)
			}
			s.Layers, s.Dim, s.FF = 1, 64, 64 // the vocabulary is what counts
		}
		g := write(t, s, Q8_0, 1, true)
		tokens, err := g.Strings("tokenizer.ggml.tokens")
		if err != nil {
			t.Fatal(err)
		}
		merges, err := g.Strings("tokenizer.ggml.merges")
		if err != nil {
			t.Fatal(err)
		}
		types, err := g.Ints("tokenizer.ggml.token_type")
		if err != nil {
			t.Fatal(err)
		}
		id := map[string]int{}
		for i, x := range tokens {
			id[x] = i
		}
		if len(tokens) != s.Vocab || len(id) != s.Vocab || len(types) != s.Vocab {
			t.Errorf("%s: %d tokens, %d distinct, %d types; want %d", name, len(tokens), len(id), len(types), s.Vocab)
		}
		if d := cmp.Diff(byteAlphabet(), tokens[:256]); d != "" {
			t.Errorf("%s: the first 256 tokens (-want +got):\n%s", name, d)
		}
		if len(merges) < 300 {
			t.Errorf("%s: %d merges", name, len(merges))
		}
		for _, m := range merges {
			a, b, ok := strings.Cut(m, " ")
			_, okA := id[a]
			_, okB := id[b]
			_, okAB := id[a+b]
			if !ok || !okA || !okB || !okAB {
				t.Errorf("%s: merge %q: tokens present %v %v, result %v", name, m, okA, okB, okAB)
			}
		}
		for i, x := range []string{tokenEnd, tokenStart, tokenStop} {
			if at := s.Vocab - 3 + i; tokens[at] != x || types[at] != int64(typeControl) {
				t.Errorf("%s: token %d is %q of type %d, want %q, control", name, at, tokens[at], types[at], x)
			}
		}
		if eos, err := g.Uint("tokenizer.ggml.eos_token_id"); err != nil || tokens[eos] != tokenStop {
			t.Errorf("%s: eos %d (%v)", name, eos, err)
		}
		if _, ok := id["Ġthe"]; !ok {
			t.Errorf("%s: no token for the commonest word", name)
		}
	}
	if s, err := write(t, tiny(), Q8_0, 1, false).String("tokenizer.ggml.model"); err != nil || s != "no_vocab" {
		t.Errorf("without a vocabulary: model %q (%v)", s, err)
	}
}

func TestByteAlphabet(t *testing.T) {
	a := byteAlphabet()
	// GPT-2's vocab.json: "!" is token 0, "~" 93, "¡" 94, "ÿ" 187, "Ā" (byte 0) 188, "Ġ" (space) 220, "Ċ" (newline) 198, "Ń" (0xad) 255.
	for i, want := range map[int]string{0: "!", 93: "~", 94: "¡", 187: "ÿ", 188: "Ā", 198: "Ċ", 220: "Ġ", 255: "Ń"} {
		if a[i] != want {
			t.Errorf("token %d is %q, want %q", i, a[i], want)
		}
	}
}

// TestRopeFactors compares with the wavelength rule worked out at its corners:
// θ = 5·10⁵, head size 64, original context 8192. Wavelengths up to 2048 keep
// their frequency, from 8192 on they are stretched 32 times.
func TestRopeFactors(t *testing.T) {
	s, err := FindShape("llama3.2-1b")
	if err != nil {
		t.Fatal(err)
	}
	got := s.ropeFactors()
	if len(got) != 32 {
		t.Fatalf("%d factors, want 32", len(got))
	}
	// λ(i) = 2π·θ^(i/32): λ(14) = 1957, λ(15) = 2949, λ(16) = 4443, λ(17) = 6695, λ(18) = 10089.
	for i, f := range got {
		lambda := 2 * math.Pi * math.Pow(5e5, float64(i)/32)
		want := 1.0
		if i >= 18 {
			want = 32
		} else if i >= 15 {
			mix := (8192/lambda - 1) / 3
			want = 1 / ((1-mix)/32 + mix)
		}
		if math.Abs(float64(f)/want-1) > 1e-6 {
			t.Errorf("factor %d (wavelength %.0f) is %v, want %v", i, lambda, f, want)
		}
	}
}

// TestMetadata pins the keys that llama.cpp reads.
func TestMetadata(t *testing.T) {
	s, err := FindShape("qwen3-0.6b")
	if err != nil {
		t.Fatal(err)
	}
	s.Layers, s.FF, s.Dim, s.Vocab = 1, 256, 256, 1024
	g := write(t, s, Q4_K_M, 5, true)
	got := map[string]string{}
	for _, k := range g.Keys() {
		v, _ := g.Value(k)
		if v.Type != gguf.Array {
			got[k] = fmt.Sprintf("%v %v", v.Type, v.Any)
		}
	}
	want := map[string]string{
		"general.architecture": "string qwen3", "general.type": "string model", "general.name": "string qwen3-0.6b shape, random weights",
		"general.description": "string Random weights in the shape of Qwen/Qwen3-0.6B, seed 5: for measuring speed, it knows nothing.",
		"general.file_type":   "uint32 15", "general.quantization_version": "uint32 2", "general.alignment": "uint32 32",
		"qwen3.block_count": "uint32 1", "qwen3.context_length": "uint32 40960", "qwen3.embedding_length": "uint32 256", "qwen3.feed_forward_length": "uint32 256",
		"qwen3.attention.head_count": "uint32 16", "qwen3.attention.head_count_kv": "uint32 8", "qwen3.attention.key_length": "uint32 128",
		"qwen3.attention.value_length": "uint32 128", "qwen3.attention.layer_norm_rms_epsilon": "float32 1e-06", "qwen3.rope.freq_base": "float32 1e+06",
		"qwen3.rope.dimension_count": "uint32 128", "qwen3.vocab_size": "uint32 1024",
		"tokenizer.ggml.model": "string gpt2", "tokenizer.ggml.pre": "string qwen2", "tokenizer.ggml.bos_token_id": "uint32 1021", "tokenizer.ggml.eos_token_id": "uint32 1023",
		"tokenizer.ggml.padding_token_id": "uint32 1021", "tokenizer.ggml.add_bos_token": "bool false", "tokenizer.chat_template": "string " + chatML,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestErrors(t *testing.T) {
	for want, change := range map[string]func(*Shape){
		`synth: shape "tiny": 0 layers`: func(s *Shape) { s.Layers = 0 },
		`synth: shape "tiny": width 250, head size 64 and feed-forward width 512 must be multiples of 32`: func(s *Shape) { s.Dim = 250 },
		`synth: shape "tiny": 4 heads cannot share 3 key/value heads`:                                     func(s *Shape) { s.KVHeads = 3 },
		`synth: shape "tiny": a vocabulary of 300 tokens; at least 512 are needed`:                        func(s *Shape) { s.Vocab = 300 },
		`synth: shape "tiny": unknown architecture "bert"`:                                                func(s *Shape) { s.Arch = "bert" },
	} {
		s := tiny()
		change(&s)
		if err := Write(io.Discard, s, Q8_0, 1, true); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := Write(io.Discard, tiny(), "q3_k", 1, true); err == nil || !strings.HasPrefix(err.Error(), `synth: unknown format "q3_k"; known are f32`) {
		t.Errorf("unknown format: %v", err)
	}
	full := errors.New("disk full")
	if err := Write(&limited{3 << 20, full}, tiny(), F32, 1, true); !errors.Is(err, full) {
		t.Errorf("full disk: %v", err)
	}
}

// limited fails after n bytes.
type limited struct {
	n   int
	err error
}

func (l *limited) Write(b []byte) (int, error) {
	if l.n -= len(b); l.n < 0 {
		return 0, l.err
	}
	return len(b), nil
}
