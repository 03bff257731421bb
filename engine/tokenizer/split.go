package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// preTokenizer says how byte-level BPE splits text into words, none of which a
// token crosses.
//
// llama.cpp describes the splits by regular expressions. They are written out
// here as loops without backtracking, so that no text takes more than linear time.
type preTokenizer struct {
	// stages are applied one after the other, each to every word of the one before.
	stages       []stage
	ignoreMerges bool // a word that is a token is that token, whatever the merges say
	addBOS       bool // where the file does not say
}

// stage appends the ends of the words of chars[from:to] to dst, at least to itself.
// It sees nothing outside the range. from < to.
type stage func(dst []int, chars []rune, from, to int) []int

// split appends the ends of the words of chars to dst.
func (p preTokenizer) split(dst []int, chars []rune) []int {
	if len(chars) == 0 {
		return dst
	}
	ends := []int{len(chars)}
	for _, s := range p.stages {
		var next []int
		from := 0
		for _, to := range ends {
			next = s(next, chars, from, to)
			from = to
		}
		ends = next
	}
	return append(dst, ends...)
}

var (
	preGPT2    = preTokenizer{stages: []stage{splitGPT2}}
	preDigits  = preTokenizer{stages: []stage{splitEachNumber, splitGPT2}}
	preQwen2   = preTokenizer{stages: []stage{splitQwen2}}
	preLlama3  = preTokenizer{stages: []stage{splitLlama3}}
	preDefault = preTokenizer{stages: []stage{splitPunctuation, splitGPT2, splitNumbers, splitThreeDigits}}
	preLlama3W = preTokenizer{stages: []stage{splitLlama3}, ignoreMerges: true, addBOS: true}
)

// preTokenizers maps tokenizer.ggml.pre to what it means (llama-vocab.cpp, llama_vocab::impl::load).
var preTokenizers = map[string]preTokenizer{
	"default": preDefault,

	"gpt-2": preGPT2, "phi-2": preGPT2, "mpt": preGPT2, "olmo": preGPT2, "jais": preGPT2, "gigachat": preGPT2, "a.x-4.0": preGPT2,
	"mellum": preGPT2, "exaone4": preGPT2, "trillion": preGPT2, "granite-docling": preGPT2,

	"smollm": preDigits, "starcoder": preDigits, "refact": preDigits, "command-r": preDigits, "codeshell": preDigits,
	"exaone": preDigits, "minerva-7b": preDigits,

	"qwen2": preQwen2, "deepseek-r1-qwen": preQwen2, "stablelm2": preQwen2, "megrez": preQwen2, "hunyuan": preQwen2, "grok-2": preQwen2,
	"kormo": preQwen2, "solar-open": preQwen2,

	"llama-bpe": preLlama3W, "llama3": preLlama3W, "llama-v3": preLlama3W, "falcon3": preLlama3W, "falcon-h1": preLlama3W,
	"pixtral": preLlama3W, "midm-2.0": preLlama3W, "lfm2": preLlama3W,
	"dbrx": preLlama3, "smaug-bpe": preLlama3, "glm4": preLlama3, "chatglm-bpe": preLlama3,
}

func preTokenizerOf(name string) (preTokenizer, error) {
	if name == "" {
		name = "default"
	}
	p, ok := preTokenizers[name]
	if !ok {
		var names []string
		for n := range preTokenizers {
			names = append(names, n)
		}
		slices.Sort(names)
		return p, fmt.Errorf("tokenizer: pre-tokenizer %q is not supported; supported are %s", name, strings.Join(names, ", "))
	}
	return p, nil
}

// class is what the splits tell apart. Every character has exactly one.
type class uint8

const (
	classNone   class = iota // past the end
	classLetter              // \p{L}
	classNumber              // \p{N}
	classSpace               // \s: White_Space
	classOther               // [^\s\p{L}\p{N}]
)

var latinClasses = func() (t [256]class) {
	for r := range rune(256) {
		t[r] = slowClass(r)
	}
	return t
}()

// slowClass goes by Unicode 15.1 as llama.cpp does (src/unicode-data.cpp); Go
// has 15.0, which lacks CJK extension I alone.
func slowClass(r rune) class {
	switch {
	case unicode.IsLetter(r) || 0x2ebf0 <= r && r <= 0x2ee5d:
		return classLetter
	case unicode.IsNumber(r):
		return classNumber
	case unicode.IsSpace(r):
		return classSpace
	}
	return classOther
}

func classOf(r rune) class {
	if r < 256 {
		return latinClasses[r]
	}
	return slowClass(r)
}

// reader looks at one range of text.
type reader struct {
	chars []rune
	to    int
}

// class of the character at i, classNone past the end.
func (r reader) class(i int) class {
	if i >= r.to {
		return classNone
	}
	return classOf(r.chars[i])
}

// run is the end of the run of class c that starts at i.
func (r reader) run(i int, c class) int {
	for r.class(i) == c {
		i++
	}
	return i
}

// is reports whether the character at i is c, in lower case or, if fold, any.
func (r reader) is(i int, c rune, fold bool) bool {
	if i >= r.to {
		return false
	}
	x := r.chars[i]
	if fold && 'A' <= x && x <= 'Z' {
		x += 'a' - 'A'
	}
	return x == c
}

// contraction is the end of 's|'t|'re|'ve|'m|'ll|'d at i, or 0.
func (r reader) contraction(i int, fold bool) int {
	if !r.is(i, '\'', false) {
		return 0
	}
	for _, c := range "stmd" {
		if r.is(i+1, c, fold) {
			return i + 2
		}
	}
	for _, cc := range []string{"re", "ve", "ll"} {
		if r.is(i+1, rune(cc[0]), fold) && r.is(i+2, rune(cc[1]), fold) {
			return i + 3
		}
	}
	return 0
}

// splitGPT2 is
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func splitGPT2(dst []int, chars []rune, from, to int) []int {
	r := reader{chars, to}
	for i := from; i < to; {
		if end := r.contraction(i, false); end > 0 {
			i = end
		} else {
			at := i
			if chars[i] == ' ' {
				at++
			}
			if c := r.class(at); c != classSpace && c != classNone {
				i = r.run(at, c)
			} else {
				i = r.spaces(i)
			}
		}
		dst = append(dst, i)
	}
	return dst
}

// spaces is the end of \s+(?!\S)|\s+ at i, where a space is: the last space of
// a run is left to the word after it.
func (r reader) spaces(i int) int {
	end := r.run(i, classSpace)
	if end < r.to && end > i+1 {
		end--
	}
	return end
}

func splitQwen2(dst []int, chars []rune, from, to int) []int {
	return splitWords(dst, chars, from, to, 1)
}

func splitLlama3(dst []int, chars []rune, from, to int) []int {
	return splitWords(dst, chars, from, to, 3)
}

// splitWords is, with at most digits numbers in a word,
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// where (?i) folds ASCII letters only.
func splitWords(dst []int, chars []rune, from, to, digits int) []int {
	r := reader{chars, to}
	newline := func(i int) bool { return i < to && (chars[i] == '\n' || chars[i] == '\r') }
	for i := from; i < to; {
		if end := r.contraction(i, true); end > 0 {
			i = end
			dst = append(dst, i)
			continue
		}
		c := r.class(i)
		at := i // where the run after an optional space starts
		if chars[i] == ' ' {
			at++
		}
		switch {
		case c == classLetter:
			i = r.run(i, classLetter)
		case c == classNumber:
			for n := 0; n < digits && r.class(i) == classNumber; n++ {
				i++
			}
		case !newline(i) && r.class(i+1) == classLetter:
			i = r.run(i+1, classLetter)
		case r.class(at) == classOther:
			i = r.run(at, classOther)
			for newline(i) {
				i++
			}
		default:
			// \s*[\r\n]+ reaches to the last line end of the run.
			end, last := i, 0
			for ; r.class(end) == classSpace; end++ {
				if newline(end) {
					last = end + 1
				}
			}
			if last > 0 {
				i = last
			} else {
				i = r.spaces(i)
			}
		}
		dst = append(dst, i)
	}
	return dst
}

// isolate splits off each match: match returns the end of one that starts at
// i, or i if none does.
func isolate(dst []int, from, to int, match func(i int) int) []int {
	start := from
	for i := from; i < to; {
		end := match(i)
		if end == i {
			i++
			continue
		}
		if i > start {
			dst = append(dst, i)
		}
		dst = append(dst, end)
		start, i = end, end
	}
	if start < to {
		dst = append(dst, to)
	}
	return dst
}

// splitEachNumber isolates \p{N}.
func splitEachNumber(dst []int, chars []rune, from, to int) []int {
	return isolate(dst, from, to, func(i int) int {
		if classOf(chars[i]) == classNumber {
			return i + 1
		}
		return i
	})
}

// splitNumbers isolates \p{N}+.
func splitNumbers(dst []int, chars []rune, from, to int) []int {
	r := reader{chars, to}
	return isolate(dst, from, to, func(i int) int { return r.run(i, classNumber) })
}

// splitPunctuation isolates [\p{P}$+<=>^~|]+.
func splitPunctuation(dst []int, chars []rune, from, to int) []int {
	return isolate(dst, from, to, func(i int) int {
		for i < to && (unicode.IsPunct(chars[i]) || strings.ContainsRune("$+<=>^~|", chars[i])) {
			i++
		}
		return i
	})
}

// splitThreeDigits isolates [0-9][0-9][0-9].
func splitThreeDigits(dst []int, chars []rune, from, to int) []int {
	digit := func(i int) bool { return i < to && '0' <= chars[i] && chars[i] <= '9' }
	return isolate(dst, from, to, func(i int) int {
		if digit(i) && digit(i+1) && digit(i+2) {
			return i + 3
		}
		return i
	})
}
