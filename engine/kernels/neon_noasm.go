//go:build purego || !arm64

package kernels

const haveNEON, haveDotProd, haveI8MM = false, false, false

func (m *Matrix) panelNEON(*float32, int, *byte, *byte, int, int) bool { unreachable(); return false }

func scoresNEON(bool, int, *float32, int, *float32, *byte, int, int) { unreachable() }
func mixNEON(bool, int, *float32, *float32, int, *byte, int, int)    { unreachable() }

func quantizeRowNEON(*byte, *float32, int) { unreachable() }
