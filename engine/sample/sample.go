// Package sample picks a token from logits, with random numbers that are keyed
// by seed and output position instead of drawn from a stream: a draft that is
// verified many tokens at a time picks what decoding one token at a time picks.
package sample

import (
	"fmt"
	"math"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Sampler picks tokens by one decode.Sampling. Its filters run in the order of
// llama.cpp's sampler chain (common/sampling.cpp): top-k, top-p, min-p, and the
// temperature last, so that top-p and min-p see probabilities at temperature 1.
//
//	top-k   keep the k largest logits, lower id first on a tie
//	top-p   of these, likeliest first, keep until their share of the kept mass reaches p
//	min-p   of these, keep logits of at least max + ln p
//	temp    divide by T; draw
//
// A NaN counts as -Inf: it is picked only where every logit is one, and then the
// lowest id is. Where logits are +Inf, only they can be picked. The same logits
// give the same token on one architecture; math.Exp may differ in its last bit
// between two.
//
// A Sampler is used by one goroutine at a time.
type Sampler struct {
	p    decode.Sampling
	kept []weighed
}

// A weighed token: its logit, and what it weighs in the draw.
type weighed struct {
	token decode.Token
	logit float64
	w     float64
}

// New returns a sampler, or says which of p's numbers has no meaning.
func New(p decode.Sampling) (*Sampler, error) {
	switch {
	case !(p.Temperature >= 0) || math.IsInf(p.Temperature, 1):
		return nil, fmt.Errorf("sampling: temperature is %g; expected 0 (greedy) or more", p.Temperature)
	case p.TopK < 0:
		return nil, fmt.Errorf("sampling: top-k is %d; expected 0 (all) or more", p.TopK)
	case !(p.TopP >= 0 && p.TopP <= 1):
		return nil, fmt.Errorf("sampling: top-p is %g; expected 0 to 1", p.TopP)
	case !(p.MinP >= 0 && p.MinP <= 1):
		return nil, fmt.Errorf("sampling: min-p is %g; expected 0 to 1", p.MinP)
	}
	return &Sampler{p: p}, nil
}

// Want is what a target must leave for Pick: logits, unless the sampler is greedy.
func (s *Sampler) Want() decode.Want { return decode.Want{Logits: !s.p.Greedy()} }

// Pick returns the token at output position pos, counted from 0, given the
// logits there, at least one. It depends on nothing else.
func (s *Sampler) Pick(pos int, logits []float32) decode.Token {
	best := ArgMax(logits)
	if s.p.Greedy() {
		return best
	}
	total := s.weigh(logits, best)
	at := Uniform(s.p.Seed, pos) * total
	sum := 0.0
	last := best
	for _, c := range s.kept {
		if c.w == 0 {
			continue
		}
		last = c.token
		if sum += c.w; at < sum {
			break
		}
	}
	return last
}

// PickRow is Pick from row i of scores, without logits where s is greedy.
func (s *Sampler) PickRow(pos int, x decode.Scores, i int) decode.Token {
	if s.p.Greedy() {
		return x.Best[i]
	}
	return s.Pick(pos, x.Row(i))
}

// ArgMax returns the token with the largest logit, the lowest id on a tie.
func ArgMax(logits []float32) decode.Token {
	best, high := 0, float32(math.Inf(-1))
	for i, l := range logits {
		if l > high {
			best, high = i, l
		}
	}
	return decode.Token(best)
}

// weigh fills s.kept, in ascending order of tokens, with those that the filters
// leave, and returns the sum of their weights, added in that order.
func (s *Sampler) weigh(logits []float32, best decode.Token) float64 {
	high := float64(logits[best])
	s.kept = s.kept[:0]
	if math.IsInf(high, 0) || math.IsNaN(high) { // +Inf somewhere, or nothing above -Inf
		for i, l := range logits {
			if decode.Token(i) == best || math.IsInf(high, 1) && math.IsInf(float64(l), 1) {
				s.kept = append(s.kept, weighed{token: decode.Token(i), logit: 0})
			}
		}
		high = 0
		if s.p.TopK > 0 {
			s.kept = s.kept[:min(len(s.kept), s.p.TopK)]
		}
	} else if s.p.TopK > 0 && s.p.TopK < len(logits) {
		s.topK(logits)
	} else {
		for i, l := range logits {
			if l > float32(math.Inf(-1)) {
				s.kept = append(s.kept, weighed{token: decode.Token(i), logit: float64(l)})
			}
		}
	}
	if s.p.TopP > 0 && s.p.TopP < 1 {
		s.topP(high)
	}
	if s.p.MinP > 0 {
		floor := high + math.Log(s.p.MinP)
		s.kept = slices.DeleteFunc(s.kept, func(c weighed) bool { return c.logit < floor })
	}
	total := 0.0
	for i := range s.kept {
		c := &s.kept[i]
		c.w = math.Exp((c.logit - high) / s.p.Temperature)
		total += c.w
	}
	return total
}

// likelier orders by logit, then by id.
func likelier(a, b weighed) int {
	switch {
	case a.logit > b.logit:
		return -1
	case a.logit < b.logit:
		return 1
	}
	return int(a.token) - int(b.token)
}

func byToken(a, b weighed) int { return int(a.token) - int(b.token) }

// topK keeps the k likeliest: a heap with the least likely at its root.
func (s *Sampler) topK(logits []float32) {
	k := s.p.TopK
	h := s.kept
	for i, l := range logits {
		c := weighed{token: decode.Token(i), logit: float64(l)}
		switch {
		case !(c.logit > math.Inf(-1)):
			continue
		case len(h) < k:
			h = append(h, c)
			for j := len(h) - 1; j > 0 && likelier(h[(j-1)/2], h[j]) < 0; j = (j - 1) / 2 {
				h[j], h[(j-1)/2] = h[(j-1)/2], h[j]
			}
		case c.logit > h[0].logit: // an equal one has a higher id
			h[0] = c
			for j := 0; ; {
				m := j
				for _, child := range [2]int{2*j + 1, 2*j + 2} {
					if child < k && likelier(h[m], h[child]) < 0 {
						m = child
					}
				}
				if m == j {
					break
				}
				h[j], h[m] = h[m], h[j]
				j = m
			}
		}
	}
	slices.SortFunc(h, byToken)
	s.kept = h
}

// topP keeps the smallest set of likeliest tokens that holds the share p. It
// sorts only as far down as that set can reach.
func (s *Sampler) topP(high float64) {
	total := 0.0
	for i := range s.kept {
		c := &s.kept[i]
		c.w = math.Exp(c.logit - high)
		total += c.w
	}
	need := s.p.TopP * total
	for depth := 6.0; ; depth *= 3 {
		floor := high - depth
		n := 0
		mass := 0.0
		for _, c := range s.kept {
			if c.logit >= floor {
				n++
				mass += c.w
			}
		}
		// The margin is far above what the order of addition can change.
		if mass < need*(1+1e-9) && n < len(s.kept) && depth < 800 {
			continue
		}
		if n < len(s.kept) && mass >= need*(1+1e-9) {
			s.kept = slices.DeleteFunc(s.kept, func(c weighed) bool { return c.logit < floor })
		}
		break
	}
	slices.SortFunc(s.kept, likelier)
	sum := 0.0
	for i, c := range s.kept {
		if sum += c.w; sum >= need {
			s.kept = s.kept[:i+1]
			break
		}
	}
	slices.SortFunc(s.kept, byToken)
}

// finalize is the output function of splitmix64 (Steele, Lea, Flood 2014, with
// Stafford's constants, variant 13); 0 maps to 0.
func finalize(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

const golden = 0x9E3779B97F4A7C15 // 2^64 / φ: splitmix64's increment

// Bits is output pos of the splitmix64 generator whose state starts at a hash of
// seed. Hashing the seed keeps the streams of neighbouring seeds apart.
func Bits(seed uint64, pos int) uint64 {
	return finalize(finalize(seed) + golden*(uint64(pos)+1))
}

// Uniform is a number in [0, 1) for an output position.
func Uniform(seed uint64, pos int) float64 { return float64(Bits(seed, pos)>>11) / (1 << 53) }
