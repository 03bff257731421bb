//go:build purego || !amd64

package kernels

const haveAVX2, haveAVX512 = false, false
