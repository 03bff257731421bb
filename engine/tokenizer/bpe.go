package tokenizer

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/coordbench/coordbench/engine/decode"
)

// byteChars[b] is the printable character that stands for byte b in byte-level
// BPE: itself where it is printable in Latin-1, otherwise the next of U+0100 …
// (GPT-2's encoder.py, bytes_to_unicode).
var byteChars = func() (chars [256]rune) {
	next := rune(256)
	for b := range rune(256) {
		if '!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b {
			chars[b] = b
		} else {
			chars[b] = next
			next++
		}
	}
	return chars
}()

var charBytes = func() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, c := range byteChars {
		m[c] = byte(b)
	}
	return m
}()

// bytesOf is the inverse of the byte-to-character map. A character outside the
// map stands for itself; llama.cpp prints "[UNK_BYTE_0x…]" for it.
func bytesOf(text string) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if b, ok := charBytes[c]; ok {
			out = append(out, b)
		} else {
			out = utf8.AppendRune(out, c)
		}
	}
	return out
}

// bpe is byte-level byte-pair encoding: words are split into bytes, and the
// adjacent pair of lowest rank is merged until no pair has a rank.
type bpe struct {
	pre    preTokenizer
	ids    map[string]decode.Token
	bytes  [256]decode.Token  // token of each byte, -1 where the vocabulary has none
	merges map[[2]int32]merge // by left and right token
	cache  wordCache
}

type merge struct {
	rank  int32
	token int32
}

func newBPE(merges []string, ids map[string]decode.Token, pre preTokenizer) (*bpe, error) {
	if len(merges) == 0 {
		return nil, fmt.Errorf("tokenizer: model \"gpt2\" without merges")
	}
	b := &bpe{pre: pre, ids: ids, merges: make(map[[2]int32]merge, len(merges))}
	for i, c := range byteChars {
		b.bytes[i] = -1
		if id, ok := ids[string(c)]; ok {
			b.bytes[i] = id
		}
	}
	for rank, m := range merges {
		at := -1
		if m != "" {
			at = strings.IndexByte(m[1:], ' ') + 1 // a piece may itself start with a space
		}
		if at < 1 {
			return nil, fmt.Errorf("tokenizer: merge %d: %q is not two pieces with a space between", rank, m)
		}
		left, right := m[:at], m[at+1:]
		l, okL := ids[left]
		r, okR := ids[right]
		t, okT := ids[left+right]
		for _, p := range []struct {
			text string
			ok   bool
		}{{left, okL}, {right, okR}, {left + right, okT}} {
			if !p.ok {
				return nil, fmt.Errorf("tokenizer: merge %d: %q: no token %q", rank, m, p.text)
			}
		}
		pair := [2]int32{int32(l), int32(r)}
		if _, ok := b.merges[pair]; !ok { // of two equal lines the better rank counts
			b.merges[pair] = merge{int32(rank), int32(t)}
		}
	}
	return b, nil
}

// symbol is a part of a word. Symbols form a list in text order.
type symbol struct {
	token      int32
	prev, next int32
}

// candidate is a pair that can be merged: position left, and the tokens that
// stood there when it was found. It is stale once either has changed.
type candidate struct {
	key         uint64 // rank, then position: lowest rank first, leftmost of equals
	left, right int32  // tokens
	token       int32  // of the merged pair
}

func (b *bpe) encode(dst []decode.Token, text string) []decode.Token {
	chars := codePoints(text)
	var w merger
	start := 0
	for _, end := range b.pre.split(nil, chars) {
		w.word = appendCodePoints(w.word[:0], chars[start:end])
		start = end
		dst = b.encodeWord(dst, &w)
	}
	return dst
}

// merger is the scratch memory of encodeWord.
type merger struct {
	word    []byte
	symbols []symbol
	queue   heap[candidate]
}

func (b *bpe) encodeWord(dst []decode.Token, w *merger) []decode.Token {
	if b.pre.ignoreMerges {
		// The vocabulary's whole words win over its merges.
		if id, ok := b.ids[bytesToChars(w.word)]; ok {
			return append(dst, id)
		}
	}
	if len(w.word) == 1 {
		if id := b.bytes[w.word[0]]; id >= 0 {
			dst = append(dst, id)
		}
		return dst
	}
	if cached, ok := b.cache.get(w.word); ok {
		return append(dst, cached...)
	}
	w.symbols = w.symbols[:0]
	n := int32(len(w.word))
	for i, c := range w.word {
		w.symbols = append(w.symbols, symbol{int32(b.bytes[c]), int32(i) - 1, int32(i) + 1})
	}
	w.symbols[n-1].next = -1
	w.queue.items = w.queue.items[:0]
	w.queue.less = func(a, b *candidate) bool { return a.key < b.key }
	consider := func(left, right int32) {
		if left < 0 || right < 0 {
			return
		}
		l, r := w.symbols[left].token, w.symbols[right].token
		if m, ok := b.merges[[2]int32{l, r}]; ok {
			w.queue.push(candidate{uint64(m.rank)<<32 | uint64(left), l, r, m.token})
		}
	}
	for i := int32(0); i+1 < n; i++ {
		consider(i, i+1)
	}
	const merged = -2 // a symbol that became part of the one before it
	for len(w.queue.items) > 0 {
		c := w.queue.pop()
		left := int32(c.key & 0xffffffff)
		l := &w.symbols[left]
		if l.token != c.left || l.next < 0 || w.symbols[l.next].token != c.right {
			continue
		}
		r := &w.symbols[l.next]
		l.token = c.token
		l.next = r.next
		r.token = merged
		if l.next >= 0 {
			w.symbols[l.next].prev = left
		}
		consider(l.prev, left)
		consider(left, l.next)
	}
	from := len(dst)
	for i := int32(0); i >= 0; i = w.symbols[i].next {
		if id := w.symbols[i].token; id >= 0 {
			dst = append(dst, decode.Token(id))
		}
	}
	b.cache.put(w.word, dst[from:])
	return dst
}

func bytesToChars(word []byte) string {
	out := make([]byte, 0, 2*len(word))
	for _, c := range word {
		out = utf8.AppendRune(out, byteChars[c])
	}
	return string(out)
}

// wordCache remembers the tokens of words: text repeats its words, and most
// have to be merged from single bytes.
type wordCache struct {
	mu    sync.RWMutex
	words map[string][]decode.Token
}

const (
	maxCachedWord  = 64      // bytes; longer words rarely come again
	maxCachedWords = 1 << 15 // then the cache starts anew
)

func (c *wordCache) get(word []byte) ([]decode.Token, bool) {
	if len(word) > maxCachedWord {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	t, ok := c.words[string(word)]
	return t, ok
}

func (c *wordCache) put(word []byte, tokens []decode.Token) {
	if len(word) > maxCachedWord {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.words == nil || len(c.words) >= maxCachedWords {
		c.words = make(map[string][]decode.Token)
	}
	c.words[string(word)] = append([]decode.Token(nil), tokens...)
}
