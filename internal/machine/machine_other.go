//go:build !linux

package machine

import "runtime"

func readOS(*Facts) {}

// ResetPeak cannot restart the mark here.
func ResetPeak() bool { return false }

// Peak is what the Go runtime has asked of the system in all, in bytes.
func Peak() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
