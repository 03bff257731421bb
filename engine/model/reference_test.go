package model

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kvcache"
	"github.com/coordbench/coordbench/engine/quant"
	"github.com/coordbench/coordbench/engine/reference"
)

// deviation is the root of the mean squared difference, as a share of the
// standard deviation of want.
func deviation(got, want []float32) float64 {
	var mean, diff, spread float64
	for _, v := range want {
		mean += float64(v) / float64(len(want))
	}
	for i, v := range want {
		diff += (float64(got[i]) - float64(v)) * (float64(got[i]) - float64(v))
		spread += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(diff / spread)
}

// The engine computes what the plain loops compute: for a prompt, and for a tree
// after it. Weights kept as floats leave rounding only. The kernels multiply
// blocks of weights with activations rounded to 8 bits, an error of up to 1/254
// of the largest of 32 in each, which a random model's layers add up.
func TestAgainstReference(t *testing.T) {
	for _, s := range tinies {
		t.Run(s.name, func(t *testing.T) {
			f := s.file(t, edit{})
			ref, err := reference.Load(f)
			if err != nil {
				t.Fatal(err)
			}
			limit := 3e-5
			if s.weights.BlockSize() > 1 {
				limit = 0.05
			}
			for _, kv := range bothCaches {
				limit := limit
				if kv == kvcache.F16 {
					limit += 2e-3 // 11 bits of each key and value
				}
				c := open(t, f, 2, ContextOptions{KV: kv, Chunk: 32})
				rng := rand.New(rand.NewPCG(3, 4))
				prompt := sentence(rng, 75, s.vocab)
				want := ref.Sequence(prompt)
				p, err := c.Prefill(context.Background(), prompt, decode.Want{Logits: true}, 0)
				if err != nil {
					t.Fatal(err)
				}
				d := deviation(p.Last.Row(0), want[74*s.vocab:])
				if !(d <= limit) {
					t.Errorf("%s cache, prompt: logits deviate by %.2g; at most %.2g expected", kv, d, limit)
				}
				tree := randomTree(rng, 24, s.vocab)
				sc, err := c.Verify(context.Background(), tree, decode.Want{Logits: true})
				if err != nil {
					t.Fatal(err)
				}
				d = deviation(sc.Logits, ref.Tree(prompt, tree))
				if !(d <= limit) {
					t.Errorf("%s cache, tree: logits deviate by %.2g; at most %.2g expected", kv, d, limit)
				}
				t.Logf("%s cache: %.2g of the logits' standard deviation", kv, d)
			}
		})
	}
}

// dequantized is f with every tensor as F32.
func dequantized(t testing.TB, f *gguf.File) *gguf.File {
	t.Helper()
	var buf bytes.Buffer
	w := gguf.NewWriter(&buf)
	for _, key := range f.Keys() {
		if v, _ := f.Value(key); key != gguf.AlignmentKey {
			if err := w.Add(key, v.Any); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range f.Tensors() {
		v, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 4*len(v))
		quant.Quantize(quant.F32, data, v)
		if err := w.AddTensor(x.Name, quant.F32, x.Dims, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return parse(t, f.Path+" as F32", buf.Bytes())
}

// On trained weights as F32 with an f32 cache, each logit of a real prompt's
// first positions is within 1e-3 of the plain loops, as the llama.cpp goldens
// demand of the f32 file. The draft model has no goldens; this is its check.
func TestDemoAgainstReference(t *testing.T) {
	for _, x := range []struct {
		name string
		data []byte
	}{{demo.Name, demo.Model()}, {demo.DraftName, demo.Draft()}} {
		t.Run(x.name, func(t *testing.T) {
			f := dequantized(t, parse(t, x.name, x.data))
			ref, err := reference.Load(f)
			if err != nil {
				t.Fatal(err)
			}
			c := open(t, f, 2, ContextOptions{KV: kvcache.F32, Chunk: 128})
			prompt := goldens(t)[0].Prompt[:100]
			b, err := c.NewBatch(0, prompt)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.RunBlock(Block{0, c.m.config.Layers}, b); err != nil {
				t.Fatal(err)
			}
			s, err := c.Finish(b, decode.Want{Logits: true}, true)
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, want := range ref.Sequence(prompt) {
				worst = max(worst, math.Abs(float64(s.Logits[i]-want)))
			}
			t.Logf("largest difference of %d logits: %.2g", len(s.Logits), worst)
			if !(worst <= 1e-3) {
				t.Errorf("a logit differs by %g; at most 1e-3 expected", worst)
			}
		})
	}
}
