// Package ngram holds the drafters that llama.cpp runs without a draft model:
// n-gram look-ups in the token history, by the rules of its common/ folder
// (ggml-org/llama.cpp, common/ngram-map.cpp, ngram-mod.cpp, ngram-cache.cpp and
// speculative.cpp, as of early 2026). They propose chains.
//
// In llama.cpp's terms the history is all tokens before the newest, and the
// newest token is "sampled"; here the newest is the draft tree's root.
package ngram

import (
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
)

// A drafter is a rule: what would follow hist, whose last token is the root.
type drafter interface {
	// begin forgets what belongs to one request and reads its prompt.
	begin(prompt []decode.Token)
	// extend is told that hist grew by its last n tokens.
	extend(hist []decode.Token, n int)
	// accepted is told how many tokens of the last non-empty draft were accepted.
	accepted(n int)
	// draft appends a chain to dst.
	draft(dst, hist []decode.Token) []decode.Token
}

// A Source runs a rule as a draft.Source.
type Source struct {
	rule  drafter
	hist  []decode.Token
	chain []decode.Token
}

var _ draft.Source = (*Source)(nil)

// Begin is draft.Source's.
func (s *Source) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	s.hist = append(s.hist[:0], prompt...)
	s.chain = s.chain[:0]
	s.rule.begin(s.hist)
}

// Observe is draft.Source's.
func (s *Source) Observe(committed []decode.Token, v *draft.Verdict) {
	if v != nil && len(s.chain) > 0 {
		s.rule.accepted(len(committed) - 1)
	}
	s.hist = append(s.hist, committed...)
	s.rule.extend(s.hist, len(committed))
}

// Propose is draft.Source's.
func (s *Source) Propose(b *draft.Builder) {
	s.chain = s.rule.draft(s.chain[:0], s.hist)
	b.AddChain(0, s.chain, decode.FromNgram)
}

// latest returns the largest start in 1 … last of an occurrence of key in hist,
// or 0: llama.cpp counts position 0 as no match.
func latest(hist, key []decode.Token, last int) int {
next:
	for j := last; j > 0; j-- {
		for k, tok := range key {
			if hist[j+k] != tok {
				continue next
			}
		}
		return j
	}
	return 0
}
