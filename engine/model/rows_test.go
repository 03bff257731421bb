package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kernels"
)

var logits = decode.Want{Logits: true, TopK: 3}

// A walker decodes one token at a time on one worker: the meaning that every
// other way of computing the same rows must have, bit for bit.
type walker struct {
	t testing.TB
	c *Context
}

// row is a copy of what a forward pass left for one row.
type row struct {
	best   decode.Token
	top    []decode.Candidate
	logits []float32
}

func rowOf(s decode.Scores, i int) row {
	return row{s.Best[i], slices.Clone(s.TopOf(i)), slices.Clone(s.Row(i))}
}

func (r row) equal(o row) bool {
	return r.best == o.best && slices.Equal(r.top, o.top) && slices.Equal(r.logits, o.logits)
}

// step appends tok to the context and returns its row.
func (w walker) step(tok decode.Token) row {
	w.t.Helper()
	tree := &decode.Tree{}
	tree.Reset(tok)
	s, err := w.c.Verify(context.Background(), tree, logits)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.c.Commit([]int{0}); err != nil {
		w.t.Fatal(err)
	}
	return rowOf(s, 0)
}

// rows walks a sequence from an empty context.
func (w walker) rows(tokens []decode.Token) []row {
	w.t.Helper()
	if err := w.c.Truncate(0); err != nil {
		w.t.Fatal(err)
	}
	var out []row
	for _, t := range tokens {
		out = append(out, w.step(t))
	}
	return out
}

// rowCases are the models that the properties below run on. Those that are slow
// to compute are to be run briefly; they differ in their matrices alone.
func rowCases(t *testing.T, f func(t *testing.T, file *gguf.File, vocab int, o ContextOptions, brief bool)) {
	plain := kernels.Path() == "generic"
	for i, s := range tinies {
		kv := bothCaches[i%2]
		t.Run(fmt.Sprintf("%s/%s", s.name, kv), func(t *testing.T) {
			f(t, s.file(t, edit{}), s.vocab, ContextOptions{KV: kv, Context: 330}, plain || s.weights.BlockSize() == 256)
		})
	}
	t.Run("demo", func(t *testing.T) { f(t, demoFile(t), 4096, ContextOptions{Context: 330}, plain) })

	// On this CPU's other paths, one float and one block format.
	best := kernels.Path()
	defer kernels.Use(best)
	for _, path := range kernels.Paths() {
		if path == best {
			continue
		}
		if err := kernels.Use(path); err != nil {
			t.Fatal(err)
		}
		for i, s := range tinies[:2] {
			t.Run(fmt.Sprintf("%s/%s", path, s.name), func(t *testing.T) {
				f(t, s.file(t, edit{}), s.vocab, ContextOptions{KV: bothCaches[i], Context: 330}, path == "generic")
			})
		}
	}
}

// A prompt's rows do not depend on how it is cut into chunks, on the number of
// workers, nor on the blocks of layers it passes in.
func TestRowsOfAnyChunking(t *testing.T) {
	rowCases(t, func(t *testing.T, f *gguf.File, vocab int, o ContextOptions, brief bool) {
		rng := rand.New(rand.NewPCG(1, uint64(vocab)))
		tokens := sentence(rng, 290, vocab)
		if brief {
			tokens = tokens[:70]
		}
		want := walker{t, open(t, f, 1, o)}.rows(tokens)
		for _, threads := range []int{1, 2, 3} {
			chunks := []int{1, 7, 32, 64, 256}
			if threads != 2 {
				chunks = []int{7, 256}
			}
			for _, chunk := range chunks {
				o := o
				o.Chunk = chunk
				c := open(t, f, threads, o)
				for range 2 { // the second time on a used cache
					if err := c.Truncate(0); err != nil {
						t.Fatal(err)
					}
					p, err := c.Prefill(context.Background(), tokens, logits, 3)
					if err != nil {
						t.Fatal(err)
					}
					for i := range tokens {
						if !slices.Equal(p.Top[i*3:(i+1)*3], want[i].top) {
							t.Fatalf("%d threads, chunks of %d: candidates of position %d differ from one token at a time", threads, chunk, i)
						}
					}
					if !rowOf(p.Last, 0).equal(want[len(want)-1]) {
						t.Fatalf("%d threads, chunks of %d: the last row differs from one token at a time", threads, chunk)
					}
				}
			}

			// All rows of all logits, in random chunks through random blocks; a chunk
			// enters a block as soon as the one before has left it.
			c := open(t, f, threads, o)
			blocks, err := c.m.Blocks(1 + rng.IntN(c.m.config.Layers))
			if err != nil {
				t.Fatal(err)
			}
			var batches []*Batch
			for base := 0; base < len(tokens); {
				n := min(1+rng.IntN(90), len(tokens)-base)
				b, err := c.NewBatch(base, tokens[base:base+n])
				if err != nil {
					t.Fatal(err)
				}
				batches = append(batches, b)
				base += n
			}
			for _, block := range blocks {
				for _, b := range batches {
					if err := c.RunBlock(block, b); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, b := range batches {
				s, err := c.Finish(b, logits, true)
				if err != nil {
					t.Fatal(err)
				}
				for i := range b.Len() {
					if !rowOf(s, i).equal(want[b.Base()+i]) {
						t.Fatalf("%d threads, %d blocks: row %d of a batch of %d at %d differs from one token at a time",
							threads, len(blocks), i, b.Len(), b.Base())
					}
				}
			}
		}
	})
}

// A node's row is that of its path decoded alone, in trees of every size and
// shape, after contexts that end before, on and after an edge of a tile; and after
// any path is committed, decoding goes on as if there had been no tree.
func TestRowsOfAnyTree(t *testing.T) {
	rowCases(t, func(t *testing.T, f *gguf.File, vocab int, o ContextOptions, brief bool) {
		rng := rand.New(rand.NewPCG(2, uint64(vocab)))
		w := walker{t, open(t, f, 1, o)}
		var trees []*Context
		for threads := 1; threads <= 3; threads++ {
			trees = append(trees, open(t, f, threads, o))
		}
		for round := range 12 {
			if brief && round%4 != 2 {
				continue
			}
			base := []int{0, 1, 15, 16, 63, 100, 200, 240, 250, 255, 256, 260}[round]
			prompt := sentence(rng, base, vocab)
			w.rows(prompt)
			for _, c := range trees {
				if err := c.Truncate(0); err != nil {
					t.Fatal(err)
				}
				if base > 0 {
					if _, err := c.Prefill(context.Background(), prompt, decode.Want{}, 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			tree := randomTree(rng, 1+rng.IntN(64), vocab)
			if round%4 == 0 {
				tree = randomTree(rng, 64, vocab)
			}
			want := make([]row, tree.Len())
			for i := len(want) - 1; i >= 0; i-- {
				if want[i].logits != nil {
					continue // on the way to a node walked before
				}
				if err := w.c.Truncate(base); err != nil {
					t.Fatal(err)
				}
				for _, n := range pathTo(tree, i) {
					want[n] = w.step(tree.Tokens[n])
				}
			}
			leaf := rng.IntN(tree.Len())
			path := pathTo(tree, leaf)
			after := sentence(rng, 5, vocab)
			if err := w.c.Truncate(base); err != nil {
				t.Fatal(err)
			}
			for _, n := range path {
				w.step(tree.Tokens[n])
			}
			var wantAfter []row
			for _, tok := range after {
				if w.c.Len() < o.Context {
					wantAfter = append(wantAfter, w.step(tok))
				}
			}
			for i, c := range trees {
				before := c.Len()
				s, err := c.Verify(context.Background(), tree, logits)
				if err != nil {
					t.Fatal(err)
				}
				if c.Len() != before {
					t.Fatalf("Verify changed the context from %d to %d tokens", before, c.Len())
				}
				for n := range want {
					if !rowOf(s, n).equal(want[n]) {
						t.Fatalf("%d threads, context %d, tree of %d: node %d at depth %d differs from its path decoded alone",
							i+1, base, tree.Len(), n, tree.Depths[n])
					}
				}
				if err := c.Commit(path); err != nil {
					t.Fatal(err)
				}
				if got := c.Len(); got != base+len(path) {
					t.Fatalf("%d tokens after committing %d to %d", got, len(path), base)
				}
				for j, tok := range after[:len(wantAfter)] {
					if !(walker{t, c}).step(tok).equal(wantAfter[j]) {
						t.Fatalf("%d threads, context %d: token %d after committing path %v differs from decoding without a tree", i+1, base, j, path)
					}
				}
			}
		}
	})
}

// A batch's rows do not depend on one another's tokens: row 0 is the same beside
// any others, for every batch size.
func TestRowsOfAnyBatchSize(t *testing.T) {
	rowCases(t, func(t *testing.T, f *gguf.File, vocab int, o ContextOptions, brief bool) {
		rng := rand.New(rand.NewPCG(3, uint64(vocab)))
		prompt := sentence(rng, 70, vocab)
		c := open(t, f, 2, o)
		if _, err := c.Prefill(context.Background(), prompt, decode.Want{}, 0); err != nil {
			t.Fatal(err)
		}
		var want row
		root := decode.Token(rng.IntN(vocab))
		for n := 1; n <= decode.MaxNodes; n++ {
			if brief && n > 10 && n%9 != 0 {
				continue
			}
			tree := randomTree(rng, n, vocab)
			tree.Tokens[0] = root
			s, err := c.Verify(context.Background(), tree, logits)
			if err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				want = rowOf(s, 0)
			}
			if !rowOf(s, 0).equal(want) {
				t.Fatalf("row 0 of %d differs from the row alone", n)
			}
		}
	})
}

// A step of decoding allocates nothing.
func TestAllocations(t *testing.T) {
	for _, threads := range []int{1, 2} {
		c := open(t, demoFile(t), threads, ContextOptions{Context: 1000})
		rng := rand.New(rand.NewPCG(5, 5))
		tree := randomTree(rng, 40, 4096)
		path := pathTo(tree, 39)
		ctx := context.Background()
		step := func() {
			if _, err := c.Verify(ctx, tree, decode.Want{TopK: 8, Logits: true}); err != nil {
				t.Fatal(err)
			}
			if err := c.Commit(path[:2]); err != nil {
				t.Fatal(err)
			}
		}
		step()
		runs := 50
		if kernels.Path() == "generic" {
			runs = 5
		}
		if n := testing.AllocsPerRun(runs, step); n != 0 {
			t.Errorf("%d threads: %g allocations per Verify and Commit, want 0", threads, n)
		}
	}
}
