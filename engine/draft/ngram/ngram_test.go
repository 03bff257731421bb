package ngram

import (
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

func toks(ids ...decode.Token) []decode.Token { return ids }

// run drafts from hist with a rule that has read it as a prompt.
func run(s *Source, hist []decode.Token) []decode.Token {
	s.rule.begin(hist)
	return s.rule.draft(nil, hist)
}

// Each case was worked out by hand from the rules in llama.cpp's common/ngram-map.cpp.
func TestSimple(t *testing.T) {
	o := SimpleOptions{N: 2, M: 3}
	for _, c := range []struct {
		name string
		hist []decode.Token // the last one is the root
		want []decode.Token
	}{
		{"drafts what followed the latest occurrence", toks(0, 7, 8, 1, 1, 1, 7, 8, 2, 3, 4, 9, 7, 8), toks(2, 3, 4)},
		{"an occurrence at position 0 counts as none", toks(7, 8, 2, 3, 4, 5, 6, 7, 8), nil},
		{"no occurrence", toks(0, 1, 2, 3, 4, 5, 6, 7, 8), nil},
		{"history of n+m+1 tokens is too short", toks(0, 7, 8, 1, 7, 8, 8), nil},
		// cur_len 8 - (5+2) leaves one token, fewer than N.
		{"a continuation shorter than n is dropped", toks(0, 1, 2, 3, 4, 7, 8, 7, 8), nil},
		{"overlap: the continuation may reach into the key", toks(0, 1, 2, 3, 7, 8, 5, 7, 8), toks(5, 7)},
	} {
		if got := run(NewSimple(o), c.hist); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v drafts %v, want %v", c.name, c.hist, got, c.want)
		}
	}
}

func TestMapK(t *testing.T) {
	o := MapOptions{N: 2, M: 3}
	hist := toks(0, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8)
	s := NewMap(o)
	if got := run(s, hist); !slices.Equal(got, toks(1, 2, 3)) {
		t.Fatalf("drafts %v, want 1 2 3", got)
	}
	// Upstream does not record the draft of a key-only map, so acceptance does not shorten the next.
	s.rule.accepted(1)
	if got := s.rule.draft(nil, hist); !slices.Equal(got, toks(1, 2, 3)) {
		t.Errorf("after an accepted length of 1: drafts %v, want 1 2 3", got)
	}
	if got := run(NewMap(o), toks(0, 7, 8, 1, 2, 7, 8)); got != nil {
		t.Errorf("a history below 2n+m tokens drafts %v, want nothing", got)
	}
	// The continuation would run into the key: 8 tokens before the root, start at most 8-2-3-1.
	if got := run(NewMap(o), toks(0, 1, 2, 7, 8, 3, 4, 7, 8)); got != nil {
		t.Errorf("an occurrence within m of the key drafts %v, want nothing", got)
	}
}

func TestMapK4V(t *testing.T) {
	o := MapOptions{N: 2, M: 2, MinHits: 1, Values: true}
	// The key 7 8 is followed by 1 2 once and by 3 4 four times: 4 ≥ 3·1.
	dominant := toks(0, 7, 8, 1, 2, 7, 8, 3, 4, 7, 8, 3, 4, 7, 8, 3, 4, 7, 8, 3, 4, 9, 9, 7, 8)
	s := NewMap(o)
	if got := run(s, dominant); !slices.Equal(got, toks(3, 4)) {
		t.Fatalf("dominant value: drafts %v, want 3 4", got)
	}
	// One accepted token: the next draft of this value is one token long.
	s.rule.accepted(1)
	if got := s.rule.draft(nil, dominant); !slices.Equal(got, toks(3)) {
		t.Errorf("after an accepted length of 1: drafts %v, want 3", got)
	}
	// Two against two: neither dominates.
	even := toks(0, 7, 8, 1, 2, 7, 8, 1, 2, 7, 8, 3, 4, 7, 8, 3, 4, 9, 9, 7, 8)
	if got := run(NewMap(o), even); got != nil {
		t.Errorf("no dominant value: drafts %v, want nothing", got)
	}
	o.MinHits = 2
	s = NewMap(o)
	if got := run(s, dominant); got != nil {
		t.Errorf("first hit of two needed: drafts %v, want nothing", got)
	}
	if got := s.rule.draft(nil, dominant); !slices.Equal(got, toks(3, 4)) {
		t.Errorf("second hit of two needed: drafts %v, want 3 4", got)
	}
}

func TestMod(t *testing.T) {
	o := ModOptions{N: 3, Min: 2, Max: 5, Size: 1 << 16, Low: 0.5, Times: 2}
	prompt := toks(1, 2, 3, 4, 5, 6, 7, 9, 9, 1, 2, 3)
	s := NewMod(o)
	if got := run(s, prompt); !slices.Equal(got, toks(4, 5, 6, 7, 9)) {
		t.Fatalf("drafts %v, want 4 5 6 7 9", got)
	}
	// 1 of 5, twice: the table is wiped and the request's own context fed again.
	o.Keep = true
	other := NewMod(o)
	run(other, toks(20, 21, 22, 23, 24, 25))
	other.rule.begin(prompt)
	key := append(slices.Clone(prompt), 20, 21, 22)
	if got := other.rule.draft(nil, key); !slices.Equal(got, toks(23, 24, 25)) {
		t.Fatalf("the table is kept over requests: drafts %v, want 23 24 25", got)
	}
	for range 2 {
		other.rule.draft(nil, prompt)
		other.rule.accepted(1)
	}
	if got := other.rule.draft(nil, key); got != nil {
		t.Errorf("after a wipe the first request's entries draft %v, want nothing", got)
	}
	if got := other.rule.draft(nil, prompt); !slices.Equal(got, toks(4, 5, 6, 7, 9)) {
		t.Errorf("after a wipe the request's own context drafts %v, want 4 5 6 7 9", got)
	}
	o.Keep = false
	fresh := NewMod(o)
	run(fresh, toks(20, 21, 22, 23, 24, 25))
	fresh.rule.begin(prompt)
	if got := fresh.rule.draft(nil, key); got != nil {
		t.Errorf("a new request drafts %v from the one before, want nothing", got)
	}
	o.Min = 6
	if got := run(NewMod(o), prompt); got != nil {
		t.Errorf("a draft below the minimum: %v, want nothing", got)
	}
}

func TestCache(t *testing.T) {
	o := CacheOptions{Max: 3}
	for _, c := range []struct {
		name string
		hist []decode.Token
		want []decode.Token
	}{
		// 3-grams and 4-grams need one sighting: 1 2 3 → 4, 2 3 4 → 5, 3 4 5 → 1.
		{"a 3-gram seen once drafts", toks(1, 2, 3, 4, 5, 1, 2, 3), toks(4, 5, 1)},
		// 2-gram "2 3" was seen once and needs two; 1-gram "3" likewise.
		{"a 2-gram seen once does not", toks(2, 3, 4, 9, 2, 3), nil},
		{"a 2-gram seen twice does", toks(2, 3, 4, 9, 8, 2, 3, 4, 7, 6, 2, 3)[:12], toks(4)},
		// 5 was followed by 1, 2, 3: best share 33 %, below 66.
		{"a 1-gram without a clear successor does not", toks(5, 1, 5, 2, 5, 3, 5), nil},
	} {
		got := run(NewCache(o), c.hist)
		if c.name == "a 2-gram seen twice does" {
			got = got[:min(1, len(got))]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v drafts %v, want %v", c.name, c.hist, got, c.want)
		}
	}
}

func TestCacheDynamic(t *testing.T) {
	s := NewCache(CacheOptions{Max: 2, Dynamic: true})
	first := toks(1, 2, 3, 4, 9, 1, 2, 3, 4, 9)
	run(s, first)
	// The second request knows 1 2 3 from the first alone, where it was seen twice: strict thresholds hold.
	if got := run(s, toks(7, 1, 2, 3)); !slices.Equal(got, toks(4, 9)) {
		t.Errorf("drafts %v from the earlier request, want 4 9", got)
	}
	s = NewCache(CacheOptions{Max: 2, Dynamic: true})
	run(s, toks(1, 2, 3, 4))
	if got := run(s, toks(7, 1, 2, 3)); got != nil {
		t.Errorf("seen once in an earlier request: drafts %v, want nothing", got)
	}
}
