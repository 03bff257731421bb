package draft

import (
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// LookupOptions are those of prompt lookup.
type LookupOptions struct {
	NMax, NMin int  // lengths of the suffix that must have occurred, longest first
	K          int  // tokens drafted
	Latest     bool // the latest occurrence instead of the earliest
	Partial    bool // draft what there is where fewer than K tokens follow
}

// LookupDefaults are those of the published prompt lookup decoding.
func LookupDefaults() LookupOptions { return LookupOptions{NMax: 3, NMin: 1, K: 10} }

// A Lookup drafts what followed the earliest occurrence of the stream's last n
// tokens, for the largest n that has one with all K tokens behind it.
//
// Saxena, Prompt Lookup Decoding (apoorvumang/prompt-lookup-decoding): an
// occurrence counts if its K tokens lie within the stream and it is not the
// suffix itself.
type Lookup struct {
	o      LookupOptions
	stream []decode.Token
}

var _ Source = (*Lookup)(nil)

// NewLookup returns a source with these options.
func NewLookup(o LookupOptions) *Lookup { return &Lookup{o: o} }

// Begin is Source's.
func (l *Lookup) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	l.stream = append(l.stream[:0], prompt...)
}

// Observe is Source's.
func (l *Lookup) Observe(committed []decode.Token, _ *Verdict) {
	l.stream = append(l.stream, committed...)
}

// Propose is Source's.
func (l *Lookup) Propose(b *Builder) {
	for n := l.o.NMax; n >= l.o.NMin; n-- {
		if start := l.match(n); start >= 0 {
			b.AddChain(0, l.stream[start:min(start+l.o.K, len(l.stream))], decode.FromLookup)
			return
		}
	}
}

// match returns where the tokens behind an occurrence of the last n begin, or -1.
func (l *Lookup) match(n int) int {
	s := l.stream
	if n < 1 || n > len(s) {
		return -1
	}
	key := s[len(s)-n:]
	need := l.o.K
	if l.o.Partial {
		need = 1
	}
	found := -1
	for i := 0; i+n < len(s)-n && i+n+need <= len(s); i++ {
		if s[i] == key[0] && slices.Equal(s[i:i+n], key) {
			found = i + n
			if !l.o.Latest {
				break
			}
		}
	}
	return found
}
