//go:build purego || !amd64

package kernels

const haveAVX2, haveVNNI, haveAVX512 = false, false, false
