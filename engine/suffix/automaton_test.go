package suffix

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// naive is what the automaton stands for: the longest suffix of stream that
// occurs in docs, and where.
type naive struct{ Len, First, Last, Count int }

func search(docs, stream []decode.Token) naive {
	m := naive{First: -1, Last: -1}
	for end := range docs {
		n := 0
		for n <= end && n < len(stream) && docs[end-n] >= 0 && docs[end-n] == stream[len(stream)-1-n] {
			n++
		}
		m.Len = max(m.Len, n)
	}
	if m.Len > 0 {
		m.First, m.Last, m.Count = occurrences(docs, stream[len(stream)-m.Len:])
	}
	return m
}

func occurrences(docs, w []decode.Token) (first, last, count int) {
	first, last = -1, -1
	for end := len(w) - 1; end < len(docs); end++ {
		if slices.Equal(docs[end-len(w)+1:end+1], w) {
			if count == 0 {
				first = end
			}
			last = end
			count++
		}
	}
	return first, last, count
}

// found asks a copy, so that asking does not help the cursor along.
func (c Cursor) found() naive { return naive{c.Len(), c.First(), c.Last(), c.Count()} }

// check follows tokens through their own automaton, through one of their first
// half, and through one that lags behind and grows between steps, and compares
// every match, its ends and its count with the search. It also walks the
// shortened matches.
func check(t *testing.T, tokens []decode.Token) {
	t.Helper()
	own, half, late := New(), New(), New()
	var followed []decode.Token
	for _, tok := range tokens[:len(tokens)/2] {
		half.Extend(tok)
	}
	self, static, behind := own.Cursor(), half.Cursor(), late.Cursor()
	for i, tok := range tokens {
		stream := tokens[:i+1]
		self.Advance(tok)
		if got, want := self.found(), search(tokens[:i], stream); got != want {
			t.Fatalf("%v: own, before token %d: %+v, want %+v", tokens, i, got, want)
		}
		match := self.Len()
		own.Extend(tok)
		if match > 0 { // the same match, now with one more occurrence
			first, last, count := occurrences(stream, stream[i+1-match:])
			if got, want := self.found(), (naive{match, first, last, count}); got != want {
				t.Fatalf("%v: own, after token %d: %+v, want %+v", tokens, i, got, want)
			}
		}
		for c, before := self, self; c.Shorten(); before = c {
			if c.Len() >= before.Len() || c.found().Count <= before.found().Count {
				t.Fatalf("%v: after token %d, %+v shortened to %+v", tokens, i, before.found(), c.found())
			}
			first, last, count := occurrences(stream, stream[i+1-c.Len():])
			if got, want := c.found(), (naive{c.Len(), first, last, count}); got != want {
				t.Fatalf("%v: after token %d, shortened: %+v, want %+v", tokens, i, got, want)
			}
			if _, _, longer := occurrences(stream, stream[i-c.Len():]); longer == count && stream[i-c.Len()] >= 0 {
				t.Fatalf("%v: after token %d, shortened to %d though %d occur as often", tokens, i, c.Len(), c.Len()+1)
			}
		}
		static.Advance(tok)
		if got, want := static.found(), search(tokens[:len(tokens)/2], stream); got != want {
			t.Fatalf("%v: first half, token %d: %+v, want %+v", tokens, i, got, want)
		}
		// What is left of a match once another token is behind it, in what the
		// automaton has grown to.
		docs := tokens[:late.Len()]
		want := search(docs, stream[i-behind.Len():])
		behind.Advance(tok)
		if got := behind.found(); got != want {
			t.Fatalf("%v: lagging, token %d: %+v, want %+v", tokens, i, got, want)
		}
		if i%2 == 1 {
			late.Extend(tokens[i/2])
		}
	}
	// A stream over an automaton that grows by another stream between its steps.
	grown := New()
	c := grown.Cursor()
	for i := range tokens {
		grown.Extend(tokens[i])
		tok := tokens[len(tokens)-1-i*7%len(tokens)]
		match := append(slices.Clone(followed[len(followed)-c.Len():]), tok)
		c.Advance(tok)
		followed = append(followed, tok)
		if got, want := c.found(), search(tokens[:i+1], match); got != want {
			t.Fatalf("%v: growing, token %d (%d): %+v, want %+v", tokens, i, tok, got, want)
		}
	}
	if !slices.Equal(own.Tokens(), tokens) || own.Len() != len(tokens) {
		t.Fatalf("Tokens() = %v, want %v", own.Tokens(), tokens)
	}
	if n := len(tokens); own.States() > max(2, 2*n) {
		t.Fatalf("%v: %d states for %d tokens, want at most %d", tokens, own.States(), n, 2*n)
	}
}

func fibonacci(n int) []decode.Token {
	a, b := []decode.Token{0}, []decode.Token{0, 1}
	for len(b) < n {
		a, b = b, append(slices.Clone(b), a...)
	}
	return b[:n]
}

// deBruijn holds every word of n tokens over k tokens once.
func deBruijn(k, n int) []decode.Token {
	var out []decode.Token
	word := make([]decode.Token, n+1)
	var lyndon func(t, p int)
	lyndon = func(t, p int) {
		if t > n {
			if n%p == 0 {
				out = append(out, word[1:p+1]...)
			}
			return
		}
		word[t] = word[t-p]
		lyndon(t+1, p)
		for c := word[t-p] + 1; int(c) < k; c++ {
			word[t] = c
			lyndon(t+1, t)
		}
	}
	lyndon(1, 1)
	return append(out, out[:n-1]...)
}

func thueMorse(n int) []decode.Token {
	s := make([]decode.Token, n)
	for i := 1; i < n; i++ {
		s[i] = s[i/2] ^ decode.Token(i&1)
	}
	return s
}

func TestEqualsSearch(t *testing.T) {
	const sep = decode.Separator
	for name, tokens := range map[string][]decode.Token{
		"empty":            nil,
		"one":              {7},
		"only separators":  {sep, sep, sep},
		"a^n":              make([]decode.Token, 80),
		"a^n b a^n":        append(append(make([]decode.Token, 40), 1), make([]decode.Token, 40)...),
		"Fibonacci":        fibonacci(120),
		"Thue-Morse":       thueMorse(120),
		"de Bruijn 2,6":    deBruijn(2, 6),
		"de Bruijn 4,3":    deBruijn(4, 3),
		"same document":    {1, 2, 3, sep, 1, 2, 3, sep, 1, 2, 3},
		"split after sep":  {1, 2, 1, 3, sep, 2, 1, sep, 1, 3, 2},
		"separators crowd": {sep, 1, 2, sep, sep, 1, 2, 1, sep, 2, 1, 2, 1, sep},
	} {
		t.Run(name, func(t *testing.T) { check(t, tokens) })
	}
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		check(t, randomStream(rng, rng.IntN(70), 1+rng.IntN(6)))
	}
}

// randomStream mixes fresh tokens with quotations of what came before.
func randomStream(rng *rand.Rand, n, alphabet int) []decode.Token {
	var s []decode.Token
	for len(s) < n {
		switch {
		case rng.IntN(15) == 0:
			s = append(s, decode.Separator)
		case len(s) > 4 && rng.IntN(6) == 0:
			from := rng.IntN(len(s))
			s = append(s, s[from:min(len(s), from+rng.IntN(12))]...)
		default:
			s = append(s, decode.Token(rng.IntN(alphabet)))
		}
	}
	return s[:n]
}

func FuzzEqualsSearch(f *testing.F) {
	f.Add([]byte("abcabcabd"))
	f.Add([]byte{0, 0, 0, 255, 0, 0, 1, 0, 0})
	f.Add([]byte{1, 2, 1, 3, 255, 2, 1, 255, 1, 3, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 120 {
			b = b[:120]
		}
		tokens := make([]decode.Token, len(b))
		for i, c := range b {
			tokens[i] = decode.Token(c % 5)
			if c == 255 {
				tokens[i] = decode.Separator
			}
		}
		check(t, tokens)
	})
}

// While a cursor rests on c in abc, the automaton learns that bc also stands
// before d: the state of abc, bc and c falls apart, and c goes with bc. Had the
// cursor stayed with abc it would fall back to bc and match bcd, which its stream
// does not end with.
func TestCursorFollowsASplit(t *testing.T) {
	a := New()
	for _, r := range "abc" {
		a.Extend(decode.Token(r))
	}
	c := a.Cursor()
	c.Advance('x')
	c.Advance('c')
	for _, r := range "bcd" {
		a.Extend(decode.Token(r))
	}
	c.Advance('d')
	if got, want := c.found(), (naive{2, 5, 5, 1}); got != want {
		t.Errorf("xcd in abcbcd: %+v, want %+v", got, want)
	}
}

// A stream over a real vocabulary has states with thousands of transitions.
func TestLargeAlphabet(t *testing.T) {
	tokens := text(6000)
	a := New()
	c := a.Cursor()
	for i, tok := range tokens {
		c.Advance(tok)
		if i%200 == 0 {
			if got, want := c.found(), search(tokens[:i], tokens[:i+1]); got != want {
				t.Fatalf("token %d: %+v, want %+v", i, got, want)
			}
		}
		a.Extend(tok)
	}
}

func TestResetForgets(t *testing.T) {
	a := New()
	for i := range 500 {
		a.Extend(decode.Token(i * i % 37))
	}
	a.Reset()
	c := a.Cursor()
	c.Advance(1)
	if got, want := c.found(), (naive{0, -1, -1, 0}); got != want || a.Len() != 0 || a.States() != 1 {
		t.Errorf("after Reset: match %+v, %d tokens, %d states; want %+v, 0, 1", got, a.Len(), a.States(), want)
	}
	tokens := fibonacci(60)
	for i, tok := range tokens {
		c.Advance(tok)
		if i > 0 && c.found() != search(tokens[:i], tokens[:i+1]) {
			t.Fatalf("reused memory: token %d: %+v, want %+v", i, c.found(), search(tokens[:i], tokens[:i+1]))
		}
		a.Extend(tok)
		if i == 0 {
			c.Reset()
			c.Advance(tok)
		}
	}
}

// What a token costs, in states stepped over, is flat from 1 k to 256 k tokens of
// text and of a^n, which defeats writing every end to every state (n of them a
// token), and logarithmic at worst. The memory a token takes is bounded.
func TestCostIsFlat(t *testing.T) {
	for name, stream := range streams {
		cost := func(n int) (work, bytes float64) {
			a := New()
			c := a.Cursor()
			for _, tok := range stream(n) {
				c.Advance(tok)
				c.Last()
				a.Extend(tok)
			}
			return float64(a.work) / float64(n), float64(a.Bytes()) / float64(n)
		}
		small, _ := cost(1 << 10)
		large, bytes := cost(1 << 18)
		t.Logf("%s: %.1f states stepped over a token in 1 k tokens, %.1f in 256 k; %.0f bytes a token", name, small, large, bytes)
		if name != "fibonacci" && large > 1.3*small || small > 13 || large > 23.4 || bytes > 110 { // 1.3·log2 n
			t.Error("a token costs more in a long stream than in a short one, or takes too much memory")
		}
	}
}

// Extending a reset automaton of the same size allocates nothing.
func TestNoAllocation(t *testing.T) {
	tokens := text(3000)
	a := New()
	run := func() {
		a.Reset()
		c := a.Cursor()
		for _, tok := range tokens {
			c.Advance(tok)
			a.Extend(tok)
		}
		c.Last()
		c.Count()
	}
	run()
	if n := testing.AllocsPerRun(5, run); n != 0 {
		t.Errorf("%v allocations over %d tokens, want 0", n, len(tokens))
	}
}

// text is a stream with the repetitions of prose: words by rank, and quotations.
func text(n int) []decode.Token {
	rng := rand.New(rand.NewPCG(5, 5))
	z := rand.NewZipf(rng, 1.2, 4, 30000)
	s := make([]decode.Token, 0, n+30)
	for len(s) < n {
		if len(s) > 100 && rng.IntN(40) == 0 {
			from := rng.IntN(len(s) - 50)
			s = append(s, s[from:from+rng.IntN(30)]...)
		}
		s = append(s, decode.Token(z.Uint64()))
	}
	return s[:n]
}

var streams = map[string]func(n int) []decode.Token{
	"text":      text,
	"a^n":       func(n int) []decode.Token { return make([]decode.Token, n) },
	"fibonacci": fibonacci,
}

// BenchmarkToken is the cost of one token that is followed and then appended, in
// a stream that grows from nothing to a length: it should not depend on the
// length. The worst streams for eager counting are here beside the likely one.
func BenchmarkToken(b *testing.B) {
	for _, name := range []string{"text", "a^n", "fibonacci"} {
		for _, n := range []int{1 << 10, 1 << 14, 1 << 16, 1 << 18} {
			b.Run(fmt.Sprintf("%s/%dk", name, n>>10), func(b *testing.B) {
				tokens := streams[name](n)
				a := New()
				for b.Loop() {
					a.Reset()
					c := a.Cursor()
					for _, tok := range tokens {
						c.Advance(tok)
						a.Extend(tok)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/token")
				b.ReportMetric(float64(a.Bytes())/float64(n), "B/token")
			})
		}
	}
}

// BenchmarkLast is the cost of asking for the latest occurrence after each token.
func BenchmarkLast(b *testing.B) {
	tokens := text(1 << 16)
	for b.Loop() {
		a := New()
		c := a.Cursor()
		for _, tok := range tokens {
			c.Advance(tok)
			c.Last()
			a.Extend(tok)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(tokens)), "ns/token")
}
