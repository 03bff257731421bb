// Package speculate is the decoding loop: draft, verify, commit. With no sources
// it is autoregressive decoding.
package speculate

import (
	"context"
	"fmt"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/sample"
)

// Options of an engine. The zero value is autoregressive decoding.
type Options struct {
	Name    string            // of the system; "ar" if there are no sources, else "speculate"
	Options map[string]string // for its Identity
	Draft   *decode.Info      // of the draft model, where a source has one

	// Width says how many rows a verification has; nil is as many as the target takes.
	Width WidthPolicy

	// TopK is how many candidates per prompt position the sources are given.
	TopK int

	// Live has every verification leave TopK candidates per node for the sources.
	Live bool
}

// An Engine decodes with one target and sources that draft for it, in the order
// of their priority. It is a decode.System. What it generates depends on the
// target and the request alone: sources and widths decide only how many passes
// that takes.
//
// The token at an output position is picked once, from the row of the node that
// stands before it (sample-then-match): a draft node is accepted if it is the
// token picked after its parent. Where drafts are fixed before verification, as
// all drafts here are, that is exact for sampling too.
//
// Between requests and after each step the target holds the prompt and all
// output but the last token.
type Engine struct {
	target  decode.Target
	info    decode.Info
	sources []draft.Source
	o       Options
	id      decode.Identity

	builder *draft.Builder
	tree    decode.Tree
	pruned  decode.Tree
	verdict draft.Verdict
	out     []decode.Token
	path    []int
	origins []decode.Origin
}

// A Failer is a Source whose work can fail, such as a draft model. The loop asks
// after each proposal; an error ends the request.
type Failer interface{ Err() error }

// New returns an engine. It owns neither target nor sources: Close leaves them open.
func New(target decode.Target, sources []draft.Source, o Options) (*Engine, error) {
	info := target.Info()
	if o.TopK < 0 || o.TopK > info.Vocab {
		return nil, fmt.Errorf("%d candidates per position of a vocabulary of %d", o.TopK, info.Vocab)
	}
	if o.Live && o.TopK == 0 {
		return nil, fmt.Errorf("live candidates are wanted, but none per position")
	}
	if o.Width == nil {
		o.Width = Fixed(info.MaxNodes)
	}
	if w := o.Width.Limit(); w < 1 || w > decode.MaxNodes {
		return nil, fmt.Errorf("verifications of %d rows; expected 1 to %d", w, decode.MaxNodes)
	}
	if o.Name == "" {
		o.Name = "speculate"
		if len(sources) == 0 {
			o.Name = "ar"
		}
	}
	e := &Engine{target: target, info: info, sources: sources, o: o, builder: draft.NewBuilder(info.Vocab)}
	e.id = decode.Identity{
		Name: o.Name, Model: info.Model, ModelDigest: info.ModelDigest, Backend: info.Backend, Exact: info.Exact, Options: o.Options,
	}
	if o.Draft != nil {
		e.id.Draft, e.id.DraftDigest = o.Draft.Model, o.Draft.ModelDigest
	}
	return e, nil
}

// Identity is decode.System's.
func (e *Engine) Identity() decode.Identity { return e.id }

// Close does nothing: whoever opened the target closes it.
func (e *Engine) Close() error { return nil }

// A generation is the state of one Decode.
type generation struct {
	req     decode.Request
	sampler *sample.Sampler
	want    decode.Want
	onStep  func(decode.Step)
}

// Decode is decode.System's. After an error the result holds what the steps
// before it emitted.
func (e *Engine) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	g, err := e.begin(ctx, req, onStep)
	if err != nil {
		return decode.Result{}, err
	}
	e.out = e.out[:0]
	reason, err := e.prompt(ctx, g)
	for reason == "" && err == nil {
		reason, err = e.step(ctx, g)
	}
	return decode.Result{Tokens: slices.Clone(e.out), Reason: reason}, err
}

func (e *Engine) begin(ctx context.Context, req decode.Request, onStep func(decode.Step)) (*generation, error) {
	if req.MaxTokens < 1 {
		return nil, fmt.Errorf("at most %d tokens are asked for; expected 1 or more", req.MaxTokens)
	}
	s, err := sample.New(req.Sampling)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.target.Truncate(0); err != nil {
		return nil, err
	}
	if onStep == nil {
		onStep = func(decode.Step) {}
	}
	g := &generation{req: req, sampler: s, want: s.Want(), onStep: onStep}
	if e.o.Live {
		g.want.TopK = e.o.TopK
	}
	return g, nil
}

// prompt emits the first token.
func (e *Engine) prompt(ctx context.Context, g *generation) (decode.StopReason, error) {
	r, err := e.target.Prefill(ctx, g.req.Prompt, g.sampler.Want(), e.o.TopK)
	if err != nil {
		return "", err
	}
	e.out = append(e.out, g.sampler.PickRow(0, r.Last, 0))
	for _, s := range e.sources {
		s.Begin(g.req.Prompt, r)
	}
	for _, s := range e.sources {
		s.Observe(e.out, nil)
	}
	g.onStep(decode.Step{Phase: decode.Prefill, Tokens: e.out, Width: len(g.req.Prompt)})
	return g.ended(e.out), nil
}

// ended says whether the newest token is the last.
func (g *generation) ended(out []decode.Token) decode.StopReason {
	switch {
	case slices.Contains(g.req.Stop, out[len(out)-1]):
		return decode.StopToken
	case len(out) >= g.req.MaxTokens:
		return decode.StopLength
	}
	return ""
}

// step is one verification.
func (e *Engine) step(ctx context.Context, g *generation) (decode.StopReason, error) {
	room := e.info.Context - e.target.Len()
	if room < 1 {
		return decode.StopContext, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	drafted, tree, err := e.draft(g, min(room, e.info.MaxNodes, e.o.Width.Limit()))
	if err != nil {
		return "", err
	}
	scores, err := e.target.Verify(ctx, tree, g.want)
	if err != nil {
		return "", err
	}
	// Between the picks and Commit the scores are the target's and still valid.
	from := len(e.out)
	reason := e.match(g, tree, scores)
	emitted := e.out[from:]
	e.o.Width.Learn(drafted, emitted)
	if len(e.sources) > 0 {
		e.judge(tree, scores, emitted)
		for _, s := range e.sources {
			s.Observe(emitted, &e.verdict)
		}
	}
	// The newest token is the next root: it is emitted, not committed.
	if err := e.target.Commit(e.path[:len(emitted)]); err != nil {
		e.out = e.out[:from]
		return "", err
	}
	step := decode.Step{Phase: decode.Verify, Tokens: emitted, Width: tree.Len(), Depth: tree.MaxDepth(), Accepted: e.origins}
	for _, o := range tree.Origins[1:] {
		step.Drafted[o]++
	}
	g.onStep(step)
	return reason, nil
}

// match walks down tree as far as the picked tokens go. It appends them to e.out
// and leaves the accepted nodes, root first, in e.path and their origins in
// e.origins. The last token is an accepted node where it ends the output, else
// the one that the target put behind the last accepted node.
func (e *Engine) match(g *generation, tree *decode.Tree, scores decode.Scores) decode.StopReason {
	e.path, e.origins = append(e.path[:0], 0), e.origins[:0]
	for u := 0; ; {
		tok := g.sampler.PickRow(len(e.out), scores, u)
		e.out = append(e.out, tok)
		reason := g.ended(e.out)
		if u = tree.Child(u, tok); u < 0 {
			return reason
		}
		e.path = append(e.path, u)
		e.origins = append(e.origins, tree.Origins[u])
		if reason != "" {
			return reason
		}
	}
}

// draft returns what the sources propose, at most width nodes, and what of it to
// verify. No branch is longer than what can
// still be emitted, the token after its leaf included.
func (e *Engine) draft(g *generation, width int) (drafted, tree *decode.Tree, err error) {
	root := e.out[len(e.out)-1]
	depth := g.req.MaxTokens - len(e.out) - 1
	if width == 1 || depth == 0 || len(e.sources) == 0 {
		e.tree.Reset(root)
		return &e.tree, &e.tree, nil
	}
	e.builder.Reset(root, width, depth, g.req.Stop)
	for _, s := range e.sources {
		s.Propose(e.builder)
		if f, ok := s.(Failer); ok {
			if err := f.Err(); err != nil {
				return nil, nil, err
			}
		}
	}
	e.builder.Layout(&e.tree)
	return &e.tree, prune(&e.pruned, &e.tree, e.o.Width.Keep(&e.tree)), nil
}

// judge fills the verdict for the sources. On the accepted path a node's pick is
// what was emitted; elsewhere it is the arg-max, which costs no draw and is what
// a continuation most likely needs.
func (e *Engine) judge(tree *decode.Tree, scores decode.Scores, emitted []decode.Token) {
	v := &e.verdict
	v.Tree, v.Path = tree, e.path
	v.Picked = append(v.Picked[:0], scores.Best...)
	for i, tok := range emitted {
		v.Picked[e.path[i]] = tok
	}
	v.K, v.Top = scores.K, scores.Top
}
