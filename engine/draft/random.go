package draft

import (
	"math/rand/v2"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Random proposes trees of any shape, of tokens that are likely, of tokens of
// the stream, and of junk: separators, ids outside the vocabulary, repetitions. It
// is for tests: no draft may change what is generated.
type Random struct {
	seed   uint64
	vocab  int
	rng    *rand.Rand
	pcg    *rand.PCG
	stream []decode.Token
	prompt int
	answer []decode.Token
}

var _ Source = (*Random)(nil)

// NewRandom returns a source for a vocabulary of this size. What it proposes
// depends on the seed and on the calls since Begin.
func NewRandom(seed uint64, vocab int) *Random {
	pcg := rand.NewPCG(seed, 0)
	return &Random{seed: seed, vocab: vocab, pcg: pcg, rng: rand.New(pcg)}
}

// Expect tells r the output of the requests that follow, so that a part of what
// it proposes is accepted. r keeps answer.
func (r *Random) Expect(answer []decode.Token) { r.answer = answer }

// Begin is Source's.
func (r *Random) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	r.stream = append(r.stream[:0], prompt...)
	r.prompt = len(prompt)
	h := uint64(len(prompt))
	for _, tok := range prompt {
		h = (h ^ uint64(uint32(tok))) * 0x100000001b3
	}
	r.pcg.Seed(r.seed, h)
}

// Observe is Source's.
func (r *Random) Observe(committed []decode.Token, _ *Verdict) {
	r.stream = append(r.stream, committed...)
}

// Propose is Source's.
func (r *Random) Propose(b *Builder) {
	if len(r.stream) == 0 {
		return
	}
	bushy := r.rng.IntN(4) // 0: a chain, mostly; 3: any parent
	for range r.rng.IntN(decode.MaxNodes + 8) {
		u := b.Len() - 1
		if r.rng.IntN(4) < bushy {
			u = r.rng.IntN(b.Len())
		}
		b.Add(u, r.token(b, u), decode.FromRandom)
	}
}

// token is a child for node u.
func (r *Random) token(b *Builder, u int) decode.Token {
	if at := len(r.stream) - r.prompt + b.Depth(u); at >= 0 && at < len(r.answer) && r.rng.IntN(2) == 0 {
		return r.answer[at]
	}
	switch r.rng.IntN(4) {
	case 0:
		return decode.Token(r.rng.IntN(r.vocab+4) - 2)
	case 1:
		return r.stream[r.rng.IntN(len(r.stream))]
	}
	// What followed the node's token somewhere in the stream.
	if n := len(r.stream) - 1; n > 0 {
		at := r.rng.IntN(n)
		for i := range n {
			if j := (at + i) % n; r.stream[j] == b.Token(u) {
				return r.stream[j+1]
			}
		}
	}
	return b.Token(u)
}
