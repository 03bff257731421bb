package machine

import (
	"os"
	"strconv"
	"strings"
)

func readOS(f *Facts) {
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		f.CPU = field(string(b), "model name")
		if f.CPU == "" { // arm64 kernels name the board in Hardware, if anything
			f.CPU = field(string(b), "Hardware")
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		f.Memory = kilobytes(field(string(b), "MemTotal"))
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		f.Kernel = strings.TrimSpace(string(b))
	}
}

func kilobytes(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(s, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// ResetPeak restarts the high-water mark of resident memory and reports whether
// the kernel did so. Writing 5 to clear_refs is for this (proc_pid_clear_refs(5), Linux 4.0).
func ResetPeak() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// Peak is the most resident memory, in bytes, since the process began or
// ResetPeak succeeded; 0 if unknown. Mapped files count with the pages in use.
func Peak() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return kilobytes(field(string(b), "VmHWM"))
}
