package model

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kernels"
	"github.com/coordbench/coordbench/engine/kvcache"
)

// A golden is what llama.cpp (one thread, no flash attention) made of a prompt
// for the demonstration model. Output is the same for its f32 file with either
// cache and its q8_0 file.
type golden struct {
	ID     string
	Prompt []decode.Token
	Output []decode.Token
	Top    map[string][][2]float64 // likeliest ten first tokens (id, logit): "f32_kv_f32", "q8_0"
}

func goldens(t testing.TB) []golden {
	t.Helper()
	f, err := os.Open("testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []golden
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var g golden
		if err := d.Decode(&g); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	if len(all) != 40 {
		t.Fatalf("%d golden prompts, want 40", len(all))
	}
	return all
}

// A comparison is how far a context agrees with the goldens.
type comparison struct {
	prompts    int
	equal      int     // prompts with equal output
	tokens     int     // tokens before the first divergence, over all prompts
	total      int     // tokens of all golden outputs
	topWorst   float64 // largest difference of a top-ten logit after the prompt
	worstGap   float64 // largest margin at a first divergence: our logit of our token minus that of theirs
	divergence []string
}

// follow decodes each golden prompt greedily, one token at a time.
func follow(t *testing.T, c *Context, top string) comparison {
	t.Helper()
	var r comparison
	ctx := context.Background()
	want := decode.Want{Logits: true}
	for i, g := range goldens(t) {
		if kernels.Path() == "generic" && i%8 != 0 {
			continue // plain Go needs minutes for all
		}
		r.prompts++
		if err := c.Truncate(0); err != nil {
			t.Fatal(err)
		}
		p, err := c.Prefill(ctx, g.Prompt, want, 0)
		if err != nil {
			t.Fatal(err)
		}
		row, best := p.Last.Row(0), p.Last.Best[0]
		for _, x := range g.Top[top] {
			r.topWorst = max(r.topWorst, math.Abs(float64(row[int(x[0])])-x[1]))
		}
		r.total += len(g.Output)
		tree := &decode.Tree{}
		for i, tok := range g.Output {
			if best != tok {
				gap := float64(row[best] - row[tok])
				r.worstGap = max(r.worstGap, gap)
				t.Logf("%s: token %d is %d, llama.cpp's is %d; margin %.4f", g.ID, i, best, tok, gap)
				r.divergence = append(r.divergence, g.ID)
				break
			}
			r.tokens++
			if i == len(g.Output)-1 {
				r.equal++
				break
			}
			tree.Reset(tok)
			s, err := c.Verify(ctx, tree, want)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Commit([]int{0}); err != nil {
				t.Fatal(err)
			}
			row, best = s.Row(0), s.Best[0]
		}
	}
	return r
}

func (r comparison) log(t *testing.T, name string) {
	t.Logf("%-34s equal outputs %d/%d, tokens before divergence %d/%d, largest margin there %.4f, first-step top-10 logits within %.2g",
		name, r.equal, r.prompts, r.tokens, r.total, r.worstGap, r.topWorst)
}

// near says whether all but a share of the prompts have equal outputs, any
// divergence is a near tie, and first-step logits agree.
func (r comparison) near(t *testing.T, name string, differ, margin, logits float64) {
	t.Helper()
	r.log(t, name)
	if float64(r.prompts-r.equal) > differ*float64(r.prompts) {
		t.Errorf("%s: outputs equal for %d of %d prompts; expected all but %g%%", name, r.equal, r.prompts, 100*differ)
	}
	if r.worstGap > margin {
		t.Errorf("%s: diverged by a margin of %.3f; above %g it is no near tie", name, r.worstGap, margin)
	}
	if !(r.topWorst <= logits) {
		t.Errorf("%s: a first-step logit differs by %g; at most %g expected", name, r.topWorst, logits)
	}
}

// roundedLogits bounds what 8-bit activations do to a logit of this model, whose
// ten likeliest lie between 5 and 25: llama.cpp and we round alike, but scales and
// sums differ, so the two errors are independent.
const roundedLogits = 0.5

// The embedded q8_0 model with the default cache decodes what llama.cpp decodes
// from the same file; a near tie may fall the other way.
func TestGoldenDemo(t *testing.T) {
	for _, threads := range []int{1, 2} {
		r := follow(t, open(t, demoFile(t), threads, ContextOptions{}), "q8_0")
		r.near(t, fmt.Sprintf("q8_0 file, f16 cache, %d threads", threads), 0.1, 0.25, roundedLogits)
	}
}

// The same weights as F32 with an f32 cache are what llama.cpp's f32 file is up
// to the rounding to Q8_0, which changes none of the golden outputs there.
func TestGoldenDequantized(t *testing.T) {
	r := follow(t, open(t, dequantized(t, demoFile(t)), 2, ContextOptions{KV: kvcache.F32}), "q8_0")
	r.near(t, "q8_0 file as F32, f32 cache", 0.05, 0.1, roundedLogits)
}

// With COORDBENCH_MODELS naming a folder that holds coordlm-6m-f32.gguf, which is
// too large to carry in the repository, the goldens are checked to the letter:
// equal outputs, and logits within 1e-3, on an f32 cache.
func TestGoldenFiles(t *testing.T) {
	dir := os.Getenv("COORDBENCH_MODELS")
	if dir == "" {
		t.Skip("COORDBENCH_MODELS is not set; TestDemoAgainstReference and TestGoldenDequantized cover the same path")
	}
	for _, x := range []struct {
		file, top      string
		kv             kvcache.Type
		differ, logits float64
	}{
		{"coordlm-6m-f32.gguf", "f32_kv_f32", kvcache.F32, 0, 1e-3},
		{"coordlm-6m-f32.gguf", "f32_kv_f32", kvcache.F16, 0.05, 2e-2},
		{"coordlm-6m-q8_0.gguf", "q8_0", kvcache.F16, 0.1, roundedLogits},
		{"coordlm-6m-q8_0.gguf", "q8_0", kvcache.F32, 0.1, roundedLogits},
	} {
		f, err := gguf.Open(filepath.Join(dir, x.file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := follow(t, open(t, f, 2, ContextOptions{KV: x.kv}), x.top)
		r.near(t, x.file+", "+string(x.kv)+" cache", x.differ, 0.25, x.logits)
	}
}

// Candidates are the likeliest tokens in order, with log-probabilities that a
// plain softmax gives; so are those of every prompt position.
func TestCandidates(t *testing.T) {
	c := open(t, demoFile(t), 2, ContextOptions{Chunk: 50})
	prompt := goldens(t)[3].Prompt
	const k = 8
	p, err := c.Prefill(context.Background(), prompt, decode.Want{TopK: k, Logits: true}, k)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, row []float32, best decode.Token, got []decode.Candidate) {
		t.Helper()
		ids := make([]decode.Token, len(row))
		sum := 0.0
		top := slices.Max(row)
		for i, v := range row {
			ids[i] = decode.Token(i)
			sum += math.Exp(float64(v - top))
		}
		slices.SortStableFunc(ids, func(a, b decode.Token) int {
			switch {
			case row[a] > row[b]:
				return -1
			case row[a] < row[b]:
				return 1
			}
			return int(a - b)
		})
		if best != ids[0] {
			t.Errorf("%s: arg-max %d, want %d", name, best, ids[0])
		}
		for i, x := range got {
			lp := float64(row[ids[i]]-top) - math.Log(sum)
			if x.Token != ids[i] || math.Abs(float64(x.LogProb)-lp) > 1e-5 {
				t.Errorf("%s: candidate %d is token %d with log-probability %g, want %d with %g", name, i, x.Token, x.LogProb, ids[i], lp)
			}
		}
	}
	check("last", p.Last.Row(0), p.Last.Best[0], p.Last.TopOf(0))
	if p.K != k || len(p.Top) != k*len(prompt) {
		t.Fatalf("%d candidates of %d per position for a prompt of %d", len(p.Top), p.K, len(prompt))
	}
	if !slices.Equal(p.Top[len(p.Top)-k:], p.Last.Top) {
		t.Error("candidates of the last prompt position differ from those of Last")
	}
	positions := slices.Clone(p.Top)
	if err := c.Truncate(0); err != nil {
		t.Fatal(err)
	}
	for i, tok := range prompt[:60] {
		tree := &decode.Tree{}
		tree.Reset(tok)
		s, err := c.Verify(context.Background(), tree, decode.Want{Logits: true})
		if err != nil {
			t.Fatal(err)
		}
		check("prompt position", s.Row(0), s.Best[0], positions[i*k:(i+1)*k])
		if err := c.Commit([]int{0}); err != nil {
			t.Fatal(err)
		}
	}
}
