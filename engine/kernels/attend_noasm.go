//go:build purego || !amd64

package kernels

func scoresAVX512(bool, int, *float32, int, *float32, *byte, int, int) { unreachable() }
func scoresAVX2(bool, int, *float32, int, *float32, *byte, int, int)   { unreachable() }
func mixAVX512(bool, int, *float32, *float32, int, *byte, int, int)    { unreachable() }
func mixAVX2(bool, int, *float32, *float32, int, *byte, int, int)      { unreachable() }
