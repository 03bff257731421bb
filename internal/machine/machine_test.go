package machine

import (
	"runtime"
	"testing"
)

func TestRead(t *testing.T) {
	f := Read()
	if f.OS != runtime.GOOS || f.Cores < 1 || f.CPU == "" {
		t.Errorf("Read() = %+v", f)
	}
	if runtime.GOOS == "linux" && (f.Memory < 1<<20 || f.Kernel == "") {
		t.Errorf("Read() on Linux = %+v", f)
	}
}

// A buffer that is touched raises the peak; after it is gone and the mark is
// reset, the peak is lower again.
func TestPeak(t *testing.T) {
	if !ResetPeak() {
		t.Skip("this system cannot reset its high-water mark; records then say PeakWhole")
	}
	before := Peak()
	touch(64 << 20)
	if grown := Peak() - before; grown < 32<<20 {
		t.Errorf("touching 64 MiB raised the peak by %d bytes", grown)
	}
}

//go:noinline
func touch(n int) {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	runtime.KeepAlive(b)
}

func TestField(t *testing.T) {
	const text = "processor\t: 0\nmodel name\t: Some CPU: fast\nmodel name\t: another\n"
	if got := field(text, "model name"); got != "Some CPU: fast" {
		t.Errorf("field = %q", got)
	}
	if got := field(text, "name"); got != "" {
		t.Errorf("field of an absent key = %q", got)
	}
}
