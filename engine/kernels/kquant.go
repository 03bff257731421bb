package kernels

import (
	"encoding/binary"
	"math"

	"github.com/coordbench/coordbench/engine/quant"
)

// K-quants. For each super-block of 256 columns a panel holds a head and eight
// blocks of 32 columns, one behind the other, all on cache lines:
//
//	  0   16 binary16: d
//	 32   16 binary16: dmin (layoutQ6K: unused)
//	 64   for each block 16 scales and 16 minima, bytes (layoutQ6K: 16 int8 scales of
//	      the block's first 16 columns and 16 of its last)
//	320   the blocks
//
// A block begins with 256 bytes of low nibbles as in layoutQ4. In layoutQ5K 64
// bytes of fifth bits follow: bit g of byte r·4+i is that of value i of group g.
// In layoutQ6K two such planes follow, with bits 2g and 2g+1 of group g in the
// first and of group g+4 in the second.
const (
	superCols   = 256
	superBlocks = superCols / blockCols
	superHead   = 320
	headMin     = 32
	headScales  = 64
	planeBytes  = 64
)

func (m *Matrix) isK() bool { return m.layout >= layoutQ4K }

// blockBytes are those of 32 columns of a panel, without scales.
func (l layout) blockBytes() int {
	switch l {
	case layoutQ5K:
		return q4Block + planeBytes
	case layoutQ6K:
		return q4Block + 2*planeBytes
	}
	return q4Block
}

func (l layout) superBytes() int { return superHead + superBlocks*l.blockBytes() }

// packK puts row r of a file into a panel.
func (m *Matrix) packK(panel, row []byte, r int) {
	in, out := m.kind.BlockBytes(), m.layout.superBytes()
	for s := range m.cols / superCols {
		dst, src := panel[s*out:][:out], row[s*in:][:in]
		switch m.layout {
		case layoutQ4K:
			packHead(dst, src, r)
			for j := range superBlocks {
				packNibbles(dst[superHead+j*q4Block:], src[16+j/2*32:][:32], j&1*4, r)
			}
		case layoutQ5K:
			packHead(dst, src, r)
			for j := range superBlocks {
				block := dst[superHead+j*m.layout.blockBytes():]
				packNibbles(block, src[48+j/2*32:][:32], j&1*4, r)
				packPlane(block[q4Block:], src[16:48], j, 1, r)
			}
		default:
			packQ6K(dst, src, r)
		}
	}
}

// packHead unpacks the 16 bytes that begin row r's Q4_K or Q5_K super-block: d,
// dmin and eight 6-bit scales and minima (get_scale_min_k4 of ggml-quants.c).
func packHead(dst, src []byte, r int) {
	copy(dst[2*r:][:2], src[:2])
	copy(dst[headMin+2*r:][:2], src[2:4])
	s := src[4:16]
	for j := range superBlocks {
		scale, minimum := s[j%4]&63, s[j%4+4]&63
		if j >= 4 {
			scale, minimum = s[j+4]&15|s[j-4]>>6<<4, s[j+4]>>4|s[j]>>6<<4
		}
		dst[headScales+j*32+r], dst[headScales+j*32+16+r] = scale, minimum
	}
}

func packQ6K(dst, src []byte, r int) {
	copy(dst[2*r:][:2], src[208:])
	for j := range superBlocks {
		half, run := j/4, j%4
		dst[headScales+j*32+r], dst[headScales+j*32+16+r] = src[192+2*j], src[192+2*j+1]
		block := dst[superHead+j*layoutQ6K.blockBytes():]
		packNibbles(block, src[64*half+32*(run&1):][:32], run>>1*4, r)
		high := src[128+32*half:][:32]
		packPlane(block[q4Block:], high[:16], 2*run, 2, r)
		packPlane(block[q4Block+planeBytes:], high[16:], 2*run, 2, r)
	}
}

// packNibbles puts row r's 32 values, the nibbles of src from bit shift on, into
// a panel's block.
func packNibbles(block, src []byte, shift, r int) {
	const low = 0x0f0f0f0f
	for g := range 4 {
		a := binary.LittleEndian.Uint32(src[4*g:]) >> shift & low
		b := binary.LittleEndian.Uint32(src[16+4*g:]) >> shift & low
		binary.LittleEndian.PutUint32(block[g*64+r*4:], a|b<<4)
	}
}

// packPlane puts the bits of src from bit shift on, that many of a byte, into row
// r of a plane: those of group g of src lie g times as many bits up.
func packPlane(plane, src []byte, shift, bits, r int) {
	mask := uint32(0x01010101)
	if bits == 2 {
		mask = 0x03030303
	}
	var w uint32
	for g := range len(src) / 4 {
		w |= binary.LittleEndian.Uint32(src[4*g:]) >> shift & mask << (bits * g)
	}
	binary.LittleEndian.PutUint32(plane[r*4:], w)
}

// unpackK returns row r's values of a block; those of layoutQ6K are 32 too large.
func (l layout) unpackK(block []byte, r int) (q [blockCols]byte) {
	le := binary.LittleEndian
	var planes [2]uint32
	switch l {
	case layoutQ5K:
		planes[0] = le.Uint32(block[q4Block+r*4:])
	case layoutQ6K:
		planes[0], planes[1] = le.Uint32(block[q4Block+r*4:]), le.Uint32(block[q4Block+planeBytes+r*4:])
	}
	for g := range 4 {
		w := le.Uint32(block[g*64+r*4:])
		low, high := w&0x0f0f0f0f, w>>4&0x0f0f0f0f
		switch l {
		case layoutQ5K:
			low |= planes[0] >> g & 0x01010101 << 4
			high |= planes[0] >> (g + 4) & 0x01010101 << 4
		case layoutQ6K:
			low |= planes[0] >> (2 * g) & 0x03030303 << 4
			high |= planes[1] >> (2 * g) & 0x03030303 << 4
		}
		le.PutUint32(q[4*g:], low)
		le.PutUint32(q[16+4*g:], high)
	}
	return q
}

// rowK is Row for K-quants; the conversions keep products from being fused into sums.
func (m *Matrix) rowK(dst []float32, panel []byte, r int) {
	for b := range m.cols / blockCols {
		head, block := m.blockK(panel, b)
		d, dmin := headScale(head, r), headScale(head[headMin:], r)
		first, second := head[headScales+b%superBlocks*32+r], head[headScales+b%superBlocks*32+16+r]
		for c, q := range m.layout.unpackK(block, r) {
			v := &dst[b*blockCols+c]
			if m.layout != layoutQ6K {
				scale, minimum := float32(d*float32(first)), float32(dmin*float32(second))
				*v = float32(scale*float32(q)) - minimum
				continue
			}
			if c == blockCols/2 {
				first = second
			}
			*v = float32(d*float32(int8(first))) * float32(int(q)-32)
		}
	}
}

// blockK finds block b of a panel, and the head of its super-block.
func (m *Matrix) blockK(panel []byte, b int) (head, block []byte) {
	super := panel[b/superBlocks*m.layout.superBytes():]
	size := m.layout.blockBytes()
	return super[:superHead], super[superHead+b%superBlocks*size:][:size]
}

func headScale(scales []byte, r int) float32 {
	return quant.F16ToF32(binary.LittleEndian.Uint16(scales[2*r:]))
}

// panelGenericK is panelGeneric for K-quants. Sums of a block are exact integers:
// with scales sc and minima m, d·sc·Σq·x and dmin·m·Σx for layoutQ4K and
// layoutQ5K, d·(sc₀·Σ(q-32)·x + sc₁·Σ(q-32)·x) for layoutQ6K.
func (m *Matrix) panelGenericK(out []float32, ldy int, panel []byte, tile []byte, n int) {
	le := binary.LittleEndian
	for b := range len(tile) / tileBlock {
		head, block := m.blockK(panel, b)
		t := tile[b*tileBlock:][:tileBlock]
		var x [tileRows][blockCols]byte
		for i := range n {
			for g := range blockCols / 4 {
				copy(x[i][4*g:], t[g*32+i*4:][:4])
			}
		}
		for r := range panelRows {
			q := m.layout.unpackK(block, r)
			d, dmin := headScale(head, r), headScale(head[headMin:], r)
			first, second := head[headScales+b%superBlocks*32+r], head[headScales+b%superBlocks*32+16+r]
			for i := range n {
				var sum [2]int32
				for c, v := range x[i][:16] {
					sum[0] += int32(q[c]) * int32(int8(v))
					sum[1] += int32(q[c+16]) * int32(int8(x[i][c+16]))
				}
				scale := math.Float32frombits(le.Uint32(t[offScale+4*i:]))
				if m.layout == layoutQ6K {
					for h := range sum {
						sum[h] += 32 * int32(int16(le.Uint16(t[offHalves+4*i+2*h:])))
					}
					total := sum[0]*int32(int8(first)) + sum[1]*int32(int8(second))
					out[i*ldy+r] += d * scale * float32(total)
					continue
				}
				negative := float32(int32(le.Uint32(t[offCorr8+4*i:]))) / 8
				dot := float32(d*float32(first)) * float32(sum[0]+sum[1])
				out[i*ldy+r] += scale * (dot + float32(dmin*float32(second))*negative)
			}
		}
	}
}
