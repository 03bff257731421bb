package model

import (
	"fmt"

	"github.com/coordbench/coordbench/engine/kernels"
	"github.com/coordbench/coordbench/engine/kvcache"
)

// The stages of a layer. Each hands its work to the workers in units; a barrier
// stands between a stage and the one that reads what it wrote.
const (
	stageAttnNorm = iota // rows: x → activations
	stageQKV             // output rows: projections and their biases
	stageRope            // rows: rotate, store keys and values
	stageAttend          // (row, query head) pairs
	stageOutRows         // rows: attention output → activations
	stageOut             // output rows: x += o·out
	stageFFNorm          // rows: x → activations
	stageGateUp          // output rows: silu(gate·x)·(up·x)
	stageDownRows        // rows: → activations
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
	c.layers = layerPass{c: c, b: b, from: from, to: to}
	for i := range c.turn[:(to-from)*stages] {
		c.turn[i].n.Store(0)
	}
	c.shared.reset(c.m, b.Len())
	c.m.pool.Run(&c.layers)
	b.layer = to
}

// Do is worker's share of the pass.
func (p *layerPass) Do(worker, workers int) {
	c, b := p.c, p.b
	cfg := &c.m.config
	defer c.barrier.breakOnPanic()
	n := b.Len()
	w := &c.workers[worker]
	in := c.inputs(w, n)
	headsAlone := cfg.KVHeads%workers == 0 && n <= 64
	for i := p.from; i < p.to; i++ {
		l := &c.m.layers[i]
		turn := c.turn[(i-p.from)*stages:]

		c.prepare(w, in.width, &turn[stageAttnNorm], workers, n, cfg.Width, b.x, l.attnNorm)
		p.project(in.width, &turn[stageQKV], workers, l)
		c.barrier.wait(workers)

		if headsAlone {
			// A worker that owns whole key/value heads needs nobody's keys but its own.
			for h := worker; h < cfg.KVHeads; h += workers {
				for r := range n {
					c.rotate(w, b, l, i, h, r)
				}
				for first := 0; first < n*cfg.group(); first += attentionItems {
					c.attend(&w.attend, b, i, h, first, min(first+attentionItems, n*cfg.group()))
				}
			}
		} else {
			for r := turn[stageRope].next(); r < n; r = turn[stageRope].next() {
				for h := range cfg.KVHeads {
					c.rotate(w, b, l, i, h, r)
				}
			}
			c.barrier.wait(workers)
			items := n * cfg.group()
			size := min(attentionItems, (items*cfg.KVHeads/(4*workers)+together-1)/together*together)
			if items < together {
				size = (items*cfg.KVHeads + workers - 1) / workers
			}
			size = max(1, min(size, items))
			per := (items + size - 1) / size
			for u := turn[stageAttend].next(); u < per*cfg.KVHeads; u = turn[stageAttend].next() {
				// Late rows see most: begin with them.
				first := (per - 1 - u/cfg.KVHeads) * size
				c.attend(&w.attend, b, i, u%cfg.KVHeads, first, min(first+size, items))
			}
		}
		c.barrier.wait(workers)

		c.prepare(w, in.out, &turn[stageOutRows], workers, n, cfg.qDim(), c.out, nil)
		p.residual(in.out, &turn[stageOut], workers, l.o)
		c.barrier.wait(workers)

		c.prepare(w, in.width, &turn[stageFFNorm], workers, n, cfg.Width, b.x, l.ffnNorm)
		p.gateUp(in.width, &turn[stageGateUp], workers, l)
		c.barrier.wait(workers)

		c.prepare(w, in.ff, &turn[stageDownRows], workers, n, cfg.FF, c.gate, nil)
		p.residual(in.ff, &turn[stageDown], workers, l.down)
		c.barrier.wait(workers)
	}
}

// prepare makes act hold the n rows of x (n, cols), normalised by norm where it
// is not nil, in the form that matrices multiply. act is this worker's own, or all
// workers fill it together.
func (c *Context) prepare(w *worker, act *kernels.Activations, t *turn, workers, n, cols int, x, norm []float32) {
	if workers > 1 && n <= alone {
		c.setRows(w, act, 0, n, cols, x, norm)
		return
	}
	for r := t.next() * tileRows; r < n; r = t.next() * tileRows {
		c.setRows(w, act, r, min(r+tileRows, n), cols, x, norm)
	}
	c.barrier.wait(workers)
}

func (c *Context) setRows(w *worker, act *kernels.Activations, first, end, cols int, x, norm []float32) {
	for r := first; r < end; r++ {
		row := x[r*cols : (r+1)*cols]
		if norm != nil {
			kernels.RMSNorm(w.row[:cols], row, norm, c.m.config.Epsilon)
			row = w.row[:cols]
		}
		act.SetRow(r, row)
	}
}

// unitRows is how many output rows of a (rows, cols) matrix make one unit for n
// rows of activations: enough to be worth it, and no more than a worker's share.
func unitRows(rows, cols, n, workers int) int {
	tile := kernels.Tile()
	up := func(r int) int { return (r + tile - 1) / tile * tile }
	return min(up(unitWork/(n*cols)+1), up((rows+workers-1)/workers))
}

// project leaves the queries, keys and values of all rows in c.q, c.k and c.v.
func (p *layerPass) project(act *kernels.Activations, t *turn, workers int, l *layer) {
	c, n := p.c, p.b.Len()
	to := [3][]float32{c.q, c.k, c.v}
	u, skipped := t.next(), 0
	for j, m := range l.qkv {
		rows := m.Rows()
		size := unitRows(rows, m.Cols(), n, workers)
		units := (rows + size - 1) / size
		for ; u < skipped+units; u = t.next() {
			r0 := (u - skipped) * size
			r1 := min(r0+size, rows)
			m.Mul(to[j], rows, act, r0, r1)
			if bias := l.bias[j]; bias != nil {
				for i := range n {
					kernels.Add(to[j][i*rows+r0:i*rows+r1], bias[r0:r1])
				}
			}
		}
		skipped += units
	}
}

// residual adds m·act to the residual stream.
func (p *layerPass) residual(act *kernels.Activations, t *turn, workers int, m *kernels.Matrix) {
	c, b := p.c, p.b
	rows := m.Rows()
	size := unitRows(rows, m.Cols(), b.Len(), workers)
	for r0 := t.next() * size; r0 < rows; r0 = t.next() * size {
		r1 := min(r0+size, rows)
		m.Mul(c.y, rows, act, r0, r1)
		for i := range b.Len() {
			kernels.Add(b.x[i*rows+r0:i*rows+r1], c.y[i*rows+r0:i*rows+r1])
		}
	}
}

// gateUp leaves silu(gate·act)·(up·act) in c.gate.
func (p *layerPass) gateUp(act *kernels.Activations, t *turn, workers int, l *layer) {
	c, n := p.c, p.b.Len()
	rows := l.gate.Rows()
	size := unitRows(rows, 2*l.gate.Cols(), n, workers)
	for r0 := t.next() * size; r0 < rows; r0 = t.next() * size {
		r1 := min(r0+size, rows)
		l.gate.Mul(c.gate, rows, act, r0, r1)
		l.up.Mul(c.up, rows, act, r0, r1)
		// A kernel may round a ragged end another way than a full tile: keep them
		// apart, so that a unit's length, which depends on n, does not show.
		full := r1 - r1%kernels.Tile()
		for i := range n {
			g, u := c.gate[i*rows:][:rows], c.up[i*rows:][:rows]
			kernels.SwiGLU(g[r0:full], g[r0:full], u[r0:full])
			kernels.SwiGLU(g[full:r1], g[full:r1], u[full:r1])
		}
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
