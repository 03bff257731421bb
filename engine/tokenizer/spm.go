package tokenizer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coordbench/coordbench/engine/decode"
)

// spmSpace is U+2581, which SentencePiece writes for a space.
const spmSpace = "▁"

// spm is SentencePiece's BPE as llama.cpp does it: characters are merged pair by
// pair into vocabulary entries, highest score first, and a character that is
// no entry falls back to its bytes.
type spm struct {
	scores []float32
	ids    map[string]decode.Token
	bytes  [256]decode.Token // token of each byte, -1 where there is none
	unk    decode.Token
	maxLen int // bytes of the longest entry
}

func newSPM(scores []float32, ids map[string]decode.Token, unk decode.Token) (*spm, error) {
	if scores == nil {
		return nil, fmt.Errorf("tokenizer: model \"llama\" without scores")
	}
	s := &spm{scores: scores, ids: ids, unk: unk}
	for i, x := range scores {
		if x != x {
			return nil, fmt.Errorf("tokenizer: token %d has score NaN", i)
		}
	}
	for b := range s.bytes {
		id, ok := ids[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			if id, ok = ids[string([]byte{byte(b)})]; !ok {
				id = -1
			}
		}
		if id < 0 && unk < 0 {
			return nil, fmt.Errorf("tokenizer: byte 0x%02X has no token, and there is no unknown token", b)
		}
		s.bytes[b] = id
	}
	for text := range ids {
		s.maxLen = max(s.maxLen, len(text))
	}
	return s, nil
}

// parseByteToken reads "<0xNN>".
func parseByteToken(text string) (byte, bool) {
	if len(text) != 6 || !strings.HasPrefix(text, "<0x") || text[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(text[3:5], 16, 8)
	return byte(b), err == nil
}

// spmSymbol is n bytes of the text from start; n is 0 once it is part of the one before it.
type spmSymbol struct {
	start, n   int32
	prev, next int32
}

// spmPair is two neighbours that form a vocabulary entry of n bytes. It is
// stale once their lengths no longer add up to n.
type spmPair struct {
	score       float32
	left, right int32
	n           int32
}

// charLen is the length of a character by its first byte. A byte that starts
// no character stands alone (unicode.cpp, unicode_len_utf8).
func charLen(b byte) int {
	switch b >> 4 {
	case 12, 13:
		return 2
	case 14:
		return 3
	case 15:
		return 4
	}
	return 1
}

func (s *spm) encode(dst []decode.Token, text string) []decode.Token {
	text = strings.ReplaceAll(text, " ", spmSpace)
	if text == "" {
		return dst
	}
	symbols := make([]spmSymbol, 0, len(text))
	for i := 0; i < len(text); {
		n := min(charLen(text[i]), len(text)-i)
		k := int32(len(symbols))
		symbols = append(symbols, spmSymbol{int32(i), int32(n), k - 1, k + 1})
		i += n
	}
	symbols[len(symbols)-1].next = -1
	queue := heap[spmPair]{less: func(a, b *spmPair) bool {
		return a.score > b.score || a.score == b.score && a.left < b.left
	}}
	consider := func(left, right int32) {
		if left < 0 || right < 0 {
			return
		}
		l, r := &symbols[left], &symbols[right]
		n := l.n + r.n
		if int(n) > s.maxLen {
			return
		}
		if id, ok := s.ids[text[l.start:l.start+n]]; ok {
			queue.push(spmPair{s.scores[id], left, right, n})
		}
	}
	for i := 1; i < len(symbols); i++ {
		consider(int32(i-1), int32(i))
	}
	for len(queue.items) > 0 {
		p := queue.pop()
		l, r := &symbols[p.left], &symbols[p.right]
		if l.n == 0 || r.n == 0 || l.n+r.n != p.n {
			continue
		}
		l.n += r.n
		r.n = 0
		l.next = r.next
		if l.next >= 0 {
			symbols[l.next].prev = p.left
		}
		consider(l.prev, p.left)
		consider(p.left, l.next)
	}
	for i := int32(0); i >= 0; i = symbols[i].next {
		part := text[symbols[i].start : symbols[i].start+symbols[i].n]
		if id, ok := s.ids[part]; ok {
			dst = append(dst, id)
			continue
		}
		dst = s.fallback(dst, part)
	}
	return dst
}

// fallback appends the bytes of a character that is no entry. Without tokens
// for them it is one unknown token; llama.cpp stops with an error there.
func (s *spm) fallback(dst []decode.Token, part string) []decode.Token {
	from := len(dst)
	for i := range len(part) {
		id := s.bytes[part[i]]
		if id < 0 {
			return append(dst[:from], s.unk)
		}
		dst = append(dst, id)
	}
	return dst
}
