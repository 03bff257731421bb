package decodetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// leastContext is the room that the suites need.
const leastContext = 160

// RunTarget checks that what open returns, with an empty context each time, is a
// decode.Target. The suite fills the context, so it should be short: 160 to some
// hundred tokens. Targets whose Info says Exact are compared bit by bit, others
// to within Loose.
func RunTarget(t *testing.T, open func(t *testing.T) decode.Target) {
	for _, c := range []struct {
		name string
		run  func(*target)
	}{
		{"Info", (*target).describe},
		{"PrefillInPieces", (*target).pieces},
		{"PrefillCandidates", (*target).promptTop},
		{"RowsAreConsistent", (*target).consistent},
		{"RowsOfTreesEqualSequences", (*target).trees},
		{"VerifyLeavesContext", (*target).verifyLeaves},
		{"CommitEqualsSequence", (*target).commit},
		{"TruncateThenRedo", (*target).truncate},
		{"MisuseLeavesTargetUsable", (*target).misuse},
		{"FullContext", (*target).full},
		{"ScoresLast", (*target).scoresLast},
		{"Cancelled", (*target).cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := open(t)
			info := x.Info()
			if info.Context < leastContext {
				t.Fatalf("a context of %d tokens; the suite needs %d", info.Context, leastContext)
			}
			c.run(&target{T: t, x: x, info: info, rng: rand.New(rand.NewPCG(uint64(len(c.name)), 1))})
			if err := x.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

type target struct {
	*testing.T
	x    decode.Target
	info decode.Info
	rng  *rand.Rand
}

var everything = decode.Want{TopK: 5, Logits: true}

func (t *target) prompt(n int) []decode.Token { return Prompt(t.rng, n, t.info.Vocab) }

func (t *target) prefill(prompt []decode.Token) row {
	t.Helper()
	r, err := t.x.Prefill(context.Background(), prompt, everything, 0)
	if err != nil {
		t.Fatalf("Prefill of %d tokens after %d: %v", len(prompt), t.x.Len(), err)
	}
	if len(r.Last.Best) != 1 {
		t.Fatalf("Prefill left %d rows, want 1", len(r.Last.Best))
	}
	return rowOf(r.Last, 0)
}

func (t *target) verify(tree *decode.Tree) []row {
	t.Helper()
	s, err := t.x.Verify(context.Background(), tree, everything)
	if err != nil {
		t.Fatalf("Verify of %d nodes after %d tokens: %v", tree.Len(), t.x.Len(), err)
	}
	if len(s.Best) != tree.Len() {
		t.Fatalf("Verify of %d nodes left %d rows", tree.Len(), len(s.Best))
	}
	rows := make([]row, tree.Len())
	for i := range rows {
		rows[i] = rowOf(s, i)
	}
	return rows
}

func (t *target) do(what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (t *target) length(what string, want int) {
	t.Helper()
	if got := t.x.Len(); got != want {
		t.Fatalf("%s: the context holds %d tokens, want %d", what, got, want)
	}
}

func (t *target) equal(what string, got, want row) {
	t.Helper()
	if d := differs(got, want, t.info.Exact); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

// after is the row after context and more, computed anew as one prompt.
func (t *target) after(tokens ...decode.Token) row {
	t.Helper()
	t.do("Truncate to 0", t.x.Truncate(0))
	return t.prefill(tokens)
}

func (t *target) describe() {
	i := t.info
	if i.Model == "" || i.Backend == "" || i.Vocab < 1 || i.MaxNodes < 1 || i.MaxNodes > decode.MaxNodes {
		t.Errorf("Info is %+v", i)
	}
	t.prefill(t.prompt(9))
	if again := t.x.Info(); again != i {
		t.Errorf("Info changed from %+v to %+v", i, again)
	}
}

func (t *target) pieces() {
	p := t.prompt(70)
	whole := t.prefill(p)
	t.length("after a prompt", 70)
	for _, cut := range [][]int{{1}, {69}, {33, 34}, {1, 2, 3, 64}} {
		t.do("Truncate", t.x.Truncate(0))
		from := 0
		var last row
		for _, to := range append(slices.Clone(cut), 70) {
			last = t.prefill(p[from:to])
			from = to
			t.length("after a piece", to)
		}
		t.equal(fmt.Sprintf("prompt cut at %v", cut), last, whole)
	}
}

func (t *target) promptTop() {
	p := t.prompt(40)
	r, err := t.x.Prefill(context.Background(), p, decode.Want{}, 4)
	t.do("Prefill", err)
	if r.K != 4 || len(r.Top) != 4*len(p) {
		t.Fatalf("%d candidates of %d for each of %d tokens, want 4 each", len(r.Top), r.K, len(p))
	}
	if len(r.Last.Best) != 1 || r.Last.Logits != nil || r.Last.K != 0 || len(r.Last.Top) != 0 {
		t.Errorf("nothing but the arg-max was asked for the last token: got %d rows, %d logits, %d candidates", len(r.Last.Best), len(r.Last.Logits), len(r.Last.Top))
	}
	if r.Last.Best[0] != r.Top[4*39].Token {
		t.Errorf("the last position's first candidate is %d, its arg-max %d", r.Top[4*39].Token, r.Last.Best[0])
	}
	tops := slices.Clone(r.Top)
	for _, n := range []int{1, 2, 17, 39, 40} {
		want := t.after(p[:n]...)
		t.equal(fmt.Sprintf("candidates of prompt position %d", n-1), row{best: tops[4*(n-1)].Token, top: tops[4*(n-1) : 4*n]},
			row{best: want.best, top: want.top[:4]})
	}
	if r, err = t.x.Prefill(context.Background(), p[:3], decode.Want{}, 0); err != nil || r.K != 0 || r.Top != nil {
		t.Errorf("no candidates were asked for: got %d of %d, %v", len(r.Top), r.K, err)
	}
	if v := t.info.Vocab; v <= 4096 {
		r, err := t.x.Prefill(context.Background(), p[:3], decode.Want{TopK: v + 5, Logits: true}, v+5)
		t.do("Prefill", err)
		if r.K != v || len(r.Top) != 3*v || r.Last.K != v || len(r.Last.Top) != v {
			t.Errorf("%d candidates of a vocabulary of %d: got %d and %d", v+5, v, r.K, r.Last.K)
		} else {
			check(t.T, "all candidates", rowOf(r.Last, 0))
		}
	}
}

func (t *target) consistent() {
	check(t.T, "prompt", t.prefill(t.prompt(30)))
	for i, r := range t.verify(RandomTree(t.rng, 1, min(20, t.info.MaxNodes), t.info.Vocab, 0.5)) {
		check(t.T, fmt.Sprintf("node %d", i), r)
	}
	s, err := t.x.Verify(context.Background(), RandomTree(t.rng, 1, min(5, t.info.MaxNodes), t.info.Vocab, 0.5), decode.Want{})
	t.do("Verify", err)
	if s.Logits != nil || s.K != 0 || len(s.Top) != 0 {
		t.Errorf("nothing but the arg-max was asked for: got %d logits, %d candidates", len(s.Logits), len(s.Top))
	}
}

func (t *target) trees() {
	base := t.prompt(24)
	for _, shape := range []struct {
		nodes int
		deep  float64
	}{{1, 0}, {2, 0}, {8, 1}, {16, 0.6}, {33, 0.8}, {64, 0.7}, {64, 0}} {
		n := min(shape.nodes, t.info.MaxNodes)
		tree := RandomTree(t.rng, base[3], n, t.info.Vocab, shape.deep)
		if shape.nodes > 1 && shape.deep == 0 { // a star
			tree.Reset(base[3])
			for tok := decode.Token(0); tree.Len() < n && int(tok) < t.info.Vocab; tok++ {
				tree.Add(0, tok, decode.FromRandom)
			}
		}
		t.do("Truncate", t.x.Truncate(0))
		t.prefill(base)
		rows := t.verify(tree)
		for _, i := range append(t.rng.Perm(tree.Len())[:min(8, tree.Len())], tree.Len()-1) {
			seq := slices.Clone(base)
			for _, u := range PathTo(tree, i) {
				seq = append(seq, tree.Tokens[u])
			}
			t.equal(fmt.Sprintf("node %d of %d at depth %d", i, tree.Len(), tree.Depths[i]), rows[i], t.after(seq...))
		}
	}
}

func (t *target) verifyLeaves() {
	p := t.prompt(30)
	t.prefill(p)
	tree := RandomTree(t.rng, 2, min(12, t.info.MaxNodes), t.info.Vocab, 0.5)
	first := t.verify(tree)
	t.length("after Verify", 30)
	t.verify(RandomTree(t.rng, 3, min(40, t.info.MaxNodes), t.info.Vocab, 0.5))
	for i, r := range t.verify(tree) {
		t.equal(fmt.Sprintf("node %d, verified again", i), r, first[i])
	}
	got := t.prefill(p[:3])
	t.equal("prompt after an uncommitted tree", got, t.after(append(slices.Clone(p), p[:3]...)...))
}

func (t *target) commit() {
	seq := t.prompt(20)
	t.prefill(seq)
	for round := range 12 {
		n := 1 + t.rng.IntN(min(24, t.info.MaxNodes))
		tree := RandomTree(t.rng, decode.Token(t.rng.IntN(t.info.Vocab)), n, t.info.Vocab, 0.7)
		t.verify(tree)
		path := PathTo(tree, t.rng.IntN(n))
		if len(seq)+len(path) > leastContext-2 {
			break
		}
		t.do("Commit", t.x.Commit(path))
		for _, u := range path {
			seq = append(seq, tree.Tokens[u])
		}
		t.length("after Commit", len(seq))
		if round%3 != 2 {
			continue
		}
		one := &decode.Tree{}
		one.Reset(seq[0])
		got := t.verify(one)[0]
		t.equal(fmt.Sprintf("after %d committed trees", round+1), got, t.after(append(slices.Clone(seq), seq[0])...))
		t.do("Truncate", t.x.Truncate(len(seq)))
	}
}

func (t *target) truncate() {
	p := t.prompt(40)
	want := t.prefill(p)
	for _, n := range []int{40, 39, 7, 1, 0} {
		t.verify(RandomTree(t.rng, 5, min(9, t.info.MaxNodes), t.info.Vocab, 0.5))
		t.do("Truncate", t.x.Truncate(n))
		t.length("after Truncate", n)
		if n < 40 {
			t.equal(fmt.Sprintf("redone from %d", n), t.prefill(p[n:]), want)
		}
	}
}

func (t *target) misuse() {
	ctx := context.Background()
	p := t.prompt(20)
	t.prefill(p)
	vocab := decode.Token(t.info.Vocab)
	fork := &decode.Tree{}
	fork.Reset(1)
	fork.Add(0, 2, decode.FromRandom)
	fork.Add(0, 3, decode.FromRandom)
	fork.Add(1, 3, decode.FromRandom)
	probe := t.verify(fork)
	prefill := func(p ...decode.Token) error { _, err := t.x.Prefill(ctx, p, decode.Want{}, 0); return err }
	verify := func(edit func(*decode.Tree)) error {
		tree := &decode.Tree{}
		tree.Reset(1)
		tree.Add(0, 2, decode.FromRandom)
		tree.Add(1, 3, decode.FromRandom)
		edit(tree)
		_, err := t.x.Verify(ctx, tree, decode.Want{})
		return err
	}
	commit := func(path ...int) error { t.verify(fork); return t.x.Commit(path) }
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"empty prompt", func() error { return prefill() }},
		{"prompt with a token beyond the vocabulary", func() error { return prefill(1, vocab) }},
		{"prompt with a separator", func() error { return prefill(1, decode.Separator, 2) }},
		{"tree without a root", func() error { _, err := t.x.Verify(ctx, &decode.Tree{}, decode.Want{}); return err }},
		{"tree with a token beyond the vocabulary", func() error { return verify(func(x *decode.Tree) { x.Tokens[1] = vocab }) }},
		{"tree with a separator", func() error { return verify(func(x *decode.Tree) { x.Tokens[2] = decode.Separator }) }},
		{"tree with a wrong mask", func() error { return verify(func(x *decode.Tree) { x.Ancestors[2] = 5 }) }},
		{"tree with a parent behind its child", func() error { return verify(func(x *decode.Tree) { x.Parents[1] = 2 }) }},
		{"tree with equal siblings", func() error { return verify(func(x *decode.Tree) { x.Add(0, 2, decode.FromRandom) }) }},
		{"tree of too many nodes", func() error {
			_, err := t.x.Verify(ctx, RandomTree(t.rng, 1, t.info.MaxNodes+1, t.info.Vocab, 0.9), decode.Want{})
			return err
		}},
		{"commit without verify", func() error { t.do("Truncate", t.x.Truncate(20)); return t.x.Commit([]int{0}) }},
		{"commit of an empty path", func() error { return commit() }},
		{"commit without the root", func() error { return commit(1) }},
		{"commit of siblings", func() error { return commit(0, 1, 2) }},
		{"commit that skips a node", func() error { return commit(0, 3) }},
		{"commit beyond the tree", func() error { return commit(0, 4) }},
		{"commit of a negative node", func() error { return commit(0, -1) }},
		{"truncate to more than there is", func() error { return t.x.Truncate(21) }},
		{"truncate to less than nothing", func() error { return t.x.Truncate(-1) }},
	} {
		if err := c.do(); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		t.length(c.name, 20)
		for i, r := range t.verify(fork) {
			t.equal(fmt.Sprintf("%s: node %d afterwards", c.name, i), r, probe[i])
		}
	}
	t.verify(fork)
	t.do("Commit", t.x.Commit([]int{0, 1}))
	if err := t.x.Commit([]int{0, 1}); err == nil {
		t.Error("a second commit of one tree: no error")
	}
	t.length("after a commit and one too many", 22)
}

func (t *target) full() {
	size := t.info.Context
	p := t.prompt(size)
	if _, err := t.x.Prefill(context.Background(), append(slices.Clone(p), 1), decode.Want{}, 0); !errors.Is(err, decode.ErrContextFull) {
		t.Errorf("prompt of %d tokens in a context of %d: %v, want decode.ErrContextFull", size+1, size, err)
	}
	t.length("after a prompt that does not fit", 0)
	t.prefill(p[:size-1])
	two := &decode.Tree{}
	two.Reset(1)
	two.Add(0, 2, decode.FromRandom)
	if _, err := t.x.Verify(context.Background(), two, decode.Want{}); !errors.Is(err, decode.ErrContextFull) {
		t.Errorf("a branch of 2 tokens in the last position: %v, want decode.ErrContextFull", err)
	}
	t.length("after a branch that does not fit", size-1)
	one := &decode.Tree{}
	one.Reset(p[size-1])
	last := t.verify(one)[0]
	t.do("Commit", t.x.Commit([]int{0}))
	t.length("after the last position", size)
	if _, err := t.x.Verify(context.Background(), one, decode.Want{}); !errors.Is(err, decode.ErrContextFull) {
		t.Errorf("a root behind a full context: %v, want decode.ErrContextFull", err)
	}
	if err := t.x.Commit([]int{0}); err == nil {
		t.Error("commit after a failed Verify: no error")
	}
	t.length("after a root that does not fit", size)
	t.equal("last position of the context", last, t.after(p...))
}

func (t *target) scoresLast() {
	t.prefill(t.prompt(16))
	tree := RandomTree(t.rng, 2, min(16, t.info.MaxNodes), t.info.Vocab, 0.5)
	s, err := t.x.Verify(context.Background(), tree, everything)
	t.do("Verify", err)
	var now []row
	for i := range tree.Len() {
		now = append(now, rowOf(s, i))
	}
	runtime.GC()
	for range 100 {
		runtime.Gosched()
	}
	for i := range now {
		if d := differs(rowOf(s, i), now[i], true); d != "" {
			t.Errorf("row %d changed before the next call: %s", i, d)
		}
	}
}

func (t *target) cancelled() {
	p := t.prompt(24)
	t.prefill(p[:12])
	tree := RandomTree(t.rng, 2, min(16, t.info.MaxNodes), t.info.Vocab, 0.5)
	want := t.verify(tree)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := t.x.Prefill(ctx, p[12:], everything, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Prefill: %v", err)
	}
	t.length("after a cancelled Prefill", 12)
	if _, err := t.x.Verify(ctx, tree, everything); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Verify: %v", err)
	}
	t.length("after a cancelled Verify", 12)
	for i, r := range t.verify(tree) {
		t.equal(fmt.Sprintf("node %d after a cancelled pass", i), r, want[i])
	}
	got := t.prefill(p[12:])
	t.equal("prompt after a cancelled pass", got, t.after(p...))
}
