package model

import (
	"math"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/kernels"
)

// headChunk is the number of vocabulary entries that one worker projects and
// reduces before the next: few enough that the logits of headRows rows stay in
// the second-level cache. Sums of exponentials are formed per chunk and merged in
// the vocabulary's order, so the chunk, unlike the number of workers, is part of
// what a log-probability is.
const headChunk = 256

// headRows is the most rows that go through the head together.
const headRows = 64

// A part is what one chunk of the vocabulary leaves for one row.
type part struct {
	best   float32 // largest logit
	bestID decode.Token
	sum    float32 // Σ exp(logit-best), where candidates are wanted
}

// A headPass projects rows of one batch onto the vocabulary.
type headPass struct {
	c      *Context
	rows   []float32 // (n, Width), the residual stream
	n      int
	k      int       // candidates wanted
	logits []float32 // (n, Vocab), or nil
}

// project leaves, for the n rows of x, the arg-max in best, the k likeliest in
// top (n, k) and the logits in logits (n, Vocab) unless that is nil.
func (c *Context) project(x []float32, n, k int, best []decode.Token, top []decode.Candidate, logits []float32) {
	cfg := &c.m.config
	for r := 0; r < n; r += headRows {
		rows := min(headRows, n-r)
		c.head = headPass{c: c, rows: x[r*cfg.Width:], n: rows, k: k}
		if logits != nil {
			c.head.logits = logits[r*cfg.Vocab:]
		}
		for i := range c.workers {
			for j := range rows {
				list := &c.workers[i].found[j]
				*list = slices.Grow((*list)[:0], k)
			}
		}
		c.begin(rows)
		c.m.pool.RunStages(&c.head)
		for i := range rows {
			best[r+i] = c.merge(i, k, top[(r+i)*k:(r+i+1)*k])
		}
	}
}

// The stages of the head.
const (
	stageNorm   = iota // tiles of rows: residual stream → activations
	stageChunks        // chunks of the vocabulary
	headStages
)

// Stages is part of kernels.Stages.
func (p *headPass) Stages() int { return headStages }

// Units is part of kernels.Stages.
func (p *headPass) Units(stage int) int {
	if stage == stageNorm {
		return p.c.tiles(p.n)
	}
	return p.c.chunks()
}

// chunks is the number of chunks of the vocabulary.
func (c *Context) chunks() int { return (c.m.config.Vocab + headChunk - 1) / headChunk }

// Do is part of kernels.Stages.
func (p *headPass) Do(worker, stage, unit int) {
	c := p.c
	cfg, w := &c.m.config, &c.workers[worker]
	x := rows{p.rows, cfg.Width, c.m.norm}
	if stage == stageNorm {
		c.prepare(w, c.shared.width, x, unit*tileRows, p.n)
		return
	}
	act := c.input(w, stage, w.own.width, c.shared.width, x, p.n)
	r0 := unit * headChunk
	r1 := min(r0+headChunk, cfg.Vocab)
	c.m.head.MulTo(w.logits, headChunk, act, r0, r1)
	for i := range p.n {
		row := w.logits[i*headChunk : i*headChunk+r1-r0]
		at := kernels.ArgMax(row)
		part := part{best: row[at], bestID: decode.Token(r0 + at)}
		if p.logits != nil {
			copy(p.logits[i*cfg.Vocab+r0:], row)
		}
		if p.k > 0 {
			w.found[i] = keep(w.found[i], p.k, row, r0, part.best)
			part.sum = kernels.ExpSum(row, part.best)
		}
		c.parts[i*c.chunks()+unit] = part
	}
}

// keep adds to list, at most k candidates in order, those of row that belong
// there. LogProb holds the logit. row begins at token first; most is its maximum.
func keep(list []decode.Candidate, k int, row []float32, first int, most float32) []decode.Candidate {
	if len(list) == k && most < list[k-1].LogProb {
		return list
	}
	for i, v := range row {
		if len(list) == k && v < list[k-1].LogProb {
			continue
		}
		list = insert(list, k, decode.Candidate{Token: decode.Token(first + i), LogProb: v})
	}
	return list
}

// insert puts x where it belongs in list: larger first, lower token first on a tie.
func insert(list []decode.Candidate, k int, x decode.Candidate) []decode.Candidate {
	at := len(list)
	for at > 0 && (x.LogProb > list[at-1].LogProb || x.LogProb == list[at-1].LogProb && x.Token < list[at-1].Token) {
		at--
	}
	if at == k {
		return list
	}
	if len(list) < k {
		list = append(list, x)
	}
	copy(list[at+1:], list[at:])
	list[at] = x
	return list
}

// merge returns the arg-max of row i and, with k > 0, fills top from what the
// workers found.
func (c *Context) merge(i, k int, top []decode.Candidate) decode.Token {
	parts := c.parts[i*c.chunks() : (i+1)*c.chunks()]
	best := parts[0]
	for _, p := range parts[1:] {
		if p.best > best.best {
			best = p
		}
	}
	if k == 0 {
		return best.bestID
	}
	sum := 0.0
	for _, p := range parts {
		sum += float64(p.sum) * math.Exp(float64(p.best)-float64(best.best))
	}
	norm := float64(best.best) + math.Log(sum)
	list := top[:0]
	for w := range c.workers {
		for _, x := range c.workers[w].found[i] {
			list = insert(list, k, x)
		}
	}
	for j := range list {
		list[j].LogProb = float32(float64(list[j].LogProb) - norm)
	}
	return best.bestID
}
