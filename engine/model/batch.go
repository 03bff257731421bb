package model

import (
	"fmt"
	"math/bits"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Batch is the rows of one forward pass on their way through the layers: a
// chunk of a prompt, or a draft tree. Row i writes its key and value to the
// context's scratch position Base+i, and sees all positions below Base and those
// of its ancestors, itself included.
//
// A batch passes each layer exactly once, in order, and must not enter a layer
// before the batches of all positions below Base have left it.
type Batch struct {
	base   int
	tokens []decode.Token
	depths []int    // row i stands at position base+depths[i], for rope
	run    []int    // row i sees rows 0 … run[i]-1, which are its first ancestors, …
	others []uint64 // … and the rows of this set, all at or beyond run[i]
	x      []float32
	layer  int // next layer
}

// Base is the number of context positions before the batch.
func (b *Batch) Base() int { return b.base }

// Len is the number of rows.
func (b *Batch) Len() int { return len(b.tokens) }

// Layer is the next layer that the batch enters.
func (b *Batch) Layer() int { return b.layer }

// newBatch returns a batch with room for rows rows.
func newBatch(rows, width int) *Batch {
	return &Batch{
		tokens: make([]decode.Token, 0, rows),
		depths: make([]int, 0, rows),
		run:    make([]int, 0, rows),
		others: make([]uint64, 0, rows),
		x:      make([]float32, rows*width),
	}
}

// setChain makes b consecutive tokens from position base on.
func (b *Batch) setChain(base int, tokens []decode.Token) {
	b.reset(base)
	for i, t := range tokens {
		b.tokens = append(b.tokens, t)
		b.depths = append(b.depths, i)
		b.run = append(b.run, i+1)
		b.others = append(b.others, 0)
	}
}

// setTree makes b the nodes of t after base context positions. The leading run
// of a node's ancestors lies in the cache as it will after a commit and is read
// in place; the rest is read row by row.
func (b *Batch) setTree(base int, t *decode.Tree) {
	b.reset(base)
	for i, anc := range t.Ancestors {
		run := bits.TrailingZeros64(^anc)
		b.tokens = append(b.tokens, t.Tokens[i])
		b.depths = append(b.depths, t.Depths[i])
		b.run = append(b.run, run)
		b.others = append(b.others, anc&^(1<<uint(run)-1))
	}
}

func (b *Batch) reset(base int) {
	b.base, b.layer = base, 0
	b.tokens, b.depths, b.run, b.others = b.tokens[:0], b.depths[:0], b.run[:0], b.others[:0]
}

// sees is the number of positions that row i attends to. Its logical positions
// are 0 … sees-1, whatever cache rows they lie in.
func (b *Batch) sees(i int) int { return b.base + b.run[i] + bits.OnesCount64(b.others[i]) }

// A Block is the layers First … End-1: the unit in which a forward pass runs,
// and in which an NPU loads weights.
type Block struct{ First, End int }

// Blocks divides the model into n runs of layers whose lengths differ by at most one.
func (m *Model) Blocks(n int) ([]Block, error) {
	layers := m.config.Layers
	if n < 1 || n > layers {
		return nil, fmt.Errorf("%d blocks of %d layers; expected 1 to %d", n, layers, layers)
	}
	blocks := make([]Block, n)
	for i := range blocks {
		blocks[i] = Block{First: i * layers / n, End: (i + 1) * layers / n}
	}
	return blocks, nil
}
