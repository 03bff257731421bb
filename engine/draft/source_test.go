package draft

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

func toks(ids ...decode.Token) []decode.Token { return ids }

// A toy is a target whose distribution depends on the last two tokens: k
// candidates near them, the first one likeliest. It answers in loops and quotes
// itself, so every source finds something to propose.
type toy struct{ from, vocab, k int }

func (m toy) top(ctx []decode.Token) []decode.Candidate {
	h := uint64(7)
	for _, tok := range ctx[max(0, len(ctx)-2):] {
		h = (h ^ uint64(uint32(tok))) * 0x9E3779B97F4A7C15
		h ^= h >> 31
	}
	out := make([]decode.Candidate, 0, m.k)
	p := 0.35 + float64(h%50)/100
	for i := range m.k {
		tok := decode.Token(m.from + int(h>>8+uint64(i)*(1+h>>40%5))%m.vocab)
		if !slices.ContainsFunc(out, func(c decode.Candidate) bool { return c.Token == tok }) {
			out = append(out, decode.Candidate{Token: tok, LogProb: float32(math.Log(p))})
			p *= 0.4
		}
	}
	for len(out) < m.k { // below what any source keeps
		out = append(out, decode.Candidate{Token: decode.Token(m.from), LogProb: -30})
	}
	return out
}

func (m toy) prompt(rng *rand.Rand, n int) []decode.Token {
	s := toks(decode.Token(m.from + rng.IntN(m.vocab)))
	for len(s) < n {
		if top := m.top(s); rng.IntN(6) > 0 {
			s = append(s, top[0].Token)
		} else {
			s = append(s, top[rng.IntN(min(3, len(top)))].Token)
		}
	}
	return s
}

func (m toy) prefill(prompt []decode.Token) decode.PrefillResult {
	p := decode.PrefillResult{K: m.k}
	for i := range prompt {
		p.Top = append(p.Top, m.top(prompt[:i+1])...)
	}
	return p
}

// verify scores t after stream, whose last token is the root.
func (m toy) verify(stream []decode.Token, t *decode.Tree) *Verdict {
	v := &Verdict{Tree: t, K: m.k, Path: []int{0}}
	for i := range t.Len() {
		var branch []decode.Token
		for u := i; u > 0; u = t.Parents[u] {
			branch = append(branch, t.Tokens[u])
		}
		slices.Reverse(branch)
		top := m.top(append(slices.Clone(stream), branch...))
		v.Top = append(v.Top, top...)
		v.Picked = append(v.Picked, top[0].Token)
	}
	for u := 0; ; {
		if u = t.Child(u, v.Picked[u]); u < 0 {
			return v
		}
		v.Path = append(v.Path, u)
	}
}

// emitted is what a verification commits.
func (v *Verdict) emitted() []decode.Token {
	var out []decode.Token
	for _, n := range v.Path[1:] {
		out = append(out, v.Tree.Tokens[n])
	}
	return append(out, v.Picked[v.Path[len(v.Path)-1]])
}

// clone copies a tree, because the one that a source saw is spoilt after use.
func clone(t *decode.Tree) decode.Tree {
	return decode.Tree{Tokens: slices.Clone(t.Tokens), Parents: slices.Clone(t.Parents), Depths: slices.Clone(t.Depths),
		Ancestors: slices.Clone(t.Ancestors), Origins: slices.Clone(t.Origins)}
}

func spoil[T any](s []T, x T) {
	for i := range s {
		s[i] = x
	}
}

// A session runs one request through a source and returns every draft. What it
// lends to the source is spoilt as soon as the call returns.
type session struct {
	m            toy
	width, depth int
	stop         []decode.Token
}

func (x session) run(t *testing.T, s Source, prompt []decode.Token, steps int) (drafts []decode.Tree, stream []decode.Token) {
	t.Helper()
	vocab := x.m.from + x.m.vocab
	lent := slices.Clone(prompt)
	p := x.m.prefill(prompt)
	s.Begin(lent, p)
	spoil(lent, -9)
	spoil(p.Top, decode.Candidate{Token: -9})

	stream = append(slices.Clone(prompt), x.m.top(prompt)[0].Token)
	first := slices.Clone(stream[len(stream)-1:])
	s.Observe(first, nil)
	spoil(first, -9)

	b := NewBuilder(vocab)
	for range steps {
		b.Reset(stream[len(stream)-1], x.width, x.depth, x.stop)
		s.Propose(b)
		var tree decode.Tree
		b.Layout(&tree)
		if err := tree.Validate(vocab); err != nil {
			t.Fatal(err)
		}
		if tree.Len() > x.width || tree.MaxDepth() > x.depth || tree.Len() != b.Len() {
			t.Fatalf("draft of %d nodes and depth %d (builder: %d nodes), at most %d and %d", tree.Len(), tree.MaxDepth(), b.Len(), x.width, x.depth)
		}
		for i, u := range tree.Parents {
			if i > 0 && slices.Contains(x.stop, tree.Tokens[u]) {
				t.Fatalf("node %d lies below stop token %d: %v", i, tree.Tokens[u], tree)
			}
		}
		drafts = append(drafts, clone(&tree))
		v := x.m.verify(stream, &tree)
		committed := v.emitted()
		stream = append(stream, committed...)
		s.Observe(committed, v)
		spoil(committed, -9)
		spoil(tree.Tokens, -9)
		spoil(v.Picked, -9)
		spoil(v.Top, decode.Candidate{Token: -9})
	}
	return drafts, stream
}

func equalDrafts(a, b []decode.Tree) bool {
	return slices.EqualFunc(a, b, func(x, y decode.Tree) bool {
		return slices.Equal(x.Tokens, y.Tokens) && slices.Equal(x.Parents, y.Parents) && slices.Equal(x.Origins, y.Origins)
	})
}

// every is each source in each of its ways, by name.
func every() map[string]func() Source {
	live := CalibratedDefaults()
	live.Live = true
	eager, dfs := CalibratedDefaults(), CalibratedDefaults()
	eager.Eager, eager.Mean = true, MeanProb
	dfs.Order = DepthFirst
	fill := AutomatonDefaults()
	fill.Fill, fill.BeforeRoot, fill.Occurrence = true, true, Both
	latest := AutomatonDefaults()
	latest.Occurrence = Latest
	history := func() Source {
		h := NewHistory(500)
		m := toy{from: 0, vocab: 40, k: 8}
		for i := range 9 {
			h.Remember("g", m.prompt(rand.New(rand.NewPCG(9, uint64(i))), 120))
		}
		o := AutomatonDefaults()
		o.History, o.Occurrence = h, Both
		a := NewAutomaton(o)
		a.Use("g")
		return a
	}
	return map[string]func() Source{
		"lookup":           func() Source { return NewLookup(LookupDefaults()) },
		"lookup/latest":    func() Source { return NewLookup(LookupOptions{NMax: 4, NMin: 2, K: 6, Latest: true, Partial: true}) },
		"automaton":        func() Source { return NewAutomaton(AutomatonDefaults()) },
		"automaton/fill":   func() Source { return NewAutomaton(fill) },
		"automaton/latest": func() Source { return NewAutomaton(latest) },
		"history":          history,
		"calibrated":       func() Source { return NewCalibrated(CalibratedDefaults()) },
		"calibrated/eager": func() Source { return NewCalibrated(eager) },
		"calibrated/dfs":   func() Source { return NewCalibrated(dfs) },
		"calibrated/live":  func() Source { return NewCalibrated(live) },
		"reuse":            func() Source { return Combine(NewRandom(4, 40), NewReuse(ReuseDefaults())) },
		"random":           func() Source { return NewRandom(3, 40) },
		"coordgen": func() Source {
			return Combine(Upto(NewAutomaton(fill), 16), NewCalibrated(live), NewReuse(ReuseDefaults()))
		},
	}
}

// Any source, in any session: drafts keep to the budget, the depth, the stop
// tokens and the vocabulary; nothing lent to a source is kept; and the same
// session gives the same drafts, from a new source or from one that ran another.
func TestConformance(t *testing.T) {
	for name, open := range every() {
		t.Run(name, func(t *testing.T) {
			proposed := 0
			for seed := range uint64(12) {
				rng := rand.New(rand.NewPCG(seed, 2))
				x := session{m: toy{vocab: 40, k: 8}, width: 1 + rng.IntN(decode.MaxNodes), depth: rng.IntN(30)}
				if seed == 0 {
					x.width, x.depth = decode.MaxNodes, decode.MaxNodes
				}
				if seed%3 == 1 {
					x.stop = toks(decode.Token(rng.IntN(40)), 5)
				}
				prompt := x.m.prompt(rng, 1+rng.IntN(150))
				s := open()
				want, stream := x.run(t, s, prompt, 25)
				for _, d := range want {
					proposed += d.Len() - 1
				}
				other := session{m: toy{vocab: 40, k: 5}, width: 20, depth: 9}
				other.run(t, s, other.m.prompt(rng, 60), 10)
				if again, _ := x.run(t, s, prompt, 25); !equalDrafts(again, want) {
					t.Fatalf("seed %d: the same request drafts differently after another one", seed)
				}
				if fresh, got := x.run(t, open(), prompt, 25); !equalDrafts(fresh, want) || !slices.Equal(got, stream) {
					t.Fatalf("seed %d: another source drafts differently", seed)
				}
			}
			if proposed == 0 {
				t.Fatal("nothing was ever proposed")
			}
		})
	}
}

// A request over other tokens must not meet those of the one before.
func TestBeginForgets(t *testing.T) {
	for name, open := range every() {
		if name == "random" || name == "reuse" || name == "history" {
			continue // propose tokens from nowhere, and from earlier answers
		}
		t.Run(name, func(t *testing.T) {
			s := open()
			rng := rand.New(rand.NewPCG(1, 1))
			low := session{m: toy{from: 0, vocab: 40, k: 8}, width: 64, depth: 20}
			high := session{m: toy{from: 40, vocab: 40, k: 8}, width: 64, depth: 20}
			low.run(t, s, low.m.prompt(rng, 100), 20)
			drafts, _ := high.run(t, s, high.m.prompt(rng, 100), 20)
			n := 0
			for i, d := range drafts {
				n += d.Len() - 1
				for _, tok := range d.Tokens {
					if tok < 40 {
						t.Fatalf("step %d drafts token %d of the request before", i, tok)
					}
				}
			}
			if n == 0 {
				t.Fatal("nothing was proposed")
			}
		})
	}
}

// What a source proposes depends on the committed tokens, not on how many came at
// a time; so none is dropped and none is taken twice.
func TestObserveOnce(t *testing.T) {
	for _, name := range []string{"lookup", "lookup/latest", "automaton", "automaton/fill", "automaton/latest", "history", "calibrated", "calibrated/dfs"} {
		t.Run(name, func(t *testing.T) {
			m := toy{vocab: 40, k: 8}
			for seed := range uint64(40) {
				rng := rand.New(rand.NewPCG(seed, 3))
				prompt := m.prompt(rng, 20+rng.IntN(60))
				output := m.prompt(rng, 1+rng.IntN(30))
				var want decode.Tree
				for pieces := range 3 {
					s := every()[name]()
					s.Begin(prompt, m.prefill(prompt))
					for rest := output; len(rest) > 0; {
						n := []int{len(rest), 1, 1 + rng.IntN(len(rest))}[pieces]
						s.Observe(rest[:n], nil)
						rest = rest[n:]
					}
					b := NewBuilder(40)
					b.Reset(output[len(output)-1], 40, 40, nil)
					s.Propose(b)
					var got decode.Tree
					b.Layout(&got)
					if pieces == 0 {
						want = got
					} else if !equalDrafts([]decode.Tree{got}, []decode.Tree{want}) {
						t.Fatalf("seed %d: %v after pieces, %v after one", seed, got, want)
					}
				}
			}
		})
	}
}

// Proposing twice without a commitment in between gives the same draft twice,
// but for sources that count their drafts.
func TestProposeIsPure(t *testing.T) {
	for name, open := range every() {
		if name == "random" || name == "reuse" || name == "coordgen" {
			continue
		}
		s, m := open(), toy{vocab: 40, k: 8}
		prompt := m.prompt(rand.New(rand.NewPCG(8, 8)), 90)
		s.Begin(prompt, m.prefill(prompt))
		s.Observe(prompt[:1], nil)
		var a, b decode.Tree
		builder := NewBuilder(40)
		for _, tree := range []*decode.Tree{&a, &b} {
			builder.Reset(prompt[0], 32, 32, nil)
			s.Propose(builder)
			builder.Layout(tree)
		}
		if !equalDrafts([]decode.Tree{a}, []decode.Tree{b}) {
			t.Errorf("%s: %v, then %v", name, a, b)
		}
	}
}

// paths is the set of a tree's branches, every prefix of one included.
func paths(t *decode.Tree) map[string]bool {
	set := map[string]bool{}
	names := make([]string, t.Len())
	for i := 1; i < t.Len(); i++ {
		names[i] = fmt.Sprint(names[t.Parents[i]], " ", t.Tokens[i])
		set[names[i]] = true
	}
	return set
}

// One more source at the end makes every draft a superset: for the same stream
// tree(SAM) ⊆ tree(SAM + calibration) ⊆ tree(SAM + calibration + reuse), so the
// tokens accepted in that step cannot become fewer.
func TestMoreSourcesNeverDraftLess(t *testing.T) {
	grew := [2]int{}
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 4))
		m := toy{vocab: 40, k: 8}
		prompt := m.prompt(rng, 20+rng.IntN(120))
		chain, calibrated := NewAutomaton(AutomatonDefaults()), NewCalibrated(CalibratedDefaults())
		reuse := NewReuse(ReuseDefaults())
		all := Combine(chain, calibrated, reuse)
		all.Begin(prompt, m.prefill(prompt))
		stream := append(slices.Clone(prompt), m.top(prompt)[0].Token)
		all.Observe(stream[len(stream)-1:], nil)
		width := 2 + rng.IntN(63)
		for range 20 {
			var trees [3]decode.Tree
			var accepted [3]int
			for i, s := range []Source{chain, Combine(chain, calibrated), all} {
				b := NewBuilder(40)
				b.Reset(stream[len(stream)-1], width, 40, nil)
				s.Propose(b)
				b.Layout(&trees[i])
				accepted[i] = len(m.verify(stream, &trees[i]).Path)
			}
			for i := range 2 {
				small, large := paths(&trees[i]), paths(&trees[i+1])
				for p := range small {
					if !large[p] {
						t.Fatalf("seed %d: branch%s is in draft %d and not in %d\n%v\n%v", seed, p, i, i+1, trees[i], trees[i+1])
					}
				}
				if accepted[i+1] < accepted[i] {
					t.Fatalf("seed %d: %d accepted with more sources, %d with fewer", seed, accepted[i+1], accepted[i])
				}
				grew[i] += len(large) - len(small)
			}
			v := m.verify(stream, &trees[2])
			stream = append(stream, v.emitted()...)
			all.Observe(v.emitted(), v)
		}
	}
	if grew[0] == 0 || grew[1] == 0 {
		t.Errorf("calibration added %d nodes and reuse %d; the property was not put to a test", grew[0], grew[1])
	}
}

// A random source that knows the answer has a part of its drafts accepted, and
// still proposes junk: separators, ids outside the vocabulary, rejected tokens.
func TestRandomMixes(t *testing.T) {
	m := toy{vocab: 40, k: 8}
	prompt := m.prompt(rand.New(rand.NewPCG(1, 1)), 50)
	answer := toks(m.top(prompt)[0].Token)
	for range 400 {
		answer = append(answer, m.top(slices.Concat(prompt, answer))[0].Token)
	}
	accepted := func(expect []decode.Token) (n, drafted int) {
		s := NewRandom(5, 40)
		s.Expect(expect)
		drafts, stream := session{m: m, width: 24, depth: 30}.run(t, s, prompt, 80)
		for _, d := range drafts {
			drafted += d.Len() - 1
		}
		return len(stream) - len(prompt) - 1 - len(drafts), drafted
	}
	known, drafted := accepted(answer)
	if blind, _ := accepted(nil); known <= blind || known < 40 || known > drafted/2 {
		t.Errorf("%d of %d nodes accepted, %d without the answer", known, drafted, blind)
	}
	s := NewRandom(5, 40)
	s.Begin(prompt, decode.PrefillResult{})
	b := NewBuilder(1 << 20) // takes what a real vocabulary would refuse
	outside := 0
	for range 50 {
		b.Reset(prompt[0], 64, 64, nil)
		s.Propose(b)
		for u := range b.Len() {
			if b.Token(u) >= 40 {
				outside++
			}
		}
	}
	if outside == 0 {
		t.Error("no token outside the vocabulary in 50 drafts")
	}
}

func TestUptoHoldsOneSource(t *testing.T) {
	chain := chainSource(toks(1, 2, 3, 4, 5, 6))
	b := NewBuilder(20)
	b.Reset(0, 6, 20, nil)
	Combine(Upto(chain, 2), Upto(chainSource(toks(1, 7, 8, 9)), 3), chainSource(toks(9, 10, 11))).Propose(b)
	var got decode.Tree
	b.Layout(&got)
	if want := toks(0, 1, 2, 7, 9, 10); !slices.Equal(got.Tokens, want) {
		t.Errorf("draft %v, want %v", got.Tokens, want)
	}
}

type chainSource []decode.Token

func (chainSource) Begin([]decode.Token, decode.PrefillResult) {}
func (chainSource) Observe([]decode.Token, *Verdict)           {}
func (c chainSource) Propose(b *Builder)                       { b.AddChain(0, c, decode.FromModel) }
