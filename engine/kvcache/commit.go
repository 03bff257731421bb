package kvcache

import "fmt"

// Extend commits the next n scratch rows as they lie.
func (c *Cache) Extend(n int) {
	c.Room(c.length, n)
	c.length += n
}

// Compact commits the scratch rows at Len()+path[0], Len()+path[1], …, in this
// order, as the positions Len(), Len()+1, …. path ascends strictly from a number
// that is not negative, so that path[i] ≥ i: each row moves down over rows already
// moved or given up, and the move needs no second buffer. A path that starts
// 0, 1, 2, … moves nothing for as long as it does.
func (c *Cache) Compact(path []int) {
	for i, p := range path {
		if p < 0 || (i > 0 && p <= path[i-1]) {
			panic(fmt.Sprintf("internal error: kvcache: compaction path %v does not ascend", path))
		}
	}
	if n := len(path); n > 0 {
		c.Room(c.length, path[n-1]+1)
	}
	still := 0
	for still < len(path) && path[still] == still {
		still++
	}
	if moved := path[still:]; len(moved) > 0 {
		if c.kind == F32 {
			compact(c, c.k32, c.v32, still, moved)
		} else {
			compact(c, c.k16, c.v16, still, moved)
		}
	}
	c.length += len(path)
}

// compact moves, in every (layer, head) block, scratch row moved[i] to scratch
// row first+i.
func compact[T uint16 | float32](c *Cache, keys, values []T, first int, moved []int) {
	dim, size := c.shape.HeadDim, c.blockLen()
	for b := 0; b < len(keys); b += size {
		k, v := keys[b:b+size], values[b:b+size]
		for i, p := range moved {
			to, from := c.length+first+i, c.length+p
			copy(v[to*dim:(to+1)*dim], v[from*dim:(from+1)*dim])
			to, from = c.KeyAt(to, 0), c.KeyAt(from, 0)
			for range dim {
				k[to] = k[from]
				to += Tile
				from += Tile
			}
		}
	}
}

// Truncate gives up all positions from n on.
func (c *Cache) Truncate(n int) {
	if n < 0 || n > c.length {
		panic(fmt.Sprintf("internal error: kvcache: truncated to %d of %d positions", n, c.length))
	}
	c.length = n
}
