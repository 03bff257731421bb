package bench

import "testing"

func TestReadAllReadsEveryLine(t *testing.T) {
	b := make([]byte, 4096)
	for i := range len(b) / 8 {
		b[i*8] = byte(i*37 + 1)
	}
	want := readAll(b)
	// Each cache line is folded into the result: flipping one of its bits changes it.
	for i := 0; i < len(b); i += 64 {
		b[i] ^= 0x80
		if got := readAll(b); got == want {
			t.Fatalf("the line at %d is not read", i)
		}
		b[i] ^= 0x80
	}
}

func TestMeasureLimits(t *testing.T) {
	l := MeasureLimits(1)
	if l.GBs <= 0 || l.GMACs <= 0 || l.Path == "" {
		t.Errorf("limits %+v", l)
	}
	t.Logf("%.1f GB/s, %.0f GMAC/s by %s", l.GBs, l.GMACs, l.Path)
}
