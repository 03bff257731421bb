//go:build !linux

package kernels

import "runtime"

// Yield lets something else run on this processor.
func Yield() { runtime.Gosched() }
