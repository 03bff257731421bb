//go:build unix

package trial

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long an agent whose host died may take to notice it.
const lockWait = 10 * time.Second

// lock takes the file for this process; the kernel gives it back when the
// process ends, however it ends.
func lock(f *os.File) error {
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if time.Now().After(end) {
			return ErrInUse
		}
	}
}
