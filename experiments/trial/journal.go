package trial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/coordbench/coordbench/experiments/record"
)

// Lines of a journal that no runs.jsonl holds.
const (
	typeBegin  = "begin"  // the first line: which trial this is
	typeResume = "resume" // another process went on from here
)

// ErrInUse says that another process is writing the journal.
var ErrInUse = errors.New("another agent is at work on this trial")

// A StorageError says that a result could not be kept. What was written before
// is safe; a campaign stops on it rather than lose what comes next.
type StorageError struct {
	Path string
	Err  error
}

func (e *StorageError) Error() string { return fmt.Sprintf("%s: %v", e.Path, cause(e.Err)) }
func (e *StorageError) Unwrap() error { return e.Err }

// cause drops the operation and path that a PathError repeats.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// begin is a journal's first line.
type begin struct {
	Type  string `json:"type"`
	Trial string `json:"trial"`
	Hash  string `json:"hash"` // of the trial without its files' places
}

// A History is what a journal holds.
type History struct {
	Requests []record.Request
	Segments []record.Segment // the last line of each segment: they are rewritten as they grow
	Closed   *record.Trial    // nil while the trial is unfinished
	Resumed  int
	begin    *begin
}

// ReadHistory reads journal lines up to the first that is unfinished. It returns
// the length in bytes of what it understood.
func ReadHistory(text []byte) (History, int64) {
	var h History
	var at int64
	for {
		line, _, ok := bytes.Cut(text[at:], []byte("\n"))
		if !ok {
			return h, at
		}
		kind, err := record.TypeOf(line)
		if err != nil {
			return h, at
		}
		switch kind {
		case typeBegin:
			h.begin = new(begin)
			err = json.Unmarshal(line, h.begin)
		case typeResume:
			h.Resumed++
		case record.TypeRequest:
			var r record.Request
			if err = json.Unmarshal(line, &r); err == nil {
				h.Requests = append(h.Requests, r)
			}
		case record.TypeSegment:
			var s record.Segment
			if err = json.Unmarshal(line, &s); err == nil {
				h.segment(s)
			}
		case record.TypeTrial:
			h.Closed = new(record.Trial)
			err = json.Unmarshal(line, h.Closed)
		}
		if err != nil {
			return h, at
		}
		at += int64(len(line)) + 1
	}
}

// segment adds s, or replaces the earlier line of the same segment.
func (h *History) segment(s record.Segment) {
	for i := range h.Segments {
		if h.Segments[i].Segment == s.Segment {
			h.Segments[i] = s
			return
		}
	}
	h.Segments = append(h.Segments, s)
}

// A journal is a trial's own record: it is on disk before the next request begins.
type journal struct {
	path string
	f    *os.File
	size int64
}

// openJournal opens or creates the journal of a trial, takes its lock, cuts an
// unfinished end off and returns what is left.
func openJournal(path, trial, hash string) (*journal, History, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, History{}, &StorageError{path, err}
	}
	j := &journal{path: path, f: f}
	if err := lock(f); err != nil {
		f.Close()
		return nil, History{}, fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, History{}, &StorageError{path, err}
	}
	h, n := ReadHistory(text)
	if h.begin != nil && (h.begin.Trial != trial || h.begin.Hash != hash) {
		f.Close()
		return nil, History{}, fmt.Errorf("%s: is the journal of another trial (%s)", path, h.begin.Trial)
	}
	// A trial that failed starts over: its history is suspect.
	if h.Closed != nil && h.Closed.Status != record.StatusOK || h.begin == nil {
		h, n = History{}, 0
	}
	j.size = n
	if err := j.cut(); err != nil {
		f.Close()
		return nil, History{}, err
	}
	if h.begin == nil {
		if err := j.write(begin{typeBegin, trial, hash}); err != nil {
			f.Close()
			return nil, History{}, err
		}
	} else if h.Closed == nil {
		h.Resumed++
		if err := j.write(map[string]string{"type": typeResume}); err != nil {
			f.Close()
			return nil, History{}, err
		}
	}
	return j, h, nil
}

// cut drops what lies beyond the last whole line.
func (j *journal) cut() error {
	if err := j.f.Truncate(j.size); err != nil {
		return &StorageError{j.path, err}
	}
	if _, err := j.f.Seek(j.size, io.SeekStart); err != nil {
		return &StorageError{j.path, err}
	}
	return nil
}

// write appends lines, one JSON object each, and returns when they are on disk.
func (j *journal) write(lines ...any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("%s: %w", j.path, err)
		}
	}
	_, err := j.f.Write(b.Bytes())
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		_ = j.cut() // the next reader cuts it too
		return &StorageError{j.path, err}
	}
	j.size += int64(b.Len())
	return nil
}

func (j *journal) close() error { return j.f.Close() }
