package draft

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// after builds one prompt position's candidates from tokens and probabilities.
func after(k int, pairs ...float64) []decode.Candidate {
	out := make([]decode.Candidate, k)
	for i := range out {
		out[i] = decode.Candidate{Token: 0, LogProb: -50}
	}
	for i := 0; i < len(pairs); i += 2 {
		out[i/2] = decode.Candidate{Token: decode.Token(pairs[i]), LogProb: float32(math.Log(pairs[i+1]))}
	}
	return out
}

func prefillOf(rows ...[]decode.Candidate) decode.PrefillResult {
	p := decode.PrefillResult{K: len(rows[0])}
	for _, r := range rows {
		p.Top = append(p.Top, r...)
	}
	return p
}

func calibratedDraft(o CalibratedOptions, width int, prompt []decode.Token, p decode.PrefillResult, committed ...decode.Token) decode.Tree {
	c := NewCalibrated(o)
	c.Begin(prompt, p)
	c.Observe(committed, nil)
	b := NewBuilder(1000)
	b.Reset(committed[len(committed)-1], width, decode.MaxNodes, nil)
	c.Propose(b)
	var t decode.Tree
	b.Layout(&t)
	return t
}

// A prompt 1 2 3 2 4 with what the target would have put after each position. Of
// two occurrences of 2 the one behind 3 agrees with the stream, which ends 3 2.
func TestCalibratedByHand(t *testing.T) {
	prompt := toks(1, 2, 3, 2, 4)
	p := prefillOf(
		after(3, 2, 0.9),
		after(3, 3, 0.5, 6, 0.4, 7, 0.005), // 7 is below MinProb
		after(3, 2, 0.5, 5, 0.3),
		after(3, 4, 0.8, 6, 0.1),
		after(3, 8, 1.0),
	)
	o := CalibratedDefaults()
	o.Reserve, o.Occurrences = 0, 1
	// After 2: the occurrence behind 3 alone. 4 (0.8) → 8 (0.8); 6 (0.1) never
	// occurs, so it is a leaf, and so is 8.
	wantBranches(t, "best occurrence", calibratedDraft(o, 64, prompt, p, 9, 3, 2), toks(4, 8), toks(6))

	// Both: weights 2² (suffix 3 2) and 2¹ (suffix 2, though the stream's 3 stands
	// before it). Means of logs, with 0.01 where a token is not listed:
	//   4: (4·ln 0.8 + 2·ln 0.01)/6 = ln 0.186   6: (4·ln 0.1 + 2·ln 0.4)/6 = ln 0.159
	//   3: (4·ln 0.01 + 2·ln 0.5)/6 = ln 0.037
	o.Occurrences = 2
	got := calibratedDraft(o, 64, prompt, p, 9, 3, 2)
	// 3 goes on with 2 (0.5, path 0.018) and 5 (0.3, path 0.011). Behind 3 2 on the
	// path only the occurrence not used for the root is left, and there is none.
	wantBranches(t, "two occurrences", got, toks(4, 8), toks(6), toks(3, 2), toks(3, 5))

	o.Mean = MeanProb // 4: 0.533, 3: 0.167, 6: 0.2
	wantBranches(t, "mean of probabilities", calibratedDraft(o, 64, prompt, p, 9, 3, 2), toks(4, 8), toks(6), toks(3, 2), toks(3, 5))
	o.PathProb = 0.06 // 3 5 is at 0.167 · 0.3 = 0.05
	wantBranches(t, "path probability", calibratedDraft(o, 64, prompt, p, 9, 3, 2), toks(4, 8), toks(6), toks(3, 2))
	o.Breadth = []int{2, 1}
	wantBranches(t, "breadth", calibratedDraft(o, 64, prompt, p, 9, 3, 2), toks(4, 8), toks(6))
	o.Depth = 1
	wantBranches(t, "depth", calibratedDraft(o, 64, prompt, p, 9, 3, 2), toks(4), toks(6))
	wantBranches(t, "a token that never occurred", calibratedDraft(o, 64, prompt, p, 3, 77))
	o.Reserve = 0.5
	wantBranches(t, "reserve", calibratedDraft(o, 3, prompt, p, 9, 3, 2), toks(4))
}

// Best first takes the likely nodes of all branches; depth first spends the same
// budget on the first child's.
func TestCalibratedOrder(t *testing.T) {
	prompt := toks(1, 2, 3, 4, 5)
	p := prefillOf(after(2, 2, 0.5, 3, 0.45), after(2, 4, 0.1, 5, 0.09), after(2, 5, 0.9), after(2, 7, 0.9), after(2, 8, 0.9))
	o := CalibratedDefaults()
	o.Reserve = 0
	wantBranches(t, "best first", calibratedDraft(o, 6, prompt, p, 1), toks(2, 4), toks(3, 5, 8))
	o.Order = DepthFirst
	wantBranches(t, "depth first", calibratedDraft(o, 6, prompt, p, 1), toks(2, 4, 7), toks(2, 5, 8))
}

// Live: a rejected node's distribution is used where its token comes again, and
// the newest position of a token ranks first among equals.
func TestCalibratedLive(t *testing.T) {
	prompt := toks(1, 2)
	p := prefillOf(after(2, 2, 0.9), after(2, 3, 0.9))
	o := CalibratedDefaults()
	o.Reserve, o.Live, o.Occurrences, o.Depth = 0, true, 1, 1
	draft := func(live bool, committed ...decode.Token) decode.Tree {
		o.Live = live
		c := NewCalibrated(o)
		c.Begin(prompt, p)
		c.Observe(toks(5), nil)
		v := &Verdict{Tree: &decode.Tree{}, Picked: toks(6, 0, 7, 0), Path: []int{0, 2}, K: 2}
		v.Tree.Reset(5)
		v.Tree.Add(0, 2, decode.FromDynamic) // rejected
		v.Tree.Add(0, 6, decode.FromDynamic) // accepted
		v.Tree.Add(1, 2, decode.FromDynamic) // rejected
		v.Top = slices.Concat(after(2, 6, 0.9), after(2, 10, 0.9), after(2, 7, 0.9), after(2, 11, 0.9))
		c.Observe(toks(6, 7), v)
		c.Observe(committed, nil)
		b := NewBuilder(100)
		b.Reset(committed[len(committed)-1], 64, 64, nil)
		c.Propose(b)
		var tree decode.Tree
		b.Layout(&tree)
		return tree
	}
	wantBranches(t, "prompt only", draft(false, 2), toks(3))
	wantBranches(t, "unknown without live", draft(false, 6))
	wantBranches(t, "accepted node", draft(true, 6), toks(7))
	wantBranches(t, "newest of equals", draft(true, 2), toks(11))
	wantBranches(t, "context 5 2 ranks a rejected node", draft(true, 5, 2), toks(10))
	wantBranches(t, "context 2 2", draft(true, 2, 2), toks(11))
	wantBranches(t, "context 1 2 ranks the prompt", draft(true, 1, 2), toks(3))
}

// reference drafts by a plain reading of the rules: probabilities per branch in
// maps and sorted slices, no index, everything recomputed.
type reference struct {
	o      CalibratedOptions
	at     []refPosition // oldest first
	stream []decode.Token
}

// A refPosition holds its whole context, its own token last.
type refPosition struct {
	ctx []decode.Token
	top []decode.Candidate
}

func (r *reference) learn(ctx []decode.Token, top []decode.Candidate) {
	r.at = append(r.at, refPosition{slices.Clone(ctx), slices.Clone(top)})
}

// learnVerdict adds the rejected nodes' positions, then the accepted ones'.
func (r *reference) learnVerdict(v *Verdict) {
	for _, accepted := range []bool{false, true} {
		for i := range v.Tree.Len() {
			if slices.Contains(v.Path, i) != accepted {
				continue
			}
			var branch []decode.Token
			for u := i; u > 0; u = v.Tree.Parents[u] {
				branch = append(branch, v.Tree.Tokens[u])
			}
			slices.Reverse(branch)
			r.learn(append(slices.Clone(r.stream), branch...), v.TopOf(i))
		}
	}
}

type refNode struct {
	path    []decode.Token
	logProb float64
	used    []int
}

func (r reference) successors(x refNode) (next []successor, used []int) {
	ctx := append(slices.Clone(r.stream), x.path...)
	type occ struct{ at, match int }
	var found []occ
	for i := len(r.at) - 1; i >= 0; i-- {
		x0 := r.at[i].ctx
		n := 0
		for n < len(x0) && n < len(ctx) && n < r.o.Suffix && x0[len(x0)-1-n] == ctx[len(ctx)-1-n] {
			n++
		}
		if n == 0 {
			continue
		}
		if slices.ContainsFunc(r.at[i].top, func(c decode.Candidate) bool { return float64(c.LogProb) >= math.Log(r.o.MinProb)-1e-6 }) && !slices.Contains(x.used, i) {
			found = append(found, occ{i, n})
		}
	}
	slices.SortStableFunc(found, func(a, b occ) int { return b.match - a.match })
	found = found[:min(len(found), r.o.Occurrences)]
	var order []decode.Token
	total := 0.0
	for _, f := range found {
		used = append(used, f.at)
		total += math.Exp2(float64(f.match))
		for _, c := range r.at[f.at].top {
			if float64(c.LogProb) >= math.Log(r.o.MinProb)-1e-6 && !slices.Contains(order, c.Token) {
				order = append(order, c.Token)
			}
		}
	}
	for _, tok := range order {
		sum := 0.0
		for _, f := range found {
			p := float64(logProb32(r.o.MinProb))
			for _, c := range r.at[f.at].top {
				if c.Token == tok && float64(c.LogProb) >= math.Log(r.o.MinProb)-1e-6 {
					p = float64(c.LogProb)
				}
			}
			sum += math.Exp2(float64(f.match)) * p
		}
		next = append(next, successor{tok: tok, logProb: min(0, sum/total)})
	}
	slices.SortStableFunc(next, func(a, b successor) int {
		if math.Abs(a.logProb-b.logProb) < 1e-9 {
			return 0
		}
		if a.logProb > b.logProb {
			return -1
		}
		return 1
	})
	return next, used
}

func (r reference) draft(slots int) map[string]bool {
	b := NewBuilder(1000)
	b.Reset(r.stream[len(r.stream)-1], slots+1, decode.MaxNodes, nil)
	queue := []refNode{{}}
	for len(queue) > 0 {
		x := queue[0]
		queue = queue[1:]
		if len(x.path) > 0 {
			if _, added := b.AddChain(0, x.path, decode.FromCalibrated); added == 0 {
				break
			}
		}
		if len(x.path) >= r.o.Depth {
			continue
		}
		next, used := r.successors(x)
		for i, s := range next {
			if i >= r.o.Breadth[min(len(x.path), len(r.o.Breadth)-1)] || x.logProb+s.logProb < math.Log(r.o.PathProb) {
				break
			}
			y := refNode{append(slices.Clone(x.path), s.tok), x.logProb + s.logProb, append(slices.Clone(x.used), used...)}
			at := len(queue)
			for at > 0 && queue[at-1].logProb < y.logProb-1e-9 {
				at--
			}
			queue = slices.Insert(queue, at, y)
		}
	}
	var t decode.Tree
	b.Layout(&t)
	return paths(&t)
}

// The lazy and the eager builder, best first and depth first, prompt only and
// live, give the same drafts; best first is what the plain reading gives.
func TestCalibratedBuildersAgree(t *testing.T) {
	nodes, compared := 0, 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		m := toy{vocab: 6 + rng.IntN(60), k: 1 + rng.IntN(8)}
		prompt := m.prompt(rng, 1+rng.IntN(120))
		x := session{m: m, width: 2 + rng.IntN(63), depth: 1 + rng.IntN(20)}
		if seed%2 == 0 {
			x.stop = toks(1)
		}
		o := CalibratedDefaults()
		o.Live, o.Order, o.Mean = seed%3 == 0, Order(seed/2%2), Mean(seed/4%2)
		o.Scan, o.Occurrences = 1+rng.IntN(40), 1+rng.IntN(6)
		o.Breadth = []int{1 + rng.IntN(8), 1 + rng.IntN(4), 1 + rng.IntN(3)}
		lazy := NewCalibrated(o)
		o.Eager = true
		eager := NewCalibrated(o)
		want, _ := x.run(t, lazy, prompt, 15)
		got, _ := x.run(t, eager, prompt, 15)
		if !equalDrafts(got, want) {
			t.Fatalf("seed %d: eager and lazy drafts differ\n%v\n%v", seed, got, want)
		}
		if eager.Bytes() < lazy.Bytes() {
			t.Fatalf("seed %d: the whole tree takes %d bytes, the part that is needed %d", seed, eager.Bytes(), lazy.Bytes())
		}
		for _, d := range want {
			nodes += d.Len() - 1
		}
	}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 8))
		m := toy{vocab: 5 + rng.IntN(40), k: 1 + rng.IntN(8)}
		prompt := m.prompt(rng, 1+rng.IntN(100))
		o := CalibratedDefaults()
		o.Reserve, o.Scan, o.Live = 0, 10000, seed%2 == 0
		c := NewCalibrated(o)
		c.Begin(prompt, m.prefill(prompt))
		r := reference{o: o, stream: append(slices.Clone(prompt), m.prompt(rng, 1)...)}
		c.Observe(r.stream[len(prompt):], nil)
		for i := range prompt {
			r.learn(prompt[:i+1], m.top(prompt[:i+1]))
		}
		b := NewBuilder(100)
		for range 6 {
			slots := 1 + rng.IntN(63)
			b.Reset(r.stream[len(r.stream)-1], slots+1, decode.MaxNodes, nil)
			c.Propose(b)
			var tree decode.Tree
			b.Layout(&tree)
			got, want := paths(&tree), r.draft(slots)
			if len(got) != len(want) {
				t.Fatalf("seed %d: %d nodes, the plain reading gives %d", seed, len(got), len(want))
			}
			for p := range want {
				if !got[p] {
					t.Fatalf("seed %d: branch%s is missing in %v", seed, p, tree)
				}
				compared++
			}
			v := m.verify(r.stream, &tree)
			if o.Live {
				r.learnVerdict(v)
			}
			c.Observe(v.emitted(), v)
			r.stream = append(r.stream, v.emitted()...)
		}
	}
	if nodes < 1000 || compared < 1000 {
		t.Errorf("%d and %d nodes are no test", nodes, compared)
	}
}

// No position is used twice on a path, so a draft from a loop ends.
func TestCalibratedDoesNotRunInCircles(t *testing.T) {
	prompt := toks(1, 2)
	p := prefillOf(after(1, 2, 1.0), after(1, 1, 1.0))
	o := CalibratedDefaults()
	o.Depth, o.Breadth = 50, []int{4}
	wantBranches(t, "1 2 1 2 …", calibratedDraft(o, 64, prompt, p, 1), toks(2, 1))
	wantBranches(t, "1 1 1 …", calibratedDraft(o, 64, toks(1, 1, 1), prefillOf(after(1, 1, 1.0), after(1, 1, 1.0), after(1, 1, 1.0)), 1), toks(1))
	o.Occurrences = 1
	wantBranches(t, "1 1 1 …, one position at a time",
		calibratedDraft(o, 64, toks(1, 1, 1), prefillOf(after(1, 1, 1.0), after(1, 1, 1.0), after(1, 1, 1.0)), 1), toks(1, 1, 1))
}

// Without candidates nothing is proposed.
func TestCalibratedWithoutCandidates(t *testing.T) {
	c := NewCalibrated(CalibratedDefaults())
	c.Begin(toks(1, 2, 3), decode.PrefillResult{})
	c.Observe(toks(1), nil)
	b := NewBuilder(10)
	b.Reset(1, 64, 64, nil)
	c.Propose(b)
	if b.Len() != 1 || c.Positions() != 0 {
		t.Errorf("%d nodes and %d positions, want 1 and 0", b.Len(), c.Positions())
	}
}
