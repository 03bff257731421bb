package draft

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/google/go-cmp/cmp"
)

func TestBuilderMerges(t *testing.T) {
	b := NewBuilder(100)
	b.Reset(9, 8, 5, nil)
	if last, added := b.AddChain(0, toks(1, 2, 3), decode.FromDynamic); last != 3 || added != 3 {
		t.Fatalf("AddChain = %d, %d, want 3, 3", last, added)
	}
	if last, added := b.AddChain(0, toks(1, 4), decode.FromCalibrated); last != 4 || added != 1 {
		t.Fatalf("AddChain that shares its first token = %d, %d, want 4, 1", last, added)
	}
	if c, isNew := b.Add(2, 3, decode.FromReuse); c != 3 || isNew {
		t.Fatalf("Add of what is there = %d, %v, want 3, false", c, isNew)
	}
	b.AddChain(0, toks(5, 6), decode.FromReuse)
	if b.Free() != 1 || b.Height(0) != 3 || b.Height(1) != 2 || b.Height(5) != 1 {
		t.Errorf("free %d, heights %d %d %d; want 1, 3 2 1", b.Free(), b.Height(0), b.Height(1), b.Height(5))
	}
	b.Add(3, 7, decode.FromHistory) // deepens the spine after other branches were added
	var got decode.Tree
	b.Layout(&got)
	want := decode.Tree{
		Tokens:    toks(9, 1, 2, 3, 7, 4, 5, 6),
		Parents:   []int{-1, 0, 1, 2, 3, 1, 0, 6},
		Depths:    []int{0, 1, 2, 3, 4, 2, 1, 2},
		Ancestors: []uint64{0b1, 0b11, 0b111, 0b1111, 0b11111, 0b100011, 0b1000001, 0b11000001},
		Origins: []decode.Origin{decode.FromRoot, decode.FromDynamic, decode.FromDynamic, decode.FromDynamic, decode.FromHistory,
			decode.FromCalibrated, decode.FromReuse, decode.FromReuse},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
	if path := b.Path(nil, 7); !cmp.Equal(path, toks(1, 2, 3, 7)) {
		t.Errorf("Path(7) = %v, want 1 2 3 7", path)
	}
}

func TestBuilderRefuses(t *testing.T) {
	for _, c := range []struct {
		name         string
		width, depth int
		chain, want  []decode.Token
	}{
		{"beyond the width", 3, 9, toks(1, 2, 3), toks(1, 2)},
		{"beyond the depth", 9, 2, toks(1, 2, 3), toks(1, 2)},
		{"no depth at all", 9, 0, toks(1, 2), nil},
		{"depth below zero", 9, -3, toks(1, 2), nil},
		{"no width at all", 0, 9, toks(1, 2), nil},
		{"more width than a mask has bits", 1000, 99, make([]decode.Token, 80), make([]decode.Token, decode.MaxNodes-1)},
		{"below a stop token", 9, 9, toks(1, 5, 2), toks(1, 5)},
		{"a separator", 9, 9, toks(1, decode.Separator, 2), toks(1)},
		{"outside the vocabulary", 9, 9, toks(1, 10), toks(1)},
	} {
		b := NewBuilder(10)
		b.Reset(3, c.width, c.depth, toks(8, 5))
		b.AddChain(0, c.chain, decode.FromLookup)
		var tree decode.Tree
		b.Layout(&tree)
		if !cmp.Equal(tree.Tokens, append(toks(3), c.want...)) {
			t.Errorf("%s: drafted %v, want %v", c.name, tree.Tokens[1:], c.want)
		}
	}
	b := NewBuilder(10)
	b.Reset(5, 9, 9, toks(5))
	if u, isNew := b.Add(0, 1, decode.FromLookup); u != -1 || isNew {
		t.Errorf("Add below a root that ends the output = %d, %v, want -1, false", u, isNew)
	}
}

// Whatever is added, the layout is a valid tree that holds the same branches, and
// heights are those of the tree.
func TestBuilderKeepsInvariants(t *testing.T) {
	var tree decode.Tree
	b := NewBuilder(12)
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 6))
		stop := toks(decode.Token(rng.IntN(12)))
		b.Reset(decode.Token(rng.IntN(12)), rng.IntN(70), rng.IntN(12), stop)
		for range rng.IntN(120) {
			u, tok := rng.IntN(b.Len()), decode.Token(rng.IntN(15)-2)
			before, free := b.Len(), b.Free()
			had := b.Child(u, tok)
			c, isNew := b.Add(u, tok, decode.Origin(1+rng.IntN(int(decode.NumOrigins)-1)))
			switch {
			case isNew != (b.Len() == before+1) || isNew && (free == 0 || b.Free() != free-1):
				t.Fatalf("seed %d: new %v, %d nodes after %d, %d free after %d", seed, isNew, b.Len(), before, b.Free(), free)
			case had >= 0 && (c != had || isNew):
				t.Fatalf("seed %d: child %d, new %v; %d was there", seed, c, isNew, had)
			case c >= 0 && (b.Parent(c) != u || b.Token(c) != tok || b.Depth(c) != b.Depth(u)+1):
				t.Fatalf("seed %d: child %d of %d holds %d at depth %d below %d", seed, c, u, b.Token(c), b.Depth(c), b.Parent(c))
			}
		}
		b.Layout(&tree)
		if err := tree.Validate(12); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if tree.MaxDepth() != b.Height(0) || tree.Len() != b.Len() {
			t.Fatalf("seed %d: depth %d and %d nodes, builder says %d and %d", seed, tree.MaxDepth(), tree.Len(), b.Height(0), b.Len())
		}
		set := paths(&tree)
		for u := 1; u < b.Len(); u++ {
			name := ""
			for _, tok := range b.Path(nil, u) {
				name += " " + strconv.Itoa(int(tok))
			}
			if !set[name] {
				t.Fatalf("seed %d: branch%s is not in the layout %v", seed, name, tree)
			}
			if i := tree.Child(0, b.Token(u)); b.Parent(u) == 0 && tree.Origins[i] != b.Origin(u) {
				t.Fatalf("seed %d: node %d came from %v, the layout says %v", seed, u, b.Origin(u), tree.Origins[i])
			}
		}
	}
}
