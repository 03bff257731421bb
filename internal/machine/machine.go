// Package machine says what computer this is and how much memory this process
// has used.
package machine

import (
	"runtime"
	"strings"
)

// Facts describe a computer. What cannot be found out is zero.
type Facts struct {
	OS, Arch string // GOOS, GOARCH
	CPU      string // model name
	Cores    int    // logical processors that this process may use
	Memory   int64  // bytes of main memory
	Kernel   string // release
}

// Read finds out about this computer.
func Read() Facts {
	f := Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
	readOS(&f)
	if f.CPU == "" {
		f.CPU = runtime.GOARCH
	}
	return f
}

// field returns the first value of a "key : value" text such as /proc/cpuinfo.
func field(text, key string) string {
	for l := range strings.Lines(text) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
