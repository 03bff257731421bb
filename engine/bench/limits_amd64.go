//go:build !purego

package bench

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

var (
	useVNNI = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VNNI && cpu.X86.HasAVX512VL
	useAVX2 = cpu.X86.HasAVX2
)

//go:noescape
func readAVX2(p *byte, n int) uint64

//go:noescape
func readAVX512(p *byte, n int) uint64

//go:noescape
func macVNNI(rounds int)

//go:noescape
func macAVX2(rounds int)

// readAll loads every byte of b, whose length is a multiple of 512.
func readAll(b []byte) uint64 {
	switch {
	case useVNNI:
		return readAVX512(unsafe.SliceData(b), len(b))
	case useAVX2:
		return readAVX2(unsafe.SliceData(b), len(b))
	}
	return readGeneric(b)
}

// macs computes rounds · macsPerRound multiply-adds in registers.
func macs(rounds int) {
	switch {
	case useVNNI:
		macVNNI(rounds)
	case useAVX2:
		macAVX2(rounds)
	default:
		macGeneric(rounds)
	}
}

func macsPerRound() (int, string) {
	switch {
	case useVNNI:
		return 16 * 64, "vpdpbusd zmm"
	case useAVX2:
		return 4 * 32, "vpmaddubsw ymm"
	}
	return genericMACs, "go"
}
