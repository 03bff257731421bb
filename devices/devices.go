// Package devices is the contract of a machine that a campaign measures on: it
// holds files and runs commands.
package devices

import (
	"context"
	"fmt"
	"strings"
)

// A Device is a machine to measure on. Methods take one call at a time; each
// ends early, with the context's error, when its context does.
type Device interface {
	// Facts describe the device.
	Facts(ctx context.Context) (Facts, error)

	// Put copies a local file to the device, unless it is there already, and
	// returns its path there. The path depends on the file's name and content
	// alone, so the same file always lands in the same place, and keeps its
	// permission to be executed.
	Put(ctx context.Context, file string) (path string, err error)

	// Get copies a file of the device to a local file, atomically: file is
	// either as before or complete. A path that does not exist there is fs.ErrNotExist.
	Get(ctx context.Context, path, file string) error

	// Run runs a command and returns when it has ended: nil for exit status 0,
	// an *ExitError for any other end. When ctx ends first, the command and all
	// it started are killed. A command whose host has died ends too.
	Run(ctx context.Context, c Command) error

	Close() error
}

// Facts describe a device.
type Facts struct {
	Name   string // "local", "adb:R5CT1"
	OS     string // GOOS of the agent that runs there
	Arch   string // its GOARCH
	CPU    string
	Cores  int
	Memory int64 // bytes
	Kernel string
	Work   string // folder on the device that commands may write to
}

// A Command is a program on the device with its arguments.
type Command struct {
	Args []string // program first
	// Stdout is called for each line of standard output, without its newline,
	// as it comes; nil drops them.
	Stdout func(line string)
}

// An ExitError says how a command ended.
type ExitError struct {
	Code   int    // exit status, -1 for a signal
	Signal string // "killed", "segmentation fault", …; empty if the program exited
	Stderr string // the end of what it wrote to standard error
}

func (e *ExitError) Error() string {
	s := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		s = "signal: " + e.Signal
	}
	if l := e.LastLine(); l != "" {
		s += ": " + l
	}
	return s
}

// LastLine is the line of standard error that says most: a Go program's panic,
// or else the last.
func (e *ExitError) LastLine() string {
	lines := strings.Split(strings.TrimSpace(e.Stderr), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return l
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
