// Package local is this machine as a device: the agent runs as a child process
// and files lie in a work folder.
package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coordbench/coordbench/devices"
	"github.com/coordbench/coordbench/internal/machine"
)

// A Device is this machine with a work folder.
type Device struct {
	work string
	put  map[string]string // file and its stamp → path, so that a large file is hashed once
}

var _ devices.Device = (*Device)(nil)

// Open makes a device of this machine. work is made if absent.
func Open(work string) (*Device, error) {
	abs, err := filepath.Abs(work)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if err := os.MkdirAll(abs, 0o777); err != nil {
		return nil, fmt.Errorf("local: work folder: %w", err)
	}
	return &Device{work: abs, put: map[string]string{}}, nil
}

// Facts describe this machine.
func (d *Device) Facts(context.Context) (devices.Facts, error) {
	m := machine.Read()
	return devices.Facts{Name: "local", OS: m.OS, Arch: m.Arch, CPU: m.CPU, Cores: m.Cores, Memory: m.Memory, Kernel: m.Kernel, Work: d.work}, nil
}

// Put links file into the work folder, or copies it where links are not
// possible: a model need not be stored twice. A file that is in the work folder
// already stays where it is.
func (d *Device) Put(ctx context.Context, file string) (string, error) {
	st, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("local: %s: is no plain file", file)
	}
	if abs, err := filepath.Abs(file); err == nil && strings.HasPrefix(abs, d.work+string(filepath.Separator)) {
		return abs, nil
	}
	stamp := fmt.Sprintf("%s %d %d", file, st.Size(), st.ModTime().UnixNano())
	if p, ok := d.put[stamp]; ok {
		return p, nil
	}
	sum, err := digest(ctx, file)
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	dir := filepath.Join(d.work, "files", sum[:16])
	path := filepath.Join(dir, filepath.Base(file))
	if have, err := os.Stat(path); err == nil && have.Size() == st.Size() {
		// A link shares the content, so a later change of the original shows here.
		if s, err := digest(ctx, path); err == nil && s == sum {
			d.put[stamp] = path
			return path, nil
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	os.Remove(path)
	if os.Link(file, path) != nil {
		if err := copyFile(ctx, file, path, st.Mode().Perm()); err != nil {
			return "", fmt.Errorf("local: %w", err)
		}
	}
	d.put[stamp] = path
	return path, nil
}

// Get copies path to file; it does nothing when they are the same file.
func (d *Device) Get(ctx context.Context, path, file string) error {
	a, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if b, err := os.Stat(file); err == nil && os.SameFile(a, b) {
		return nil
	}
	if err := copyFile(ctx, path, file, 0o666); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	return nil
}

// stderrKept is how much of a command's standard error an ExitError holds.
const stderrKept = 16 << 10

// Run starts the command in a process group of its own, so that an interrupt
// from the terminal reaches the host alone and the host ends the command. The
// command's standard input is a pipe that closes when the host dies.
func (d *Device) Run(ctx context.Context, c devices.Command) error {
	if len(c.Args) == 0 {
		return errors.New("local: no command")
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir = d.work
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	tail := &tailBuffer{}
	cmd.Stderr = tail
	// A grandchild may hold the pipes open after the command has been killed.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { killGroup(cmd) })
	defer stop()

	br := bufio.NewReader(stdout)
	for {
		line, err := br.ReadString('\n')
		if n := len(line); n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		if (line != "" || err == nil) && c.Stdout != nil {
			c.Stdout(line)
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		return &devices.ExitError{Code: ee.ExitCode(), Signal: signal(ee.ProcessState), Stderr: tail.String()}
	}
	if err != nil {
		return fmt.Errorf("local: %s: %w", c.Args[0], err)
	}
	return nil
}

// Close leaves the work folder as it is: journals in it may be needed to resume.
func (d *Device) Close() error { return nil }

// A tailBuffer keeps the end of what is written to it, and the first panic
// message whatever follows, since a Go crash prints its reason first.
type tailBuffer struct {
	head, tail []byte
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	if n := stderrKept/2 - len(b.head); n > 0 {
		b.head = append(b.head, p[:min(n, len(p))]...)
		if len(p) > n {
			b.tail = append(b.tail, p[n:]...)
		}
	} else {
		b.tail = append(b.tail, p...)
	}
	if n := len(b.tail) - stderrKept/2; n > 0 {
		b.tail = append(b.tail[:0], b.tail[n:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string { return string(b.head) + string(b.tail) }

// ctxReader ends a long copy when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func digest(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, ctxReader{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copyFile copies through a temporary file in the same folder.
func copyFile(ctx context.Context, from, to string, mode os.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".put-*")
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	if _, err := io.Copy(tmp, ctxReader{ctx, in}); err != nil {
		return err
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
