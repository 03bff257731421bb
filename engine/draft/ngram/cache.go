package ngram

import "github.com/coordbench/coordbench/engine/decode"

// CacheOptions are those of ngram-cache, which llama.cpp's lookup example runs.
type CacheOptions struct {
	Max     int  // most tokens drafted
	Dynamic bool // also draft from earlier requests, under stricter thresholds
}

// CacheDefaults are llama.cpp's, without the dynamic and static caches, which
// it loads from files.
func CacheDefaults() CacheOptions { return CacheOptions{Max: 16} }

// NewCache returns ngram-cache: counts of what followed each 1- to 4-gram of
// the request; a token is drafted while the longest n-gram that was seen often
// enough has a successor with a large enough share. The static cache, counted
// over a corpus, is not carried: no number of it is published.
func NewCache(o CacheOptions) *Source {
	return &Source{rule: &cache{CacheOptions: o, context: map[gram]*counts{}, dynamic: map[gram]*counts{}}}
}

const maxGram = 4 // LLAMA_NGRAM_MAX

// gram is a key of 1 to 4 tokens; unused places hold the separator.
type gram [maxGram]decode.Token

func makeGram(toks []decode.Token) gram {
	g := gram{decode.Separator, decode.Separator, decode.Separator, decode.Separator}
	copy(g[:], toks)
	return g
}

// counts holds how often each token followed a gram, in order of first sight:
// upstream iterates a hash map, whose order decides ties at random.
type counts struct {
	next []decode.Token
	n    []int
	sum  int
}

func (c *counts) add(tok decode.Token) {
	c.sum++
	for i, t := range c.next {
		if t == tok {
			c.n[i]++
			return
		}
	}
	c.next = append(c.next, tok)
	c.n = append(c.n, 1)
}

// threshold is what a gram of a length needs before its best successor is drafted.
type threshold struct {
	sample  int // times the gram was seen
	percent int // share of the best successor
}

var (
	lax    = [maxGram]threshold{{2, 66}, {2, 50}, {1, 50}, {1, 50}} // draft_min_*_lax, for the context
	strict = [maxGram]threshold{{4, 75}, {3, 66}, {2, 66}, {2, 66}} // draft_min_*_strict, for the dynamic cache
)

type cache struct {
	CacheOptions
	context map[gram]*counts
	dynamic map[gram]*counts
	work    []decode.Token
}

func (c *cache) begin(prompt []decode.Token) {
	if c.Dynamic {
		merge(c.dynamic, c.context)
	}
	clear(c.context)
	c.extend(prompt, len(prompt))
}

func merge(into, from map[gram]*counts) {
	for g, f := range from {
		t := into[g]
		if t == nil {
			t = &counts{}
			into[g] = t
		}
		for i, tok := range f.next {
			for range f.n[i] {
				t.add(tok)
			}
		}
	}
}

func (c *cache) extend(hist []decode.Token, n int) {
	for size := 1; size <= maxGram; size++ {
		for i := max(len(hist)-n, size); i < len(hist); i++ {
			g := makeGram(hist[i-size : i])
			s := c.context[g]
			if s == nil {
				s = &counts{}
				c.context[g] = s
			}
			s.add(hist[i])
		}
	}
}

func (c *cache) accepted(int) {}

func (c *cache) draft(dst, hist []decode.Token) []decode.Token {
	c.work = append(c.work[:0], hist[max(0, len(hist)-maxGram):]...)
	for range c.Max {
		tok, ok := pick(c.context, c.work, lax)
		if !ok && c.Dynamic {
			tok, ok = pick(c.dynamic, c.work, strict)
		}
		if !ok {
			break
		}
		dst = append(dst, tok)
		c.work = append(c.work, tok)
	}
	return dst
}

// pick tries the longest suffix of toks first.
func pick(m map[gram]*counts, toks []decode.Token, need [maxGram]threshold) (decode.Token, bool) {
	for size := min(maxGram, len(toks)); size > 0; size-- {
		s := m[makeGram(toks[len(toks)-size:])]
		if s == nil {
			continue
		}
		best := 0
		for i, n := range s.n {
			if n > s.n[best] {
				best = i
			}
		}
		if t := need[size-1]; s.sum >= t.sample && 100*s.n[best] >= t.percent*s.sum {
			return s.next[best], true
		}
	}
	return 0, false
}
