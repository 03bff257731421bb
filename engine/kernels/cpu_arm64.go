//go:build !purego

package kernels

import "golang.org/x/sys/cpu"

// Every arm64 CPU that Go runs on has NEON. The i8mm path takes single rows
// through SDOT, so it needs both features; Armv8.6 has both.
const haveNEON = true

var (
	haveDotProd = cpu.ARM64.HasASIMDDP
	haveI8MM    = cpu.ARM64.HasI8MM && cpu.ARM64.HasASIMDDP
)
