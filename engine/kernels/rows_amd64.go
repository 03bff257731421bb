//go:build !purego

package kernels

//go:noescape
func pauseAsm()

func pause() { pauseAsm() }

//go:noescape
func quantizeRowAVX512(q *byte, x *float32, blocks int)

//go:noescape
func expSumAVX512(x *float32, n int, max float32) float32

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
