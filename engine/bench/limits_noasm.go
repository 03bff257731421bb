//go:build purego || !amd64

package bench

func readAll(b []byte) uint64 { return readGeneric(b) }

func macs(rounds int) { macGeneric(rounds) }

func macsPerRound() (int, string) { return genericMACs, "go" }
