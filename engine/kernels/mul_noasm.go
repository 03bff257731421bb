//go:build purego || !amd64

package kernels

func (m *Matrix) panelAVX512(*float32, int, *byte, *byte, int, int, int) { unreachable() }

func (m *Matrix) panelVNNI(*float32, int, *byte, *byte, int, int, int) { unreachable() }

func (m *Matrix) panelAVX2(*float32, int, *byte, *byte, int, int, int) { unreachable() }

func quantizeRowAVX512(*byte, *float32, int) { unreachable() }
func quantizeRowAVX2(*byte, *float32, int)   { unreachable() }
