//go:build !purego

package kernels

//go:noescape
func pauseAsm()

func pause() { pauseAsm() }

//go:noescape
func quantizeRowAVX512(q *byte, x *float32, blocks int)

//go:noescape
func expSumWide(x *float32, n int, max float32) float32

//go:noescape
func swiGLUWide(dst, gate, up *float32, n int)

//go:noescape
func squaresWide(x *float32, n int) float32

//go:noescape
func scaleMulWide(dst, x, w *float32, s float32, n int)

//go:noescape
func addWide(dst, x *float32, n int)

//go:noescape
func scaleWide(x *float32, s float32, n int)

//go:noescape
func maxWide(x *float32, n int) float32

//go:noescape
func toF16Wide(dst *uint16, src *float32, n int)
