package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kvcache"
	"github.com/coordbench/coordbench/engine/model"
	"github.com/coordbench/coordbench/engine/tokenizer"
)

// library is the real llama.cpp. `make test` installs it and sets
// COORDBENCH_REQUIRE_LLAMACPP, so that its absence fails there.
func library(t *testing.T) *Library {
	t.Helper()
	l, err := Load("")
	if errors.Is(err, ErrNoLibrary) && os.Getenv("COORDBENCH_REQUIRE_LLAMACPP") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func demoFile(t *testing.T) string {
	t.Helper()
	file, _, err := demo.Extract(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func demoModel(t *testing.T) *Model {
	t.Helper()
	m, err := library(t).OpenModel(demoFile(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestTarget(t *testing.T) {
	m := demoModel(t)
	decodetest.RunTarget(t, func(t *testing.T) decode.Target {
		target, err := m.NewTarget(Options{Threads: 1, Context: 256, Trees: true})
		if err != nil {
			t.Fatal(err)
		}
		return target
	})
}

func TestSystem(t *testing.T) {
	m := demoModel(t)
	s, err := NewSystem(m, Options{Threads: 1, Context: 256})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	prompt, err := m.Encode("<|im_start|>user\nSay it again: Upper Kavby Award.<|im_end|>\n<|im_start|>assistant\n", false, true)
	if err != nil {
		t.Fatal(err)
	}
	target, err := m.NewTarget(Options{Threads: 1, Context: 256})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	req := decode.Request{Prompt: prompt, MaxTokens: 40, Stop: m.StopTokens()}
	var emitted []decode.Token
	got, err := s.Decode(context.Background(), req, func(st decode.Step) { emitted = append(emitted, st.Tokens...) })
	if err != nil {
		t.Fatal(err)
	}
	want := greedy(t, target, req)
	if !slices.Equal(got.Tokens, want) || !slices.Equal(emitted, want) {
		t.Errorf("llama.cpp's own loop gives %v (steps %v), its logits %v", got.Tokens, emitted, want)
	}
	// The same seed draws the same tokens.
	req.Sampling = decode.Sampling{Temperature: 0.8, TopK: 40, TopP: 0.95, Seed: 3}
	a, err := s.Decode(context.Background(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Decode(context.Background(), req, nil)
	if err != nil || !slices.Equal(a.Tokens, b.Tokens) {
		t.Errorf("one seed draws %v and %v (%v)", a.Tokens, b.Tokens, err)
	}
}

func greedy(t *testing.T, target decode.Target, req decode.Request) []decode.Token {
	t.Helper()
	p, err := target.Prefill(context.Background(), req.Prompt, decode.Want{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := []decode.Token{p.Last.Best[0]}
	var tree decode.Tree
	for len(out) < req.MaxTokens && !slices.Contains(req.Stop, out[len(out)-1]) {
		tree.Reset(out[len(out)-1])
		s, err := target.Verify(context.Background(), &tree, decode.Want{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s.Best[0])
		if err := target.Commit([]int{0}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Our logits stay near llama.cpp's on the same file and tokens. Both quantise
// activations to 8 bits, llama.cpp with scales in f16, so they cannot be equal.
func TestLogitsBesideOurs(t *testing.T) {
	target, draft, err := demo.Extract(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("model", func(t *testing.T) { logitsBesideOurs(t, target) })
	t.Run("draft", func(t *testing.T) { logitsBesideOurs(t, draft) })
}

func logitsBesideOurs(t *testing.T, file string) {
	m, err := library(t).OpenModel(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	theirs, err := m.NewTarget(Options{Threads: 1, Context: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	f, err := gguf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	om, err := model.Load(f, model.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer om.Close()
	ours, err := om.NewContext(model.ContextOptions{Context: 512, KV: kvcache.F16})
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := m.Encode(strings.Repeat("The workforce is 12,034. Its products are sold in 42 countries. ", 8), false, true)
	if err != nil {
		t.Fatal(err)
	}
	worst, sum, n, agree := 0.0, 0.0, 0, 0
	for i := 8; i < len(prompt); i += 8 {
		ours.Truncate(0)
		theirs.Truncate(0)
		a, err := ours.Prefill(context.Background(), prompt[:i], decode.Want{Logits: true}, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := theirs.Prefill(context.Background(), prompt[:i], decode.Want{Logits: true}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if a.Last.Best[0] == b.Last.Best[0] {
			agree++
		}
		for j, v := range a.Last.Row(0) {
			d := math.Abs(float64(v - b.Last.Row(0)[j]))
			worst = max(worst, d)
			sum += d
			n++
		}
	}
	rows := n / m.Vocab()
	req := decode.Request{Prompt: prompt, MaxTokens: 64}
	ours.Truncate(0)
	theirs.Truncate(0)
	a, b := greedy(t, ours, req), greedy(t, theirs, req)
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	t.Logf("greedy: %d of %d tokens equal before the first difference", same, len(a))
	t.Logf("%d positions: largest difference of a logit %.3f, mean %.4f, same arg-max %d/%d", rows, worst, sum/float64(n), agree, rows)
	if sum/float64(n) > 0.05 || agree < rows-1 {
		t.Errorf("mean difference %.4f, want at most 0.05; same arg-max %d of %d", sum/float64(n), agree, rows)
	}
}

// Tokens equal llama.cpp's for strings that tokenizers get wrong.
func TestTokenizerEqualsOurs(t *testing.T) {
	m := demoModel(t)
	f, err := gguf.Parse("demo", demo.Model())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	const strings = 10000
	for i := range strings {
		s := adversarial(rng)
		want, err := m.Encode(s, true, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := ours.Encode(s, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(got, want) {
			t.Fatalf("string %d, %q:\n ours      %v\n llama.cpp %v", i, s, got, want)
		}
	}
}

func adversarial(rng *rand.Rand) string {
	var b strings.Builder
	for range 1 + rng.IntN(12) {
		switch rng.IntN(9) {
		case 0:
			fmt.Fprintf(&b, "%c", rng.IntN(0x110000)) // any plane; surrogates become U+FFFD
		case 1:
			b.WriteString(strings.Repeat(" ", rng.IntN(40)))
		case 2:
			b.WriteString([]string{"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "im_start|>"}[rng.IntN(5)])
		case 3:
			b.WriteByte(byte(rng.IntN(256))) // often invalid UTF-8
		case 4:
			b.WriteString([]string{"'s", "'LL", "'Ve", "’s", "'", "\r\n", "\n\n", "\t", "\u00a0", "\u3000", "\u200d"}[rng.IntN(11)])
		case 5:
			fmt.Fprint(&b, rng.IntN(1000000))
		case 6:
			b.WriteString([]string{"日本語", "Ελλάδα", "Привет", "עברית", "नमस्ते", "e\u0301", "🏳️‍🌈", "ﬁ", "Ⅷ", "½"}[rng.IntN(10)])
		default:
			b.WriteString([]string{"The", " workforce", "Upper", " Kavby", " is", "isn't", " -- ", "...", "(540,80)", "#MyMiles"}[rng.IntN(10)])
		}
	}
	return b.String()
}

func TestRefuses(t *testing.T) {
	l := library(t)
	bad := filepath.Join(t.TempDir(), "bad.gguf")
	if err := os.WriteFile(bad, []byte("GGUF but not really"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenModel(bad, Options{}); err == nil || !strings.Contains(err.Error(), "llama.cpp refused") {
		t.Errorf("a broken model: %v", err)
	}
	if _, err := l.OpenModel(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing model: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "one process cannot hold") {
		t.Errorf("a second library: %v", err)
	}
}

// A folder that is no library is refused before anything of it is loaded.
func TestNoLibrary(t *testing.T) {
	empty := t.TempDir()
	if _, err := open(empty); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "llamacpp install") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := open(filepath.Join(empty, "none")); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "no such folder") {
		t.Errorf("a missing folder: %v", err)
	}
	for _, name := range []string{"libllama.so", "libggml.so", "libggml-base.so"} {
		if err := os.WriteFile(filepath.Join(empty, name), []byte("not a library"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(empty); err == nil || !strings.Contains(err.Error(), "incomplete or for another machine") {
		t.Errorf("a folder of other files: %v", err)
	}
}

// BenchmarkOverhead is what a decode call costs beyond llama_decode itself: the
// whole step on the smallest model there is, the embedded draft model.
func BenchmarkOverhead(b *testing.B) {
	l, err := Load("")
	if err != nil {
		b.Fatal(err)
	}
	_, draft, err := demo.Extract(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	m, err := l.OpenModel(draft, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	t, err := m.NewTarget(Options{Threads: 1, Context: 256})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	if _, err := t.Prefill(context.Background(), []decode.Token{1, 2, 3}, decode.Want{}, 0); err != nil {
		b.Fatal(err)
	}
	var tree decode.Tree
	tree.Reset(4)
	inside := time.Duration(0)
	for b.Loop() {
		t.dropDraft()
		t.put(0, 4, t.n, true, 0)
		start := time.Now()
		if err := t.run(1); err != nil {
			b.Fatal(err)
		}
		inside += time.Since(start)
		t.draft = true
		if _, err := t.Verify(context.Background(), &tree, decode.Want{}); err != nil {
			b.Fatal(err)
		}
	}
	total := b.Elapsed()
	b.ReportMetric(float64(total-2*inside)/float64(b.N)/1e3, "µs-overhead/step")
	b.ReportMetric(float64(inside)/float64(b.N)/1e3, "µs-llama_decode")
}
