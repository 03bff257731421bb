package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/coordbench/coordbench/experiments/plan"
)

// Exit statuses of an agent.
const (
	ExitClosed  = 0 // the journal ends with the trial's closing line, be it ok or failed
	ExitFailed  = 1 // the trial could not be run or was interrupted; the journal keeps what there is
	ExitStorage = 3 // the journal could not be written
)

// A Message is what an agent says on standard output, one JSON object a line.
type Message struct {
	Type   string `json:"type"` // "progress" or "error"
	Done   int    `json:"done,omitempty"`
	Total  int    `json:"total,omitempty"`
	Tokens int    `json:"tokens,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Agent runs the trial that the file at trialPath holds, tells stdout how it
// goes, and returns an exit status. It stops when stdin ends: a host that dies
// closes the pipe, and an agent without a host would write into a journal that
// the host's successor has taken over.
func Agent(ctx context.Context, stdin io.Reader, stdout io.Writer, trialPath, journal string, open func(context.Context, *plan.Trial) (*Subject, error)) int {
	enc := json.NewEncoder(stdout)
	fail := func(err error) int {
		_ = enc.Encode(Message{Type: "error", Error: err.Error()})
		if IsStorage(err) {
			return ExitStorage
		}
		return ExitFailed
	}
	t, err := readTrial(trialPath)
	if err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(filepath.Dir(journal), 0o777); err != nil {
		return fail(&StorageError{filepath.Dir(journal), err})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel(errors.New("the host is gone"))
	}()
	_, err = Run(ctx, t, Options{Journal: journal, Open: open, Progress: func(p Progress) {
		_ = enc.Encode(Message{Type: "progress", Done: p.Done, Total: p.Total, Tokens: p.Tokens})
	}})
	if err != nil {
		if c := context.Cause(ctx); c != nil && errors.Is(err, ctx.Err()) {
			err = c
		}
		return fail(err)
	}
	return ExitClosed
}

func readTrial(path string) (*plan.Trial, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("trial: %w", err)
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields() // an agent older than its host must not guess
	t := new(plan.Trial)
	if err := dec.Decode(t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.ID == "" || len(t.Prompts) == 0 || t.Warmup < 0 || t.Warmup > len(t.Prompts) {
		return nil, fmt.Errorf("%s: is no trial: id %q, %d prompts, %d for warm-up", path, t.ID, len(t.Prompts), t.Warmup)
	}
	return t, nil
}
