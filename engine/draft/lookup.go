package draft

import (
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// LookupOptions are those of prompt lookup.
type LookupOptions struct {
	NMax, NMin int  // lengths of the suffix that must have occurred, longest first; NMin is at least 1
	K          int  // tokens drafted
	Latest     bool // the latest occurrence instead of the earliest
	Partial    bool // also draft what there is where fewer than K tokens follow
}

// LookupDefaults are those of the published prompt lookup decoding.
func LookupDefaults() LookupOptions { return LookupOptions{NMax: 3, NMin: 1, K: 10} }

// A Lookup drafts what followed the earliest occurrence of the stream's last n
// tokens, for the largest n that has one which counts.
//
// Saxena, Prompt Lookup Decoding (apoorvumang/prompt-lookup-decoding,
// find_candidate_pred_tokens): an occurrence counts if its K tokens lie within
// the stream, root included, and it ends more than n tokens before the stream
// does.
type Lookup struct {
	o      LookupOptions
	stream []decode.Token
	next   []int32 // next later position of the same token, 0 for none
	ends   map[decode.Token]span
}

// span is the earliest and latest position of a token.
type span struct{ first, last int32 }

var _ Source = (*Lookup)(nil)

// NewLookup returns a source with these options.
func NewLookup(o LookupOptions) *Lookup { return &Lookup{o: o, ends: map[decode.Token]span{}} }

// Begin is Source's.
func (l *Lookup) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	l.stream, l.next = l.stream[:0], l.next[:0]
	clear(l.ends)
	l.extend(prompt)
}

// Observe is Source's.
func (l *Lookup) Observe(committed []decode.Token, _ *Verdict) { l.extend(committed) }

func (l *Lookup) extend(toks []decode.Token) {
	for _, tok := range toks {
		at := int32(len(l.stream))
		l.stream, l.next = append(l.stream, tok), append(l.next, 0)
		if s, ok := l.ends[tok]; ok {
			l.next[s.last] = at
			l.ends[tok] = span{s.first, at}
		} else {
			l.ends[tok] = span{at, at}
		}
	}
}

// Propose is Source's.
func (l *Lookup) Propose(b *Builder) {
	for n := min(l.o.NMax, len(l.stream)); n >= max(1, l.o.NMin); n-- {
		if at := l.match(n); at >= 0 {
			b.AddChain(0, l.stream[at:min(at+l.o.K, len(l.stream))], decode.FromLookup)
			return
		}
	}
}

// match returns where the tokens behind the chosen occurrence of the last n
// begin, or -1. It walks the positions of the last token alone.
func (l *Lookup) match(n int) int {
	size := len(l.stream)
	key := l.stream[size-n:]
	need := l.o.K
	if l.o.Partial {
		need = 1
	}
	found := -1
	for end := int(l.ends[key[n-1]].first); ; end = int(l.next[end]) {
		start := end + 1
		if start+need > size || start >= size-n {
			return found
		}
		if start >= n && slices.Equal(l.stream[start-n:start], key) {
			if found = start; !l.o.Latest {
				return found
			}
		}
		if l.next[end] == 0 {
			return found
		}
	}
}
