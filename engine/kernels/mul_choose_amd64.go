//go:build !purego

package kernels

// ldy is in bytes from here on.

func (m *Matrix) panelAVX512(y *float32, ldy int, w, x *byte, count, n, ahead int) {
	if m.isK() {
		m.panelK512(y, ldy, w, x, count*blockCols/superCols, n)
		return
	}
	switch m.layout {
	case layoutQ8:
		switch n {
		case 1:
			q8x1AVX512(y, ldy, w, x, count, ahead)
		case 2:
			q8x2AVX512(y, ldy, w, x, count, ahead)
		case 3:
			q8x3AVX512(y, ldy, w, x, count, ahead)
		case 4:
			q8x4AVX512(y, ldy, w, x, count, ahead)
		case 5:
			q8x5AVX512(y, ldy, w, x, count, ahead)
		case 6:
			q8x6AVX512(y, ldy, w, x, count, ahead)
		case 7:
			q8x7AVX512(y, ldy, w, x, count, ahead)
		default:
			q8x8AVX512(y, ldy, w, x, count, ahead)
		}
	case layoutQ4:
		switch n {
		case 1:
			q4x1AVX512(y, ldy, w, x, count, ahead)
		case 2:
			q4x2AVX512(y, ldy, w, x, count, ahead)
		case 3:
			q4x3AVX512(y, ldy, w, x, count, ahead)
		case 4:
			q4x4AVX512(y, ldy, w, x, count, ahead)
		case 5:
			q4x5AVX512(y, ldy, w, x, count, ahead)
		case 6:
			q4x6AVX512(y, ldy, w, x, count, ahead)
		case 7:
			q4x7AVX512(y, ldy, w, x, count, ahead)
		default:
			q4x8AVX512(y, ldy, w, x, count, ahead)
		}
	case layoutF32:
		switch n {
		case 1:
			f32x1AVX512(y, ldy, w, x, count, ahead)
		case 2:
			f32x2AVX512(y, ldy, w, x, count, ahead)
		case 3:
			f32x3AVX512(y, ldy, w, x, count, ahead)
		case 4:
			f32x4AVX512(y, ldy, w, x, count, ahead)
		case 5:
			f32x5AVX512(y, ldy, w, x, count, ahead)
		case 6:
			f32x6AVX512(y, ldy, w, x, count, ahead)
		case 7:
			f32x7AVX512(y, ldy, w, x, count, ahead)
		default:
			f32x8AVX512(y, ldy, w, x, count, ahead)
		}
	case layoutF16:
		switch n {
		case 1:
			f16x1AVX512(y, ldy, w, x, count, ahead)
		case 2:
			f16x2AVX512(y, ldy, w, x, count, ahead)
		case 3:
			f16x3AVX512(y, ldy, w, x, count, ahead)
		case 4:
			f16x4AVX512(y, ldy, w, x, count, ahead)
		case 5:
			f16x5AVX512(y, ldy, w, x, count, ahead)
		case 6:
			f16x6AVX512(y, ldy, w, x, count, ahead)
		case 7:
			f16x7AVX512(y, ldy, w, x, count, ahead)
		default:
			f16x8AVX512(y, ldy, w, x, count, ahead)
		}
	default:
		switch n {
		case 1:
			bf16x1AVX512(y, ldy, w, x, count, ahead)
		case 2:
			bf16x2AVX512(y, ldy, w, x, count, ahead)
		case 3:
			bf16x3AVX512(y, ldy, w, x, count, ahead)
		case 4:
			bf16x4AVX512(y, ldy, w, x, count, ahead)
		case 5:
			bf16x5AVX512(y, ldy, w, x, count, ahead)
		case 6:
			bf16x6AVX512(y, ldy, w, x, count, ahead)
		case 7:
			bf16x7AVX512(y, ldy, w, x, count, ahead)
		default:
			bf16x8AVX512(y, ldy, w, x, count, ahead)
		}
	}
}

// panelAVX2 has registers for fewer rows at once: it takes the others in turns.
func (m *Matrix) panelAVX2(y *float32, ldy int, w, x *byte, count, n, ahead int) {
	most, rowBytes := 2, 4
	if m.Form() == Float {
		most = 4
	}
	for i := 0; i < n; {
		k := min(most, n-i)
		switch m.layout {
		case layoutQ4K, layoutQ5K, layoutQ6K:
			m.panelK2(y, ldy, w, x, count*blockCols/superCols, k)
		case layoutQ8:
			if k == 1 {
				q8x1AVX2(y, ldy, w, x, count, ahead)
			} else {
				q8x2AVX2(y, ldy, w, x, count, ahead)
			}
		case layoutQ4:
			if k == 1 {
				q4x1AVX2(y, ldy, w, x, count, ahead)
			} else {
				q4x2AVX2(y, ldy, w, x, count, ahead)
			}
		case layoutF32:
			switch k {
			case 1:
				f32x1AVX2(y, ldy, w, x, count, ahead)
			case 2:
				f32x2AVX2(y, ldy, w, x, count, ahead)
			default:
				f32x4AVX2(y, ldy, w, x, count, ahead)
			}
		case layoutF16:
			switch k {
			case 1:
				f16x1AVX2(y, ldy, w, x, count, ahead)
			case 2:
				f16x2AVX2(y, ldy, w, x, count, ahead)
			default:
				f16x4AVX2(y, ldy, w, x, count, ahead)
			}
		default:
			switch k {
			case 1:
				bf16x1AVX2(y, ldy, w, x, count, ahead)
			case 2:
				bf16x2AVX2(y, ldy, w, x, count, ahead)
			default:
				bf16x4AVX2(y, ldy, w, x, count, ahead)
			}
		}
		if i += k; i < n {
			// All of a row's numbers in a tile lie rowBytes further on than the row before's.
			y, x = addBytes(y, k*ldy), addBytes(x, k*rowBytes)
			ahead = 0 // this turn has fetched it all
		}
	}
}
