package ngram

import "github.com/coordbench/coordbench/engine/decode"

// SimpleOptions are those of ngram-simple.
type SimpleOptions struct {
	N int // size_ngram: tokens that must match, the root included
	M int // size_mgram: most tokens drafted
}

// SimpleDefaults are llama.cpp's.
func SimpleDefaults() SimpleOptions { return SimpleOptions{N: 12, M: 48} }

// NewSimple returns ngram-simple: the latest earlier occurrence of the last N
// tokens, and up to M tokens that followed it, at least N of them.
func NewSimple(o SimpleOptions) *Source { return &Source{rule: simple{o}} }

type simple struct{ SimpleOptions }

func (simple) begin([]decode.Token)       {}
func (simple) extend([]decode.Token, int) {}
func (simple) accepted(int)               {}

func (s simple) draft(dst, hist []decode.Token) []decode.Token {
	n := len(hist) - 1 // tokens before the root: cur_len
	if n <= s.N+s.M+1 {
		return dst
	}
	at := latest(hist, hist[n-s.N+1:], n-s.N-1)
	if at == 0 {
		return dst
	}
	length := min(s.M, n-(at+s.N))
	if length < s.N {
		return dst
	}
	return append(dst, hist[at+s.N:at+s.N+length]...)
}
