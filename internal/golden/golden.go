// Package golden compares a test's output with a file that someone has looked at.
//
// Where they differ, the test fails with a diff and leaves the output beside
// the golden file as name.got; go test -update accepts it.
package golden

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/diff"
)

var update = flag.Bool("update", false, "accept the output of golden tests")

// TB is the part of testing.TB that Check needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// Check compares got with the file at path, relative to the test's package. A
// golden file that does not exist differs from everything.
func Check(t TB, path string, got []byte) {
	t.Helper()
	check(t, path, got, *update)
}

func check(t TB, path string, got []byte, accept bool) {
	t.Helper()
	want, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		t.Errorf("golden: %v", err)
		return
	}
	if !missing && bytes.Equal(want, got) {
		if err := os.Remove(path + ".got"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("golden: %v", err)
		}
		return
	}
	if accept {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Errorf("golden: %v", err)
			return
		}
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Errorf("golden: %v", err)
			return
		}
		os.Remove(path + ".got")
		t.Logf("golden: updated %s", path)
		return
	}
	if err := os.WriteFile(path+".got", got, 0o666); err != nil {
		t.Errorf("golden: %v", err)
	}
	if missing {
		t.Errorf("golden: %s does not exist; look at %s.got and accept it with -update", path, path)
		return
	}
	t.Errorf("golden: output differs; see %s.got, or accept it with -update\n%s", path, diff.Diff(path, want, path+".got", got))
}
