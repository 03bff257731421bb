package llamacpp

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/coordbench/coordbench/engine/decode"
)

// A System is llama.cpp as its users run it: autoregressive, sampled by its own
// sampler chain (top-k, top-p, min-p, temperature, dist, in the order of its
// common library), which for a seed need not draw what this project's sampler
// draws.
type System struct {
	t *Target
	o Options
}

var _ decode.System = (*System)(nil)

// NewSystem opens the autoregressive baseline on m.
func NewSystem(m *Model, o Options) (*System, error) {
	if err := m.lib.need("sampling", "llama_sampler_chain_default_params", "llama_sampler_chain_init", "llama_sampler_chain_add",
		"llama_sampler_init_greedy", "llama_sampler_init_top_k", "llama_sampler_init_top_p", "llama_sampler_init_min_p",
		"llama_sampler_init_temp", "llama_sampler_init_dist", "llama_sampler_sample", "llama_sampler_free"); err != nil {
		return nil, err
	}
	o.Trees = false
	t, err := m.NewTarget(o)
	if err != nil {
		return nil, err
	}
	return &System{t: t, o: o}, nil
}

// Identity is decode.System's.
func (s *System) Identity() decode.Identity {
	info := s.t.Info()
	return decode.Identity{
		Name: "llamacpp", Model: info.Model, ModelDigest: info.ModelDigest, Backend: info.Backend,
		Options: map[string]string{
			"threads":    strconv.Itoa(s.o.Threads),
			"context":    strconv.Itoa(s.t.size),
			"gpu_layers": strconv.Itoa(s.o.GPULayers),
		},
	}
}

// Close frees the context; the model stays open.
func (s *System) Close() error { return s.t.Close() }

// chain builds the sampler that common/sampling.cpp would for these settings.
func (l *Library) chain(p decode.Sampling) uintptr {
	c := l.chainInit(l.chainParams())
	if p.Greedy() {
		l.chainAdd(c, l.samplerGreedy())
		return c
	}
	if p.TopK > 0 {
		l.chainAdd(c, l.samplerTopK(int32(p.TopK)))
	}
	if p.TopP > 0 && p.TopP < 1 {
		l.chainAdd(c, l.samplerTopP(float32(p.TopP), 1))
	}
	if p.MinP > 0 {
		l.chainAdd(c, l.samplerMinP(float32(p.MinP), 1))
	}
	l.chainAdd(c, l.samplerTemp(float32(p.Temperature)))
	l.chainAdd(c, l.samplerDist(uint32(p.Seed)))
	return c
}

// Decode is decode.System's.
func (s *System) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	if req.MaxTokens < 1 {
		return decode.Result{}, fmt.Errorf("llamacpp: max tokens is %d; at least 1 is needed", req.MaxTokens)
	}
	t, l := s.t, s.t.m.lib
	if err := t.Truncate(0); err != nil {
		return decode.Result{}, err
	}
	chain := l.chain(req.Sampling)
	defer l.samplerFree(chain)
	if _, err := t.Prefill(ctx, req.Prompt, decode.Want{}, 0); err != nil {
		return decode.Result{}, err
	}
	var res decode.Result
	step := decode.Step{Phase: decode.Prefill, Width: len(req.Prompt)}
	for {
		tok := decode.Token(l.samplerSample(chain, t.ctx, -1))
		res.Tokens = append(res.Tokens, tok)
		if onStep != nil {
			step.Tokens = res.Tokens[len(res.Tokens)-1:]
			onStep(step)
		}
		switch {
		case slices.Contains(req.Stop, tok):
			res.Reason = decode.StopToken
			return res, nil
		case len(res.Tokens) == req.MaxTokens:
			res.Reason = decode.StopLength
			return res, nil
		case t.n+1 > t.size:
			res.Reason = decode.StopContext
			return res, nil
		}
		if err := ctx.Err(); err != nil {
			return res, err
		}
		t.put(0, tok, t.n, true, 0)
		if err := t.run(1); err != nil {
			return res, err
		}
		t.n++
		step = decode.Step{Phase: decode.Verify, Width: 1}
	}
}
