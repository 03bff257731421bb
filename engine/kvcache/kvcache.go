// Package kvcache holds the keys and values of a transformer by layer, head and
// position.
package kvcache

import "fmt"

// A Type is the number format that keys and values are stored in.
type Type string

const (
	F16 Type = "f16" // IEEE 754 binary16, as uint16
	F32 Type = "f32"
)

// Bytes is the size of one stored number.
func (t Type) Bytes() int {
	if t == F32 {
		return 4
	}
	return 2
}

// A Shape is what a cache must hold.
type Shape struct {
	Layers   int
	Heads    int // key/value heads of a layer
	HeadDim  int // numbers in one head's key, and in its value
	Capacity int // positions
}

// Tile is the number of positions whose keys lie side by side.
const Tile = 16

// A Cache holds one key and one value of HeadDim numbers for each (layer, head,
// position). A head's values are contiguous, position after position. Its keys
// are in tiles of Tile positions, and a tile is (HeadDim, Tile): a score kernel
// loads one number of Tile keys at a time and never sums across a register.
//
// Positions below Len are committed. Rows at and beyond Len are scratch: a
// forward pass writes the rows of its batch there, layer by layer, and Compact or
// Extend then turns some of them into context. Whatever is still beyond Len may
// be overwritten at any time. Writers of different (layer, head, position) may
// run concurrently; Compact, Extend and Truncate run alone.
//
// Positions, layers and heads outside the shape are errors of the engine, not of
// its user, and panic.
type Cache struct {
	shape  Shape
	kind   Type
	length int

	// (Layers, Heads, rows, HeadDim), where rows is Capacity rounded up to whole
	// tiles; the pair of the other format is nil.
	k16, v16 []uint16
	k32, v32 []float32
}

// New returns an empty cache. Its memory is reserved at once, so that a forward
// pass never allocates; pages that no position reaches are never touched.
func New(s Shape, kind Type) *Cache {
	if s.Layers < 1 || s.Heads < 1 || s.HeadDim < 1 || s.Capacity < 1 || (kind != F16 && kind != F32) {
		panic(fmt.Sprintf("internal error: kvcache: shape %+v of type %q", s, kind))
	}
	c := &Cache{shape: s, kind: kind}
	n := s.Layers * s.Heads * c.blockLen()
	if kind == F32 {
		c.k32, c.v32 = make([]float32, n), make([]float32, n)
	} else {
		c.k16, c.v16 = make([]uint16, n), make([]uint16, n)
	}
	return c
}

// Shape is what New was asked for.
func (c *Cache) Shape() Shape { return c.shape }

// Type is the stored number format.
func (c *Cache) Type() Type { return c.kind }

// Len is the number of committed positions.
func (c *Cache) Len() int { return c.length }

// Cap is the number of positions that the cache can hold.
func (c *Cache) Cap() int { return c.shape.Capacity }

// Bytes is the memory reserved for keys and values.
func (c *Cache) Bytes() int64 {
	s := c.shape
	return 2 * int64(s.Layers) * int64(s.Heads) * int64(c.blockLen()) * int64(c.kind.Bytes())
}

// blockLen is the numbers of one head's keys in one layer.
func (c *Cache) blockLen() int { return (c.shape.Capacity + Tile - 1) / Tile * Tile * c.shape.HeadDim }

// KeyAt is where number i of position p's key lies in a head's block of keys.
func (c *Cache) KeyAt(p, i int) int { return (p/Tile*c.shape.HeadDim+i)*Tile + p%Tile }

// PutKey16 stores one key in a binary16 cache.
func (c *Cache) PutKey16(layer, head, p int, key []uint16) { putKey(c, c.k16, layer, head, p, key) }

// PutKey32 stores one key in a float32 cache.
func (c *Cache) PutKey32(layer, head, p int, key []float32) { putKey(c, c.k32, layer, head, p, key) }

func putKey[T uint16 | float32](c *Cache, data []T, layer, head, p int, key []T) {
	if uint(p) >= uint(c.shape.Capacity) || len(key) != c.shape.HeadDim {
		panic(fmt.Sprintf("internal error: kvcache: key of %d numbers at position %d in %+v", len(key), p, c.shape))
	}
	tile := block(c, data, layer, head)[p/Tile*Tile*len(key)+p%Tile:]
	for i, v := range key {
		tile[i*Tile] = v
	}
}

// Keys16 is the block of one head's keys in a binary16 cache, (tiles, HeadDim,
// Tile). It aliases the cache.
func (c *Cache) Keys16(layer, head int) []uint16 { return block(c, c.k16, layer, head) }

// Values16 is the block of one head's values, (positions, HeadDim). It aliases the
// cache: writing row p sets position p.
func (c *Cache) Values16(layer, head int) []uint16 { return block(c, c.v16, layer, head) }

// Keys32 is Keys16 for a float32 cache.
func (c *Cache) Keys32(layer, head int) []float32 { return block(c, c.k32, layer, head) }

// Values32 is the (Capacity, HeadDim) block of one head's values; see Keys32.
func (c *Cache) Values32(layer, head int) []float32 { return block(c, c.v32, layer, head) }

func block[T uint16 | float32](c *Cache, data []T, layer, head int) []T {
	s := &c.shape
	if data == nil || uint(layer) >= uint(s.Layers) || uint(head) >= uint(s.Heads) {
		panic(fmt.Sprintf("internal error: kvcache: layer %d, head %d of a %s cache of %d layers and %d heads",
			layer, head, c.kind, s.Layers, s.Heads))
	}
	n := c.blockLen()
	i := (layer*s.Heads + head) * n
	return data[i : i+n : i+n]
}

// Room panics unless rows positions from base on lie within the cache. It is the
// check that a forward pass makes once, before it writes through the blocks.
func (c *Cache) Room(base, rows int) {
	if base < 0 || rows < 0 || base+rows > c.shape.Capacity {
		panic(fmt.Sprintf("internal error: kvcache: %d rows at position %d of %d", rows, base, c.shape.Capacity))
	}
}
