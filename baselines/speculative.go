package baselines

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/speculate"
)

// speculative is decoding with a draft model that proposes a chain, greedily.
// Leviathan et al., arXiv 2211.17192, whose γ is k here. Since the chain is fixed
// before it is verified, the target's own sampling decides alone, and the output
// is the autoregressive one for the same seed.
var speculative = definition{
	name:  "speculative",
	doc:   "speculative decoding: a smaller model of the same vocabulary drafts a chain",
	draft: true,
	setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
		k, pMin := 5, 0.0
		return []option{
				intOption(&k, "k", 1, decode.MaxNodes-1, "tokens drafted"),
				floatOption(&pMin, "p_min", 0, 1, "the chain ends before a token that the draft model finds less likely than this"),
			}, func(c Config, in map[string]string) (decode.System, error) {
				m := &modelSource{model: c.Draft, info: c.Draft.Info(), k: k, pMin: pMin}
				e, err := speculate.New(c.Target, []draft.Source{m}, speculate.Options{Name: "speculative", Options: in, Draft: &m.info, Width: speculate.Fixed(k + 1)})
				if err != nil {
					return nil, err
				}
				return &modelSystem{e, m}, nil
			}
	},
}

// A modelSystem tells its draft model what a source is not told.
type modelSystem struct {
	*speculate.Engine
	m *modelSource
}

func (s *modelSystem) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	s.m.ctx, s.m.stop = ctx, req.Stop
	return s.Engine.Decode(ctx, req, onStep)
}

// A modelSource drafts with a smaller model. The model's context holds a prefix
// of the stream and, behind it, what was drafted last; what of that was rejected
// is truncated.
type modelSource struct {
	model decode.Target
	info  decode.Info
	k     int
	pMin  float64

	ctx    context.Context
	stop   []decode.Token
	stream []decode.Token // committed tokens, the root last
	held   []decode.Token // what the model's context holds
	sure   int            // held[:sure] is known to be a prefix of stream
	err    error
}

func (m *modelSource) Err() error { return m.err }

func (m *modelSource) Begin(prompt []decode.Token, _ decode.PrefillResult) {
	m.err = m.model.Truncate(0)
	m.held, m.sure = m.held[:0], 0
	m.stream = append(m.stream[:0], prompt...)
	// At once, so that it counts as the prompt's time and not as the first draft's.
	m.follow()
}

func (m *modelSource) Observe(committed []decode.Token, _ *draft.Verdict) {
	m.stream = append(m.stream, committed...)
}

// follow brings the model's context to the end of the stream and returns the
// likeliest next token; ok is false where the model cannot follow.
func (m *modelSource) follow() (next decode.Candidate, ok bool) {
	for m.sure < len(m.held) && m.sure < len(m.stream) && m.held[m.sure] == m.stream[m.sure] {
		m.sure++
	}
	// The last token is computed again where it is already there, for its row.
	m.sure = min(m.sure, len(m.stream)-1)
	if m.sure < len(m.held) && m.err == nil {
		m.err = m.model.Truncate(m.sure)
		m.held = m.held[:m.sure]
	}
	return m.append(m.stream[m.sure:])
}

// append puts tokens behind the model's context.
func (m *modelSource) append(tokens []decode.Token) (next decode.Candidate, ok bool) {
	// A draft model with a smaller vocabulary or a shorter context falls silent where
	// the stream leaves it.
	foreign := slices.ContainsFunc(tokens, func(t decode.Token) bool { return t < 0 || int(t) >= m.info.Vocab })
	if m.err != nil || foreign || len(m.held)+len(tokens) > m.info.Context {
		return next, false
	}
	var want decode.Want
	if m.pMin > 0 {
		want.TopK = 1
	}
	r, err := m.model.Prefill(m.ctx, tokens, want, 0)
	if errors.Is(err, decode.ErrContextFull) {
		return next, false
	}
	if err != nil {
		m.err = err
		return next, false
	}
	m.held = append(m.held, tokens...)
	if m.pMin > 0 {
		return r.Last.Top[0], true
	}
	return decode.Candidate{Token: r.Last.Best[0]}, true
}

func (m *modelSource) Propose(b *draft.Builder) {
	next, ok := m.follow()
	for u, n := 0, 0; ok; {
		if m.pMin > 0 && math.Exp(float64(next.LogProb)) < m.pMin {
			return
		}
		if u, _ = b.Add(u, next.Token, decode.FromModel); u < 0 {
			return
		}
		if n++; n == m.k || b.Free() == 0 || slices.Contains(m.stop, next.Token) {
			return
		}
		next, ok = m.append([]decode.Token{next.Token})
	}
}
