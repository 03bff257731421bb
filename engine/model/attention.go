package model

import (
	"math"
	"math/bits"

	"github.com/coordbench/coordbench/engine/kernels"
	"github.com/coordbench/coordbench/engine/kvcache"
)

const (
	// attentionTile is the number of positions that share one step of the online
	// softmax. Tiles begin at multiples of it in a row's logical positions, 0 …
	// sees-1, wherever the cache holds them; so a row's sums are formed in the same
	// order whether it is decoded alone, prefilled, or a leaf of a tree.
	attentionTile = 256

	// attentionItems is the most (row, query head) pairs that a worker takes through
	// the context together, tile by tile, while a tile is in its cache.
	attentionItems = 64

	// together is how many of them share each load of a key or value.
	together = 4

	// draftScores is room for the scores of a draft tree's rows, whose first need
	// not be the first of a key tile.
	draftScores = 64 + 2*kvcache.Tile
)

// The cache stores keys as the kernels read them.
var _ [0]struct{} = [kvcache.Tile - kernels.KeyTile]struct{}{}

// An attender is one worker's scratch.
type attender struct {
	q, out []float32               // (attentionItems, HeadDim)
	top    [attentionItems]float32 // largest score so far, per item
	sum    [attentionItems]float32 // Σ exp(score-top), per item
	scores [together * attentionTile]float32
	draft  [together * draftScores]float32
}

func newAttender(headDim int) attender {
	n := attentionItems * headDim
	return attender{q: make([]float32, n), out: make([]float32, n)}
}

// attend computes items first … end-1 of key/value head kv: item i is query head
// kv·group + i%group of row i/group. For each it leaves softmax(q·kᵀ)·v in c.out;
// q is already divided by √HeadDim.
//
// Online softmax: Milakov and Gimelshein, arXiv 1805.02867.
func (c *Context) attend(a *attender, b *Batch, layer, kv, first, end int) {
	if c.cache.Type() == kvcache.F32 {
		attend(c, a, b, c.cache.Keys32(layer, kv), c.cache.Values32(layer, kv), kv, first, end)
	} else {
		attend(c, a, b, c.cache.Keys16(layer, kv), c.cache.Values16(layer, kv), kv, first, end)
	}
}

func attend[T uint16 | float32](c *Context, a *attender, b *Batch, keys, values []T, kv, first, end int) {
	cfg := &c.m.config
	d, group, qDim := cfg.HeadDim, cfg.group(), cfg.qDim()
	items, longest := end-first, 0
	for i := range items {
		row, head := (first+i)/group, kv*group+(first+i)%group
		copy(a.q[i*d:(i+1)*d], c.q[row*qDim+head*d:])
		longest = max(longest, b.sees(row))
	}
	clear(a.out[:items*d])
	for t := 0; t < longest; t += attentionTile {
		for i := 0; i < items; i += together {
			attendTile(a, b, d, keys, values, group, first, i, min(together, items-i), t)
		}
	}
	for i := range items {
		row, head := (first+i)/group, kv*group+(first+i)%group
		copy(c.out[row*qDim+head*d:][:d], a.out[i*d:(i+1)*d])
	}
}

// attendTile takes n items, from i on, through the positions t … t+attentionTile-1.
func attendTile[T uint16 | float32](a *attender, b *Batch, d int, keys, values []T, group, first, i, n, t int) {
	reach := t              // some item reads the cache as it lies up to here, …
	shared := attentionTile // … and all of them at least this much of the tile
	active, scattered := false, false
	for j := range n {
		row := (first + i + j) / group
		straight := b.base + b.run[row]
		reach = max(reach, min(straight, t+attentionTile))
		shared = min(shared, straight-t)
		active = active || t < b.sees(row)
		scattered = scattered || b.others[row] != 0 && straight < t+attentionTile
	}
	if !active {
		return
	}
	q := a.q[i*d : (i+n)*d]
	if reach > t {
		whole := (reach - t + kvcache.Tile - 1) / kvcache.Tile * kvcache.Tile
		kernels.Scores(a.scores[:], attentionTile, q, d, keys[t*d:(t+whole)*d])
	}
	draft := b.base / kvcache.Tile * kvcache.Tile // first position of a.draft
	if scattered {
		whole := (b.base + b.Len() - draft + kvcache.Tile - 1) / kvcache.Tile * kvcache.Tile
		kernels.Scores(a.draft[:], draftScores, q, d, keys[draft*d:(draft+whole)*d])
	}

	for j := range n {
		row := (first + i + j) / group
		sees, straight := b.sees(row), b.base+b.run[row]
		if t >= sees {
			continue
		}
		count := min(attentionTile, sees-t)
		s := a.scores[j*attentionTile:][:count]
		if direct := max(0, straight-t); direct < count {
			rest := spreadOf(b, row, t+direct-straight)
			for k := direct; k < count; {
				at, run := rest.next(count - k)
				copy(s[k:k+run], a.draft[j*draftScores+at-draft:])
				k += run
			}
		}
		k := i + j
		top := kernels.Max(s)
		if t == 0 {
			a.top[k], a.sum[k] = top, 0
		} else if top > a.top[k] {
			fade := float32(math.Exp(float64(a.top[k] - top)))
			a.top[k] = top
			a.sum[k] *= fade
			kernels.Scale(a.out[k*d:(k+1)*d], fade)
		}
		a.sum[k] += kernels.ExpSum(s, a.top[k])
	}

	shared = max(0, shared)
	if shared > 0 {
		kernels.Mix(a.out[i*d:(i+n)*d], a.scores[:], attentionTile, d, values[t*d:(t+shared)*d])
	}
	for j := range n {
		row := (first + i + j) / group
		sees, straight := b.sees(row), b.base+b.run[row]
		if t >= sees {
			continue
		}
		count := min(attentionTile, sees-t)
		s, out := a.scores[j*attentionTile:][:count], a.out[(i+j)*d:(i+j+1)*d]
		direct := max(0, min(count, straight-t))
		if shared < direct {
			kernels.Mix(out, s[shared:direct], 0, d, values[(t+shared)*d:(t+direct)*d])
		}
		if direct < count {
			rest := spreadOf(b, row, t+direct-straight)
			for k := direct; k < count; {
				at, run := rest.next(count - k)
				kernels.Mix(out, s[k:k+run], 0, d, values[at*d:(at+run)*d])
				k += run
			}
		}
		if t+count == sees {
			kernels.Scale(out, 1/a.sum[i+j])
		}
	}
}

// A spread walks the cache rows that a draft node sees beyond its leading run.
type spread struct {
	base int
	rows uint64
}

// spreadOf begins after the first skip of them.
func spreadOf(b *Batch, row, skip int) spread {
	rows := b.others[row]
	for range skip {
		rows &= rows - 1
	}
	return spread{base: b.base, rows: rows}
}

// next returns the cache row of the next position and how many consecutive ones
// follow in the cache as they do in the sequence, at most most.
func (s *spread) next(most int) (at, run int) {
	lo := bits.TrailingZeros64(s.rows)
	run = min(most, bits.TrailingZeros64(^(s.rows >> uint(lo))))
	s.rows &^= (1<<uint(run) - 1) << uint(lo)
	return s.base + lo, run
}
