package reference

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/engine/gguf"
)

func load(t *testing.T) *Model {
	t.Helper()
	f, err := gguf.Parse(demo.Name, demo.Model())
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// llama.cpp's greedy continuation of a prompt and its logits after the prompt,
// from the same file. llama.cpp rounds activations to 8 bits before it multiplies
// and the reference does not, hence the tolerance.
func TestAgainstLlamaCpp(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Prompt, Output []decode.Token
		Top            [][2]float64 // (id, logit)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	m := load(t)
	tokens := append(slices.Clone(g.Prompt), g.Output...)
	logits := m.Sequence(tokens)
	row := func(i int) []float32 { return logits[i*m.Vocab() : (i+1)*m.Vocab()] }
	first := row(len(g.Prompt) - 1)
	for _, x := range g.Top {
		if d := math.Abs(float64(first[int(x[0])]) - x[1]); !(d < 0.2) {
			t.Errorf("token %d: logit %.4f, llama.cpp has %.4f", int(x[0]), first[int(x[0])], x[1])
		}
	}
	for i, want := range g.Output {
		r := row(len(g.Prompt) - 1 + i)
		if got := slices.Index(r, slices.Max(r)); got != int(want) {
			t.Errorf("output token %d is %d, llama.cpp has %d", i, got, want)
		}
	}
}

// A chain is a sequence, and a node does not see its siblings.
func TestTree(t *testing.T) {
	m := load(t)
	context := []decode.Token{5, 17, 300}
	tree := &decode.Tree{}
	tree.Reset(40)
	a := tree.Add(0, 41, decode.FromRandom)
	b := tree.Add(0, 42, decode.FromRandom)
	tree.Add(a, 43, decode.FromRandom)
	tree.Add(b, 44, decode.FromRandom)
	got := m.Tree(context, tree)
	for _, branch := range [][]int{{0, 1, 3}, {0, 2, 4}} {
		seq := slices.Clone(context)
		for _, n := range branch {
			seq = append(seq, tree.Tokens[n])
		}
		want := m.Sequence(seq)
		for i, n := range branch {
			g, w := got[n*m.Vocab():(n+1)*m.Vocab()], want[(len(context)+i)*m.Vocab():][:m.Vocab()]
			if !slices.Equal(g, w) {
				t.Errorf("node %d differs from the same token in a plain sequence", n)
			}
		}
	}
	if slices.Equal(got[3*m.Vocab():4*m.Vocab()], got[4*m.Vocab():]) {
		t.Error("leaves of different branches have equal logits")
	}
}
