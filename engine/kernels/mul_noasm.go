//go:build purego || !amd64

package kernels

func (m *Matrix) panelAVX512(*float32, int, *byte, *byte, int, int) { unreachable() }

func (m *Matrix) panelAVX2(*float32, int, *byte, *byte, int, int) { unreachable() }

func unreachable() { panic("internal error: kernels: a path that this CPU does not have") }
