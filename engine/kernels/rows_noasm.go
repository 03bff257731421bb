//go:build purego || !amd64

package kernels

func pause() {}

func quantizeRowAVX512(*byte, *float32, int)            { unreachable() }
func expSumAVX512(*float32, int, float32) float32       { unreachable(); return 0 }
func swiGLUAVX512(_, _, _ *float32, _ int)              { unreachable() }
func squaresAVX512(*float32, int) float32               { unreachable(); return 0 }
func scaleMulAVX512(_, _, _ *float32, _ float32, _ int) { unreachable() }
func addAVX512(_, _ *float32, _ int)                    { unreachable() }
func scaleAVX512(*float32, float32, int)                { unreachable() }
func maxAVX512(*float32, int) float32                   { unreachable(); return 0 }
func toF16AVX512(*uint16, *float32, int)                { unreachable() }
func qk16AVX512(_, _ *float32, _ *byte, _, _ int)       { unreachable() }
func qk32AVX512(_, _ *float32, _ *byte, _, _ int)       { unreachable() }
func pv16AVX512(_, _ *float32, _ *byte, _, _ int)       { unreachable() }
func pv32AVX512(_, _ *float32, _ *byte, _, _ int)       { unreachable() }
func qk16AVX2(_, _ *float32, _ *byte, _, _ int)         { unreachable() }
func qk32AVX2(_, _ *float32, _ *byte, _, _ int)         { unreachable() }
func pv16AVX2(_, _ *float32, _ *byte, _, _ int)         { unreachable() }
func pv32AVX2(_, _ *float32, _ *byte, _, _ int)         { unreachable() }
