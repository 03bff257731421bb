package kernels

import (
	"fmt"
	"unsafe"

	"github.com/coordbench/coordbench/engine/quant"
)

// KeyTile is the number of positions whose keys lie side by side: the keys of
// positions 16t … 16t+15 are stored as (d, 16), number by number, so that one
// load serves 16 scores and no score needs a sum across a register.
const KeyTile = 16

// A cell is a stored key or value: binary16 or float32.
type cell interface{ uint16 | float32 }

// Scores sets s[j·lds+i] to q[j]·k[i] for the queries q (n, d) and the keys
// k (tiles, d, KeyTile). A score is summed in the order of d whatever n and the
// number of tiles are.
func Scores[T cell](s []float32, lds int, q []float32, d int, k []T) {
	n, tiles := 0, 0
	if d > 0 {
		n, tiles = len(q)/d, len(k)/(d*KeyTile)
	}
	if d < 1 || n*d != len(q) || tiles*d*KeyTile != len(k) || n > 0 && (lds < tiles*KeyTile || len(s) < (n-1)*lds+tiles*KeyTile) {
		panic(fmt.Sprintf("internal error: kernels: Scores of %d query and %d key numbers in heads of %d, %d outputs in rows of %d", len(q), len(k), d, len(s), lds))
	}
	if n == 0 || tiles == 0 {
		return
	}
	half, keys := unsafe.Sizeof(k[0]) == 2, (*byte)(unsafe.Pointer(&k[0]))
	for most := queriesAtOnce(); n > 0; {
		m := min(most, n)
		m -= m & (m >> 1) // 3 is 2 and 1
		switch {
		case useAVX512:
			scoresAVX512(half, m, &s[0], 4*lds, &q[0], keys, d, tiles)
		case useAVX2:
			scoresAVX2(half, m, &s[0], 4*lds, &q[0], keys, d, tiles)
		case useNEON:
			scoresNEON(half, m, &s[0], 4*lds, &q[0], keys, d, tiles)
		default:
			scoresGeneric(s, q[:d], k, tiles)
		}
		if n -= m; n > 0 {
			s, q = s[m*lds:], q[m*d:]
		}
	}
}

// Mix adds Σ_i p[j·ldp+i]·v[i] to out[j], for out (n, d) and the rows of v
// (rows, d). Rows are added in order, so that two calls for parts of v leave the
// same bits as one for the whole.
func Mix[T cell](out, p []float32, ldp int, d int, v []T) {
	n, rows := 0, 0
	if d > 0 {
		n, rows = len(out)/d, len(v)/d
	}
	if d < 1 || n*d != len(out) || rows*d != len(v) || n > 0 && len(p) < (n-1)*ldp+rows {
		panic(fmt.Sprintf("internal error: kernels: Mix of %d numbers into %d in heads of %d, %d weights in rows of %d", len(v), len(out), d, len(p), ldp))
	}
	if n == 0 || rows == 0 {
		return
	}
	half, values := unsafe.Sizeof(v[0]) == 2, (*byte)(unsafe.Pointer(&v[0]))
	for most := queriesAtOnce(); n > 0; {
		m := min(most, n)
		m -= m & (m >> 1)
		switch {
		case useAVX512 && d%16 == 0:
			mixAVX512(half, m, &out[0], &p[0], 4*ldp, values, rows, d)
		case useAVX2 && d%16 == 0:
			mixAVX2(half, m, &out[0], &p[0], 4*ldp, values, rows, d)
		case useNEON && d%16 == 0:
			mixNEON(half, m, &out[0], &p[0], 4*ldp, values, rows, d)
		default:
			m = 1
			mixGeneric(out[:d], p[:rows], v)
		}
		if n -= m; n > 0 {
			out, p = out[m*d:], p[m*ldp:]
		}
	}
}

// queriesAtOnce is how many queries a kernel takes together.
func queriesAtOnce() int {
	switch {
	case useAVX512, useNEON:
		return 4
	case useAVX2:
		return 2
	}
	return 1
}

// widen writes x to f as float32.
func widen[T cell](f []float32, x []T) {
	switch x := any(x).(type) {
	case []float32:
		copy(f, x)
	case []uint16:
		for i, h := range x {
			f[i] = quant.F16ToF32(h)
		}
	}
}

// scoresGeneric is what the score kernels mean, for one query.
func scoresGeneric[T cell](s, q []float32, k []T, tiles int) {
	var key, sum [KeyTile]float32
	for t := range tiles {
		sum = [KeyTile]float32{}
		for c, v := range q {
			widen(key[:], k[(t*len(q)+c)*KeyTile:][:KeyTile])
			for l, f := range key {
				sum[l] += v * f
			}
		}
		copy(s[t*KeyTile:], sum[:])
	}
}

// mixGeneric is what the mix kernels mean, for one query.
func mixGeneric[T cell](out, p []float32, v []T) {
	d := len(out)
	var part [KeyTile]float32
	for i, f := range p {
		for c := 0; c < d; c += KeyTile {
			w := part[:min(KeyTile, d-c)]
			widen(w, v[i*d+c:][:len(w)])
			for l, x := range w {
				out[c+l] += f * x
			}
		}
	}
}
