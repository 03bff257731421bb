package campaign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/experiments/trial"
)

// A log is runs.jsonl, open for appending whole trials.
type log struct {
	path string
	f    *os.File
	size int64
}

// ErrExists says that a folder holds a run already.
var ErrExists = errors.New("holds a run already")

// openLog starts path with h, or continues it: it cuts off lines of a trial
// that is not closed, drops the lines of failed trials and returns the ids of
// the others.
func openLog(path string, h record.Header, resume bool) (*log, map[string]bool, error) {
	finished := map[string]bool{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	keep := text[:record.Closed(text)]
	if len(keep) == 0 {
		if len(text) > 0 && bytes.ContainsRune(text, '\n') {
			return nil, nil, fmt.Errorf("%s:1: is no header of a run", path)
		}
		head, err := json.Marshal(h)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		keep = append(head, '\n')
		if err := replaceFile(path, keep); err != nil {
			return nil, nil, err
		}
	} else {
		if !resume {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Dir(path), ErrExists)
		}
		old, err := record.Parse(path, bytes.NewReader(keep))
		if err != nil {
			return nil, nil, err
		}
		if old.Header.ConfigHash != h.ConfigHash {
			return nil, nil, fmt.Errorf("%s: the configuration has changed since the run began: %s", filepath.Dir(path), plan.Diff(old.Header.Config, h.Config))
		}
		failed := map[string]bool{}
		for _, t := range old.Trials {
			if t.Status == record.StatusOK {
				finished[t.Key.Trial] = true
			} else {
				failed[t.Key.Trial] = true
			}
		}
		if len(failed) > 0 {
			keep = without(keep, failed)
		}
		if len(keep) != len(text) {
			if err := replaceFile(path, keep); err != nil {
				return nil, nil, err
			}
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, err
	}
	return &log{path, f, int64(len(keep))}, finished, nil
}

// without drops the lines that belong to the given trials.
func without(text []byte, trials map[string]bool) []byte {
	var out bytes.Buffer
	for l := range bytes.Lines(text) {
		var key struct{ Trial string }
		if json.Unmarshal(l, &key) == nil && trials[key.Trial] {
			continue
		}
		out.Write(l)
	}
	return out.Bytes()
}

// append adds lines and returns when they are on disk. After an error the file
// is as before, as far as the disk lets it.
func (l *log) append(lines []any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, v := range lines {
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("%s: %w", l.path, err)
		}
	}
	_, err := l.f.Write(b.Bytes())
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		_ = l.f.Truncate(l.size)
		return fmt.Errorf("adding %d bytes to the record: %w", b.Len(), err)
	}
	l.size += int64(b.Len())
	return nil
}

func (l *log) close() { l.f.Close() }

// collect brings a trial's journal here and reads it.
func (c *campaign) collect(ctx context.Context, d *device, t *plan.Trial) (trial.History, error) {
	file := filepath.Join(c.Folder, "trials", t.ID+".jsonl")
	if err := d.Get(ctx, c.journal(d, t), file); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return trial.History{}, nil // the agent died before its first line
		}
		return trial.History{}, fmt.Errorf("device %q: journal: %w", t.Device, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return trial.History{}, err
	}
	h, _ := trial.ReadHistory(text)
	return h, nil
}

// lines are a trial's lines in the order in which they ended: each segment after
// its last request, and the closing line at the end.
func lines(h trial.History, closing *record.Trial) []any {
	last := map[int]int{}
	for i, q := range h.Requests {
		last[q.Segment] = i
	}
	var out []any
	for i, q := range h.Requests {
		out = append(out, q)
		for _, s := range h.Segments {
			if n, ok := last[s.Segment]; ok && n == i {
				out = append(out, s)
			}
		}
	}
	return append(out, closing)
}

// complete checks that a journal which says ok holds every request once.
func complete(t *plan.Trial, h trial.History) error {
	seen := map[int]bool{}
	for _, q := range h.Requests {
		if q.Key.Trial != t.ID || q.Index < 0 || q.Index >= len(t.Prompts) || q.Prompt != t.Prompts[q.Index].ID || seen[q.Index] {
			return fmt.Errorf("internal error: trial %s: request %d of prompt %q does not belong into its journal", t.ID, q.Index, q.Prompt)
		}
		seen[q.Index] = true
	}
	if len(seen) != len(t.Prompts) {
		return fmt.Errorf("internal error: trial %s: closed with %d of %d requests", t.ID, len(seen), len(t.Prompts))
	}
	return nil
}

// replaceFile puts data at path in one step: after a crash the file is the old
// or the new one.
func replaceFile(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(data); err != nil {
		return err
	}
	if err = tmp.Chmod(0o644); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // some file systems cannot
		dir.Close()
	}
	return nil
}

func digest(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
