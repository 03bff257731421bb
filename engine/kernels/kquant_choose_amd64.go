//go:build !purego

package kernels

// panelK512 is panelAVX512 for K-quants; count is in super-blocks.
func (m *Matrix) panelK512(y *float32, ldy int, w, x *byte, count, n int) {
	switch m.layout {
	case layoutQ4K:
		switch n {
		case 1:
			q4kx1AVX512(y, ldy, w, x, count)
		case 2:
			q4kx2AVX512(y, ldy, w, x, count)
		case 4:
			q4kx4AVX512(y, ldy, w, x, count)
		default:
			q4kx8AVX512(y, ldy, w, x, count)
		}
	case layoutQ5K:
		switch n {
		case 1:
			q5kx1AVX512(y, ldy, w, x, count)
		case 2:
			q5kx2AVX512(y, ldy, w, x, count)
		case 4:
			q5kx4AVX512(y, ldy, w, x, count)
		default:
			q5kx8AVX512(y, ldy, w, x, count)
		}
	default:
		switch n {
		case 1:
			q6kx1AVX512(y, ldy, w, x, count)
		case 2:
			q6kx2AVX512(y, ldy, w, x, count)
		case 4:
			q6kx4AVX512(y, ldy, w, x, count)
		default:
			q6kx8AVX512(y, ldy, w, x, count)
		}
	}
}

// panelK2 takes one or two rows; count is in super-blocks.
func (m *Matrix) panelK2(y *float32, ldy int, w, x *byte, count, n int) {
	switch m.layout {
	case layoutQ4K:
		if n == 1 {
			q4kx1AVX2(y, ldy, w, x, count)
		} else {
			q4kx2AVX2(y, ldy, w, x, count)
		}
	case layoutQ5K:
		if n == 1 {
			q5kx1AVX2(y, ldy, w, x, count)
		} else {
			q5kx2AVX2(y, ldy, w, x, count)
		}
	default:
		if n == 1 {
			q6kx1AVX2(y, ldy, w, x, count)
		} else {
			q6kx2AVX2(y, ldy, w, x, count)
		}
	}
}
