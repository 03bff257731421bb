// Command coordbench-agent runs one trial on the device that it is started on.
// Its host is coordbench; by hand it is of use only to look into a failure.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/coordbench/coordbench/experiments/trial"
	"github.com/coordbench/coordbench/internal/session"
)

// version is set by the linker.
var version = "unknown"

const usage = `usage: coordbench-agent TRIAL.json JOURNAL.jsonl
       coordbench-agent version

Run the trial that a host has written down, keep what is measured in the
journal, and go on where the journal ends if there is one. Progress is JSON on
standard output. The agent stops when its standard input ends.

Exit status: 0 the journal is closed, 1 failed, 2 usage, 3 the journal cannot be written.
`

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "version":
		fmt.Printf("coordbench-agent %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case len(os.Args) == 3:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := trial.Agent(ctx, os.Stdin, os.Stdout, os.Args[1], os.Args[2], session.Subject)
		stop()
		os.Exit(code)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}
