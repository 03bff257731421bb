package suffix

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/coordbench/coordbench/engine/decode"
)

// naive returns the longest suffix of stream that occurs in docs (no occurrence
// holds a separator) and the end of its earliest occurrence.
func naive(docs, stream []decode.Token) (length, end int) {
	end = -1
	for e := range docs {
		n := 0
		for n < len(stream) && n <= e && docs[e-n] >= 0 && docs[e-n] == stream[len(stream)-1-n] {
			n++
		}
		if n > length {
			length, end = n, e
		}
	}
	return length, end
}

func check(t *testing.T, tokens []decode.Token) {
	t.Helper()
	a := New()
	self := a.Cursor()
	other := New()
	static := other.Cursor()
	half := len(tokens) / 2
	for _, tok := range tokens[:half] {
		other.Extend(tok)
	}
	for i, tok := range tokens {
		self.Advance(tok)
		length, end := self.Match()
		if wl, we := naive(tokens[:i], tokens[:i+1]); length != wl || end != we {
			t.Fatalf("%v: after %d tokens match of %d ending at %d, want %d at %d", tokens, i+1, length, end, wl, we)
		}
		a.Extend(tok)
		static.Advance(tok)
		length, end = static.Match()
		if wl, we := naive(tokens[:half], tokens[:i+1]); length != wl || end != we {
			t.Fatalf("%v: static: after %d tokens match of %d ending at %d, want %d at %d", tokens, i+1, length, end, wl, we)
		}
	}
	if !slices.Equal(a.Tokens(), tokens) {
		t.Fatalf("Tokens() = %v, want %v", a.Tokens(), tokens)
	}
}

func fibonacci(n int) []decode.Token {
	a, b := []decode.Token{0}, []decode.Token{0, 1}
	for len(b) < n {
		a, b = b, append(slices.Clone(b), a...)
	}
	return b[:n]
}

func TestAgainstNaive(t *testing.T) {
	check(t, nil)
	check(t, make([]decode.Token, 60))
	check(t, fibonacci(90))
	check(t, []decode.Token{1, 2, -1, 1, 2, 1, -1, -1, 2, 1, 2, 1})
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tokens := make([]decode.Token, rng.IntN(80))
		alphabet := 1 + rng.IntN(5)
		for i := range tokens {
			tokens[i] = decode.Token(rng.IntN(alphabet))
			if rng.IntN(15) == 0 {
				tokens[i] = decode.Separator
			}
		}
		check(t, tokens)
	}
}

func FuzzAgainstNaive(f *testing.F) {
	f.Add([]byte("abcabcabd"))
	f.Add([]byte{0, 0, 0, 255, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 200 {
			b = b[:200]
		}
		tokens := make([]decode.Token, len(b))
		for i, c := range b {
			tokens[i] = decode.Token(c % 6)
			if c == 255 {
				tokens[i] = decode.Separator
			}
		}
		check(t, tokens)
	})
}

func TestReset(t *testing.T) {
	a := New()
	for i := range 500 {
		a.Extend(decode.Token(i % 7))
	}
	a.Reset()
	c := a.Cursor()
	c.Advance(3)
	if n, end := c.Match(); n != 0 || end != -1 || a.Len() != 0 {
		t.Errorf("after Reset a match of %d at %d and %d tokens, want none", n, end, a.Len())
	}
	check(t, fibonacci(50))
}

func TestLatest(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		tokens := make([]decode.Token, 1+rng.IntN(40))
		for i := range tokens {
			tokens[i] = decode.Token(rng.IntN(3))
		}
		n := rng.IntN(6)
		want := -1
		for e := n - 1; n > 0 && e < len(tokens)-1; e++ {
			if e >= 0 && slices.Equal(tokens[e-n+1:e+1], tokens[max(0, len(tokens)-n):]) {
				want = e
			}
		}
		if got := Latest(tokens, n); got != want {
			t.Fatalf("Latest(%v, %d) = %d, want %d", tokens, n, got, want)
		}
	}
}

// text is a stream with the repetitions of prose: words drawn by rank.
func text(n int) []decode.Token {
	rng := rand.New(rand.NewPCG(5, 5))
	z := rand.NewZipf(rng, 1.2, 4, 30000)
	tokens := make([]decode.Token, n)
	for i := range tokens {
		tokens[i] = decode.Token(z.Uint64())
		if i > 100 && rng.IntN(40) == 0 { // a quotation of what came before
			from := rng.IntN(i - 50)
			i += copy(tokens[i:], tokens[from:from+rng.IntN(30)])
		}
	}
	return tokens
}

// BenchmarkToken is the cost of one token, followed and appended, in a stream of
// a length: it should not grow with it.
func BenchmarkToken(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18} {
		b.Run(fmt.Sprintf("%dk", n>>10), func(b *testing.B) {
			tokens := text(n)
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
			bytes := len(a.states)*int(unsafe.Sizeof(state{})) + len(a.edges)*(int(unsafe.Sizeof(edge{}))+4) + 4*len(a.slots) + 4*len(a.tokens)
			b.ReportMetric(float64(bytes)/float64(n), "bytes/token")
		})
	}
}
