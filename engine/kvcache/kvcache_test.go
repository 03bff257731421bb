package kvcache

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naive is the meaning of a cache: a list of committed rows and a list of scratch
// rows, each row a number per (layer, head).
type naive struct {
	committed, scratch [][]uint32
}

func write(c *Cache, layer, head, pos int, v uint32) {
	d := c.Shape().HeadDim
	k16, k32 := make([]uint16, d), make([]float32, d)
	for i := range d {
		k16[i], k32[i] = uint16(v+uint32(i)), float32(v+uint32(i))
		if c.Type() == F32 {
			c.Values32(layer, head)[pos*d+i] = -k32[i]
		} else {
			c.Values16(layer, head)[pos*d+i] = ^k16[i]
		}
	}
	if c.Type() == F32 {
		c.PutKey32(layer, head, pos, k32)
	} else {
		c.PutKey16(layer, head, pos, k16)
	}
}

func holds(c *Cache, layer, head, pos int, v uint32) bool {
	d := c.Shape().HeadDim
	for i := range d {
		k, want := c.KeyAt(pos, i), v+uint32(i)
		if c.Type() == F32 {
			if c.Keys32(layer, head)[k] != float32(want) || c.Values32(layer, head)[pos*d+i] != -float32(want) {
				return false
			}
		} else if c.Keys16(layer, head)[k] != uint16(want) || c.Values16(layer, head)[pos*d+i] != ^uint16(want) {
			return false
		}
	}
	return true
}

// Any sequence of batches, compactions, extensions and truncations leaves what
// a list of rows would hold.
func TestAgainstNaive(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		kind := []Type{F16, F32}[seed%2]
		s := Shape{Layers: 1 + rng.IntN(3), Heads: 1 + rng.IntN(3), HeadDim: 1 + rng.IntN(5), Capacity: 1 + rng.IntN(90)}
		c, m := New(s, kind), naive{}
		for range 60 {
			n := rng.IntN(min(64, c.Cap()-c.Len()) + 1)
			m.scratch = nil
			for i := range n {
				row := make([]uint32, s.Layers*s.Heads)
				for j := range row {
					row[j] = rng.Uint32N(60000)
					write(c, j/s.Heads, j%s.Heads, c.Len()+i, row[j])
				}
				m.scratch = append(m.scratch, row)
			}
			switch rng.IntN(3) {
			case 0:
				k := rng.IntN(n + 1)
				c.Extend(k)
				m.committed = append(m.committed, m.scratch[:k]...)
			case 1:
				var path []int
				for i := range n {
					if rng.IntN(2) == 0 {
						path = append(path, i)
					}
				}
				c.Compact(path)
				for _, p := range path {
					m.committed = append(m.committed, m.scratch[p])
				}
			case 2:
				k := rng.IntN(c.Len() + 1)
				c.Truncate(k)
				m.committed = m.committed[:k]
			}
			if c.Len() != len(m.committed) {
				t.Fatalf("seed %d: length %d, want %d", seed, c.Len(), len(m.committed))
			}
			for p, row := range m.committed {
				for j, v := range row {
					if !holds(c, j/s.Heads, j%s.Heads, p, v) {
						t.Fatalf("seed %d: layer %d, head %d, position %d of %d is not what was committed there",
							seed, j/s.Heads, j%s.Heads, p, c.Len())
					}
				}
			}
		}
	}
}

// No block reaches into its neighbour's, and every key has places of its own.
func TestBlocksTileTheCache(t *testing.T) {
	c := New(Shape{Layers: 3, Heads: 2, HeadDim: 4, Capacity: 21}, F16)
	for l := range 3 {
		for h := range 2 {
			k, v := c.Keys16(l, h), c.Values16(l, h)
			if len(k) != 4*32 || cap(k) != 4*32 || len(v) != 4*32 || cap(v) != 4*32 {
				t.Fatalf("layer %d, head %d: blocks of %d and %d numbers, want two tiles of 16 positions", l, h, len(k), len(v))
			}
			for p := range 32 {
				for i := range 4 {
					k[c.KeyAt(p, i)]++
				}
			}
		}
	}
	if i := slices.IndexFunc(c.k16, func(v uint16) bool { return v != 1 }); i >= 0 {
		t.Errorf("number %d belongs to %d keys", i, c.k16[i])
	}
	if got, want := c.Bytes(), int64(2*3*2*4*32*2); got != want {
		t.Errorf("Bytes() = %d, want %d", got, want)
	}
}

// A spine moves nothing: the rows beyond it stay as they were.
func TestSpineCopiesNothing(t *testing.T) {
	c := New(Shape{Layers: 2, Heads: 1, HeadDim: 2, Capacity: 16}, F32)
	for p := range 16 {
		write(c, 0, 0, p, uint32(100*p))
		write(c, 1, 0, p, uint32(100*p+50))
	}
	before := slices.Clone(c.k32)
	c.Extend(3)
	c.Compact([]int{0, 1, 2, 3})
	if !slices.Equal(before, c.k32) {
		t.Error("committing a spine changed the stored keys")
	}
	c.Compact([]int{0, 2})
	if slices.Equal(before, c.k32) {
		t.Error("committing a branch moved nothing")
	}
}

func TestMisuse(t *testing.T) {
	fresh := func() *Cache { return New(Shape{Layers: 2, Heads: 2, HeadDim: 2, Capacity: 8}, F16) }
	for name, f := range map[string]func(){
		"layer too high":     func() { fresh().Keys16(2, 0) },
		"negative head":      func() { fresh().Values16(0, -1) },
		"other format":       func() { fresh().Keys32(0, 0) },
		"extend too far":     func() { fresh().Extend(9) },
		"extend by less":     func() { fresh().Extend(-1) },
		"path too far":       func() { fresh().Compact([]int{0, 8}) },
		"path repeats":       func() { fresh().Compact([]int{0, 1, 1}) },
		"path descends":      func() { fresh().Compact([]int{1, 0}) },
		"negative path":      func() { fresh().Compact([]int{-1}) },
		"truncate to more":   func() { fresh().Truncate(1) },
		"truncate to less":   func() { fresh().Truncate(-1) },
		"empty shape":        func() { New(Shape{}, F16) },
		"unknown type":       func() { New(Shape{1, 1, 1, 1}, "q8_0") },
		"batch too large":    func() { fresh().Room(6, 3) },
		"key too far":        func() { fresh().PutKey16(0, 0, 8, make([]uint16, 2)) },
		"key too long":       func() { fresh().PutKey16(0, 0, 0, make([]uint16, 3)) },
		"batch before start": func() { fresh().Room(-1, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, _ := recover().(string); !strings.HasPrefix(s, "internal error: kvcache: ") {
					t.Errorf("panicked with %q, want an internal error that names the cache", s)
				}
			}()
			f()
		})
	}
}
