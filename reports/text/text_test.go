package text

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/internal/golden"
	"github.com/coordbench/coordbench/reports"
)

func read(t *testing.T, name string) *record.Log {
	t.Helper()
	l, err := record.Read(filepath.Join("..", "testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func report(t *testing.T, l *record.Log) *reports.Report {
	t.Helper()
	r, err := reports.Build(l, reports.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t *testing.T, r *reports.Report, width int) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r, width); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// defective is quick with a differing output, a missing trial, doubts and a torn end.
func defective(t *testing.T) *record.Log {
	l := read(t, "quick")
	l.Warnings = append(l.Warnings, l.Path+":401: the last line is cut short; what it held is lost")
	plant := map[string]bool{}
	for i := range l.Requests {
		q := &l.Requests[i]
		key := q.Workload + "/" + q.System
		if q.Warmup || plant[key] {
			continue
		}
		plant[key] = true
		switch key {
		case "summary/coordgen":
			q.Output = slices.Clone(q.Output)
			q.Output[7]++
		case "tweet/sam":
			q.Error = "context of 256 tokens is full"
		}
	}
	for i := range l.Trials {
		c := &l.Trials[i]
		if c.System == "sam+calibration" && c.Workload == "tweet" {
			c.Status, c.Error = record.StatusFailed, "no memory: 3000000000 bytes wanted"
		}
		if c.System == "coordgen" {
			c.Warnings = []string{"went on 1 times after the agent had ended early; the times of its processes are joined"}
			c.Identity.Exact = false
		}
	}
	return l
}

// withoutBaseline lacks every trial of ar.
func withoutBaseline(t *testing.T) *record.Log {
	l := read(t, "quick")
	for i := range l.Trials {
		if l.Trials[i].System == "ar" {
			l.Trials[i].Status = record.StatusFailed
		}
	}
	return l
}

// hostile has names that break tables and terminals, and more doubts than fit a cell.
func hostile(t *testing.T) *record.Log {
	l := read(t, "quick")
	name := "evil\x1b[2J\n名前がとても長いシステムであり、どんな表にも入りきらない e\u0301\u202e"
	rename := func(k *record.Key) {
		if k.System == "coordgen" {
			k.System = name
		}
	}
	for i := range l.Requests {
		rename(&l.Requests[i].Key)
	}
	for i := range l.Segments {
		rename(&l.Segments[i].Key)
		l.Segments[i].PeakWhole = l.Segments[i].System == name
	}
	for i := range l.Trials {
		rename(&l.Trials[i].Key)
		c := &l.Trials[i]
		c.Facts.CPU = "CPU with a name " + strings.Repeat("that goes on and on ", 8)
		for n := range 12 {
			c.Warnings = append(c.Warnings, fmt.Sprintf("doubt %d about %s", n, c.System))
		}
		c.Warnings = append(c.Warnings, strings.Repeat("oneverylongword", 20), "名前"+strings.Repeat("長", 90))
	}
	l.Header.Ablations[0].Full = name
	l.Header.Experiment = strings.Repeat("x", 300)
	return l
}

func TestGolden(t *testing.T) {
	for name, l := range map[string]*record.Log{
		"quick": read(t, "quick"), "simulated": read(t, "simulated"), "defective": defective(t), "baseline-missing": withoutBaseline(t), "hostile": hostile(t),
	} {
		t.Run(name, func(t *testing.T) {
			r := report(t, l)
			golden.Check(t, "testdata/"+name+".txt", []byte(render(t, r, 100)))
			var b bytes.Buffer
			if err := WriteCSV(&b, r); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/"+name+".csv", b.Bytes())
		})
	}
}

func TestFitsItsWidth(t *testing.T) {
	for name, l := range map[string]*record.Log{
		"quick": read(t, "quick"), "simulated": read(t, "simulated"), "defective": defective(t), "baseline-missing": withoutBaseline(t), "hostile": hostile(t),
		"empty": {Path: "r"},
	} {
		for _, width := range []int{0, 100, 101, 132, 240} {
			for i, line := range strings.Split(render(t, report(t, l), width), "\n") {
				if w := displayWidth(line); w > max(100, width) {
					t.Errorf("%s at %d: line %d takes %d columns: %s", name, width, i+1, w, line)
				}
				if strings.HasSuffix(line, " ") {
					t.Errorf("%s at %d: line %d ends in a space", name, width, i+1)
				}
				for _, r := range line {
					if r < ' ' || r == 0x7f || r == '\u202e' {
						t.Errorf("%s at %d: line %d holds control character %q", name, width, i+1, r)
					}
				}
			}
		}
	}
}

// Every mark has its footnote, and every footnote is marked somewhere, as far
// as three marks a cell allow.
func TestFootnotes(t *testing.T) {
	text := render(t, report(t, defective(t)), 100)
	for _, want := range []string{
		"! quick.jsonl:401: the last line is cut short",
		"16 of 16 trials, 2 failed",
		"✗ 11/12",
		"✗ quick.jsonl:",
		"OUTPUTS DIFFER from ar's: 1 of ",
		"output token 7 is ",
		"this backend does not promise equal rows in any batch",
		"of 12 outputs differ from ar's: the speedup is withheld",
		"outputs differ: the factor is withheld",
		"context of 256 tokens is full",
		"no memory: 3000000000 bytes wanted (and 1 more like it)",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for n := 1; strings.Contains(text, "\n"+superscript(n)+" "); n++ {
		if strings.Count(text, " "+superscript(n)) == 0 {
			t.Errorf("footnote %d is marked nowhere", n)
		}
	}
	if got := render(t, report(t, withoutBaseline(t)), 100); strings.Contains(got, "outputs: all") || strings.Contains(got, "12/12") || !strings.Contains(got, "outputs: not compared: whether they equal ar's is unknown") {
		t.Errorf("identity without a baseline:\n%s", got)
	}
}

func TestCSV(t *testing.T) {
	r := report(t, defective(t))
	var b bytes.Buffer
	if err := WriteCSV(&b, r); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b.Bytes(), []byte("\r\n")); n != 1+len(r.Rows) {
		t.Errorf("%d lines, want a header and %d rows", n, len(r.Rows))
	}
	recs, err := csv.NewReader(&b).ReadAll() // refuses rows of unequal length
	if err != nil {
		t.Fatal(err)
	}
	col := map[string]int{}
	for i, h := range recs[0] {
		if _, ok := col[h]; ok {
			t.Errorf("two columns are called %q", h)
		}
		col[h] = i
	}
	for i, row := range r.Rows {
		rec := recs[i+1]
		for name, want := range map[string]string{
			"system": row.System, "tokens_per_s": row.TokensPerS.String(), "speedup": row.Speedup.String(), "speedup_e2e_hi": row.SpeedupE2EHi.String(),
			"identical": row.Identical.String(), "total": fmt.Sprint(row.Total), "peak_mb": row.PeakMB.String(),
		} {
			if rec[col[name]] != want {
				t.Errorf("row %d: %s is %q, want %q", i, name, rec[col[name]], want)
			}
		}
		if !row.Speedup.Known() && rec[col["speedup"]] != "" {
			t.Errorf("row %d: an unknown speedup is %q", i, rec[col["speedup"]])
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		s    string
		w    int
		want []string
	}{
		{"", 5, []string{""}},
		{"a bc def", 4, []string{"a bc", "def"}},
		{"abcdefghij k", 4, []string{"abcd", "efgh", "ij k"}},
		{"ab cdefghij", 4, []string{"ab", "cdef", "ghij"}},
		{"日本語", 4, []string{"日本", "語"}},
		{"日本語", 5, []string{"日本", "語"}},
		{"e\u0301e\u0301e\u0301", 2, []string{"e\u0301e\u0301", "e\u0301"}},
	} {
		if got := wrap(c.s, c.w); !slices.Equal(got, c.want) {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.s, c.w, got, c.want)
		}
	}
}

func TestWidths(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "日本": 4, "e\u0301": 1, "±×│…✗¹": 6, "ＡＢ": 4} {
		if got := displayWidth(s); got != want {
			t.Errorf("displayWidth(%q) = %d, want %d", s, got, want)
		}
	}
	for _, c := range []struct {
		s    string
		w    int
		want string
	}{{"abcdef", 6, "abcdef"}, {"abcdef", 4, "abc…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}} {
		if got := cut(c.s, c.w); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.s, c.w, got, c.want)
		}
	}
	if got := clean("a\x1b[31mb\nc\u202ed\xff"); got != "a?[31mb c?d?" {
		t.Errorf("clean: %q", got)
	}
}
