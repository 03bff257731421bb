package local

import (
	"testing"

	"github.com/coordbench/coordbench/devices/devicetest"
)

func TestDevice(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	devicetest.Run(t, d)
}
