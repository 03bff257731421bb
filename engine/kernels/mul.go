package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/coordbench/coordbench/engine/quant"
)

// Mul sets y[i·ldy+r] to Σ_c m[r,c]·x[i,c] for all rows i of a and r0 ≤ r < r1.
// r0 is a multiple of Tile, and so is r1 unless it is Rows. Calls for different
// rows of the matrix may run concurrently.
//
// An element is summed in the order of columns (or blocks of 32 columns) whatever
// n, r0 and r1 are: its bits depend on one row of m and one row of a alone.
func (m *Matrix) Mul(y []float32, ldy int, a *Activations, r0, r1 int) {
	m.mul(y, ldy, 0, a, r0, r1)
}

// MulTo is Mul for the rows r0 ≤ r < r1 alone: y[i·ldy+r-r0].
func (m *Matrix) MulTo(y []float32, ldy int, a *Activations, r0, r1 int) {
	m.mul(y, ldy, r0, a, r0, r1)
}

// mul writes row r of the product to y[i·ldy+r-base].
func (m *Matrix) mul(y []float32, ldy, base int, a *Activations, r0, r1 int) {
	if r0 >= r1 || a.n == 0 {
		return
	}
	if r0 < 0 || r1 > m.rows || r0%panelRows != 0 || (r1%panelRows != 0 && r1 != m.rows) {
		panic(fmt.Sprintf("internal error: kernels: rows %d to %d of a matrix of %d rows", r0, r1, m.rows))
	}
	if a.cols != m.cols || a.forms&m.Form() == 0 {
		panic(fmt.Sprintf("internal error: kernels: %d × %d %v weights times activations of %d columns in forms %b", m.rows, m.cols, m.kind, a.cols, a.forms))
	}
	if need := (a.n-1)*ldy + r1 - base; ldy < r1-base || len(y) < need {
		panic(fmt.Sprintf("internal error: kernels: output of %d values in rows of %d; %d needed", len(y), ldy, need))
	}
	for r := r0; r < r1; r += panelRows {
		panel := m.data[r/panelRows*m.stride:][:m.stride]
		rows := min(panelRows, r1-r)
		for i := 0; i < a.n; i += tileRows {
			n := min(tileRows, a.n-i)
			// One tile waits for memory, several for arithmetic: then the last fetches the
			// next panel while it computes, and the first finds it in the cache.
			ahead := streamAhead
			if a.n > tileRows {
				ahead = 0
				if i+tileRows >= a.n {
					ahead = m.stride
				} else if i == 0 && r == r0 {
					ahead = streamAhead
				}
			}
			out := y[i*ldy+r-base:]
			k := m.kernelRows(n)
			if rows == panelRows && k == n {
				m.panel(&out[0], ldy, panel, a, i, n, ahead)
				continue
			}
			// A kernel writes 16 outputs for each row, and there may not be one for n.
			var full [tileRows * panelRows]float32
			m.panel(&full[0], panelRows, panel, a, i, k, ahead)
			for k := range n {
				copy(out[k*ldy:][:rows], full[k*panelRows:])
			}
		}
	}
}

// streamAhead is how many bytes of weights are fetched before they are needed.
const streamAhead = 4096

// kernelRows is the least number of activation rows, at least n ≤ 8, that a kernel
// takes: any for most on AVX-512, otherwise a power of two.
func (m *Matrix) kernelRows(n int) int {
	if useAVX512 && !m.isK() {
		return n
	}
	for _, p := range [...]int{1, 2, 4} {
		if n <= p {
			return p
		}
	}
	return 8
}

// panel computes the outputs of one panel for n = kernelRows(n) activation rows from i on.
func (m *Matrix) panel(y *float32, ldy int, panel []byte, a *Activations, i, n, ahead int) {
	w := &panel[0]
	var x *byte
	count := m.cols
	if m.Form() == Quantized {
		x = &a.q[i/tileRows*a.qTile]
		count /= blockCols
	} else {
		x = (*byte)(unsafe.Pointer(&a.f[i/tileRows*a.fTile]))
	}
	switch {
	case useAVX512:
		m.panelAVX512(y, 4*ldy, w, x, count, n, ahead)
	case useVNNI && m.Form() == Quantized:
		m.panelVNNI(y, 4*ldy, w, x, count, n, ahead)
	case useAVX2:
		m.panelAVX2(y, 4*ldy, w, x, count, n, ahead)
	case useNEON && m.panelNEON(y, 4*ldy, w, x, count, n):
	default:
		m.panelGeneric(y, ldy, panel, x, count, n)
	}
}

// panelGeneric is what the other panel kernels mean.
func (m *Matrix) panelGeneric(y *float32, ldy int, panel []byte, x *byte, count, n int) {
	l, le := m.layout, binary.LittleEndian
	out := unsafe.Slice(y, (n-1)*ldy+panelRows)
	for i := range n {
		clear(out[i*ldy:][:panelRows])
	}
	if l == layoutF32 || l == layoutF16 || l == layoutBF16 {
		act := unsafe.Slice((*float32)(unsafe.Pointer(x)), count*tileRows)
		var w [panelRows]float32
		for c := range count {
			for r := range w {
				switch l {
				case layoutF32:
					w[r] = math.Float32frombits(le.Uint32(panel[(c*panelRows+r)*4:]))
				case layoutF16:
					w[r] = quant.F16ToF32(le.Uint16(panel[(c*panelRows+r)*2:]))
				default:
					w[r] = quant.BF16ToF32(le.Uint16(panel[(c*panelRows+r)*2:]))
				}
			}
			for i := range n {
				v := act[c*tileRows+i]
				for r, f := range w {
					out[i*ldy+r] += f * v
				}
			}
		}
		return
	}
	if m.isK() {
		m.panelGenericK(out, ldy, panel, unsafe.Slice(x, count*tileBlock), n)
		return
	}
	size, corr := q8Block, offCorr128
	if l == layoutQ4 {
		size, corr = q4Block, offCorr8
	}
	tile := unsafe.Slice(x, count*tileBlock)
	for b := range count {
		scales := m.scales(panel, b)
		w, t := panel[b*size:][:size], tile[b*tileBlock:][:tileBlock]
		for i := range n {
			scale := math.Float32frombits(le.Uint32(t[offScale+4*i:]))
			for r := range panelRows {
				sum := int32(le.Uint32(t[corr+4*i:]))
				for k := range blockCols {
					v := int32(int8(t[k/4*32+i*4+k%4]))
					if l == layoutQ8 {
						sum += v * int32(w[k/4*64+r*4+k%4])
					} else {
						sum += v * int32(w[k%16/4*64+r*4+k%4]>>(k/16*4)&15)
					}
				}
				out[i*ldy+r] += quant.F16ToF32(le.Uint16(scales[2*r:])) * scale * float32(sum)
			}
		}
	}
}

func addBytes[T any](p *T, n int) *T { return (*T)(unsafe.Add(unsafe.Pointer(p), n)) }
