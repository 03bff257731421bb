package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/internal/golden"
)

// read opens a file of testdata: quick holds 4 systems × 2 workloads × 6
// prompts × 2 repeats, simulated 2 × 2 × 3 × 1.
func read(t testing.TB, name string) *record.Log {
	t.Helper()
	l, err := record.Read(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func build(t testing.TB, l *record.Log, o Options) *Report {
	t.Helper()
	r, err := Build(l, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func encode(t testing.TB, r *Report) []byte {
	t.Helper()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func (r *Report) find(t testing.TB, workload, system string) Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Workload == workload && row.System == system {
			return row
		}
	}
	t.Fatalf("no row %s, %s", workload, system)
	return Row{}
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"quick", "simulated"} {
		r, err := Load(filepath.Join("testdata", name+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "testdata/"+name+".json", encode(t, r))
	}
}

// Where a file lies, and how often it is read, changes nothing.
func TestPure(t *testing.T) {
	text, err := os.ReadFile("testdata/quick.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, `{"type":"request","tr`...) // its warning names the file
	dir := t.TempDir()
	for _, d := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d, record.FileName), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var outs [][]byte
	for _, path := range []string{"a", "b", "a/runs.jsonl"} {
		r, err := Load(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].Text, "runs.jsonl:") {
			t.Errorf("warnings %q", r.Warnings)
		}
		outs = append(outs, encode(t, r))
	}
	if !bytes.Equal(outs[0], outs[1]) || !bytes.Equal(outs[0], outs[2]) {
		t.Error("the same file gave different reports")
	}
}

// tiny is a log with one prompt per entry of times: the baseline takes 2 ms a
// token after a prefill of 10 ms; "fast" emits 1, 3 and 2 tokens.
func tiny() *record.Log {
	l := &record.Log{Path: "runs.jsonl", Header: record.Header{Version: 1, Baseline: "ar", Systems: []string{"ar", "fast"}, Workloads: []string{"w"}, Devices: []string{"d"}, Trials: 2}}
	for i, s := range []string{"ar", "fast"} {
		k := record.Key{Trial: s, Device: "d", Model: "m", Workload: "w", System: s}
		for p := range 2 {
			q := record.Request{Key: k, Prompt: fmt.Sprint(p), PromptDigest: fmt.Sprint("d", p), Output: []int32{1, 2, 3, 4, 5, 6}, StartNS: 1e6}
			q.Steps = []record.Step{{NS: 11e6, Tokens: 1, Prefill: true}}
			if s == "ar" {
				for j := range 5 {
					q.Steps = append(q.Steps, record.Step{NS: 11e6 + int64(j+1)*2e6, Tokens: 1})
				}
				q.EndNS = 21e6
			} else {
				// 3 tokens in 3 ms, 2 tokens in 2.5 ms for prompt 0; twice that for prompt 1.
				f := int64(p + 1)
				q.Steps[0].NS = 13e6
				q.Steps = append(q.Steps,
					record.Step{NS: 13e6 + f*3e6, Tokens: 3, Drafted: record.Counts{"dynamic": 4, "reuse": 2}, Accepted: []string{"dynamic", "reuse"}},
					record.Step{NS: 13e6 + f*55e5, Tokens: 2, Drafted: record.Counts{"dynamic": 4}, Accepted: []string{"dynamic"}})
				q.EndNS = 13e6 + f*55e5 + 5e5
			}
			l.Requests = append(l.Requests, q)
			l.RequestLines = append(l.RequestLines, len(l.Requests)+1)
		}
		l.Segments = append(l.Segments, record.Segment{Key: k, PeakBytes: int64(i+1) * 25e5})
		l.SegmentLines = append(l.SegmentLines, 100+i)
		l.Trials = append(l.Trials, record.Trial{Key: k, Status: record.StatusOK, Identity: record.Identity{ModelDigest: "md", Backend: "b", Exact: true}, WorkloadDigest: "wd"})
		l.TrialLines = append(l.TrialLines, 200+i)
	}
	return l
}

// Every figure of a file small enough to compute by hand.
func TestFigures(t *testing.T) {
	r := build(t, tiny(), Options{})
	ar, fast := r.find(t, "w", "ar"), r.find(t, "w", "fast")
	gen := 5.5 + 11.0 // ms of fast's generation phases
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"ar ms_per_token", float64(ar.MsPerToken), 2},
		{"ar tokens_per_s", float64(ar.TokensPerS), 500},
		{"ar ttft", float64(ar.TTFTMs), 10},
		{"ar e2e", float64(ar.E2EMsPerTok), 20. / 6},
		{"ar mat", float64(ar.MAT), 1},
		{"ar drafted", float64(ar.DraftedPerStep), 0},
		{"ar peak", float64(ar.PeakMB), 2.5},
		{"ar speedup", float64(ar.Speedup), 1},
		{"ttft", float64(fast.TTFTMs), 12},
		{"ms_per_token", float64(fast.MsPerToken), gen / 10},
		// Tokens by time: 3 of 1 ms, 2 of 1.25, 3 of 2, 2 of 2.5.
		{"p50", float64(fast.MsPerTokP50), 1.25},
		{"p95", float64(fast.MsPerTokP95), 2.5},
		{"tokens_per_s", float64(fast.TokensPerS), 10000 / gen},
		{"e2e", float64(fast.E2EMsPerTok), (12 + 5.5 + 0.5 + 12 + 11 + 0.5) / 12},
		{"mat", float64(fast.MAT), 10. / 4},
		{"drafted", float64(fast.DraftedPerStep), 20. / 4},
		{"dynamic", float64(fast.Acceptance["dynamic"].Rate), 4. / 16},
		{"reuse", float64(fast.Acceptance["reuse"].Rate), 2. / 4},
		{"peak", float64(fast.PeakMB), 5},
		{"speedup", float64(fast.Speedup), 20 / gen},
		{"speedup_lo", float64(fast.SpeedupLo), 10. / 11},
		{"speedup_hi", float64(fast.SpeedupHi), 10 / 5.5},
		{"speedup_prefill", float64(fast.SpeedupPrefill), 20. / 24},
		{"speedup_e2e", float64(fast.SpeedupE2E), 40 / (gen + 24 + 1)},
	} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("%s = %v, want %v", c.what, c.got, c.want)
		}
	}
	if d := cmp.Diff(map[string]Acceptance{"dynamic": {16, 4, 0.25}, "reuse": {4, 2, 0.5}}, fast.Acceptance); d != "" {
		t.Errorf("acceptance: -want +got\n%s", d)
	}
	if fast.Identical != 2 || fast.Total != 2 || fast.Status != StatusIdentical || r.Identity.Status != StatusIdentical || r.Identity.Total != 4 {
		t.Errorf("identity %v/%d %s, report %+v", fast.Identical, fast.Total, fast.Status, r.Identity)
	}
	if fast.Prompts != 2 || fast.Repeats != 1 {
		t.Errorf("%d prompts, %d repeats", fast.Prompts, fast.Repeats)
	}
}

// Repeats are paired within their block and averaged before prompts are summed.
func TestRepeatsArePaired(t *testing.T) {
	l := tiny()
	// A second repeat of both systems, in which all takes three times as long.
	n := len(l.Requests)
	for i := range n {
		q := l.Requests[i]
		q.Trial, q.Repeat = q.Trial+"1", 1
		q.StartNS, q.EndNS = q.StartNS*3, q.EndNS*3
		q.Steps = slices.Clone(q.Steps)
		for j := range q.Steps {
			q.Steps[j].NS *= 3
		}
		l.Requests, l.RequestLines = append(l.Requests, q), append(l.RequestLines, 50+i)
	}
	for i := range 2 {
		c := l.Trials[i]
		c.Trial, c.Repeat = c.Trial+"1", 1
		l.Trials, l.TrialLines = append(l.Trials, c), append(l.TrialLines, 300+i)
	}
	fast := build(t, l, Options{}).find(t, "w", "fast")
	if math.Abs(float64(fast.Speedup)-20/16.5) > 1e-9 || fast.Repeats != 2 {
		t.Errorf("speedup %v over %d repeats, want %v", fast.Speedup, fast.Repeats, 20/16.5)
	}
	// The baseline's second repeat is lost: only the first pair counts, not a
	// slow block against a fast one.
	l.Trials[2].Status = record.StatusFailed
	fast = build(t, l, Options{}).find(t, "w", "fast")
	if math.Abs(float64(fast.Speedup)-20/16.5) > 1e-9 {
		t.Errorf("speedup %v with a lost baseline, want %v", fast.Speedup, 20/16.5)
	}
	if !warned(fast.Warnings, AboutSpeedup, "2 of 4 requests have no counterpart") {
		t.Errorf("warnings %q", fast.Warnings)
	}
}

func warned(ws []Warning, about, text string) bool {
	return slices.ContainsFunc(ws, func(w Warning) bool { return w.About == about && strings.Contains(w.Text, text) })
}

func TestBaselineOption(t *testing.T) {
	r := build(t, tiny(), Options{Baseline: "fast"})
	ar, fast := r.find(t, "w", "ar"), r.find(t, "w", "fast")
	if fast.Speedup != 1 || !fast.IsBaseline || ar.IsBaseline || math.Abs(float64(ar.Speedup)-16.5/20) > 1e-9 {
		t.Errorf("ar %v, fast %v", ar.Speedup, fast.Speedup)
	}
	if _, err := Build(tiny(), Options{Baseline: "slow"}); !errors.Is(err, ErrNoSystem) || err.Error() != `runs.jsonl: no system "slow"; the file has "ar", "fast"` {
		t.Errorf("unknown baseline: %v", err)
	}
}

func TestAblations(t *testing.T) {
	r := build(t, read(t, "quick"), Options{})
	rows := map[string]Row{}
	for _, row := range r.Rows {
		rows[row.Workload+"/"+row.System] = row
	}
	sum := map[string]Summary{}
	for _, s := range r.Summary {
		sum[s.System] = s
	}
	seen := 0
	products := map[string]float64{}
	for _, a := range r.Ablations {
		if len(a.Warnings) > 0 {
			t.Errorf("%+v", a)
		}
		if a.Versus == "" {
			if a.TokensFactor.Known() || a.MATFactor.Known() {
				t.Errorf("a factor over nothing: %+v", a)
			}
			continue
		}
		seen++
		var want float64
		if a.Workload == "" {
			want = float64(sum[a.System].TokensPerS / sum[a.Versus].TokensPerS)
		} else {
			want = float64(rows[a.Workload+"/"+a.System].TokensPerS / rows[a.Workload+"/"+a.Versus].TokensPerS)
		}
		if math.Abs(float64(a.TokensFactor)-want) > 1e-9 {
			t.Errorf("%s %s over %s on %q: %v, want %v", a.Kind, a.System, a.Versus, a.Workload, a.TokensFactor, want)
		}
		if !(a.TokensFactorLo < a.TokensFactor && a.TokensFactor < a.TokensFactorHi && a.MATFactorLo < a.MATFactor && a.MATFactor < a.MATFactorHi) {
			t.Errorf("intervals of %+v", a)
		}
		if a.Kind == Additive {
			if products[a.Workload] == 0 {
				products[a.Workload] = 1
			}
			products[a.Workload] *= float64(a.TokensFactor)
		}
	}
	if seen != 12 { // (3 additive + 1 left out) × (2 workloads + mean)
		t.Errorf("%d factors, want 12", seen)
	}
	// The parts multiply up to the whole.
	for w, p := range products {
		want := float64(sum["coordgen"].TokensPerS / sum["ar"].TokensPerS)
		if w != "" {
			want = float64(rows[w+"/coordgen"].TokensPerS / rows[w+"/ar"].TokensPerS)
		}
		if math.Abs(p-want) > 1e-9 {
			t.Errorf("%q: product of the parts %v, whole %v", w, p, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		n    Number
		json string
	}{
		{Unknown, "null"}, {Number(math.Inf(1)), "null"}, {0, "0"}, {1, "1"}, {-2.5, "-2.5"}, {1234567, "1234567"}, {1234567.89, "1234570"},
		{0.1 + 0.2, "0.3"}, {1. / 3, "0.333333"}, {12.3456789, "12.3457"}, {0.000012345678, "0.0000123457"}, {1.5e-9, "1.5e-09"},
	} {
		b, err := json.Marshal(c.n)
		if err != nil || string(b) != c.json {
			t.Errorf("%v: %s, %v, want %s", float64(c.n), b, err, c.json)
		}
		var back Number
		if err := json.Unmarshal(b, &back); err != nil || back.Known() != c.n.Known() {
			t.Errorf("%s: read as %v, %v", b, back, err)
		}
	}
}

// A report of 10,000 requests builds in less than 5 s: see the ns/op.
func BenchmarkBuild10k(b *testing.B) {
	l := tiny()
	all := &record.Log{Path: l.Path, Header: l.Header, Trials: l.Trials, TrialLines: l.TrialLines}
	all.Header.Workloads = []string{"w"}
	for i := range 5000 {
		for _, q := range []record.Request{l.Requests[0], l.Requests[2]} {
			q.Prompt, q.PromptDigest = fmt.Sprint(i), fmt.Sprint("d", i)
			q.Steps = slices.Clone(q.Steps)
			for len(q.Steps) < 60 {
				last := q.Steps[len(q.Steps)-1]
				q.Steps = append(q.Steps, record.Step{NS: last.NS + 1e6, Tokens: 1, Drafted: record.Counts{"dynamic": 8}})
			}
			q.Output = make([]int32, 0, 100)
			for _, s := range q.Steps {
				for range s.Tokens {
					q.Output = append(q.Output, 1)
				}
			}
			q.Output = slices.Clone(q.Output)
			q.EndNS = q.Steps[59].NS
			all.Requests = append(all.Requests, q)
		}
	}
	// Equal outputs, so that the speedup is computed too.
	for i := 0; i < len(all.Requests); i += 2 {
		n := min(len(all.Requests[i].Output), len(all.Requests[i+1].Output))
		for _, q := range []*record.Request{&all.Requests[i], &all.Requests[i+1]} {
			for len(q.Output) > n {
				last := &q.Steps[len(q.Steps)-1]
				q.Output = q.Output[:len(q.Output)-last.Tokens]
				q.Steps = q.Steps[:len(q.Steps)-1]
			}
		}
	}
	path := filepath.Join(b.TempDir(), record.FileName)
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	enc := json.NewEncoder(f)
	write := func(v any) {
		if err := enc.Encode(v); err != nil {
			b.Fatal(err)
		}
	}
	all.Header.Type, all.Header.Version = record.TypeHeader, record.Version
	write(all.Header)
	for _, q := range all.Requests {
		q.Type = record.TypeRequest
		write(q)
	}
	for _, tr := range all.Trials {
		tr.Type = record.TypeTrial
		write(tr)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		r, err := Load(path)
		if err != nil {
			b.Fatal(err)
		}
		if row := r.Rows[1]; row.Requests != 5000 || !row.Speedup.Known() {
			b.Fatalf("%+v", row)
		}
	}
}
