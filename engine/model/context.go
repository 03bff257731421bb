package model

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/kernels"
	"github.com/coordbench/coordbench/engine/kvcache"
)

// ContextOptions for NewContext. The zero value is a good choice.
type ContextOptions struct {
	// Context is the most positions that the context holds; 0 is the model's
	// trained context, but at most 4096. More than the trained context is allowed
	// and is the caller's to warn about.
	Context int
	KV      kvcache.Type // format of keys and values; "" is kvcache.F16
	Nodes   int          // largest tree, root included; 0 is decode.MaxNodes
	Chunk   int          // rows of a prompt that pass the layers together; 0 is 256
}

const (
	defaultContext = 4096
	maxContext     = 1 << 20
	defaultChunk   = 256
	maxChunk       = 4096
)

// A Context is one sequence that a model continues: its keys and values, and the
// scratch of a forward pass, all allocated by NewContext. It is a decode.Target
// and, like every target, used by one goroutine at a time; so is the model.
type Context struct {
	m       *Model
	cache   *kvcache.Cache
	rope    *rotation
	options ContextOptions // none of them zero
	scale   float32        // 1/√HeadDim
	rows    int            // most rows of a batch

	batch *Batch
	tree  *decode.Tree // last verified and not yet committed, or nil

	// Scratch of a pass; n is the number of rows.
	q, out   []float32 // (n, qDim)
	k, v     []float32 // (n, kvDim)
	y        []float32 // (n, Width)
	gate, up []float32 // (n, FF)
	shared   inputs
	workers  []worker
	pass     uint64 // number of the pass that runs
	layers   layerPass
	head     headPass
	parts    []part // (min(n, headRows), chunks of the vocabulary)

	// What the last call left; see decode.Scores.
	best   []decode.Token
	top    []decode.Candidate
	logits []float32
	prompt []decode.Candidate // (prompt length, topK)
}

// A worker is the scratch of one of the pool's workers.
type worker struct {
	own    inputs               // up to alone rows, prepared for …
	pass   uint64               // … this pass
	stage  int                  // … and stage of it
	row    []float32            // one row of Width numbers
	half   []uint16             // one key of HeadDim numbers
	logits []float32            // (headRows, headChunk)
	found  [][]decode.Candidate // (headRows) likeliest so far; LogProb holds the logit
	attend attender
}

// inputs are what matrices multiply: rows of Width, qDim and FF numbers.
type inputs struct{ width, out, ff *kernels.Activations }

// newInputs makes room for rows rows in the forms that m's matrices read.
func (m *Model) newInputs(rows int) inputs {
	width, out, ff := m.head.Form(), kernels.Form(0), kernels.Form(0)
	for i := range m.layers {
		l := &m.layers[i]
		width |= l.qkv[0].Form() | l.qkv[1].Form() | l.qkv[2].Form() | l.gate.Form() | l.up.Form()
		out |= l.o.Form()
		ff |= l.down.Form()
	}
	c := m.config
	return inputs{
		kernels.NewActivations(rows, c.Width, width),
		kernels.NewActivations(rows, c.qDim(), out),
		kernels.NewActivations(rows, c.FF, ff),
	}
}

// reset readies in for n rows.
func (in *inputs) reset(m *Model, n int) {
	in.width.Reset(n, m.config.Width)
	in.out.Reset(n, m.config.qDim())
	in.ff.Reset(n, m.config.FF)
}

// NewContext returns an empty context.
func (m *Model) NewContext(o ContextOptions) (*Context, error) {
	cfg := m.config
	if o.Context == 0 {
		o.Context = min(cfg.TrainContext, defaultContext)
	}
	if o.KV == "" {
		o.KV = kvcache.F16
	}
	if o.Nodes == 0 {
		o.Nodes = decode.MaxNodes
	}
	if o.Chunk == 0 {
		o.Chunk = defaultChunk
	}
	switch {
	case o.Context < 1 || o.Context > maxContext:
		return nil, fmt.Errorf("%s: a context of %d tokens; expected 1 to %d", cfg.Name, o.Context, maxContext)
	case o.KV != kvcache.F16 && o.KV != kvcache.F32:
		return nil, fmt.Errorf("%s: unknown key/value format %q; supported: %s, %s", cfg.Name, o.KV, kvcache.F16, kvcache.F32)
	case o.Nodes < 1 || o.Nodes > decode.MaxNodes:
		return nil, fmt.Errorf("%s: draft trees of %d nodes; expected 1 to %d", cfg.Name, o.Nodes, decode.MaxNodes)
	case o.Chunk < 1 || o.Chunk > maxChunk:
		return nil, fmt.Errorf("%s: prompt chunks of %d tokens; expected 1 to %d", cfg.Name, o.Chunk, maxChunk)
	}
	rows := max(o.Nodes, o.Chunk)
	c := &Context{
		m:     m,
		cache: kvcache.New(kvcache.Shape{Layers: cfg.Layers, Heads: cfg.KVHeads, HeadDim: cfg.HeadDim, Capacity: o.Context}, o.KV),
		rope:  newRotation(m.freqs, o.Context), options: o, rows: rows,
		scale: float32(1 / math.Sqrt(float64(cfg.HeadDim))),
		batch: newBatch(rows, cfg.Width),
		q:     make([]float32, rows*cfg.qDim()), out: make([]float32, rows*cfg.qDim()),
		k: make([]float32, rows*cfg.kvDim()), v: make([]float32, rows*cfg.kvDim()),
		y:    make([]float32, rows*cfg.Width),
		gate: make([]float32, rows*cfg.FF), up: make([]float32, rows*cfg.FF),
		shared:  m.newInputs(rows),
		workers: make([]worker, m.pool.Workers()),
		parts:   make([]part, min(rows, headRows)*((cfg.Vocab+headChunk-1)/headChunk)),
		best:    make([]decode.Token, rows),
	}
	for i := range c.workers {
		w := &c.workers[i]
		w.own = m.newInputs(alone)
		w.row = make([]float32, cfg.Width)
		w.half = make([]uint16, cfg.HeadDim)
		w.attend = newAttender(cfg.HeadDim)
		w.logits = make([]float32, min(rows, headRows)*headChunk)
		w.found = make([][]decode.Candidate, min(rows, headRows))
	}
	return c, nil
}

// Info describes the model in this context.
func (c *Context) Info() decode.Info {
	digest, err := c.m.file.Digest()
	if err != nil {
		digest = ""
	}
	return decode.Info{
		Model: c.m.config.Name, ModelDigest: digest, Vocab: c.m.config.Vocab,
		Context: c.options.Context, MaxNodes: c.options.Nodes,
		Backend: "coordbench/" + kernels.Path(), Exact: true,
	}
}

// Model is the model that the context runs.
func (c *Context) Model() *Model { return c.m }

// KVBytes is the memory reserved for keys and values.
func (c *Context) KVBytes() int64 { return c.cache.Bytes() }

// Len is the number of tokens in the context.
func (c *Context) Len() int { return c.cache.Len() }

// Truncate drops all context after the first n tokens.
func (c *Context) Truncate(n int) error {
	if n < 0 || n > c.Len() {
		return fmt.Errorf("truncating a context of %d tokens to %d", c.Len(), n)
	}
	c.tree = nil
	c.cache.Truncate(n)
	return nil
}

// Close releases nothing that the garbage collector would not; the model stays open.
func (c *Context) Close() error { return nil }

// checkTokens says which token is outside the vocabulary.
func (c *Context) checkTokens(tokens []decode.Token) error {
	for i, t := range tokens {
		if t < 0 || int(t) >= c.m.config.Vocab {
			return fmt.Errorf("token %d at position %d of %d is outside the vocabulary of %d", t, i, len(tokens), c.m.config.Vocab)
		}
	}
	return nil
}

// room says by how much n more tokens exceed the context.
func (c *Context) room(n int, what string) error {
	if free := c.options.Context - c.Len(); n > free {
		return fmt.Errorf("%s of %d tokens after %d in a context of %d: %w", what, n, c.Len(), c.options.Context, decode.ErrContextFull)
	}
	return nil
}

// embed starts b's rows.
func (c *Context) embed(b *Batch) {
	width := c.m.config.Width
	for i, t := range b.tokens {
		c.m.embed.Row(b.x[i*width:(i+1)*width], int(t))
	}
}

// NewBatch returns a batch of consecutive tokens for context positions base,
// base+1, …, to be taken through the layers with RunBlock. Several batches may be
// on their way at once.
func (c *Context) NewBatch(base int, tokens []decode.Token) (*Batch, error) {
	if len(tokens) < 1 || len(tokens) > c.rows {
		return nil, fmt.Errorf("batch of %d rows; this context takes 1 to %d", len(tokens), c.rows)
	}
	if base < c.Len() || base+len(tokens) > c.options.Context {
		return nil, fmt.Errorf("batch of %d rows at position %d; the context holds %d of %d", len(tokens), base, c.Len(), c.options.Context)
	}
	if err := c.checkTokens(tokens); err != nil {
		return nil, err
	}
	b := newBatch(len(tokens), c.m.config.Width)
	b.setChain(base, tokens)
	c.embed(b)
	return b, nil
}

// Finish commits b, which has left the last layer and begins at Len, and returns
// the scores of its last row, or of all rows.
func (c *Context) Finish(b *Batch, w decode.Want, all bool) (decode.Scores, error) {
	if b.layer != c.m.config.Layers || b.base != c.Len() {
		return decode.Scores{}, fmt.Errorf("finishing a batch at position %d after layer %d; the context holds %d tokens and the model has %d layers",
			b.base, b.layer, c.Len(), c.m.config.Layers)
	}
	c.tree = nil
	c.cache.Extend(b.Len())
	if all {
		return c.scores(b, 0, w), nil
	}
	return c.scores(b, b.Len()-1, w), nil
}

// scores runs the head over b's rows from first on.
func (c *Context) scores(b *Batch, first int, w decode.Want) decode.Scores {
	cfg := &c.m.config
	n, k := b.Len()-first, min(max(w.TopK, 0), cfg.Vocab)
	c.top = slices.Grow(c.top[:0], n*k)[:n*k]
	var logits []float32
	if w.Logits {
		c.logits = slices.Grow(c.logits[:0], n*cfg.Vocab)[:n*cfg.Vocab]
		logits = c.logits
	}
	c.project(b.x[first*cfg.Width:], n, k, c.best, c.top, logits)
	return decode.Scores{Best: c.best[:n], K: k, Top: c.top, Vocab: cfg.Vocab, Logits: logits}
}

// passWork is about how many multiply-adds a forward pass does between two looks
// at whether it has been cancelled: some milliseconds' worth.
const passWork = 1 << 30

// forward takes b through all layers.
func (c *Context) forward(ctx context.Context, b *Batch) error {
	cfg := &c.m.config
	perLayer := cfg.Width * (cfg.qkvDim() + cfg.qDim() + 3*cfg.FF)
	step := max(1, passWork/(perLayer*b.Len()))
	c.embed(b)
	for b.layer < cfg.Layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.runLayers(b, b.layer, min(b.layer+step, cfg.Layers))
	}
	return nil
}

// Prefill appends prompt to the context, Chunk tokens at a time. After an error
// the context is what it was before.
func (c *Context) Prefill(ctx context.Context, prompt []decode.Token, w decode.Want, topK int) (decode.PrefillResult, error) {
	if len(prompt) == 0 {
		return decode.PrefillResult{}, fmt.Errorf("empty prompt: a forward pass needs at least one token")
	}
	if err := c.room(len(prompt), "prompt"); err != nil {
		return decode.PrefillResult{}, err
	}
	if err := c.checkTokens(prompt); err != nil {
		return decode.PrefillResult{}, fmt.Errorf("prompt: %w", err)
	}
	c.tree = nil
	cfg := &c.m.config
	before := c.Len()
	k := min(max(topK, 0), cfg.Vocab)
	c.prompt = slices.Grow(c.prompt[:0], len(prompt)*k)[:len(prompt)*k]
	for first := 0; first < len(prompt); first += c.options.Chunk {
		rows := prompt[first:min(first+c.options.Chunk, len(prompt))]
		c.batch.setChain(c.Len(), rows)
		if err := c.forward(ctx, c.batch); err != nil {
			c.cache.Truncate(before)
			return decode.PrefillResult{}, err
		}
		if k > 0 {
			c.project(c.batch.x, len(rows), k, c.best, c.prompt[first*k:], nil)
		}
		c.cache.Extend(len(rows))
	}
	r := decode.PrefillResult{Last: c.scores(c.batch, c.batch.Len()-1, w), K: k}
	if k > 0 {
		r.Top = c.prompt
	}
	return r, nil
}

// Verify scores every node of t in one forward pass and leaves the context
// unchanged.
func (c *Context) Verify(ctx context.Context, t *decode.Tree, w decode.Want) (decode.Scores, error) {
	if n := t.Len(); n > c.options.Nodes {
		return decode.Scores{}, fmt.Errorf("draft tree of %d nodes; this context takes at most %d", n, c.options.Nodes)
	}
	if err := t.Validate(c.m.config.Vocab); err != nil {
		return decode.Scores{}, err
	}
	if err := c.room(t.Len(), "draft tree"); err != nil {
		return decode.Scores{}, err
	}
	c.tree = nil
	c.batch.setTree(c.Len(), t)
	if err := c.forward(ctx, c.batch); err != nil {
		return decode.Scores{}, err
	}
	c.tree = t
	return c.scores(c.batch, 0, w), nil
}

// Commit appends the nodes of path, of the tree last verified, to the context.
func (c *Context) Commit(path []int) error {
	if c.tree == nil {
		return fmt.Errorf("commit without a verified tree")
	}
	if err := c.tree.ValidatePath(path); err != nil {
		return err
	}
	c.tree = nil
	c.cache.Compact(path)
	return nil
}
