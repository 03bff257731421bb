//go:build !purego

package kernels

// panelVNNI is panelAVX2 for block formats and K-quants, four rows in a turn.
func (m *Matrix) panelVNNI(y *float32, ldy int, w, x *byte, count, n, ahead int) {
	for i := 0; i < n; i += 4 {
		switch k := min(4, n-i); {
		case m.isK():
			m.panelKVNNI(y, ldy, w, x, count*blockCols/superCols, k)
		case m.layout == layoutQ8:
			switch k {
			case 1:
				q8x1VNNI(y, ldy, w, x, count, ahead)
			case 2:
				q8x2VNNI(y, ldy, w, x, count, ahead)
			default:
				q8x4VNNI(y, ldy, w, x, count, ahead)
			}
		default:
			switch k {
			case 1:
				q4x1VNNI(y, ldy, w, x, count, ahead)
			case 2:
				q4x2VNNI(y, ldy, w, x, count, ahead)
			default:
				q4x4VNNI(y, ldy, w, x, count, ahead)
			}
		}
		if i+4 < n {
			// All of a row's numbers in a tile lie 4 bytes further on than the row before's.
			y, x = addBytes(y, 4*ldy), addBytes(x, 4*4)
			ahead = 0 // this turn has fetched it all
		}
	}
}

// panelKVNNI takes one, two or four rows; count is in super-blocks.
func (m *Matrix) panelKVNNI(y *float32, ldy int, w, x *byte, count, n int) {
	switch m.layout {
	case layoutQ4K:
		switch n {
		case 1:
			q4kx1VNNI(y, ldy, w, x, count)
		case 2:
			q4kx2VNNI(y, ldy, w, x, count)
		default:
			q4kx4VNNI(y, ldy, w, x, count)
		}
	case layoutQ5K:
		switch n {
		case 1:
			q5kx1VNNI(y, ldy, w, x, count)
		case 2:
			q5kx2VNNI(y, ldy, w, x, count)
		default:
			q5kx4VNNI(y, ldy, w, x, count)
		}
	default:
		switch n {
		case 1:
			q6kx1VNNI(y, ldy, w, x, count)
		case 2:
			q6kx2VNNI(y, ldy, w, x, count)
		default:
			q6kx4VNNI(y, ldy, w, x, count)
		}
	}
}
