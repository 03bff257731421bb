package draft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// prose is a stream with the repetitions of a real prompt: words by rank, and
// quotations.
func prose(n, vocab int) []decode.Token {
	rng := rand.New(rand.NewPCG(5, 5))
	z := rand.NewZipf(rng, 1.2, 4, uint64(vocab-1))
	s := make([]decode.Token, 0, n+30)
	for len(s) < n {
		if len(s) > 100 && rng.IntN(30) == 0 {
			from := rng.IntN(len(s) - 50)
			s = append(s, s[from:from+rng.IntN(30)]...)
		}
		s = append(s, decode.Token(z.Uint64()))
	}
	return s[:n]
}

// candidates gives every position of s its next token and seven random ones.
func candidates(s []decode.Token, vocab, k int) []decode.Candidate {
	rng := rand.New(rand.NewPCG(6, 6))
	z := rand.NewZipf(rng, 1.2, 4, uint64(vocab-1))
	out := make([]decode.Candidate, 0, k*len(s))
	for i := range s {
		logProb := float32(-0.7)
		for j := range k {
			tok := decode.Token(z.Uint64())
			if j == rng.IntN(3) && i+1 < len(s) {
				tok = s[i+1]
			}
			for slices.ContainsFunc(out[len(out)-j:], func(c decode.Candidate) bool { return c.Token == tok }) {
				tok = decode.Token(rng.IntN(vocab))
			}
			out = append(out, decode.Candidate{Token: tok, LogProb: logProb})
			logProb -= 0.5
		}
	}
	return out
}

// A rig plays recorded steps of a generation over a prompt to sources, without a
// target: the verdict accepts what agrees with a recorded continuation.
type rig struct {
	prompt, output []decode.Token
	p              decode.PrefillResult
	b              *Builder
	tree           decode.Tree
	v              Verdict
	drafted        int
}

const rigVocab, rigK = 32000, 8

func newRig(n int) *rig {
	s := prose(n+256, rigVocab)
	r := &rig{prompt: s[:n], output: s[n:], b: NewBuilder(rigVocab)}
	r.p = decode.PrefillResult{K: rigK, Top: candidates(r.prompt, rigVocab, rigK)}
	top := candidates(r.output[:decode.MaxNodes], rigVocab, rigK)
	r.v = Verdict{Tree: &r.tree, K: rigK, Top: top}
	return r
}

func (r *rig) request(s Source) (steps int) {
	s.Begin(r.prompt, r.p)
	s.Observe(r.output[:1], nil)
	r.drafted = 0
	for at := 1; at < len(r.output); steps++ {
		at += r.step(s, at)
	}
	return steps
}

// step drafts, scores against the output from position at on, and commits.
func (r *rig) step(s Source, at int) int {
	r.b.Reset(r.output[at-1], 32, len(r.output)-at-1, nil)
	s.Propose(r.b)
	r.b.Layout(&r.tree)
	r.drafted += r.tree.Len() - 1
	r.v.Picked, r.v.Path = r.v.Picked[:0], append(r.v.Path[:0], 0)
	for i := range r.tree.Len() {
		r.v.Picked = append(r.v.Picked, r.output[min(at+r.tree.Depths[i], len(r.output)-1)])
	}
	for u := 0; ; {
		if u = r.tree.Child(u, r.v.Picked[u]); u < 0 {
			break
		}
		r.v.Path = append(r.v.Path, u)
	}
	n := len(r.v.Path)
	s.Observe(r.output[at:at+n], &r.v)
	return n
}

func benchSources() []struct {
	name string
	s    Source
} {
	live := CalibratedDefaults()
	live.Live = true
	eager := CalibratedDefaults()
	eager.Eager = true
	fill := AutomatonDefaults()
	fill.Fill, fill.Occurrence, fill.History = true, Both, NewHistory(HistoryCap)
	for i := range 60 {
		fill.History.Remember("", prose(1500+i, rigVocab)[:1000])
	}
	return []struct {
		name string
		s    Source
	}{
		{"lookup", NewLookup(LookupDefaults())},
		{"automaton", NewAutomaton(AutomatonDefaults())},
		{"automaton-both-history", NewAutomaton(fill)},
		{"calibrated", NewCalibrated(CalibratedDefaults())},
		{"calibrated-eager", NewCalibrated(eager)},
		{"calibrated-live", NewCalibrated(live)},
		{"reuse", Combine(NewAutomaton(fill), NewReuse(ReuseDefaults()))},
		{"coordgen", Combine(Upto(NewAutomaton(fill), 16), NewCalibrated(CalibratedDefaults()), NewReuse(ReuseDefaults()))},
		{"coordgen-live", Combine(Upto(NewAutomaton(fill), 16), NewCalibrated(live), NewReuse(ReuseDefaults()))},
	}
}

// Once a request as long has been seen, drafting and bookkeeping allocate nothing.
func TestNoAllocation(t *testing.T) {
	for _, c := range benchSources() {
		r := newRig(700)
		r.request(c.s)
		if n := testing.AllocsPerRun(3, func() { r.request(c.s) }); n != 0 {
			t.Errorf("%s: %v allocations in a request, want 0", c.name, n)
		}
		if r.drafted == 0 {
			t.Errorf("%s: nothing was drafted", c.name)
		}
	}
}

// BenchmarkStep is all that one verification costs besides the target: Propose,
// Layout and Observe (and the rig's scoring), over prompts of 2 k and 16 k tokens.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{2 << 10, 16 << 10} {
		r := newRig(n)
		for _, c := range benchSources() {
			b.Run(fmt.Sprintf("%s/%dk", c.name, n>>10), func(b *testing.B) {
				steps, at := 0, len(r.output)
				r.drafted = 0
				for b.Loop() {
					if at >= len(r.output) {
						b.StopTimer()
						c.s.Begin(r.prompt, r.p)
						c.s.Observe(r.output[:1], nil)
						at = 1
						b.StartTimer()
					}
					at += r.step(c.s, at)
					steps++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps)/1e3, "µs/step")
				b.ReportMetric(float64(r.drafted)/float64(steps), "nodes/step")
			})
		}
	}
}

// BenchmarkBegin is what a prompt token costs besides the target.
func BenchmarkBegin(b *testing.B) {
	for _, n := range []int{2 << 10, 16 << 10} {
		r := newRig(n)
		for _, c := range benchSources() {
			b.Run(fmt.Sprintf("%s/%dk", c.name, n>>10), func(b *testing.B) {
				for b.Loop() {
					c.s.Begin(r.prompt, r.p)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n)/1e3, "µs/token")
			})
		}
	}
}
