package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The reference is a regular expression matcher that tries everything: the
// alternatives in order, repetitions greedily with backtracking, as the
// expressions are written in llama.cpp.

type matcherFunc func(s []rune, i int, next func(i int) bool) bool

func one(is func(r rune) bool) matcherFunc {
	return func(s []rune, i int, next func(int) bool) bool { return i < len(s) && is(s[i]) && next(i+1) }
}

func seq(ms ...matcherFunc) matcherFunc {
	if len(ms) == 0 {
		return func(_ []rune, i int, next func(int) bool) bool { return next(i) }
	}
	rest := seq(ms[1:]...)
	return func(s []rune, i int, next func(int) bool) bool {
		return ms[0](s, i, func(j int) bool { return rest(s, j, next) })
	}
}

func alt(ms ...matcherFunc) matcherFunc {
	return func(s []rune, i int, next func(int) bool) bool {
		for _, m := range ms {
			if m(s, i, next) {
				return true
			}
		}
		return false
	}
}

func repeat(m matcherFunc, least, most int) matcherFunc {
	return func(s []rune, i int, next func(int) bool) bool {
		var try func(n, i int) bool
		try = func(n, i int) bool {
			if n < most && m(s, i, func(j int) bool { return j > i && try(n+1, j) }) {
				return true
			}
			return n >= least && next(i)
		}
		return try(0, i)
	}
}

func notBefore(is func(r rune) bool) matcherFunc {
	return func(s []rune, i int, next func(int) bool) bool { return !(i < len(s) && is(s[i])) && next(i) }
}

func text(t string) matcherFunc {
	var ms []matcherFunc
	for _, c := range t {
		ms = append(ms, one(func(r rune) bool { return r == c }))
	}
	return seq(ms...)
}

const many = 1 << 30

func isL(r rune) bool  { return unicode.Is(unicode.L, r) || 0x2ebf0 <= r && r <= 0x2ee5d }
func isN(r rune) bool  { return unicode.Is(unicode.N, r) }
func isS(r rune) bool  { return unicode.Is(unicode.White_Space, r) }
func notS(r rune) bool { return !isS(r) }
func rest(r rune) bool { return !isS(r) && !isL(r) && !isN(r) }
func isNL(r rune) bool { return r == '\r' || r == '\n' }

func plus(is func(rune) bool) matcherFunc { return repeat(one(is), 1, many) }

var (
	space      = repeat(text(" "), 0, 1)
	spaceTails = alt(seq(plus(isS), notBefore(notS)), plus(isS))

	// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
	refGPT2 = alt(text("'s"), text("'t"), text("'re"), text("'ve"), text("'m"), text("'ll"), text("'d"),
		seq(space, plus(isL)), seq(space, plus(isN)), seq(space, plus(rest)), spaceTails)

	refDigit  = one(isN)
	refDigits = plus(isN)
	refThree  = repeat(one(func(r rune) bool { return '0' <= r && r <= '9' }), 3, 3)
	refPunct  = plus(func(r rune) bool { return unicode.Is(unicode.P, r) || strings.ContainsRune("$+<=>^~|", r) })
)

// refWords is (?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func refWords(digits int) matcherFunc {
	fold := func(t string) matcherFunc {
		ms := []matcherFunc{text("'")}
		for _, c := range t {
			ms = append(ms, one(func(r rune) bool { return r == c || r == c-'a'+'A' }))
		}
		return seq(ms...)
	}
	return alt(fold("s"), fold("t"), fold("re"), fold("ve"), fold("m"), fold("ll"), fold("d"),
		seq(repeat(one(func(r rune) bool { return !isNL(r) && !isL(r) && !isN(r) }), 0, 1), plus(isL)),
		repeat(one(isN), 1, digits),
		seq(space, plus(rest), repeat(one(isNL), 0, many)),
		seq(repeat(one(isS), 0, many), plus(isNL)),
		spaceTails)
}

// refSplit applies the expressions one after the other: matches and what is
// between them are words.
func refSplit(chars []rune, ms ...matcherFunc) []int {
	ends := []int{len(chars)}
	for _, m := range ms {
		var next []int
		from := 0
		for _, to := range ends {
			s := chars[from:to]
			start := 0
			for i := 0; i < len(s); {
				end := -1
				if !m(s, i, func(j int) bool { end = j; return true }) || end == i {
					i++
					continue
				}
				if i > start {
					next = append(next, from+i)
				}
				next = append(next, from+end)
				start, i = end, end
			}
			if start < len(s) {
				next = append(next, to)
			}
			from = to
		}
		ends = next
	}
	return ends
}

var references = map[string][]matcherFunc{
	"gpt-2":     {refGPT2},
	"smollm":    {refDigit, refGPT2},
	"qwen2":     {refWords(1)},
	"llama-bpe": {refWords(3)},
	"default":   {refPunct, refGPT2, refDigits, refThree},
}

func checkSplits(t *testing.T, s string) {
	t.Helper()
	chars := codePoints(s)
	if len(chars) == 0 {
		return
	}
	for name, ms := range references {
		got, want := preTokenizers[name].split(nil, chars), refSplit(chars, ms...)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q splits at %v, want %v", name, s, got, want)
		}
	}
}

var samples = []string{
	"Hello world", "it's we'LL I'D 'S 'x '", "a  b   c ", "   ", " \n \n x", "x\r\n\r\ny", "12345 678", "１２３४", "½²Ⅷ", "!?.. \n\nq", " !\n", "$1+2=3^|~`",
	"日本語 テスト", "e\u0301 ʰǅ", "\u00a0x\u3000y\u2028", "\u0085a", "\t\tfoo", "\tbar", "_x", "a_b", "😀😀 x", "ſ'ſ", "'\u212a", "\x00\x01 a", "can't'll", "' s", "'r", "'re'", "''s",
}

func TestSplitsEqualReference(t *testing.T) {
	for _, s := range samples {
		checkSplits(t, s)
	}
	alphabet := []rune("'srtvemldSLDaZé日 \t\n\r\u00a0\u30000159²Ⅷ!.$_`\u0301😀\ufffd")
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		var b strings.Builder
		for range 1 + r.IntN(12) {
			b.WriteRune(alphabet[r.IntN(len(alphabet))])
		}
		checkSplits(t, b.String())
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range samples {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) < 2000 { // the reference is slow
			checkSplits(t, s)
		}
	})
}

// The counts are those of llama.cpp, which was asked for every code point
// (whether "xa", "x1" and "x!" are one word or two, with "gpt-2" and with
// "default"). A newer Unicode in Go changes them; llama.cpp's tables decide.
func TestClassesEqualLlamaCpp(t *testing.T) {
	var n [classOther + 1]int
	punct := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) {
			n[classOf(r)]++
			if unicode.IsPunct(r) {
				punct++
			}
		}
	}
	if got, want := [...]int{n[classLetter], n[classNumber], n[classSpace], punct}, [...]int{136726, 1831, 25, 842}; got != want {
		t.Errorf("%v letters, numbers, spaces, punctuation; want %v", got, want)
	}
}

func TestCodePoints(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []rune
	}{
		{"aé日😀", []rune("aé日😀")},
		{"\xff\x80a", []rune{0xfffd, 0xfffd, 'a'}},
		{"\xe6\x97", []rune{0xfffd, 0xfffd}},
		{"\xc3(", []rune{0xfffd, '('}},
		{"\xed\xa0\x80", []rune{0xd800}}, // a surrogate stays one
		{"\xc0\x80", []rune{0}},          // an overlong form is what it spells
		{"\xf4\x90\x80\x80", []rune{0xfffd, 0xfffd, 0xfffd, 0xfffd}},
		{"\xf8\x88\x80\x80\x80", []rune{0xfffd, 0xfffd, 0xfffd, 0xfffd, 0xfffd}},
	} {
		if got := codePoints(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: %x, want %x", c.in, got, c.want)
		}
	}
	for _, r := range []rune{0xd800, 0xdbff, 0xdfff, 'a', 0x10ffff} {
		b := appendCodePoints(nil, []rune{r})
		if got := codePoints(string(b)); !slices.Equal(got, []rune{r}) {
			t.Errorf("%x encodes to % x, which is %x", r, b, got)
		}
	}
}

func FuzzCodePoints(f *testing.F) {
	f.Add("a\xff日")
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) {
			if got := string(appendCodePoints(nil, codePoints(s))); got != s {
				t.Errorf("%q becomes %q", s, got)
			}
		}
	})
}

// No text may take quadratic time: a megabyte that did would take minutes.
func TestLongRuns(t *testing.T) {
	for _, s := range []string{" ", "a", "1", "!", "\n", " \n", "' ", "\u3000", "\xff", "a1 !"} {
		chars := codePoints(strings.Repeat(s, 1<<20/len(s)))
		for name := range references {
			if ends := preTokenizers[name].split(nil, chars); ends[len(ends)-1] != len(chars) {
				t.Errorf("%s: %q: the words end at %d of %d", name, s, ends[len(ends)-1], len(chars))
			}
		}
	}
}
