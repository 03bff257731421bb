//go:build unix

package campaign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// takeLock makes this process the folder's only campaign. The kernel gives the
// lock back when the process ends, so a kill leaves nothing to clean up.
func takeLock(folder string) (*os.File, error) {
	path := filepath.Join(folder, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: lock: %w", folder, err)
		}
		owner := "another process"
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			owner = "process " + strings.TrimSpace(string(b))
		}
		return nil, fmt.Errorf("%s: %w by %s", folder, ErrInUse, owner)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}
