package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The file must parse to this for ever. It holds every field of version 1; new
// fields come in new files.
func TestVersion1(t *testing.T) {
	got, err := Read("testdata/v1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	key := Key{Trial: "t1", Device: "local", Model: "m", Workload: "summary", System: "coordgen", Repeat: 2}
	want := &Log{
		Path: "testdata/v1.jsonl",
		Header: Header{
			Type: "header", Version: 1, Tool: "coordbench 0.1.0 (1a2b3c4)", Experiment: "first", ConfigHash: "c0ffee", Config: "name: first\n",
			Started: "2026-01-02T03:04:05Z", Seed: 7, Baseline: "ar", Systems: []string{"ar", "coordgen"}, Workloads: []string{"summary"}, Devices: []string{"local"},
			Ablations: []Ablation{{Name: "coordgen", Full: "coordgen", Additive: []Variant{{"ar", ""}, {"coordgen", "all"}}, LeaveOneOut: []Variant{{"ar", "all"}}}},
			Trials:    1,
		},
		Requests: []Request{{
			Type: "request", Key: key, Prompt: "p1", Group: "g", Index: 3, Segment: 1, Warmup: true, Seed: 1<<64 - 1, PromptTokens: 5, PromptDigest: "d1",
			Output: []int32{11, 0, 151643}, Reason: "stop", StartNS: 100, EndNS: 900,
			Steps: []Step{
				{NS: 300, Tokens: 1, Prefill: true, Width: 5},
				{NS: 800, Tokens: 2, Width: 4, Depth: 2, Drafted: Counts{"dynamic": 2, "reuse": 1}, Accepted: []string{"dynamic"}},
			},
			Error: "e", Warnings: []string{"w1", "w2"},
		}},
		RequestLines: []int{2},
		Segments: []Segment{{Type: "segment", Key: key, Segment: 1, Requests: 4, StartNS: 50, EndNS: 950, PeakBytes: 12345678, PeakWhole: true,
			Warnings: []string{"w3"}}},
		SegmentLines: []int{3},
		Trials: []Trial{{Type: "trial", Key: key, Status: "failed", Error: "out of memory",
			Identity: Identity{Name: "coordgen", Model: "m", ModelDigest: "d2", Draft: "md", DraftDigest: "d3", Backend: "coordbench/avx2",
				Options: map[string]string{"depth": "5"}, Exact: true},
			WorkloadDigest: "d4", Facts: Facts{OS: "linux/amd64", CPU: "c", Cores: 2, Threads: 1, Memory: 1024, Kernel: "6.1"},
			LoadNS: 77, Simulated: true, Resumed: 1, Warnings: []string{"w4"}}},
		TrialLines: []int{4},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	// A file by today's program is the same lines: no field was renamed or lost.
	text, err := os.ReadFile("testdata/v1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, v := range []any{got.Header, got.Requests[0], got.Segments[0], got.Trials[0]} {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	var lines [2][]map[string]any
	for i, b := range [][]byte{text, out.Bytes()} {
		for l := range bytes.Lines(b) {
			var m map[string]any
			if err := json.Unmarshal(l, &m); err != nil {
				t.Fatal(err)
			}
			lines[i] = append(lines[i], m)
		}
	}
	if d := cmp.Diff(lines[0], lines[1]); d != "" {
		t.Errorf("written again: -want +got\n%s", d)
	}
}

const (
	header = `{"type":"header","version":1}`
	req    = `{"type":"request","trial":"t","output":[1]}`
	end    = `{"type":"trial","trial":"t","status":"ok"}`
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		requests   int
		warnings   []string
	}{
		{"whole", header + "\n" + req + "\n" + end + "\n", 1, nil},
		{"only a header", header + "\n", 0, nil},
		{"last newline missing", header + "\n" + req, 1, nil},
		{"torn", header + "\n" + req + "\n" + req[:20], 1, []string{"r:3: the last line is cut short; what it held is lost"}},
		{"zeros after a power cut", header + "\n" + req + "\n\x00\x00\x00", 1, []string{"r:3: the last line is cut short; what it held is lost"}},
		{"later types", header + "\n" + `{"type":"tea"}` + "\n" + `{"type":"tea"}` + "\n" + req + "\n", 1,
			[]string{`r: 2 lines of unknown type "tea" passed over; a newer program wrote them`}},
		{"later fields", `{"type":"header","version":1,"colour":"red"}` + "\n" + `{"type":"request","trial":"t","mood":[1]}` + "\n", 1, nil},
		{"type not first", header + "\n" + `{"trial":"t","type":"request"}` + "\n", 1, nil},
	} {
		l, err := Parse("r", strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if len(l.Requests) != c.requests || len(l.RequestLines) != c.requests {
			t.Errorf("%s: %d requests on %d lines, want %d", c.name, len(l.Requests), len(l.RequestLines), c.requests)
		}
		if d := cmp.Diff(c.warnings, l.Warnings); d != "" {
			t.Errorf("%s: warnings: -want +got\n%s", c.name, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "r:1: no header: the file is empty"},
		{"torn header", header[:10], "r:1: no header: the first line is cut short"},
		{"no header", req + "\n", "r:1: the first line is no header; is this a runs.jsonl?"},
		{"later version", `{"type":"header","version":2}` + "\n", "r:1: record version 2; this program reads version 1"},
		{"later version with other fields", `{"type":"header","version":2,"seed":"s"}` + "\n", "r:1: record version 2; this program reads version 1"},
		{"no version", `{"type":"header"}` + "\n", "r:1: the header has no version"},
		{"joined files", header + "\n" + req + "\n" + header + "\n", "r:3: a second header; were two record files joined?"},
		{"no JSON", header + "\nhello\n" + req + "\n", "r:2: not JSON at byte 1: invalid character 'h' looking for beginning of value"},
		{"broken in the middle", header + "\n" + req[:20] + "\n" + req + "\n", "r:2: not JSON at byte "},
		{"empty line", header + "\n\n" + req + "\n", "r:2: not JSON at byte "},
		{"no type", header + "\n{}\n", `r:2: no "type"`},
		{"no object", header + "\n[1]\n", "r:2: not a record: array instead of an object"},
		{"no trial", header + "\n" + `{"type":"request"}` + "\n", "r:2: a request without a trial"},
		{"wrong type of field", header + "\n" + `{"type":"request","trial":"t","output":["x"]}` + "\n", "r:2: output: string does not belong there"},
		{"number too large", header + "\n" + `{"type":"request","trial":"t","output":[3000000000]}` + "\n", "r:2: output: number 3000000000 does not belong there"},
		{"wrong on an unfinished last line", header + "\n" + `{"type":"request"}`, "r:2: a request without a trial"},
	} {
		_, err := Parse("r", strings.NewReader(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
			continue
		}
		if _, ok := errors.AsType[*FormatError](err); !ok {
			t.Errorf("%s: %T is no *FormatError", c.name, err)
		}
	}
}

func TestRead(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder parsed")
	}
}

// Whatever was cut off a file's end, what is left parses, or says that it has no header.
func TestEveryCut(t *testing.T) {
	text, err := os.ReadFile("testdata/v1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(text, '\n')
	for n := range len(text) {
		l, err := Parse("r", bytes.NewReader(text[:n]))
		if n < first {
			if err == nil {
				t.Fatalf("%d bytes: a torn header parsed", n)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		whole := max(0, bytes.Count(text[:n], []byte("\n"))-1)
		got := len(l.Requests) + len(l.Segments) + len(l.Trials)
		lacksNewline := text[n] == '\n' && n > first
		if lacksNewline {
			whole++
		}
		if got != whole {
			t.Fatalf("%d bytes: %d records, want %d", n, got, whole)
		}
		if torn := n > first && text[n-1] != '\n' && !lacksNewline; torn != (len(l.Warnings) == 1) {
			t.Fatalf("%d bytes: torn %v, warnings %q", n, torn, l.Warnings)
		}
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/v1.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(header + "\n" + req + "\n" + end))
	f.Add([]byte(header + "\n" + req[:20]))
	f.Add([]byte("\x00\n\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse("r", bytes.NewReader(b))
		if err != nil {
			if l != nil || !strings.HasPrefix(err.Error(), "r:") {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		if l.Header.Version != Version || len(l.Requests) != len(l.RequestLines) || len(l.Segments) != len(l.SegmentLines) || len(l.Trials) != len(l.TrialLines) {
			t.Fatalf("%+v", l)
		}
	})
}
