package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type recorder struct{ errs, logs []string }

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errs = append(r.errs, fmt.Sprintf(format, args...))
}
func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "x.golden")
	step := func(got string, accept bool) recorder {
		var r recorder
		check(&r, path, []byte(got), accept)
		return r
	}
	exists := func(name string) bool { _, err := os.Stat(name); return err == nil }

	os.MkdirAll(filepath.Dir(path), 0o777)
	if r := step("one\ntwo\n", false); len(r.errs) != 1 || !strings.Contains(r.errs[0], "does not exist") {
		t.Errorf("missing golden file: %q", r.errs)
	}
	if !exists(path + ".got") {
		t.Error("missing golden file: no .got left")
	}
	if r := step("one\ntwo\n", true); len(r.errs) != 0 || exists(path+".got") {
		t.Errorf("-update: %q, .got left: %v", r.errs, exists(path+".got"))
	}
	if r := step("one\ntwo\n", false); len(r.errs) != 0 {
		t.Errorf("equal output: %q", r.errs)
	}
	r := step("one\n2\n", false)
	if len(r.errs) != 1 || !strings.Contains(r.errs[0], "-two\n") || !strings.Contains(r.errs[0], "+2\n") {
		t.Errorf("differing output: %q", r.errs)
	}
	if b, _ := os.ReadFile(path + ".got"); string(b) != "one\n2\n" {
		t.Errorf(".got holds %q", b)
	}
	if r := step("one\ntwo\n", false); len(r.errs) != 0 || exists(path+".got") {
		t.Errorf("equal again: %q, .got left: %v", r.errs, exists(path+".got"))
	}
}
