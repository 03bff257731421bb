package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/coordbench/coordbench/engine/quant"
)

// panelRows is the number of matrix rows whose values lie side by side.
const panelRows = 16

// Tile is the number of matrix rows that kernels compute together: ranges of
// rows given to Mul begin at multiples of it.
func Tile() int { return panelRows }

// A layout is how a Matrix keeps its values.
type layout uint8

const (
	layoutF32  layout = iota // for each column, 16 float32
	layoutF16                // for each column, 16 binary16
	layoutBF16               // for each column, 16 bfloat16
	// For each block of 32 columns, 8 groups of 4: 16 rows × 4 values, each
	// plus 128 as a byte. Behind all blocks of a panel, for each, 16 binary16 scales:
	// apart, so that weights stay on cache lines.
	layoutQ8
	// Likewise with nibbles, plus 8: byte r·4+i of part j holds value i of group
	// j in its low half and of group j+4 in its high half.
	layoutQ4
	// K-quants: see kquant.go.
	layoutQ4K
	layoutQ5K
	layoutQ6K
)

const (
	blockCols  = 32
	q8Block    = 8 * 64 // bytes of a panel's block
	q4Block    = 4 * 64
	scaleBytes = 2 * panelRows // of a block
)

// A Matrix holds weights (Rows, Cols), laid out once for this CPU's kernels.
type Matrix struct {
	rows, cols int
	kind       quant.Type
	layout     layout
	data       []byte // panels, one after the other, begin on a cache line
	stride     int    // bytes of a panel

	// What the kernels of the path in use want changed about layoutQ8 and layoutQ4.
	signed bool // values of layoutQ8 are int8, without 128 added
	paired bool // of groups 2i and 2i+1: 16 rows × 8 values, not each 16 rows × 4
}

// group is where row r's 4 values of group g begin in a panel's block.
func (m *Matrix) group(g, r int) int {
	if m.paired {
		return g/2*128 + r*8 + g%2*4
	}
	return g*64 + r*4
}

// offset turns four stored bytes of layoutQ8 into int8, and back.
func (m *Matrix) offset() uint32 {
	if m.signed {
		return 0
	}
	return 0x80808080
}

// Rows is the number of outputs.
func (m *Matrix) Rows() int { return m.rows }

// Cols is the number of inputs.
func (m *Matrix) Cols() int { return m.cols }

// Type is the format that the weights came in.
func (m *Matrix) Type() quant.Type { return m.kind }

// Bytes is the memory that the weights take.
func (m *Matrix) Bytes() int64 { return int64(len(m.data)) }

// Form is what Mul reads of its activations.
func (m *Matrix) Form() Form {
	switch m.layout {
	case layoutF32, layoutF16, layoutBF16:
		return Float
	}
	return Quantized
}

// alignedBytes returns n bytes that begin on a cache line.
func alignedBytes(n int) []byte {
	b := make([]byte, n+63)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & 63)
	return b[off : off+n : off+n]
}

// NewMatrix lays out the (rows, cols) weights in data, which has the format t of
// a GGUF file, on all of p's workers; p may be nil. It keeps no reference to data.
func NewMatrix(p *Pool, t quant.Type, rows, cols int, data []byte) (*Matrix, error) {
	if rows < 1 || cols < 1 {
		return nil, fmt.Errorf("matrix of %d × %d weights", rows, cols)
	}
	rowBytes, err := t.RowBytes(cols)
	if err != nil {
		return nil, err
	}
	if want := rows * rowBytes; len(data) != want {
		return nil, fmt.Errorf("%d × %d weights of type %v take %d bytes, not %d", rows, cols, t, want, len(data))
	}
	m := &Matrix{rows: rows, cols: cols, kind: t, signed: useNEON, paired: useI8MM}
	panels := (rows + panelRows - 1) / panelRows
	switch t {
	case quant.F32:
		m.layout, m.stride = layoutF32, panelRows*4*cols
	case quant.F16:
		m.layout, m.stride = layoutF16, panelRows*2*cols
	case quant.BF16:
		m.layout, m.stride = layoutBF16, panelRows*2*cols
	case quant.Q8_0:
		m.layout, m.stride = layoutQ8, cols/blockCols*(q8Block+scaleBytes)
	case quant.Q4_0:
		m.layout, m.stride = layoutQ4, cols/blockCols*(q4Block+scaleBytes)
	case quant.Q4_K:
		m.layout = layoutQ4K
	case quant.Q5_K:
		m.layout = layoutQ5K
	case quant.Q6_K:
		m.layout = layoutQ6K
	default:
		return nil, fmt.Errorf("no kernels for weights of type %v", t)
	}
	if m.isK() {
		m.stride = cols / superCols * m.layout.superBytes()
	}
	m.data = alignedBytes(panels * m.stride)
	job := &packing{m: m, src: data, rowBytes: rowBytes}
	if p == nil {
		job.Do(0, 1)
	} else {
		p.Run(job)
	}
	return m, nil
}

// packing fills a matrix, worker by worker in stripes of panels.
type packing struct {
	m        *Matrix
	src      []byte
	rowBytes int
}

func (j *packing) Do(worker, workers int) {
	m := j.m
	panels := (m.rows + panelRows - 1) / panelRows
	for p := worker * panels / workers; p < (worker+1)*panels/workers; p++ {
		dst := m.data[p*m.stride : (p+1)*m.stride]
		for r := range min(panelRows, m.rows-p*panelRows) {
			row := j.src[(p*panelRows+r)*j.rowBytes:][:j.rowBytes]
			switch m.layout {
			case layoutF32:
				for c := range m.cols {
					copy(dst[(c*panelRows+r)*4:][:4], row[c*4:])
				}
			case layoutF16, layoutBF16:
				for c := range m.cols {
					copy(dst[(c*panelRows+r)*2:][:2], row[c*2:])
				}
			case layoutQ8:
				for b := range m.cols / blockCols {
					m.packQ8(dst[b*q8Block:], m.scales(dst, b), row[b*34:][:34], r)
				}
			case layoutQ4:
				for b := range m.cols / blockCols {
					m.packQ4(dst[b*q4Block:], m.scales(dst, b), row[b*18:][:18], r)
				}
			default:
				m.packK(dst, row, r)
			}
		}
	}
}

// scales are those of block b of a quantised panel, one a row.
func (m *Matrix) scales(panel []byte, b int) []byte {
	return panel[m.stride-(m.cols/blockCols-b)*scaleBytes:][:scaleBytes]
}

// packQ8 puts row r's Q8_0 block, a binary16 scale and 32 int8, into a panel's block.
func (m *Matrix) packQ8(dst, scales, src []byte, r int) {
	for g := range 8 {
		w := binary.LittleEndian.Uint32(src[2+4*g:]) ^ m.offset()
		binary.LittleEndian.PutUint32(dst[m.group(g, r):], w)
	}
	copy(scales[2*r:], src[:2])
}

// packQ4 puts row r's Q4_0 block, a binary16 scale and 16 bytes whose low halves
// are values 0 … 15 and high halves 16 … 31, into a panel's block. The file's own
// pairing of value i with i+16 is the pairing of group j with j+4.
func (m *Matrix) packQ4(dst, scales, src []byte, r int) {
	for g := range 4 {
		copy(dst[m.group(g, r):][:4], src[2+4*g:])
	}
	copy(scales[2*r:], src[:2])
}

// Row writes row r's weights to dst (Cols), exactly as quant.Dequantize would.
func (m *Matrix) Row(dst []float32, r int) {
	if r < 0 || r >= m.rows || len(dst) != m.cols {
		panic(fmt.Sprintf("internal error: kernels: row %d into %d values of a %d × %d matrix", r, len(dst), m.rows, m.cols))
	}
	panel := m.data[r/panelRows*m.stride:][:m.stride]
	r %= panelRows
	le := binary.LittleEndian
	switch m.layout {
	case layoutF32:
		for c := range dst {
			dst[c] = math.Float32frombits(le.Uint32(panel[(c*panelRows+r)*4:]))
		}
	case layoutF16:
		for c := range dst {
			dst[c] = quant.F16ToF32(le.Uint16(panel[(c*panelRows+r)*2:]))
		}
	case layoutBF16:
		for c := range dst {
			dst[c] = quant.BF16ToF32(le.Uint16(panel[(c*panelRows+r)*2:]))
		}
	case layoutQ8:
		for b := range m.cols / blockCols {
			block := panel[b*q8Block:]
			d := quant.F16ToF32(le.Uint16(m.scales(panel, b)[2*r:]))
			for i := range blockCols {
				dst[b*blockCols+i] = d * float32(int8(block[m.group(i/4, r)+i%4]^byte(m.offset())))
			}
		}
	case layoutQ4:
		for b := range m.cols / blockCols {
			block := panel[b*q4Block:]
			d := quant.F16ToF32(le.Uint16(m.scales(panel, b)[2*r:]))
			for i := range blockCols {
				v := block[m.group(i%16/4, r)+i%4] >> (i / 16 * 4) & 15
				dst[b*blockCols+i] = d * float32(int(v)-8)
			}
		}
	default:
		m.rowK(dst, panel, r)
	}
}
