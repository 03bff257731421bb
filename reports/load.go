package reports

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/coordbench/coordbench/experiments/record"
)

// DefaultBaseline is the baseline of a file whose header names none.
const DefaultBaseline = "ar"

// ErrNoSystem says that a file has no measurements of a system that was asked for.
var ErrNoSystem = errors.New("no system")

// Options of a report. The zero value is what the record file says.
type Options struct {
	Baseline string // system that speedups and outputs are compared with; "" is the header's
}

// Load builds the report of a run: a folder that holds a runs.jsonl, or such a file.
func Load(path string) (*Report, error) { return LoadWith(path, Options{}) }

// LoadWith is Load with options.
func LoadWith(path string, o Options) (*Report, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, record.FileName)
	}
	l, err := record.Read(path)
	if err != nil {
		return nil, err
	}
	return Build(l, o)
}

// Build computes the report of a record file. It fails only where o asks for a
// baseline that the file does not have; what the file lacks is said in warnings.
func Build(l *record.Log, o Options) (*Report, error) {
	b := newBuilder(l, o)
	if o.Baseline != "" && !b.hasSystem(o.Baseline) {
		return nil, fmt.Errorf("%s: %w %q; the file has %s", b.file, ErrNoSystem, o.Baseline, quoteAll(b.systems))
	}
	b.readTrials()
	b.readRequests()
	b.readSegments()
	return b.report(), nil
}

// quoteAll is a list for a message.
func quoteAll(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	s := ""
	for i, n := range names {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%q", n)
	}
	return s
}

// order is the given names without doubles, then the others sorted.
func order(given []string, others map[string]bool) []string {
	var out, rest []string
	for _, n := range given {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	for n := range others {
		if !slices.Contains(out, n) {
			rest = append(rest, n)
		}
	}
	slices.Sort(rest)
	return append(out, rest...)
}
