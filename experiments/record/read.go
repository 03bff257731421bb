package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A Log is what a record file holds. Requests, Segments and Trials keep the
// order of the file; RequestLines, SegmentLines and TrialLines hold the line,
// from 1, on which each stands.
type Log struct {
	Path     string // names the file in messages
	Header   Header
	Requests []Request
	Segments []Segment
	Trials   []Trial

	RequestLines, SegmentLines, TrialLines []int

	// Warnings says what was read past: a torn last line, lines of a type that
	// this program does not know.
	Warnings []string
}

// A FormatError says on which line a record file is wrong.
type FormatError struct {
	Path string
	Line int // from 1
	Msg  string
	Err  error // the cause, or nil
}

func (e *FormatError) Error() string { return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Msg) }

func (e *FormatError) Unwrap() error { return e.Err }

// Read parses the record file at path. See Parse.
func Read(path string) (*Log, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads a record file: a header of this program's version, then
// requests, segments and trials. Fields it does not know are ignored, because
// later programs add fields to version 1; lines of a type it does not know are
// counted in Log.Warnings. A last line that was cut short by a crash is a
// warning too; every other defect is a *FormatError.
func Parse(name string, r io.Reader) (*Log, error) {
	l := &Log{Path: name}
	headers := 0
	unknown := map[string]int{}
	torn, err := Scan(name, r, func(line int, v any) error {
		if headers == 0 {
			if _, ok := v.(*Header); !ok {
				return &FormatError{Path: name, Line: line, Msg: "the first line is no header; is this a runs.jsonl?"}
			}
		}
		switch v := v.(type) {
		case *Header:
			if headers++; headers > 1 {
				return &FormatError{Path: name, Line: line, Msg: "a second header; were two record files joined?"}
			}
			l.Header = *v
		case *Request:
			l.Requests = append(l.Requests, *v)
			l.RequestLines = append(l.RequestLines, line)
		case *Segment:
			l.Segments = append(l.Segments, *v)
			l.SegmentLines = append(l.SegmentLines, line)
		case *Trial:
			l.Trials = append(l.Trials, *v)
			l.TrialLines = append(l.TrialLines, line)
		case Unknown:
			unknown[string(v)]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if headers == 0 {
		msg := "no header: the file is empty"
		if torn > 0 {
			msg = "no header: the first line is cut short"
		}
		return nil, &FormatError{Path: name, Line: 1, Msg: msg}
	}
	if torn > 0 {
		l.Warnings = append(l.Warnings, fmt.Sprintf("%s:%d: the last line is cut short; what it held is lost", name, torn))
	}
	types := make([]string, 0, len(unknown))
	for t := range unknown {
		types = append(types, t)
	}
	slices.Sort(types)
	for _, t := range types {
		l.Warnings = append(l.Warnings, fmt.Sprintf("%s: %d lines of unknown type %q passed over; a newer program wrote them", name, unknown[t], t))
	}
	return l, nil
}

// Unknown is a line of a type that this program does not know.
type Unknown string

// Scan calls fn for every line of a record file or of a part of one (a trial's
// journal has no header), in order: with a *Header, *Request, *Segment, *Trial
// or Unknown. line counts from 1. torn is the number of a last line that was
// cut short, 0 if none was; fn does not see it. An error of fn ends the scan
// and is returned as it is.
func Scan(name string, r io.Reader, fn func(line int, v any) error) (torn int, err error) {
	br := bufio.NewReaderSize(r, 1<<16)
	for line := 1; ; line++ {
		b, err := br.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("reading %s: %w", name, err)
		}
		last := err == io.EOF // and no newline ends the line
		if last && len(b) == 0 {
			return 0, nil
		}
		v, perr := parseLine(b)
		if perr != nil {
			if last && !json.Valid(b) {
				return line, nil
			}
			fe := &FormatError{Path: name, Line: line, Msg: perr.Error(), Err: perr}
			return 0, fe
		}
		if err := fn(line, v); err != nil {
			return 0, err
		}
		if last {
			return 0, nil
		}
	}
}

// parseLine decodes one line by its type.
func parseLine(b []byte) (any, error) {
	typ, err := typeOf(b)
	if err != nil {
		return nil, err
	}
	var v any
	switch typ {
	case TypeHeader:
		v = new(Header)
	case TypeRequest:
		v = new(Request)
	case TypeSegment:
		v = new(Segment)
	case TypeTrial:
		v = new(Trial)
	default:
		return Unknown(typ), nil
	}
	if h, ok := v.(*Header); ok {
		// The version decides before the rest is believed: another version may
		// give a field another type.
		var ver struct{ Version *int }
		if err := json.Unmarshal(b, &ver); err != nil {
			return nil, explain(err)
		}
		if ver.Version == nil {
			return nil, errors.New("the header has no version")
		}
		if *ver.Version != Version {
			return nil, fmt.Errorf("record version %d; this program reads version %d", *ver.Version, Version)
		}
		if err := json.Unmarshal(b, h); err != nil {
			return nil, explain(err)
		}
		return h, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, explain(err)
	}
	var k Key
	switch v := v.(type) {
	case *Request:
		k = v.Key
	case *Segment:
		k = v.Key
	case *Trial:
		k = v.Key
	}
	if k.Trial == "" {
		return nil, fmt.Errorf("a %s without a trial", typ)
	}
	return v, nil
}

// typeOf returns the value of a line's "type". The Writer puts it first, so
// that one look at the start of the line usually settles it.
func typeOf(b []byte) (string, error) {
	for _, t := range []string{TypeRequest, TypeSegment, TypeTrial, TypeHeader} {
		if rest, ok := bytes.CutPrefix(b, []byte(`{"type":"`)); ok && bytes.HasPrefix(rest, []byte(t+`"`)) {
			return t, nil
		}
	}
	var line struct{ Type *string }
	if err := json.Unmarshal(b, &line); err != nil {
		return "", explain(err)
	}
	if line.Type == nil {
		return "", errors.New(`no "type"`)
	}
	return *line.Type, nil
}

// explain turns an error of encoding/json into words without Go's names.
func explain(err error) error {
	var syn *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Errorf("%s: %s does not belong there", typ.Field, typ.Value)
	case errors.As(err, &typ):
		return fmt.Errorf("not a record: %s instead of an object", typ.Value)
	case errors.As(err, &syn):
		return fmt.Errorf("not JSON at byte %d: %s", syn.Offset, syn.Error())
	}
	return err
}
