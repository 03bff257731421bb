package record

import "bytes"

// TypeOf is the "type" of one line of a record file or journal.
func TypeOf(line []byte) (string, error) { return typeOf(line) }

// Closed returns the length in bytes of the part of text, a record file, that
// ends with the header or with a Trial line. What follows belongs to a trial
// whose lines were still being written when the program died.
func Closed(text []byte) int {
	closed := 0
	for at := 0; ; {
		line, _, whole := bytes.Cut(text[at:], []byte("\n"))
		if !whole {
			return closed
		}
		at += len(line) + 1
		kind, err := typeOf(line)
		if err != nil {
			return closed
		}
		if kind == TypeTrial || kind == TypeHeader {
			closed = at
		}
	}
}

// FileName is what a run folder calls its record file.
const FileName = "runs.jsonl"
