package draft

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// verdict is what a target says about a draft of branches below root. picked
// gives its choice after a path; elsewhere it picks the first child.
func verdict(root decode.Token, picked map[string]decode.Token, chains ...[]decode.Token) *Verdict {
	b := NewBuilder(1000)
	b.Reset(root, decode.MaxNodes, decode.MaxNodes, nil)
	for _, c := range chains {
		b.AddChain(0, c, decode.FromDynamic)
	}
	v := &Verdict{Tree: &decode.Tree{}, Path: []int{0}}
	b.Layout(v.Tree)
	for i := range v.Tree.Len() {
		key := ""
		for u := i; u > 0; u = v.Tree.Parents[u] {
			key = string(rune(v.Tree.Tokens[u])) + key
		}
		tok, ok := picked[key]
		if c := slices.Index(v.Tree.Parents, i); !ok && c > 0 {
			tok = v.Tree.Tokens[c]
		} else if !ok {
			tok = 999
		}
		v.Picked = append(v.Picked, tok)
	}
	for u := 0; ; {
		if u = v.Tree.Child(u, v.Picked[u]); u < 0 {
			return v
		}
		v.Path = append(v.Path, u)
	}
}

// letters reads a string as tokens.
func letters(s string) []decode.Token {
	var out []decode.Token
	for _, r := range s {
		out = append(out, decode.Token(r))
	}
	return out
}

// offered is what s adds to a draft of at most width nodes.
func offered(s Source, width int) decode.Tree {
	b := NewBuilder(1000)
	b.Reset(1, width, decode.MaxNodes, nil)
	s.Propose(b)
	var t decode.Tree
	b.Layout(&t)
	return t
}

// The three causes of a rejection that the paper's Table 2 tells apart. The
// branches hold what is needed to go on in the first two, and there is nothing
// to reuse in the third.
func TestReuseByCauseOfRejection(t *testing.T) {
	for _, c := range []struct {
		name  string
		draft string
		// picked is the target's choice after a prefix of the draft, where it is not the
		// draft's next token.
		picked map[string]decode.Token
		want   []string
	}{
		// The target inserts M before c: M c d e. It goes on like the draft, so
		// what is wanted after M is x_e and the run.
		{"missing", "abcde", map[string]decode.Token{"ab": 'M'}, []string{"de", "cde"}},
		// The target puts S for c: S d e f. Wanted after S is the run.
		{"synonym", "abcdef", map[string]decode.Token{"ab": 'S'}, []string{"def", "cdef"}},
		// Nothing of the draft's rest is what the target would put there.
		{"redundant", "abcdef", map[string]decode.Token{"ab": 'X', "abc": 'Y', "abcd": 'Z', "abcde": 'W'}, nil},
		// One agreement by chance is no run.
		{"redundant but for one", "abcdef", map[string]decode.Token{"ab": 'X', "abcd": 'Z', "abcde": 'W'}, nil},
		// Two tokens replaced by two others: the run starts at e+2 and is offered as it is.
		{"two tokens off", "abcdefg", map[string]decode.Token{"ab": 'X', "abc": 'Y'}, []string{"efg"}},
		{"the longest run", "abcdefghij", map[string]decode.Token{"ab": 'X', "abcde": 'Y'}, []string{"ghij"}},
		{"the earlier of two as long", "abcdefgh", map[string]decode.Token{"ab": 'X', "abcde": 'Y'}, []string{"de", "cde"}},
		{"wrong at once", "abcd", map[string]decode.Token{"": 'X'}, []string{"bcd", "abcd"}},
		{"all accepted", "abcd", nil, nil},
		{"wrong at the end", "abcd", map[string]decode.Token{"abc": 'X'}, nil},
	} {
		r := NewReuse(ReuseDefaults())
		r.Begin(nil, decode.PrefillResult{})
		r.Observe(nil, verdict(1, c.picked, letters(c.draft)))
		var want [][]decode.Token
		for _, w := range c.want {
			want = append(want, letters(w))
		}
		tree := offered(r, 64)
		wantBranches(t, c.name, tree, want...)
		for _, o := range tree.Origins[1:] {
			if o != decode.FromReuse {
				t.Errorf("%s: origin %v, want reuse", c.name, o)
			}
		}
	}
}

func TestReuseOfTrees(t *testing.T) {
	for _, c := range []struct {
		name   string
		draft  []string
		picked map[string]decode.Token
		want   []string
	}{
		{"the spine, though a side branch has more", []string{"abcde", "kbcdefg"}, map[string]decode.Token{"": 'X'}, []string{"bcde", "abcde"}},
		{"the accepted branch, not the spine", []string{"abcdefg", "kbcde"}, map[string]decode.Token{"": 'k', "k": 'X'}, []string{"cde", "bcde"}},
		{"a side branch, where the spine has no run", []string{"ab", "kbcde", "lbc"}, map[string]decode.Token{"": 'X', "kb": 'Y'}, []string{"de"}},
		{"the longest of side branches", []string{"a", "kbc", "lbcd"}, map[string]decode.Token{"": 'X'}, []string{"bcd", "lbcd"}},
		// Accepted to depth 2; of the side branch only positions beyond 3 can come now.
		{"a side branch beyond what was emitted", []string{"ab", "kbcdef"}, map[string]decode.Token{"ab": 'X'}, []string{"def", "cdef"}},
		{"no draft", nil, nil, nil},
	} {
		r := NewReuse(ReuseDefaults())
		r.Begin(nil, decode.PrefillResult{})
		var chains, want [][]decode.Token
		for _, d := range c.draft {
			chains = append(chains, letters(d))
		}
		for _, w := range c.want {
			want = append(want, letters(w))
		}
		r.Observe(nil, verdict(1, c.picked, chains...))
		wantBranches(t, c.name, offered(r, 64), want...)
	}
}

func TestReuseLife(t *testing.T) {
	old := verdict(1, map[string]decode.Token{"ab": 'X', "abc": 'Y'}, letters("abcdef"))   // ef
	young := verdict(1, map[string]decode.Token{"ab": 'X', "abc": 'Y'}, letters("abcdgh")) // gh
	none := verdict(1, nil, letters("abc"))

	r := NewReuse(ReuseDefaults())
	r.Begin(nil, decode.PrefillResult{})
	r.Observe(nil, old)
	wantBranches(t, "first draft", offered(r, 64), letters("ef"))
	r.Observe(nil, young)
	wantBranches(t, "second draft, the newest first", offered(r, 64), letters("gh"), letters("ef"))
	r.Observe(nil, none)
	wantBranches(t, "third draft", offered(r, 64), letters("gh"))
	r.Observe(nil, none)
	wantBranches(t, "fourth draft", offered(r, 64))

	r.Observe(nil, old)
	wantBranches(t, "what fits", offered(r, 2), letters("e"))
	wantBranches(t, "and once more", offered(r, 64), letters("ef"))

	r.Observe(nil, old)
	wantBranches(t, "no slot", offered(r, 1))
	wantBranches(t, "dropped because the draft was full", offered(r, 64))

	r.Observe(nil, old)
	r.Begin(nil, decode.PrefillResult{})
	wantBranches(t, "a new request", offered(r, 64))

	o := ReuseDefaults()
	o.Pool, o.Life, o.MinRun = 1, 1, 3
	r = NewReuse(o)
	r.Observe(nil, old)
	wantBranches(t, "a run below MinRun", offered(r, 64))
	long := verdict(1, map[string]decode.Token{"ab": 'X', "abc": 'Y'}, letters("abcdefg"))
	r.Observe(nil, long)
	r.Observe(nil, verdict(1, map[string]decode.Token{"ab": 'X', "abc": 'Y'}, letters("abcdopq")))
	wantBranches(t, "a pool of one", offered(r, 64), letters("opq"))
	wantBranches(t, "a life of one", offered(r, 64))
}

// A branch that is there with the same first token and as long makes a segment
// superfluous; a shorter one does not.
func TestReuseBesideOtherSources(t *testing.T) {
	for _, c := range []struct{ chain, want string }{{"xef", "xef ef"}, {"ezz", "ezz"}, {"e", "ef"}, {"ez", "ez"}} {
		r := NewReuse(ReuseDefaults())
		r.Observe(nil, verdict(1, map[string]decode.Token{"ab": 'X', "abc": 'Y'}, letters("abcdef")))
		got := ""
		for _, b := range branches(offered(Combine(chainSource(letters(c.chain)), r), 64)) {
			for _, tok := range b {
				got += string(rune(tok))
			}
			got += " "
		}
		if got != c.want+" " {
			t.Errorf("behind %q: %q, want %q", c.chain, got, c.want)
		}
	}
}

// Of a chain, the segment is the one a plain reading of the rule finds.
func TestReuseRule(t *testing.T) {
	kept := 0
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		x := make([]decode.Token, rng.IntN(20))
		for i := range x {
			x[i] = decode.Token(rng.IntN(3))
		}
		v := &Verdict{Tree: &decode.Tree{}, Path: []int{0}}
		v.Tree.Reset(0)
		for i, tok := range x {
			v.Tree.Add(i, tok, decode.FromDynamic)
		}
		y := make([]decode.Token, len(x)+1) // y[i] is for x[i]
		for i := range y {
			y[i] = decode.Token(rng.IntN(3))
			if i < len(x) && rng.IntN(2) == 0 {
				y[i] = x[i]
			}
		}
		v.Picked = y
		e := 0
		for e < len(x) && x[e] == y[e] {
			e++
			v.Path = append(v.Path, e)
		}
		at, n := 0, 1
		for i := e + 1; i < len(x); i++ {
			for j := i; j < len(x) && x[j] == y[j]; j++ {
				if j+1-i > n {
					at, n = i, j+1-i
				}
			}
		}
		var want [][]decode.Token
		if n >= 2 {
			want = append(want, x[at:at+n])
			if at == e+1 {
				want = append(want, x[e:at+n])
			}
			kept++
		}
		r := NewReuse(ReuseDefaults())
		r.Observe(nil, v)
		var b Builder
		b.vocab = 3
		b.Reset(0, 64, 64, nil)
		for _, w := range want {
			if c := b.Child(0, w[0]); c < 0 || 1+b.Height(c) < len(w) {
				b.AddChain(0, w, decode.FromReuse)
			}
		}
		var tree decode.Tree
		b.Layout(&tree)
		if got := offered(r, 64); !slices.Equal(got.Tokens[1:], tree.Tokens[1:]) || !slices.Equal(got.Parents, tree.Parents) {
			t.Fatalf("seed %d: x %v, y %v: %v, want %v", seed, x, y, branches(got), want)
		}
	}
	if kept < 100 {
		t.Errorf("only %d segments", kept)
	}
}
