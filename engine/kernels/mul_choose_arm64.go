//go:build !purego

package kernels

// ldy is in bytes from here on.

// panelNEON takes a panel through the kernels of the path in use, in turns of
// as many rows as their registers hold. It reports whether it has kernels for
// the panel's layout.
func (m *Matrix) panelNEON(y *float32, ldy int, w, x *byte, count, n int) bool {
	switch m.layout {
	case layoutQ8, layoutQ4, layoutF32, layoutF16, layoutBF16:
	default:
		return false
	}
	most, rowBytes := 4, 4
	if m.Form() == Quantized && !useDotProd {
		most = 2
	}
	for i := 0; i < n; {
		k := min(most, n-i)
		switch m.layout {
		case layoutQ8:
			q8ARM64(y, ldy, w, x, count, k)
		case layoutQ4:
			q4ARM64(y, ldy, w, x, count, k)
		case layoutF32:
			switch k {
			case 1:
				f32x1NEON(y, ldy, w, x, count)
			case 2:
				f32x2NEON(y, ldy, w, x, count)
			default:
				f32x4NEON(y, ldy, w, x, count)
			}
		case layoutF16:
			switch k {
			case 1:
				f16x1NEON(y, ldy, w, x, count)
			case 2:
				f16x2NEON(y, ldy, w, x, count)
			default:
				f16x4NEON(y, ldy, w, x, count)
			}
		case layoutBF16:
			switch k {
			case 1:
				bf16x1NEON(y, ldy, w, x, count)
			case 2:
				bf16x2NEON(y, ldy, w, x, count)
			default:
				bf16x4NEON(y, ldy, w, x, count)
			}
		}
		if i += k; i < n {
			// All of a row's numbers in a tile lie rowBytes further on than the row before's.
			y, x = addBytes(y, k*ldy), addBytes(x, k*rowBytes)
		}
	}
	return true
}

func q8ARM64(y *float32, ldy int, w, x *byte, count, n int) {
	switch {
	case useI8MM && n == 1:
		q8x1I8MM(y, ldy, w, x, count)
	case useI8MM && n == 2:
		q8x2I8MM(y, ldy, w, x, count)
	case useI8MM:
		q8x4I8MM(y, ldy, w, x, count)
	case useDotProd && n == 1:
		q8x1DotProd(y, ldy, w, x, count)
	case useDotProd && n == 2:
		q8x2DotProd(y, ldy, w, x, count)
	case useDotProd:
		q8x4DotProd(y, ldy, w, x, count)
	case n == 1:
		q8x1NEON(y, ldy, w, x, count)
	default:
		q8x2NEON(y, ldy, w, x, count)
	}
}

func q4ARM64(y *float32, ldy int, w, x *byte, count, n int) {
	switch {
	case useI8MM && n == 1:
		q4x1I8MM(y, ldy, w, x, count)
	case useI8MM && n == 2:
		q4x2I8MM(y, ldy, w, x, count)
	case useI8MM:
		q4x4I8MM(y, ldy, w, x, count)
	case useDotProd && n == 1:
		q4x1DotProd(y, ldy, w, x, count)
	case useDotProd && n == 2:
		q4x2DotProd(y, ldy, w, x, count)
	case useDotProd:
		q4x4DotProd(y, ldy, w, x, count)
	case n == 1:
		q4x1NEON(y, ldy, w, x, count)
	default:
		q4x2NEON(y, ldy, w, x, count)
	}
}
