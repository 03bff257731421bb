package kernels

import (
	"fmt"
	"math"
	"unsafe"
)

// A Form is a way in which activations are kept for matrices.
type Form uint8

const (
	Quantized Form = 1 << iota // int8 and a scale per 32 values, for block formats and K-quants
	Float                      // float32, for float formats
)

// tileRows is the number of activation rows whose values lie side by side, and
// the most that a kernel takes at once.
const tileRows = 8

// A quantised tile block: 8 rows × 32 values.
const (
	offScale   = 256 // 8 float32: amax/127
	offCorr128 = 288 // 8 int32: -128·Σq, what weights stored plus 128 add too much
	offCorr8   = 320 // 8 int32: -8·Σq
	offHalves  = 352 // 8 × 2 int16: -Σq of the first 16 values and of the last
	tileBlock  = 384
)

// Activations are the rows that a matrix is multiplied with, each quantised on
// its own: a row's form does not depend on its neighbours.
//
// Rows beyond the last, up to a multiple of 8, may hold anything finite; kernels
// compute and discard them.
type Activations struct {
	n, cols int
	maxRows int
	maxCols int
	forms   Form
	q       []byte    // (tiles, cols/32, tileBlock)
	f       []float32 // (tiles, cols, 8)
	qTile   int       // bytes of a tile
	fTile   int       // values of a tile
}

// NewActivations makes room for rows × cols values in the given forms, all if
// none is given.
func NewActivations(maxRows, maxCols int, forms ...Form) *Activations {
	a := &Activations{maxRows: maxRows, maxCols: maxCols}
	for _, f := range forms {
		a.forms |= f
	}
	if len(forms) == 0 {
		a.forms = Quantized | Float
	}
	tiles := (maxRows + tileRows - 1) / tileRows
	if a.forms&Quantized != 0 {
		a.q = alignedBytes(tiles * (maxCols + blockCols - 1) / blockCols * tileBlock)
	}
	if a.forms&Float != 0 {
		b := alignedBytes(tiles * maxCols * tileRows * 4)
		a.f = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
	}
	a.Reset(maxRows, maxCols)
	return a
}

// Rows is the number of rows.
func (a *Activations) Rows() int { return a.n }

// Reset makes a hold n rows of cols values, all of which SetRow must set.
func (a *Activations) Reset(n, cols int) {
	if n < 0 || n > a.maxRows || cols < 1 || cols > a.maxCols {
		panic(fmt.Sprintf("internal error: kernels: activations of %d × %d reset to %d × %d", a.maxRows, a.maxCols, n, cols))
	}
	a.n, a.cols = n, cols
	a.qTile = cols / blockCols * tileBlock
	a.fTile = cols * tileRows
}

// SetRow stores x (cols) as row i. Different rows may be set concurrently.
func (a *Activations) SetRow(i int, x []float32) {
	if i < 0 || i >= a.n || len(x) != a.cols {
		panic(fmt.Sprintf("internal error: kernels: row %d of %d values in activations of %d × %d", i, len(x), a.n, a.cols))
	}
	if a.forms&Float != 0 {
		f := a.f[i/tileRows*a.fTile:][:a.fTile]
		for c, v := range x {
			f[c*tileRows+i%tileRows] = v
		}
	}
	if a.forms&Quantized != 0 && a.cols%blockCols == 0 {
		q := a.q[i/tileRows*a.qTile:][:a.qTile]
		if useAVX512 {
			quantizeRowAVX512(&q[i%tileRows*4], &x[0], len(x)/blockCols)
		} else if useAVX2 {
			quantizeRowAVX2(&q[i%tileRows*4], &x[0], len(x)/blockCols)
		} else if useNEON {
			quantizeRowNEON(&q[i%tileRows*4], &x[0], len(x)/blockCols)
		} else {
			quantizeRowGeneric(q, i%tileRows, x)
		}
	}
}

// quantizeRowGeneric writes x to row r of the tile blocks in q. A block's scale is
// its largest magnitude over 127; values round to nearest, ties to even.
func quantizeRowGeneric(q []byte, r int, x []float32) {
	for b := range len(x) / blockCols {
		v := x[b*blockCols:][:blockCols]
		t := q[b*tileBlock:][:tileBlock]
		amax := float32(0)
		for _, f := range v {
			amax = max(amax, float32(math.Abs(float64(f))))
		}
		inv := float32(0)
		if amax > 1e-30 { // below, its inverse would overflow; such a block counts as zero
			inv = 127 / amax
		}
		sum := int32(0)
		var half [2]int16
		for i, f := range v {
			n := int32(math.RoundToEven(float64(f * inv)))
			sum += n
			half[i/16] -= int16(n)
			t[i/4*32+r*4+i%4] = byte(n)
		}
		*(*float32)(unsafe.Pointer(&t[offScale+4*r])) = amax * (1. / 127)
		*(*int32)(unsafe.Pointer(&t[offCorr128+4*r])) = -128 * sum
		*(*int32)(unsafe.Pointer(&t[offCorr8+4*r])) = -8 * sum
		*(*[2]int16)(unsafe.Pointer(&t[offHalves+4*r])) = half
	}
}
