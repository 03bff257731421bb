package speculate

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
)

func TestCurve(t *testing.T) {
	c := Curve{{1, 10}, {8, 24}, {32, 120}}
	for w, want := range map[int]float64{1: 10, 2: 12, 8: 24, 20: 72, 32: 120, 64: 248} {
		if got := c.At(w); got != want {
			t.Errorf("%d rows cost %g, want %g", w, got, want)
		}
	}
	if got := (Curve{{1, 7}}).At(64); got != 7 {
		t.Errorf("a flat curve costs %g at 64 rows, want 7", got)
	}
	for _, s := range []string{"", "1", "1:x", "x:1ms", "2:1ms", "1:0s", "1:2ms,8:1ms", "1:1ms,8:2ms,8:3ms", "1:1ms,65:2ms", "1:1ms,"} {
		if c, err := ParseCurve(s); err == nil {
			t.Errorf("ParseCurve(%q) = %v, want an error", s, c)
		}
	}
}

// A slow target's virtual clock runs by the rows it is given.
type slow struct {
	*decodetest.Toy
	now  time.Duration
	cost func(rows int) time.Duration
}

func (s *slow) Now() time.Duration { return s.now }
func (s *slow) Verify(ctx context.Context, t *decode.Tree, w decode.Want) (decode.Scores, error) {
	s.now += s.cost(t.Len())
	return s.Toy.Verify(ctx, t, w)
}

func TestMeasureCost(t *testing.T) {
	x := &slow{Toy: decodetest.NewToy(decodetest.ToyOptions{Context: 100, Nodes: 40})}
	x.cost = func(rows int) time.Duration {
		if rows == 16 {
			return 1 // a pass that came out faster than a narrower one
		}
		return time.Duration(rows) * time.Millisecond
	}
	if _, err := x.Prefill(context.Background(), []decode.Token{1, 2}, decode.Want{}, 0); err != nil {
		t.Fatal(err)
	}
	c, err := MeasureCost(context.Background(), x, []int{40, 8, 16, 64}, 3)
	if err != nil || c.String() != "1:1ms,8:8ms,16:8ms,40:40ms" {
		t.Errorf("got %s, %v", c, err)
	}
	if x.Len() != 0 {
		t.Errorf("%d tokens left in the target", x.Len())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := MeasureCost(ctx, x, []int{8}, 3); err == nil {
		t.Error("cancelled: no error")
	}
}

// chain is a tree of one branch; star has all nodes below the root.
func chain(n int) *decode.Tree {
	t := &decode.Tree{}
	t.Reset(1)
	for t.Len() < n {
		t.Add(t.Len()-1, 2, decode.FromDynamic)
	}
	return t
}

func adaptiveWith(t *testing.T, rows int, curve string) WidthPolicy {
	t.Helper()
	c, err := ParseCurve(curve)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Adaptive(rows, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func many(tok decode.Token, n int) []decode.Token { return slices.Repeat([]decode.Token{tok}, n) }

// Where rows cost nothing all of a good draft is kept; where they cost their
// whole price, none of a bad one. What is not verified is learned from all the same.
func TestAdaptiveFollowsCost(t *testing.T) {
	flat, mid, dear := adaptiveWith(t, 64, "1:50ms,64:51ms"), adaptiveWith(t, 64, "1:50ms,64:125ms"), adaptiveWith(t, 64, "1:50ms,64:3200ms")
	all := []WidthPolicy{flat, mid, dear}
	draft := chain(32)
	kept := func(p WidthPolicy) int { return bits.OnesCount64(p.Keep(draft)) }
	learn := func(times int, emitted []decode.Token) {
		for range times {
			for _, p := range all {
				p.Learn(draft, emitted)
			}
		}
	}
	learn(200, many(2, 31))
	if n := kept(flat); n != 32 {
		t.Errorf("flat curve, good drafts: %d of 32 nodes kept", n)
	}
	learn(400, many(3, 1))
	if n := kept(dear); n != 1 {
		t.Errorf("steep curve, bad drafts: %d nodes kept, want the root alone", n)
	}
	if a, b := kept(mid), kept(flat); a > b {
		t.Errorf("a dearer curve keeps more: %d against %d", a, b)
	}
	// The first tokens of unverified drafts turn out right, one a step.
	learn(400, many(2, 1))
	if n := kept(mid); n < 2 {
		t.Errorf("drafts that would have been right: %d nodes kept", n)
	}
	for _, p := range all {
		p.Forget()
	}
	if a, b := mid.Keep(draft), adaptiveWith(t, 64, "1:50ms,64:125ms").Keep(draft); a != b {
		t.Errorf("after Forget %b is kept, a new policy keeps %b", a, b)
	}
}

// A draft that follows right ones is trusted further than one after a miss.
func TestAdaptiveTrustsRuns(t *testing.T) {
	p := adaptiveWith(t, 32, "1:51ms,32:182ms")
	draft := chain(32)
	kept := func() int { return bits.OnesCount64(p.Keep(draft)) }
	var short, long int
	for range 100 {
		p.Learn(draft, many(3, 1))
		short = kept()
		for range 5 {
			p.Learn(draft, many(2, 4))
		}
		long = kept()
	}
	if short*2 > long {
		t.Errorf("%d nodes kept after a miss, %d after 20 right tokens", short, long)
	}
}

// What is kept is a tree below the root, the best of its size by p̂, and pruning
// leaves just that.
func TestKeepIsATree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		p := adaptiveWith(t, 64, "1:50ms,64:200ms")
		tree := decodetest.RandomTree(rng, 1, 1+rng.IntN(64), 64, rng.Float64())
		for i := 1; i < tree.Len(); i++ {
			tree.Origins[i] = decode.Origin(1 + rng.IntN(int(decode.NumOrigins)-1))
		}
		for range rng.IntN(50) {
			emitted := []decode.Token{decode.Token(rng.IntN(64))}
			for _, u := range decodetest.PathTo(tree, rng.IntN(tree.Len()))[1:] {
				emitted = append(emitted, tree.Tokens[u])
			}
			p.Learn(tree, emitted[min(1, len(emitted)-1):])
		}
		keep := p.Keep(tree)
		if keep&1 == 0 {
			t.Fatal("the root is not kept")
		}
		for i := range tree.Len() {
			if keep&(1<<uint(i)) != 0 && keep&tree.Ancestors[i] != tree.Ancestors[i] {
				t.Fatalf("node %d is kept without its ancestors: %b", i, keep)
			}
		}
		got := prune(&decode.Tree{}, tree, keep)
		if err := got.Validate(64); err != nil || got.Len() != bits.OnesCount64(keep) {
			t.Fatalf("%d nodes of %d kept: %v", got.Len(), bits.OnesCount64(keep), err)
		}
		at := 0
		for i := range tree.Len() {
			if keep&(1<<uint(i)) == 0 {
				continue
			}
			if got.Tokens[at] != tree.Tokens[i] || got.Origins[at] != tree.Origins[i] || got.Depths[at] != tree.Depths[i] {
				t.Fatalf("node %d became something else", i)
			}
			at++
		}
	}
}

// With the curve that the paper implies (51 ms for one row, 182 ms for 32), a
// fixed width of 32 on drafts of which a quarter is right costs more than none;
// the adaptive width does not.
func TestAdaptivePreventsSlowdown(t *testing.T) {
	curve, _ := ParseCurve("1:51ms,32:182ms")
	run := func(p WidthPolicy) (perToken float64) {
		rng := rand.New(rand.NewPCG(9, 9))
		tokens, cost := 0, 0.0
		for range 2000 {
			tree := chain(p.Limit())
			kept := prune(&decode.Tree{}, tree, p.Keep(tree))
			var emitted []decode.Token
			for len(emitted) < kept.Len()-1 && rng.Float64() < 0.55 {
				emitted = append(emitted, 2)
			}
			last := decode.Token(3)
			if len(emitted) == kept.Len()-1 && rng.Float64() < 0.55 {
				last = 2 // the node behind those that were kept was right, too
			}
			p.Learn(tree, append(emitted, last))
			tokens += len(emitted) + 1
			cost += curve.At(kept.Len())
		}
		return cost / float64(tokens)
	}
	a, err := Adaptive(32, curve)
	if err != nil {
		t.Fatal(err)
	}
	ar, fixed, adaptive := run(Fixed(1)), run(Fixed(32)), run(a)
	t.Logf("per token: root alone %.1f ms, fixed 32 %.1f ms, adaptive %.1f ms", ar/1e6, fixed/1e6, adaptive/1e6)
	if !(fixed > ar) || !(adaptive < ar*0.75) {
		t.Error("the fixed width should lose and the adaptive one win")
	}
}
