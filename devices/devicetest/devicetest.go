// Package devicetest is the conformance suite that every devices.Device passes.
package devicetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coordbench/coordbench/devices"
)

// Run checks d against the contract. The device must have a POSIX sh.
func Run(t *testing.T, d devices.Device) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	facts, err := d.Facts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Name == "" || facts.OS == "" || facts.Arch == "" || facts.Cores < 1 || facts.Work == "" {
		t.Errorf("facts with gaps: %+v", facts)
	}
	sh := func(ctx context.Context, script string) ([]string, error) {
		var lines []string
		err := d.Run(ctx, devices.Command{Args: []string{"sh", "-c", script}, Stdout: func(l string) { lines = append(lines, l) }})
		return lines, err
	}

	t.Run("put and get", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "some file.bin")
		write(t, file, "one")
		p1, err := d.Put(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := d.Put(ctx, file); err != nil || again != p1 {
			t.Errorf("a second Put = %q, %v; want %q", again, err, p1)
		}
		same := filepath.Join(t.TempDir(), "some file.bin")
		write(t, same, "one")
		if p, err := d.Put(ctx, same); err != nil || p != p1 {
			t.Errorf("Put of an equal file elsewhere = %q, %v; want %q", p, err, p1)
		}
		os.Remove(file)
		write(t, file, "two!")
		p2, err := d.Put(ctx, file)
		if err != nil || p2 == p1 {
			t.Errorf("Put of other content = %q, %v; want another path than %q", p2, err, p1)
		}
		for path, want := range map[string]string{p1: "one", p2: "two!"} {
			got := filepath.Join(dir, "got")
			if err := d.Get(ctx, path, got); err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(got); string(b) != want {
				t.Errorf("Get(%s) = %q, want %q", path, b, want)
			}
		}
		if err := d.Get(ctx, facts.Work+"/no such file", filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get of an absent file: %v, want fs.ErrNotExist", err)
		}
		if _, err := d.Put(ctx, filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Put of an absent file: %v, want fs.ErrNotExist", err)
		}
	})

	t.Run("put keeps programs executable", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "hello")
		write(t, file, "#!/bin/sh\necho hello $1\n")
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
		p, err := d.Put(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		if err := d.Run(ctx, devices.Command{Args: []string{"sh", p, "you there"}, Stdout: func(l string) { out = append(out, l) }}); err != nil {
			t.Fatal(err)
		}
		if want := []string{"hello you there"}; !slices.Equal(out, want) {
			t.Errorf("output %q, want %q", out, want)
		}
	})

	t.Run("lines come as they are written", func(t *testing.T) {
		got, err := sh(ctx, "echo a; echo; printf 'b c'")
		if want := []string{"a", "", "b c"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("lines %q, %v; want %q", got, err, want)
		}
		first := make(chan bool, 1)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			done <- d.Run(ctx, devices.Command{Args: []string{"sh", "-c", "echo ready; sleep 60"}, Stdout: func(string) { first <- true }})
		}()
		<-first // before the command ends: else this never comes
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled command: %v, want context.Canceled", err)
		}
	})

	t.Run("work is writable and lasts", func(t *testing.T) {
		if _, err := sh(ctx, "echo kept > '"+facts.Work+"/devicetest'"); err != nil {
			t.Fatal(err)
		}
		got := filepath.Join(t.TempDir(), "got")
		if err := d.Get(ctx, facts.Work+"/devicetest", got); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(got); string(b) != "kept\n" {
			t.Errorf("got %q", b)
		}
	})

	t.Run("exit status, signal, stderr", func(t *testing.T) {
		_, err := sh(ctx, "echo a reason >&2; exit 7")
		var ee *devices.ExitError
		if !errors.As(err, &ee) || ee.Code != 7 || ee.Signal != "" || !strings.Contains(ee.Stderr, "a reason") {
			t.Errorf("exit 7: %#v", err)
		}
		_, err = sh(ctx, "kill -9 $$")
		if !errors.As(err, &ee) || ee.Signal != "killed" {
			t.Errorf("kill -9: %#v", err)
		}
		if err := d.Run(ctx, devices.Command{Args: []string{facts.Work + "/no such program"}}); err == nil {
			t.Error("running an absent program gives no error")
		}
	})

	t.Run("cancel kills what the command started", func(t *testing.T) {
		mark := facts.Work + "/devicetest.alive"
		ctx2, cancel := context.WithCancel(ctx)
		defer cancel()
		started := make(chan bool, 1)
		done := make(chan error, 1)
		go func() {
			done <- d.Run(ctx2, devices.Command{
				Args:   []string{"sh", "-c", "(while :; do echo x >> '" + mark + "'; sleep 0.05; done) & echo started; wait"},
				Stdout: func(string) { started <- true },
			})
		}()
		<-started
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		count := func() string {
			l, err := sh(ctx, "wc -c < '"+mark+"' 2>/dev/null || echo 0")
			if err != nil || len(l) != 1 {
				t.Fatal(l, err)
			}
			return strings.TrimSpace(l[0])
		}
		before := count()
		time.Sleep(250 * time.Millisecond)
		if after := count(); after != before {
			t.Errorf("a background process lives on: %s bytes, then %s", before, after)
		}
	})

	t.Run("a context that has ended", func(t *testing.T) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := sh(ended, "echo x"); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v, want context.Canceled", err)
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
