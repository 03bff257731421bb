//go:build !purego

package kernels

//go:noescape
func pauseAsm()

func pause() { pauseAsm() }

//go:noescape
func quantizeRowAVX512(q *byte, x *float32, blocks int)

//go:noescape
func expSumAVX512(x *float32, n int, top float32) float32

//go:noescape
func swiGLUAVX512(dst, gate, up *float32, n int)

//go:noescape
func squaresAVX512(x *float32, n int) float32

//go:noescape
func scaleMulAVX512(dst, x, w *float32, s float32, n int)

//go:noescape
func addAVX512(dst, x *float32, n int)

//go:noescape
func scaleAVX512(x *float32, s float32, n int)

//go:noescape
func maxAVX512(x *float32, n int) float32

//go:noescape
func toF16AVX512(dst *uint16, src *float32, n int)

//go:noescape
func quantizeRowAVX2(q *byte, x *float32, blocks int)

//go:noescape
func expSumAVX2(x *float32, n int, top float32) float32

//go:noescape
func swiGLUAVX2(dst, gate, up *float32, n int)

//go:noescape
func squaresAVX2(x *float32, n int) float32

//go:noescape
func scaleMulAVX2(dst, x, w *float32, s float32, n int)

//go:noescape
func addAVX2(dst, x *float32, n int)

//go:noescape
func scaleAVX2(x *float32, s float32, n int)

//go:noescape
func maxAVX2(x *float32, n int) float32

//go:noescape
func toF16AVX2(dst *uint16, src *float32, n int)

// The two give the same bits, and so do the functions below.

func expSumWide(x *float32, n int, top float32) float32 {
	if useAVX512 {
		return expSumAVX512(x, n, top)
	}
	return expSumAVX2(x, n, top)
}

func swiGLUWide(dst, gate, up *float32, n int) {
	if useAVX512 {
		swiGLUAVX512(dst, gate, up, n)
	} else {
		swiGLUAVX2(dst, gate, up, n)
	}
}

func squaresWide(x *float32, n int) float32 {
	if useAVX512 {
		return squaresAVX512(x, n)
	}
	return squaresAVX2(x, n)
}

func scaleMulWide(dst, x, w *float32, s float32, n int) {
	if useAVX512 {
		scaleMulAVX512(dst, x, w, s, n)
	} else {
		scaleMulAVX2(dst, x, w, s, n)
	}
}

func addWide(dst, x *float32, n int) {
	if useAVX512 {
		addAVX512(dst, x, n)
	} else {
		addAVX2(dst, x, n)
	}
}

func scaleWide(x *float32, s float32, n int) {
	if useAVX512 {
		scaleAVX512(x, s, n)
	} else {
		scaleAVX2(x, s, n)
	}
}

func maxWide(x *float32, n int) float32 {
	if useAVX512 {
		return maxAVX512(x, n)
	}
	return maxAVX2(x, n)
}

func toF16Wide(dst *uint16, src *float32, n int) {
	if useAVX512 {
		toF16AVX512(dst, src, n)
	} else {
		toF16AVX2(dst, src, n)
	}
}
