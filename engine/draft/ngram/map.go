package ngram

import (
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// MapOptions are those of ngram-map-k and ngram-map-k4v.
type MapOptions struct {
	N       int  // size_key: tokens that must match, the root included
	M       int  // size_value: most tokens drafted
	MinHits int  // a key must have been looked up so often before its values count; k4v only
	Values  bool // k4v: keep up to four continuations and use one only if it dominates
}

// MapDefaults are llama.cpp's for ngram-map-k.
func MapDefaults() MapOptions { return MapOptions{N: 12, M: 48, MinHits: 1} }

// NewMap returns ngram-map-k: keys of N tokens seen before, each drafting the
// tokens behind its latest occurrence. A key of k4v remembers how much of its
// last draft was accepted and drafts no more than that; ngram-map-k was meant
// to, but upstream never marks its drafts as made, so its length stays M. That
// is reproduced here.
func NewMap(o MapOptions) *Source { return &Source{rule: &keyMap{MapOptions: o}} }

const (
	maxValues = 4     // COMMON_NGRAM_MAX_VALUES
	maxCount  = 16380 // COMMON_NGRAM_MAX_VALUE_COUNT
)

type mapKey struct {
	at     int // where an occurrence of the key starts
	stat   int // values are counted up to this start
	hits   int
	values [maxValues]mapValue
}

type mapValue struct {
	at       int // start of the continuation; 0 is an empty slot
	count    int
	accepted int // length of the last accepted draft, M at first
}

type keyMap struct {
	MapOptions
	keys []mapKey
	last *mapValue // the value that the last draft used
}

func (m *keyMap) begin([]decode.Token)       { m.keys, m.last = m.keys[:0], nil }
func (m *keyMap) extend([]decode.Token, int) {}

func (m *keyMap) accepted(n int) {
	if m.last != nil {
		m.last.accepted = n
	}
}

func (m *keyMap) draft(dst, hist []decode.Token) []decode.Token {
	m.last = nil
	n := len(hist) - 1
	if n < 2*m.N+m.M {
		return dst
	}
	key := hist[n-m.N+1:]
	// The whole continuation must lie before the key itself.
	at := latest(hist, key, n-m.N-m.M-1)
	if at == 0 {
		return dst
	}
	k := m.key(hist, key, at)
	k.hits = min(k.hits+1, maxCount)
	if !m.Values {
		return append(dst, hist[at+m.N:at+m.N+min(m.M, k.values[0].accepted)]...)
	}
	if k.hits < m.MinHits {
		return dst
	}
	m.count(hist, key, k, at)
	top, others := 0, 0
	for v := range k.values {
		if k.values[v].count > k.values[top].count {
			top = v
		}
	}
	for v := range k.values {
		if v != top {
			others += k.values[v].count
		}
	}
	if others > 0 && k.values[top].count < 3*others {
		return dst
	}
	m.last = &k.values[top]
	// Upstream drafts what followed the latest occurrence, whichever value won.
	return append(dst, hist[at+m.N:at+m.N+min(m.M, m.last.accepted)]...)
}

// key finds or makes the entry of key, whose latest occurrence starts at at.
func (m *keyMap) key(hist, key []decode.Token, at int) *mapKey {
	for i := range m.keys {
		if slices.Equal(hist[m.keys[i].at:m.keys[i].at+m.N], key) {
			return &m.keys[i]
		}
	}
	k := mapKey{at: at}
	for v := range k.values {
		k.values[v].accepted = m.M
	}
	m.keys = append(m.keys, k)
	return &m.keys[len(m.keys)-1]
}

// count adds the continuations of key's occurrences from k.stat to at.
func (m *keyMap) count(hist, key []decode.Token, k *mapKey, at int) {
	for i := k.stat; i <= at; i++ {
		if !slices.Equal(hist[i:i+m.N], key) {
			continue
		}
		start := i + m.N
		for v := range k.values {
			val := &k.values[v]
			if val.at == 0 {
				*val = mapValue{at: start, accepted: m.M}
			} else if !slices.Equal(hist[start:start+m.M], hist[val.at:val.at+m.M]) {
				continue
			}
			val.count = min(val.count+1, maxCount)
			break
		}
	}
	// The occurrence at at is counted again next time, as upstream does.
	k.stat = at
}
