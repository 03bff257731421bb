package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

func root(tok decode.Token) *decode.Tree {
	t := &decode.Tree{}
	t.Reset(tok)
	return t
}

// What a caller can get wrong is an error with numbers, and leaves the context
// as it was.
func TestMisuse(t *testing.T) {
	c := open(t, tinies[0].file(t, edit{}), 2, ContextOptions{Context: 40, Nodes: 16, Chunk: 8})
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(1, 1))
	if _, err := c.Prefill(ctx, sentence(rng, 30, 300), decode.Want{}, 0); err != nil {
		t.Fatal(err)
	}
	prefill := func(p ...decode.Token) error { _, err := c.Prefill(ctx, p, decode.Want{}, 0); return err }
	verify := func(x *decode.Tree) error { _, err := c.Verify(ctx, x, decode.Want{}); return err }
	broken := root(1)
	broken.Add(0, 2, decode.FromRandom)
	broken.Ancestors[1] = 2
	verified := func(x *decode.Tree) {
		t.Helper()
		if err := verify(x); err != nil {
			t.Fatal(err)
		}
	}
	fork := root(1)
	fork.Add(0, 2, decode.FromRandom)
	fork.Add(0, 3, decode.FromRandom)
	for _, x := range []struct {
		name string
		do   func() error
		full bool
		want string
	}{
		{"empty prompt", func() error { return prefill() }, false, "empty prompt"},
		{"long prompt", func() error { return prefill(make([]decode.Token, 11)...) }, true, "prompt of 11 tokens after 30 in a context of 40: context is full"},
		{"token beyond the vocabulary", func() error { return prefill(5, 300) }, false, "prompt: token 300 at position 1 of 2 is outside the vocabulary of 300"},
		{"separator", func() error { return prefill(decode.Separator) }, false, "prompt: token -1 at position 0 of 1 is outside the vocabulary of 300"},
		{"tree above the limit", func() error { return verify(randomTree(rng, 17, 300)) }, false, "draft tree of 17 nodes; this context takes at most 16"},
		{"tree beyond the context", func() error { return verify(randomTree(rng, 11, 300)) }, true, "draft tree of 11 tokens after 30 in a context of 40: context is full"},
		{"invalid tree", func() error { return verify(broken) }, false, "draft tree: node 1: ancestors 0x2, want 0x3"},
		{"empty tree", func() error { return verify(&decode.Tree{}) }, false, "draft tree: no root"},
		{"commit before verify", func() error { return c.Commit([]int{0}) }, false, "commit without a verified tree"},
		{"commit of no path", func() error { verified(fork); return c.Commit(nil) }, false, "commit path [] does not start at the root"},
		{"commit of siblings", func() error { verified(fork); return c.Commit([]int{0, 1, 2}) }, false, "commit path [0 1 2]: node 2 is no child of node 1"},
		{"commit after truncate", func() error { verified(fork); c.Truncate(30); return c.Commit([]int{0}) }, false, "commit without a verified tree"},
		{"truncate to more", func() error { return c.Truncate(31) }, false, "truncating a context of 30 tokens to 31"},
		{"truncate to less", func() error { return c.Truncate(-1) }, false, "truncating a context of 30 tokens to -1"},
		{"batch that overlaps", func() error { _, err := c.NewBatch(29, []decode.Token{1}); return err }, false, "batch of 1 rows at position 29; the context holds 30 of 40"},
		{"empty batch", func() error { _, err := c.NewBatch(30, nil); return err }, false, "batch of 0 rows; this context takes 1 to 16"},
		{"batch of strangers", func() error { _, err := c.NewBatch(30, []decode.Token{1, 999}); return err }, false, "token 999 at position 1 of 2 is outside"},
		{"block out of order", func() error {
			b, err := c.NewBatch(30, []decode.Token{1})
			if err != nil {
				return err
			}
			return c.RunBlock(Block{1, 2}, b)
		}, false, "layers 1 to 2 of 2: the batch has reached layer 0"},
		{"unfinished batch", func() error {
			b, err := c.NewBatch(30, []decode.Token{1})
			if err != nil {
				return err
			}
			_, err = c.Finish(b, decode.Want{}, false)
			return err
		}, false, "finishing a batch at position 30 after layer 0"},
	} {
		err := x.do()
		if err == nil || !strings.HasPrefix(err.Error(), x.want) {
			t.Errorf("%s: got %v, want %s…", x.name, err, x.want)
		}
		if errors.Is(err, decode.ErrContextFull) != x.full {
			t.Errorf("%s: %v: is it decode.ErrContextFull? want %v", x.name, err, x.full)
		}
		if c.Len() != 30 {
			t.Fatalf("%s: the context holds %d tokens, want 30 as before", x.name, c.Len())
		}
	}
}

// A context can be filled to its last position, by a prompt and by trees.
func TestFullContext(t *testing.T) {
	c := open(t, tinies[0].file(t, edit{}), 2, ContextOptions{Context: 20})
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{20, 1, 12} {
		if err := c.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Prefill(ctx, sentence(rng, n, 300), decode.Want{}, 2); err != nil {
			t.Fatal(err)
		}
		for c.Len() < 20 {
			tree := randomTree(rng, 20-c.Len(), 300)
			if _, err := c.Verify(ctx, tree, decode.Want{}); err != nil {
				t.Fatal(err)
			}
			if err := c.Commit(pathTo(tree, tree.Len()-1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Verify(ctx, root(1), decode.Want{}); !errors.Is(err, decode.ErrContextFull) {
			t.Errorf("one token after 20 of 20: got %v, want decode.ErrContextFull", err)
		}
	}
}

// countdown is a context that is cancelled after its n-th look.
type countdown struct {
	context.Context
	looks, n int
}

func (c *countdown) Err() error {
	if c.looks++; c.looks > c.n {
		return context.Canceled
	}
	return nil
}

// A cancelled pass leaves the context as it was, and the next pass the same bits.
func TestCancel(t *testing.T) {
	c := open(t, tinies[0].file(t, edit{}), 2, ContextOptions{Chunk: 4})
	rng := rand.New(rand.NewPCG(1, 1))
	ctx := context.Background()
	prompt := sentence(rng, 10, 300)
	want := walker{t, c}.rows(prompt)
	if err := c.Truncate(3); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, err := c.Prefill(&countdown{ctx, 0, n}, prompt[3:9], decode.Want{}, 0); n < 2 && !errors.Is(err, context.Canceled) {
			t.Fatalf("prefill cancelled at look %d: %v", n, err)
		}
		if n < 2 && c.Len() != 3 {
			t.Fatalf("%d tokens after a cancelled prefill, want 3", c.Len())
		}
	}
	if _, err := c.Verify(&countdown{ctx, 0, 0}, root(prompt[9]), logits); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled verify: %v", err)
	}
	if err := c.Commit([]int{0}); err == nil {
		t.Error("committed a tree whose verification was cancelled")
	}
	if c.Len() != 9 || !(walker{t, c}).step(prompt[9]).equal(want[9]) {
		t.Errorf("%d tokens; the row after cancelled passes differs from one without", c.Len())
	}
}
