package draft

import (
	"math/rand/v2"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Random proposes trees of any shape, of tokens of the stream and of junk. It
// is for tests: no draft may change what is generated.
type Random struct {
	rng    *rand.Rand
	stream []decode.Token
	vocab  int
}

var _ Source = (*Random)(nil)

// NewRandom returns a source for a vocabulary of this size.
func NewRandom(seed uint64, vocab int) *Random {
	return &Random{rng: rand.New(rand.NewPCG(seed, 0)), vocab: vocab}
}

// Begin is Source's.
func (r *Random) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	r.stream = append(r.stream[:0], prompt...)
}

// Observe is Source's.
func (r *Random) Observe(committed []decode.Token, _ *Verdict) {
	r.stream = append(r.stream, committed...)
}

// Propose is Source's.
func (r *Random) Propose(b *Builder) {
	for range r.rng.IntN(decode.MaxNodes + 8) {
		u := r.rng.IntN(b.Len())
		if r.rng.IntN(3) > 0 {
			u = b.Len() - 1
		}
		tok := decode.Token(r.rng.IntN(r.vocab+4) - 2)
		if r.rng.IntN(4) > 0 {
			tok = r.stream[r.rng.IntN(len(r.stream))]
		}
		// Mostly what followed this token somewhere in the stream.
		if at := r.rng.IntN(len(r.stream)); r.rng.IntN(2) == 0 {
			for i := range r.stream[:len(r.stream)-1] {
				if j := (at + i) % (len(r.stream) - 1); r.stream[j] == b.Token(u) {
					tok = r.stream[j+1]
					break
				}
			}
		}
		b.Add(u, tok, decode.FromRandom)
	}
}
