//go:build !purego

package kernels

import (
	"math"
	"unsafe"
)

//go:noescape
func pauseAsm()

func pause() { pauseAsm() }

//go:noescape
func quantizeRowNEON(q *byte, x *float32, blocks int)

//go:noescape
func expSum16(x *float32, n int, top float32) float32

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

// expSumWide fills the last 16 of x up with what contributes nothing.
func expSumWide(p *float32, n int, top float32) float32 {
	x := unsafe.Slice(p, n)
	var sum float32
	whole := n &^ 15
	if whole > 0 {
		sum = expSum16(p, whole, top)
	}
	if whole < n {
		var last [16]float32
		for i := range last {
			last[i] = float32(math.Inf(-1))
		}
		copy(last[:], x[whole:])
		sum += expSum16(&last[0], len(last), top)
		copy(x[whole:], last[:])
	}
	return sum
}
