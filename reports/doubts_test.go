package reports

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/experiments/record"
)

// of returns the indices of the measured requests of a workload and system.
func of(l *record.Log, workload, system string) (out []int) {
	for i, q := range l.Requests {
		if q.Workload == workload && q.System == system && !q.Warmup {
			out = append(out, i)
		}
	}
	return out
}

// Each rule of the identity check has a defect that trips it, and it alone:
// rows that the defect does not touch stay as they are.
func TestPlantedDefects(t *testing.T) {
	clean := build(t, read(t, "quick"), Options{})
	if clean.Identity.Status != StatusIdentical || clean.Identity.Identical != 96 || clean.Identity.Total != 96 || len(clean.Identity.Mismatches) != 0 {
		t.Fatalf("the clean file: %+v", clean.Identity)
	}
	for _, row := range clean.Rows {
		if !row.Speedup.Known() || !row.SpeedupLo.Known() || row.Status != StatusIdentical {
			t.Fatalf("the clean file: %+v", row)
		}
	}
	withheld := func(t *testing.T, row Row) {
		t.Helper()
		for _, n := range []Number{row.Speedup, row.SpeedupLo, row.SpeedupHi, row.SpeedupPrefill, row.SpeedupE2E} {
			if n.Known() {
				t.Errorf("%s: speedup %v is not withheld", row.System, n)
			}
		}
		if !row.TokensPerS.Known() {
			t.Errorf("%s: tokens/s, which claims no identity, is gone", row.System)
		}
	}
	for _, c := range []struct {
		name  string
		plant func(l *record.Log)
		check func(t *testing.T, r *Report, l *record.Log)
		touch []string // rows that may change, as workload/system; "*" is all
	}{
		{"one token differs", func(l *record.Log) {
			i := of(l, "summary", "coordgen")[3]
			l.Requests[i].Output = slices.Clone(l.Requests[i].Output)
			l.Requests[i].Output[10]++
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "summary", "coordgen")
			withheld(t, row)
			q := l.Requests[of(l, "summary", "coordgen")[3]]
			if len(r.Identity.Mismatches) != 1 || r.Identity.Status != StatusDifferent || r.Identity.Different != 1 || r.Identity.Identical != 95 {
				t.Fatalf("%+v", r.Identity)
			}
			m := r.Identity.Mismatches[0]
			if m.Workload != "summary" || m.System != "coordgen" || m.Prompt != q.Prompt || m.Repeat != q.Repeat || m.Position != 10 || m.Requests != 1 || !m.Exact ||
				*m.Got != *m.Want+1 || !slices.Equal(m.Context, q.Output[2:10]) || m.At != fmt.Sprintf("quick.jsonl:%d", l.RequestLines[of(l, "summary", "coordgen")[3]]) {
				t.Errorf("%+v", m)
			}
			if row.Identical != 11 || row.Different != 1 || row.Total != 12 || row.Status != StatusDifferent {
				t.Errorf("%v/%d", row.Identical, row.Total)
			}
			for _, a := range r.Ablations {
				if uses := a.Versus != "" && (a.System == "coordgen" || a.Versus == "coordgen") && a.Workload != "tweet"; uses == a.TokensFactor.Known() && a.Versus != "" {
					t.Errorf("factor of %s over %s on %q: %v", a.System, a.Versus, a.Workload, a.TokensFactor)
				}
			}
			for _, s := range r.Summary {
				if s.Speedup.Known() != (s.System != "coordgen") {
					t.Errorf("mean speedup of %s: %v", s.System, s.Speedup)
				}
			}
		}, []string{"summary/coordgen"}},
		{"an output ends early", func(l *record.Log) {
			q := &l.Requests[of(l, "tweet", "ar")[0]]
			p := &l.Requests[of(l, "tweet", "sam")[0]]
			for _, i := range of(l, "tweet", "sam") {
				if l.Requests[i].Prompt == q.Prompt && l.Requests[i].Repeat == q.Repeat {
					p = &l.Requests[i]
				}
			}
			last := p.Steps[len(p.Steps)-1]
			p.Steps = p.Steps[:len(p.Steps)-1]
			p.Output = p.Output[:len(p.Output)-last.Tokens]
		}, func(t *testing.T, r *Report, l *record.Log) {
			withheld(t, r.find(t, "tweet", "sam"))
			if m := r.Identity.Mismatches; len(m) != 1 || m[0].Got != nil || m[0].Want == nil || !strings.Contains(m[0].String(), "is the end, the baseline's") {
				t.Errorf("%+v", m)
			}
		}, []string{"tweet/sam"}},
		{"repeats of the baseline disagree", func(l *record.Log) {
			for _, i := range of(l, "tweet", "ar") {
				if q := &l.Requests[i]; q.Repeat == 1 && q.Prompt == "tw-02" {
					q.Output = slices.Clone(q.Output)
					q.Output[0]++
				}
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			for _, s := range []string{"ar", "sam", "coordgen"} {
				withheld(t, r.find(t, "tweet", s))
			}
			if m := r.Identity.Mismatches; len(m) != 1 || m[0].System != "ar" || m[0].Position != 0 || len(m[0].Context) != 0 {
				t.Errorf("%+v", m)
			}
			if s := r.find(t, "tweet", "sam"); s.Identical != 12 || !warned(s.Warnings, AboutSpeedup, "ar disagrees with itself between repeats (1 outputs)") {
				t.Errorf("%v %q", s.Identical, s.Warnings)
			}
		}, []string{"tweet/ar", "tweet/sam", "tweet/sam+calibration", "tweet/coordgen"}},
		{"another prompt digest", func(l *record.Log) {
			l.Requests[of(l, "tweet", "sam")[5]].PromptDigest = "feed"
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			if row.Identical != 11 || row.Unchecked != 1 || row.Status != StatusPartial || !row.Speedup.Known() || r.Identity.Status != StatusPartial {
				t.Errorf("%v/%d %s, speedup %v", row.Identical, row.Total, row.Status, row.Speedup)
			}
			if !warned(row.Warnings, AboutIdentity, "has other tokens than ar's (digests feed, ") || !warned(row.Warnings, AboutSpeedup, "1 of 12 requests have no counterpart") {
				t.Errorf("%q", row.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"another model file", func(l *record.Log) {
			for i := range l.Trials {
				if l.Trials[i].System == "sam" {
					l.Trials[i].Identity.ModelDigest = "beef"
				}
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			withheld(t, row)
			if row.Identical.Known() || row.Status != StatusUnknown || !warned(row.Warnings, AboutIdentity, "another model file than ar's (beef, ") {
				t.Errorf("%v %s %q", row.Identical, row.Status, row.Warnings)
			}
		}, []string{"tweet/sam", "summary/sam"}},
		{"no digests", func(l *record.Log) {
			for _, i := range of(l, "tweet", "sam") {
				l.Requests[i].PromptDigest = ""
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			withheld(t, row)
			if row.Identical.Known() || !warned(row.Warnings, AboutIdentity, "lacks the digest") {
				t.Errorf("%v %q", row.Identical, row.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"another seed", func(l *record.Log) {
			for _, i := range of(l, "tweet", "sam") {
				l.Requests[i].Seed = 43
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			withheld(t, row)
			if row.Status != StatusUnknown || !warned(row.Warnings, AboutIdentity, "ar has no answer to it with this seed") {
				t.Errorf("%s %q", row.Status, row.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"a doubled request", func(l *record.Log) {
			i := of(l, "tweet", "sam")[2]
			q := l.Requests[i]
			q.EndNS *= 100
			l.Requests, l.RequestLines = append(l.Requests, q), append(l.RequestLines, 999)
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			if row.Requests != 12 || !warned(row.Warnings, AboutRow, "quick.jsonl:999: prompt ") || !warned(row.Warnings, AboutRow, "was answered in this repeat already (line ") {
				t.Errorf("%d requests, %q", row.Requests, row.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"a trial closed twice", func(l *record.Log) {
			l.Trials, l.TrialLines = append(l.Trials, l.Trials[0]), append(l.TrialLines, 999)
		}, func(t *testing.T, r *Report, l *record.Log) {
			if !warned(r.Warnings, AboutRow, "quick.jsonl:999: trial ") || r.Trials.Finished != 16 {
				t.Errorf("%q, %+v", r.Warnings, r.Trials)
			}
		}, nil},
		{"a request of another trial", func(l *record.Log) {
			l.Requests[of(l, "tweet", "sam")[2]].System = "coordgen"
		}, func(t *testing.T, r *Report, l *record.Log) {
			if !warned(r.Warnings, AboutRow, "unlike the trial") || r.find(t, "tweet", "sam").Requests != 11 || r.find(t, "tweet", "coordgen").Requests != 12 {
				t.Errorf("%q", r.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"a failed request", func(l *record.Log) {
			l.Requests[of(l, "tweet", "sam")[2]].Error = "boom"
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			if row.Requests != 11 || !warned(row.Warnings, AboutRow, "does not count: boom") || !row.Speedup.Known() {
				t.Errorf("%d, %q", row.Requests, row.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"a failed trial", func(l *record.Log) {
			for i := range l.Trials {
				if l.Trials[i].System == "sam" && l.Trials[i].Workload == "tweet" {
					l.Trials[i].Status, l.Trials[i].Error = record.StatusFailed, "no memory"
				}
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			if row.Requests != 0 || row.TokensPerS.Known() || row.PeakMB.Known() || row.Speedup.Known() || row.Identical.Known() || r.Trials.Failed != 2 ||
				!warned(row.Warnings, AboutRow, "failed and does not count: no memory (and 1 more like it)") || !warned(row.Warnings, AboutRow, "no measurements") {
				t.Errorf("%+v", row)
			}
		}, []string{"tweet/sam"}},
		{"an unfinished trial", func(l *record.Log) {
			i := slices.IndexFunc(l.Trials, func(x record.Trial) bool { return x.System == "sam" && x.Workload == "tweet" })
			l.Trials, l.TrialLines = slices.Delete(l.Trials, i, i+1), slices.Delete(l.TrialLines, i, i+1)
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			if row.Requests != 6 || row.Repeats != 1 || !warned(row.Warnings, AboutRow, "has not finished") || !warned(r.Warnings, AboutRow, "15 of 16 trials have finished") {
				t.Errorf("%+v %q", row, r.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"no baseline on one workload", func(l *record.Log) {
			for i := range l.Trials {
				if l.Trials[i].System == "ar" && l.Trials[i].Workload == "tweet" {
					l.Trials[i].Status = record.StatusFailed
				}
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			withheld(t, row)
			if row.Identical.Known() || row.Status != StatusUnknown || !warned(row.Warnings, AboutSpeedup, "no ar on this device, model and workload") {
				t.Errorf("%v %s %q", row.Identical, row.Status, row.Warnings)
			}
			if r.Identity.Status != StatusPartial {
				t.Errorf("%+v", r.Identity)
			}
		}, []string{"tweet/ar", "tweet/sam", "tweet/sam+calibration", "tweet/coordgen"}},
		{"resumed", func(l *record.Log) { l.Trials[0].Resumed = 2 }, func(t *testing.T, r *Report, l *record.Log) {
			if !warned(r.find(t, l.Trials[0].Workload, l.Trials[0].System).Warnings, AboutRow, "went on after being interrupted") {
				t.Error("no warning")
			}
		}, []string{"*"}},
		{"another machine", func(l *record.Log) {
			for i := range l.Trials {
				if l.Trials[i].System == "sam" {
					l.Trials[i].Facts.Threads = 1
				}
			}
		}, func(t *testing.T, r *Report, l *record.Log) {
			if w := r.find(t, "tweet", "sam").Warnings; !warned(w, AboutRow, "1 threads on 2 cores") || !warned(w, AboutRow, "; ar has ") {
				t.Errorf("%q", w)
			}
		}, []string{"tweet/sam", "summary/sam"}},
		{"machines differ between repeats", func(l *record.Log) {
			i := slices.IndexFunc(l.Trials, func(x record.Trial) bool { return x.System == "sam" && x.Workload == "tweet" })
			l.Trials[i].Identity.Backend = "coordbench/generic"
		}, func(t *testing.T, r *Report, l *record.Log) {
			if w := r.find(t, "tweet", "sam").Warnings; !warned(w, AboutRow, `trials differ in backend: "coordbench/avx2", "coordbench/generic"`) {
				t.Errorf("%q", w)
			}
		}, []string{"tweet/sam"}},
		{"partly simulated", func(l *record.Log) {
			i := slices.IndexFunc(l.Trials, func(x record.Trial) bool { return x.System == "sam" && x.Workload == "tweet" })
			l.Trials[i].Simulated = true
		}, func(t *testing.T, r *Report, l *record.Log) {
			row := r.find(t, "tweet", "sam")
			if !row.Simulated || !warned(row.Warnings, AboutRow, "1 of 2 trials are simulated") || r.Groups[0].Simulated {
				t.Errorf("%v %q", row.Simulated, row.Warnings)
			}
		}, []string{"tweet/sam"}},
		{"notes of the trial, the segment and the request", func(l *record.Log) {
			for i := range l.Trials {
				if l.Trials[i].System == "sam" {
					l.Trials[i].Warnings = []string{"tw"}
				}
			}
			for i := range l.Segments {
				if l.Segments[i].System == "sam" {
					l.Segments[i].Warnings, l.Segments[i].PeakWhole = []string{"sw"}, true
				}
			}
			l.Requests[of(l, "tweet", "sam")[0]].Warnings = []string{"rw"}
		}, func(t *testing.T, r *Report, l *record.Log) {
			w := r.find(t, "tweet", "sam").Warnings
			if !warned(w, AboutRow, "tw (and 1 more like it)") || !warned(w, AboutRow, "sw (and 1") || !warned(w, AboutRow, "rw") || !warned(w, AboutPeak, "model load included") {
				t.Errorf("%q", w)
			}
		}, []string{"tweet/sam", "summary/sam"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := read(t, "quick")
			c.plant(l)
			r := build(t, l, Options{})
			c.check(t, r, l)
			if slices.Contains(c.touch, "*") {
				return
			}
			for _, row := range r.Rows {
				if slices.Contains(c.touch, row.Workload+"/"+row.System) {
					continue
				}
				want, _ := json.Marshal(clean.find(t, row.Workload, row.System))
				got, _ := json.Marshal(row)
				if string(want) != string(got) {
					t.Errorf("%s/%s changed:\n%s\n%s", row.Workload, row.System, want, got)
				}
			}
		})
	}
}

// A record that contradicts itself does not count, and says where it stands.
func TestDefectiveRequests(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(q *record.Request)
		want  string
	}{
		{"no steps", func(q *record.Request) { q.Steps = nil }, "0 steps emitted 6 tokens"},
		{"no output", func(q *record.Request) { q.Output = nil }, "3 steps emitted 0 tokens"},
		{"no prefill", func(q *record.Request) { q.Steps[0].Prefill = false }, "step 0 of 3: the first step, and no other, is the prefill"},
		{"two prefills", func(q *record.Request) { q.Steps[2].Prefill = true }, "step 2 of 3: the first step, and no other, is the prefill"},
		{"empty step", func(q *record.Request) { q.Steps[1].Tokens = 0 }, "step 1 emitted 0 tokens"},
		{"time runs backwards", func(q *record.Request) { q.Steps[2].NS = 5 }, "step 2 ends at 5 ns, before what precedes it at"},
		{"answer before the question", func(q *record.Request) { q.StartNS = 20e6 }, "step 0 ends at 13000000 ns, before what precedes it at 20000000 ns"},
		{"ends before its last step", func(q *record.Request) { q.EndNS = 14e6 }, "it ends at 14000000 ns, before its last step at"},
		{"tokens missing", func(q *record.Request) { q.Output = q.Output[:5] }, "its steps emitted 6 tokens, its output holds 5"},
		{"accepted more than drafted", func(q *record.Request) { q.Steps[1].Accepted = []string{"reuse", "reuse", "reuse"} }, "step 1 accepted 3 nodes of reuse and drafted 2"},
		{"negative draft", func(q *record.Request) { q.Steps[2].Drafted = record.Counts{"model": -1, "dynamic": 4} }, "step 2 drafted -1 nodes of model"},
		{"no time", func(q *record.Request) { q.Steps[1].NS, q.Steps[2].NS = 13e6, 13e6 }, "2 verifications took no time"},
	} {
		l := tiny()
		c.plant(&l.Requests[2])
		fast := build(t, l, Options{}).find(t, "w", "fast")
		if want := `runs.jsonl:4: prompt "0" does not count: ` + c.want; fast.Requests != 1 || !warned(fast.Warnings, AboutRow, want) {
			t.Errorf("%s: %d requests, %q, want %s", c.name, fast.Requests, fast.Warnings, want)
		}
	}
}

func TestRowDoubts(t *testing.T) {
	row := build(t, read(t, "simulated"), Options{}).Rows[3]
	for _, c := range []struct{ about, text string }{
		{AboutRow, "simulated: times come from a device profile, not from a clock"},
		{AboutRow, "small enough to live in the cache, so verification costs relatively more than with a real model"},
		{AboutRow, "one repeat: variation from run to run is not known"},
		{AboutRow, "only 3 prompts: intervals are unreliable"},
		{AboutSpeedup, "the interval contains 1: no difference is shown"},
		{AboutPeak, "peak memory is that of the process's whole life, model load included"},
	} {
		if !warned(row.Warnings, c.about, c.text) {
			t.Errorf("no warning %q in %q", c.text, row.Warnings)
		}
	}
	for _, row := range build(t, read(t, "quick"), Options{}).Rows {
		if len(row.Warnings) != 0 {
			t.Errorf("%s/%s: %q", row.Workload, row.System, row.Warnings)
		}
	}
}

// Without any baseline nothing is claimed: figures stay, speedups and identity go.
func TestMissingBaseline(t *testing.T) {
	l := read(t, "quick")
	l.Trials = slices.DeleteFunc(l.Trials, func(x record.Trial) bool { return x.System == "ar" })
	l.TrialLines = l.TrialLines[:len(l.Trials)]
	var lines []int
	var reqs []record.Request
	for i, q := range l.Requests {
		if q.System != "ar" {
			reqs, lines = append(reqs, q), append(lines, l.RequestLines[i])
		}
	}
	l.Requests, l.RequestLines = reqs, lines
	r := build(t, l, Options{})
	if len(r.Rows) != 6 || r.Identity.Status != StatusUnknown || r.Identity.Identical.Known() || r.Identity.Unchecked != 72 {
		t.Errorf("%d rows, %+v", len(r.Rows), r.Identity)
	}
	if !warned(r.Warnings, AboutSpeedup, `no measurements of the baseline "ar": no speedups, and identity of outputs is unknown`) {
		t.Errorf("%q", r.Warnings)
	}
	for _, row := range r.Rows {
		if row.Speedup.Known() || row.SpeedupE2E.Known() || row.Identical.Known() || !row.TokensPerS.Known() {
			t.Errorf("%+v", row)
		}
	}
	var got struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal(encode(t, r), &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"speedup", "speedup_lo", "speedup_hi", "speedup_e2e", "identical"} {
		if v, ok := got.Rows[0][k]; !ok || v != nil {
			t.Errorf("%s is %v in JSON, want null", k, v)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	r := build(t, &record.Log{Path: "runs.jsonl", Header: record.Header{Baseline: "ar", Trials: 3}}, Options{})
	if len(r.Rows) != 0 || r.Identity.Status != StatusUnknown || !warned(r.Warnings, AboutRow, "no measurements") || !warned(r.Warnings, AboutRow, "0 of 3 trials") {
		t.Errorf("%+v", r)
	}
	for _, list := range []string{`"rows": []`, `"summary": []`, `"ablations": []`, `"mismatches": []`, `"identical": null`} {
		if !strings.Contains(string(encode(t, r)), list) {
			t.Errorf("JSON lacks %s", list)
		}
	}
}

// Devices, models and systems that the header does not name come after those it does, sorted.
func TestMixedFile(t *testing.T) {
	l := tiny()
	n := len(l.Requests)
	for _, device := range []string{"z", "a"} {
		for i := range n {
			q := l.Requests[i]
			q.Trial, q.Device = q.Trial+device, device
			l.Requests, l.RequestLines = append(l.Requests, q), append(l.RequestLines, 400)
		}
		for i := range 2 {
			c := l.Trials[i]
			c.Trial, c.Device = c.Trial+device, device
			l.Trials, l.TrialLines = append(l.Trials, c), append(l.TrialLines, 500)
		}
	}
	r := build(t, l, Options{})
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.Device+row.System)
	}
	if want := []string{"dar", "dfast", "aar", "afast", "zar", "zfast"}; !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
	if len(r.Groups) != 3 || r.Identity.Identical != 12 {
		t.Errorf("%d groups, %+v", len(r.Groups), r.Identity)
	}
}
