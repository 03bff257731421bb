package draft

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// draftOf is what s proposes after a prompt and the tokens committed behind it.
func draftOf(s Source, width int, prompt []decode.Token, committed ...decode.Token) decode.Tree {
	s.Begin(prompt, decode.PrefillResult{})
	root := prompt[len(prompt)-1]
	if len(committed) > 0 {
		s.Observe(committed, nil)
		root = committed[len(committed)-1]
	}
	b := NewBuilder(1 << 20)
	b.Reset(root, width, decode.MaxNodes, nil)
	s.Propose(b)
	var t decode.Tree
	b.Layout(&t)
	return t
}

// branches lists a tree's root-to-leaf branches in layout order.
func branches(t decode.Tree) [][]decode.Token {
	var out [][]decode.Token
	for leaf := 1; leaf < t.Len(); leaf++ {
		if slices.Contains(t.Parents, leaf) {
			continue
		}
		var b []decode.Token
		for u := leaf; u > 0; u = t.Parents[u] {
			b = append(b, t.Tokens[u])
		}
		slices.Reverse(b)
		out = append(out, b)
	}
	return out
}

func wantBranches(t *testing.T, name string, tree decode.Tree, want ...[]decode.Token) {
	t.Helper()
	if got := branches(tree); !slices.EqualFunc(got, want, slices.Equal[[]decode.Token]) {
		t.Errorf("%s: drafted %v, want %v", name, got, want)
	}
}

// published is the rule of prompt lookup decoding, transcribed.
func published(ids []decode.Token, nMax, nMin, k int) []decode.Token {
	for n := nMax; n >= nMin; n-- {
		for i := 0; i+n <= len(ids); i++ {
			if !slices.Equal(ids[i:i+n], ids[len(ids)-n:]) {
				continue
			}
			start, end := i+n, i+n+k
			if end <= len(ids) && start < len(ids)-n {
				return ids[start:end]
			}
		}
	}
	return nil
}

func TestLookupIsThePublishedRule(t *testing.T) {
	drafted := 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		o := LookupDefaults()
		if seed%2 == 1 {
			o = LookupOptions{NMax: 1 + rng.IntN(4), NMin: 1, K: 1 + rng.IntN(6)}
			o.NMin += rng.IntN(o.NMax)
		}
		ids := make([]decode.Token, 2+rng.IntN(60))
		for i := range ids {
			ids[i] = decode.Token(rng.IntN(1 + rng.IntN(5)))
		}
		cut := 1 + rng.IntN(len(ids)-1)
		want := published(ids, o.NMax, o.NMin, o.K)
		tree := draftOf(NewLookup(o), 64, ids[:cut], ids[cut:]...)
		if got := tree.Tokens[1:]; !slices.Equal(got, want) {
			t.Fatalf("%v, n %d to %d, k %d: drafted %v, want %v", ids, o.NMax, o.NMin, o.K, got, want)
		}
		drafted += len(want)
	}
	if drafted == 0 {
		t.Fatal("nothing was drafted")
	}
}

func TestLookup(t *testing.T) {
	o := LookupOptions{NMax: 3, NMin: 1, K: 3}
	latest, partial, both := o, o, o
	latest.Latest, partial.Partial = true, true
	both.Latest, both.Partial = true, true
	for _, c := range []struct {
		name string
		o    LookupOptions
		ids  []decode.Token
		want []decode.Token
	}{
		{"longest suffix first", o, toks(3, 7, 7, 7, 1, 2, 3, 4, 5, 6, 1, 2, 3), toks(4, 5, 6)},
		{"earliest of two", o, toks(1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 8, 9, 1, 2, 3), toks(4, 5, 6)},
		{"latest of two", latest, toks(1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 8, 9, 1, 2, 3), toks(7, 8, 9)},
		{"a continuation that does not fit falls back to a shorter suffix", o, toks(2, 5, 6, 7, 1, 2, 1, 2), toks(5, 6, 7)},
		{"a continuation that does not fit is taken in part", partial, toks(2, 5, 6, 7, 1, 2, 9, 2, 1, 2), toks(9, 2, 1)},
		{"part of a continuation", both, toks(1, 2, 3, 9, 9, 1, 2, 3, 8, 1, 2, 3), toks(8, 1, 2)},
		{"not the suffix itself", partial, toks(4, 5, 6), nil},
		{"the continuation may run into the suffix", o, toks(1, 1, 1, 1), toks(1, 1, 1)},
		{"an occurrence that ends within n of the end is too near", LookupOptions{NMax: 2, NMin: 2, K: 1}, toks(1, 1, 1), nil},
		{"shorter than the suffix", o, toks(1, 2), nil},
	} {
		tree := draftOf(NewLookup(c.o), 64, c.ids)
		if got := tree.Tokens[1:]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %v drafts %v, want %v", c.name, c.ids, got, c.want)
		}
	}
}

// longest is the longest suffix of ids that occurs in docs, and the ends of its
// earliest and latest occurrence there.
func longest(docs, ids []decode.Token) (n, first, last int) {
	for end := range docs {
		m := 0
		for m <= end && m < len(ids) && docs[end-m] >= 0 && docs[end-m] == ids[len(ids)-1-m] {
			m++
		}
		switch {
		case m > n:
			n, first, last = m, end, end
		case m == n && n > 0:
			last = end
		}
	}
	return n, first, last
}

func follow(docs []decode.Token, end, n int) []decode.Token {
	chain := docs[min(len(docs), end+1):min(len(docs), end+1+n)]
	if i := slices.Index(chain, decode.Separator); i >= 0 {
		chain = chain[:i]
	}
	return chain
}

// The published rule: the longest suffix of the stream, root included, that occurs
// before the root; its earliest occurrence; ⌊4·L⌋ tokens from there, with
// BeforeRoot none of them the root.
func TestAutomatonIsThePublishedRule(t *testing.T) {
	drafted := 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		ids := make([]decode.Token, 2+rng.IntN(80))
		for i := range ids {
			ids[i] = decode.Token(rng.IntN(1 + rng.IntN(6)))
		}
		before := ids[:len(ids)-1]
		n, first, last := longest(before, ids)
		cut := 1 + rng.IntN(len(ids)-1)
		draft := func(o AutomatonOptions) []decode.Token {
			tree := draftOf(NewAutomaton(o), 64, ids[:cut], ids[cut:]...)
			return tree.Tokens[1:]
		}
		o := AutomatonDefaults()
		o.BeforeRoot = false
		var want []decode.Token
		if n > 0 {
			want = follow(ids, first, min(40, 4*n))
		}
		drafted += len(want)
		if got := draft(o); !slices.Equal(got, want) {
			t.Fatalf("%v: into the root: drafted %v, want %v after a match of %d", ids, got, want, n)
		}
		o.BeforeRoot = true
		if n > 0 {
			want = follow(before, first, min(40, 4*n))
		}
		if got := draft(o); !slices.Equal(got, want) {
			t.Fatalf("%v: drafted %v, want %v after a match of %d", ids, got, want, n)
		}
		o.Alpha, o.Cap, o.Occurrence, o.MinMatch = 1.5, 7, Latest, 2
		want = nil
		if n >= 2 {
			want = follow(before, last, min(7, int(1.5*float64(n))))
		}
		if got := draft(o); !slices.Equal(got, want) {
			t.Fatalf("%v: latest: drafted %v, want %v after a match of %d", ids, got, want, n)
		}
		o = AutomatonOptions{Fill: true}
		want = nil
		if n > 0 {
			want = follow(ids, first, 63)
		}
		if got := draft(o); !slices.Equal(got, want) {
			t.Fatalf("%v: fill: drafted %v, want %v after a match of %d", ids, got, want, n)
		}
	}
	if drafted == 0 {
		t.Fatal("nothing was drafted")
	}
}

func TestAutomatonBothOccurrences(t *testing.T) {
	ids := toks(1, 2, 3, 4, 5, 9, 1, 2, 3, 6, 7, 8, 1, 2, 3)
	o := AutomatonDefaults()
	o.Occurrence, o.BeforeRoot = Both, true
	wantBranches(t, "both", draftOf(NewAutomaton(o), 64, ids), toks(4, 5, 9, 1, 2, 3, 6, 7, 8, 1, 2), toks(6, 7, 8, 1, 2))
	wantBranches(t, "both, 12 nodes", draftOf(NewAutomaton(o), 13, ids), toks(4, 5, 9, 1, 2, 3, 6, 7, 8, 1, 2), toks(6))
	o.Alpha = 1
	wantBranches(t, "both, α = 1", draftOf(NewAutomaton(o), 64, ids), toks(4, 5, 9), toks(6, 7, 8))
	o.Alpha, o.Cap = 4, 2
	wantBranches(t, "both, cap 2", draftOf(NewAutomaton(o), 64, ids), toks(4, 5), toks(6, 7))
}

func TestHistoryIsUsedWhereItsMatchIsLonger(t *testing.T) {
	h := NewHistory(100)
	h.Remember("a", toks(1, 2, 3, 10, 11))
	h.Remember("a", toks(3, 12, 2, 3, 13))
	h.Remember("b", toks(1, 2, 3, 20, 21))
	o := AutomatonDefaults()
	o.History, o.BeforeRoot = h, true
	draft := func(group string, bias int, occ Occurrence, ids ...decode.Token) decode.Tree {
		o.Bias, o.Occurrence = bias, occ
		s := NewAutomaton(o)
		s.Use(group)
		return draftOf(s, 64, ids[:1], ids[1:]...)
	}
	wantBranches(t, "history only", draft("a", 0, Earliest, 7, 1, 2, 3), toks(10, 11))
	wantBranches(t, "the other group", draft("b", 0, Earliest, 7, 1, 2, 3), toks(20, 21))
	wantBranches(t, "a group without answers", draft("c", 0, Earliest, 7, 1, 2, 3))
	wantBranches(t, "the stream's match is as long", draft("a", 0, Earliest, 2, 3, 5, 6, 8, 2, 3), toks(5, 6, 8, 2))
	wantBranches(t, "longer by one", draft("a", 0, Earliest, 3, 5, 6, 2, 3), toks(10, 11))
	wantBranches(t, "longer by one, bias one", draft("a", 1, Earliest, 3, 5, 6, 2, 3), toks(5, 6, 2))
	wantBranches(t, "latest", draft("a", 0, Latest, 7, 2, 3), toks(13))
	wantBranches(t, "both", draft("a", 0, Both, 7, 2, 3), toks(10, 11), toks(13))
	// 11 | 3 stand side by side in the store, but in two answers.
	wantBranches(t, "no match crosses a separator", draft("a", 0, Earliest, 7, 11, 3), toks(10, 11))
	tree := draft("a", 0, Earliest, 7, 1, 2, 3)
	if tree.Origins[1] != decode.FromHistory {
		t.Errorf("origin %v, want history", tree.Origins[1])
	}
}

func TestHistoryForgets(t *testing.T) {
	h := NewHistory(100)
	h.Remember("a", toks(1, 2, 3, 4))
	o := AutomatonDefaults()
	o.History = h
	s := NewAutomaton(o)
	s.Use("a")
	wantBranches(t, "remembered", draftOf(s, 64, toks(9, 1, 2)), toks(3, 4))
	h.Forget()
	b := NewBuilder(100)
	b.Reset(2, 64, 64, nil)
	s.Propose(b)
	if b.Len() != 1 || h.Tokens("a") != 0 {
		t.Errorf("after Forget %d nodes are drafted and %d tokens held, want 1 and 0", b.Len(), h.Tokens("a"))
	}
	wantBranches(t, "forgotten", draftOf(s, 64, toks(9, 1, 2)))
	h.Remember("a", toks(1, 2, 5))
	wantBranches(t, "remembered again", draftOf(s, 64, toks(9, 1, 2)), toks(5))
}

// The store keeps the newest answers, whole, below the cap; it finds what a
// search of them finds; and what it dropped is not found.
func TestHistoryIsAQueue(t *testing.T) {
	const most = 200
	rng := rand.New(rand.NewPCG(3, 3))
	h := NewHistory(most)
	o := AutomatonDefaults()
	o.History, o.Fill = h, true
	s := NewAutomaton(o)
	var all [][]decode.Token
	evictions := 0
	for range 400 {
		answer := make([]decode.Token, 1+rng.IntN(40))
		for i := range answer {
			answer[i] = decode.Token(rng.IntN(9))
		}
		all = append(all, answer)
		held := h.Tokens("")
		h.Remember("", answer)
		if h.Tokens("") > most {
			t.Fatalf("%d tokens held, at most %d", h.Tokens(""), most)
		}
		if h.Tokens("") < held+len(answer)+1 {
			evictions++
		}
		var docs []decode.Token // the newest answers that make up what is held
		for i := len(all) - 1; len(docs) < h.Tokens(""); i-- {
			docs = append(append(slices.Clone(all[i]), decode.Separator), docs...)
		}
		if len(docs) != h.Tokens("") {
			t.Fatalf("%d tokens held; whole answers make %d", h.Tokens(""), len(docs))
		}
		stream := append(toks(99), all[rng.IntN(len(all))]...)
		stream = stream[:1+rng.IntN(len(stream))]
		var want []decode.Token
		n, first, _ := longest(docs, stream)
		if own, at, _ := longest(stream[:len(stream)-1], stream); own < n {
			want = follow(docs, first, 63)
		} else if own > 0 {
			want = follow(stream[:len(stream)-1], at, 63)
		}
		tree := draftOf(s, 64, stream)
		if got := tree.Tokens[1:]; !slices.Equal(got, want) {
			t.Fatalf("%v in %v: drafted %v, want %v", stream, docs, got, want)
		}
	}
	if evictions == 0 {
		t.Error("nothing was ever dropped")
	}
	h.Remember("long", make([]decode.Token, 3*most))
	if n := h.Tokens("long"); n != most {
		t.Errorf("of an answer beyond the cap %d tokens are held, want %d", n, most)
	}
	h.Remember("empty", nil)
	if n := h.Tokens("empty"); n != 0 {
		t.Errorf("an empty answer takes %d tokens", n)
	}
}
