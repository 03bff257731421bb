package model

import (
	"fmt"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/kernels"
	"github.com/coordbench/coordbench/engine/kvcache"
)

// The stages of a layer; see kernels.Stages.
const (
	stageAttnNorm = iota // tiles of rows: x → activations
	stageQKV             // output rows: projections and their biases
	stageRope            // rows: rotate, store keys and values
	stageAttend          // (row, query head) pairs
	stageOutRows         // tiles of rows: attention output → activations
	stageOut             // output rows: x += o·out
	stageFFNorm          // tiles of rows: x → activations
	stageGateUp          // output rows: silu(gate·x)·(up·x)
	stageDownRows        // tiles of rows: → activations
	stageDown            // output rows: x += down·h
	stages
)

// tileRows rows of activations share cache lines: no two workers prepare rows of
// one such tile.
const tileRows = 8

// alone is the largest batch whose activations every worker prepares for itself,
// because that is cheaper than waiting for another to do it.
const alone = tileRows

// unitWork is the least number of multiply-adds that is worth a unit of its own.
const unitWork = 64 << 10

// A layerPass runs one block of layers over one batch.
type layerPass struct {
	c        *Context
	b        *Batch
	from, to int

	ownHeads bool // stageAttend's units are whole key/value heads, and rotate them too
	perHead  int  // else: units of a key/value head
	items    int  // (row, query head) pairs of such a unit
}

// RunBlock takes b through the layers of block. Rows have the same bits however
// the sequence is cut into batches and the model into blocks.
func (c *Context) RunBlock(block Block, b *Batch) error {
	if block.First != b.layer || block.End < block.First || block.End > c.m.config.Layers {
		return fmt.Errorf("layers %d to %d of %d: the batch has reached layer %d", block.First, block.End, c.m.config.Layers, b.layer)
	}
	c.cache.Room(b.base, b.Len())
	if b.Len() > c.rows {
		return fmt.Errorf("batch of %d rows; this context takes at most %d", b.Len(), c.rows)
	}
	c.runLayers(b, block.First, block.End)
	return nil
}

func (c *Context) runLayers(b *Batch, from, to int) {
	last := 0
	for _, d := range b.depths {
		last = max(last, d)
	}
	c.rope.reach(b.base + last + 1)
	c.layers = newLayerPass(c, b, from, to)
	c.begin(b.Len())
	c.m.pool.RunStages(&c.layers)
	b.layer = to
}

// begin readies the activations for a pass over n rows.
func (c *Context) begin(n int) {
	c.pass++
	if n > alone {
		c.shared.reset(c.m, n)
		return
	}
	for i := range c.workers {
		c.workers[i].own.reset(c.m, n)
	}
}

func newLayerPass(c *Context, b *Batch, from, to int) layerPass {
	cfg, workers, n := &c.m.config, len(c.workers), b.Len()
	p := layerPass{c: c, b: b, from: from, to: to}
	// Whoever has a whole key/value head needs nobody's keys but its own.
	p.ownHeads = cfg.KVHeads%workers == 0 && n <= decode.MaxNodes
	all := n * cfg.group()
	p.items = (all*cfg.KVHeads/(4*workers) + together - 1) / together * together
	if all < together {
		p.items = (all*cfg.KVHeads + workers - 1) / workers
	}
	p.items = max(1, min(p.items, all, attentionItems))
	p.perHead = (all + p.items - 1) / p.items
	return p
}

// Stages is part of kernels.Stages.
func (p *layerPass) Stages() int { return (p.to - p.from) * stages }

// Units is part of kernels.Stages.
func (p *layerPass) Units(stage int) int {
	l, cfg, n := &p.c.m.layers[p.from+stage/stages], &p.c.m.config, p.b.Len()
	switch stage % stages {
	case stageAttnNorm, stageOutRows, stageFFNorm, stageDownRows:
		return p.c.tiles(n)
	case stageQKV:
		units := 0
		for _, m := range l.qkv {
			units += p.units(m)
		}
		return units
	case stageRope:
		if p.ownHeads {
			return 0
		}
		return n
	case stageAttend:
		if p.ownHeads {
			return cfg.KVHeads
		}
		return p.perHead * cfg.KVHeads
	case stageOut:
		return p.units(l.o)
	case stageGateUp:
		return p.units(l.gate)
	default:
		return p.units(l.down)
	}
}

// Do is part of kernels.Stages.
func (p *layerPass) Do(worker, stage, unit int) {
	c, b, w := p.c, p.b, &p.c.workers[worker]
	cfg, n, layer := &c.m.config, b.Len(), p.from+stage/stages
	l := &c.m.layers[layer]
	x, out, ff := rows{b.x, cfg.Width, nil}, rows{c.out, cfg.qDim(), nil}, rows{c.gate, cfg.FF, nil}
	switch stage % stages {
	case stageAttnNorm:
		x.norm = l.attnNorm
		c.prepare(w, c.shared.width, x, unit*tileRows, n)
	case stageQKV:
		x.norm = l.attnNorm
		p.project(c.input(w, stage, w.own.width, c.shared.width, x, n), unit, l)
	case stageRope:
		for h := range cfg.KVHeads {
			c.rotate(w, b, l, layer, h, unit)
		}
	case stageAttend:
		if p.ownHeads {
			for r := range n {
				c.rotate(w, b, l, layer, unit, r)
			}
			for first := 0; first < n*cfg.group(); first += attentionItems {
				c.attend(&w.attend, b, layer, unit, first, min(first+attentionItems, n*cfg.group()))
			}
			break
		}
		// Late rows see most: begin with them.
		first := (p.perHead - 1 - unit/cfg.KVHeads) * p.items
		c.attend(&w.attend, b, layer, unit%cfg.KVHeads, first, min(first+p.items, n*cfg.group()))
	case stageOutRows:
		c.prepare(w, c.shared.out, out, unit*tileRows, n)
	case stageOut:
		p.residual(c.input(w, stage, w.own.out, c.shared.out, out, n), unit, l.o)
	case stageFFNorm:
		x.norm = l.ffnNorm
		c.prepare(w, c.shared.width, x, unit*tileRows, n)
	case stageGateUp:
		x.norm = l.ffnNorm
		p.gateUp(c.input(w, stage, w.own.width, c.shared.width, x, n), unit, l)
	case stageDownRows:
		c.prepare(w, c.shared.ff, ff, unit*tileRows, n)
	case stageDown:
		p.residual(c.input(w, stage, w.own.ff, c.shared.ff, ff, n), unit, l.down)
	}
}

// rows are (n, cols) numbers that become activations, normalised by norm where
// it is not nil.
type rows struct {
	x    []float32
	cols int
	norm []float32
}

// tiles is the number of units that prepare n rows for all workers.
func (c *Context) tiles(n int) int {
	if n <= alone {
		return 0
	}
	return (n + tileRows - 1) / tileRows
}

// input is what a matrix is multiplied with: the n rows that the stage before
// prepared for all workers, or that this worker prepares for itself when it comes
// to the stage.
func (c *Context) input(w *worker, stage int, own, shared *kernels.Activations, x rows, n int) *kernels.Activations {
	if n > alone {
		return shared
	}
	if w.pass != c.pass || w.stage != stage {
		w.pass, w.stage = c.pass, stage
		c.prepare(w, own, x, 0, n)
	}
	return own
}

// prepare makes act hold up to tileRows of n rows of x, from first on, in the
// form that matrices multiply.
func (c *Context) prepare(w *worker, act *kernels.Activations, x rows, first, n int) {
	for r := first; r < min(first+tileRows, n); r++ {
		row := x.x[r*x.cols : (r+1)*x.cols]
		if x.norm != nil {
			kernels.RMSNorm(w.row[:x.cols], row, x.norm, c.m.config.Epsilon)
			row = w.row[:x.cols]
		}
		act.SetRow(r, row)
	}
}

// unitRows is how many output rows of m make one unit: enough to be worth it,
// and no more than a worker's share.
func (p *layerPass) unitRows(m *kernels.Matrix) int {
	tile := kernels.Tile()
	up := func(r int) int { return (r + tile - 1) / tile * tile }
	workers := len(p.c.workers)
	return min(up(unitWork/(p.b.Len()*m.Cols())+1), up((m.Rows()+workers-1)/workers))
}

func (p *layerPass) units(m *kernels.Matrix) int {
	size := p.unitRows(m)
	return (m.Rows() + size - 1) / size
}

// span is the output rows of a unit of m.
func (p *layerPass) span(m *kernels.Matrix, unit int) (r0, r1 int) {
	size := p.unitRows(m)
	return unit * size, min((unit+1)*size, m.Rows())
}

// project leaves some queries, keys or values of all rows in c.q, c.k and c.v.
func (p *layerPass) project(act *kernels.Activations, unit int, l *layer) {
	c := p.c
	to := [3][]float32{c.q, c.k, c.v}
	for j, m := range l.qkv {
		if n := p.units(m); unit >= n {
			unit -= n
			continue
		}
		r0, r1 := p.span(m, unit)
		rows := m.Rows()
		m.Mul(to[j], rows, act, r0, r1)
		if bias := l.bias[j]; bias != nil {
			for i := range p.b.Len() {
				kernels.Add(to[j][i*rows+r0:i*rows+r1], bias[r0:r1])
			}
		}
		return
	}
}

// residual adds some of m·act to the residual stream.
func (p *layerPass) residual(act *kernels.Activations, unit int, m *kernels.Matrix) {
	c, b, rows := p.c, p.b, m.Rows()
	r0, r1 := p.span(m, unit)
	m.Mul(c.y, rows, act, r0, r1)
	for i := range b.Len() {
		kernels.Add(b.x[i*rows+r0:i*rows+r1], c.y[i*rows+r0:i*rows+r1])
	}
}

// gateUp leaves some of silu(gate·act)·(up·act) in c.gate.
func (p *layerPass) gateUp(act *kernels.Activations, unit int, l *layer) {
	c, rows := p.c, l.gate.Rows()
	r0, r1 := p.span(l.gate, unit)
	l.gate.Mul(c.gate, rows, act, r0, r1)
	l.up.Mul(c.up, rows, act, r0, r1)
	// A kernel may round a ragged end another way than a full tile: keep them
	// apart, so that a unit's length, which depends on n, does not show.
	full := r1 - r1%kernels.Tile()
	for i := range p.b.Len() {
		g, u := c.gate[i*rows:][:rows], c.up[i*rows:][:rows]
		kernels.SwiGLU(g[r0:full], g[r0:full], u[r0:full])
		kernels.SwiGLU(g[full:r1], g[full:r1], u[full:r1])
	}
}

// rotate brings key/value head h of row r, and the query heads that read it, to
// its position, and stores the key and the value.
func (c *Context) rotate(w *worker, b *Batch, l *layer, layer, h, r int) {
	cfg := &c.m.config
	d, group, qDim, kvDim := cfg.HeadDim, cfg.group(), cfg.qDim(), cfg.kvDim()
	cos, sin := c.rope.at(b.base + b.depths[r])
	turn := func(x, norm []float32) {
		if norm != nil {
			kernels.RMSNorm(x, x, norm, cfg.Epsilon)
		}
		if c.m.arch.interleaved {
			kernels.RopeNorm(x, cos, sin)
		} else {
			kernels.RopeNeox(x, cos, sin)
		}
	}
	for q := h * group; q < (h+1)*group; q++ {
		x := c.q[r*qDim+q*d : r*qDim+(q+1)*d]
		turn(x, l.qNorm)
		kernels.Scale(x, c.scale)
	}
	k, v := c.k[r*kvDim+h*d:r*kvDim+(h+1)*d], c.v[r*kvDim+h*d:r*kvDim+(h+1)*d]
	turn(k, l.kNorm)
	at := (b.base + r) * d
	if c.cache.Type() == kvcache.F32 {
		c.cache.PutKey32(layer, h, b.base+r, k)
		copy(c.cache.Values32(layer, h)[at:at+d], v)
	} else {
		kernels.F32ToF16(w.half, k)
		c.cache.PutKey16(layer, h, b.base+r, w.half)
		kernels.F32ToF16(c.cache.Values16(layer, h)[at:at+d], v)
	}
}
