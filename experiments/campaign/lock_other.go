//go:build !unix

package campaign

import (
	"os"
	"path/filepath"
)

// takeLock opens the file without a lock where the system has no flock.
func takeLock(folder string) (*os.File, error) {
	return os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o666)
}
