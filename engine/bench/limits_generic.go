package bench

import "encoding/binary"

const genericMACs = 8

func readGeneric(b []byte) uint64 {
	var a, c uint64
	for ; len(b) >= 16; b = b[16:] {
		a ^= binary.LittleEndian.Uint64(b)
		c ^= binary.LittleEndian.Uint64(b[8:])
	}
	return a ^ c
}

// macGeneric returns what it computed, so that the compiler keeps the loop.
func macGeneric(rounds int) (sum uint64) {
	var acc [genericMACs]int32
	w := int8(rounds)
	for i := range rounds {
		x := int32(int8(i)) * int32(w)
		for j := range acc {
			acc[j] += x
		}
	}
	for _, v := range acc {
		sum += uint64(v)
	}
	return sum
}
