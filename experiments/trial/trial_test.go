package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
)

// A script is a system that drafts two tokens a step and answers with the sum of
// the prompt, of what it remembers of the group, and of the position.
type script struct {
	now    time.Duration // of its own clock, when it is asked through clocked
	memory map[string]int
	calls  []string
	fail   string // prompt text that fails after two tokens
}

func (s *script) Identity() decode.Identity {
	return decode.Identity{Name: "script", Model: "m", ModelDigest: "d", Backend: "test", Options: map[string]string{"o": "1"}, Exact: true}
}
func (s *script) Close() error { return nil }
func (s *script) Forget()      { s.memory = map[string]int{}; s.calls = append(s.calls, "forget") }
func (s *script) Remember(group string, out []decode.Token) {
	s.calls = append(s.calls, fmt.Sprint("remember ", group, " ", len(out)))
	s.memory[group] += len(out)
}

func (s *script) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	sum := decode.Token(s.memory[req.Group])
	for _, t := range req.Prompt {
		sum += t
	}
	var res decode.Result
	for len(res.Tokens) < req.MaxTokens {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		s.now += 10 * time.Millisecond
		st := decode.Step{Phase: decode.Verify, Width: 3, Depth: 2, Accepted: []decode.Origin{decode.FromLookup}}
		st.Drafted[decode.FromLookup], st.Drafted[decode.FromReuse] = 1, 1
		st.Tokens = []decode.Token{sum + decode.Token(len(res.Tokens)), sum + decode.Token(len(res.Tokens)) + 1}
		if len(res.Tokens) == 0 {
			st = decode.Step{Phase: decode.Prefill, Width: len(req.Prompt), Tokens: st.Tokens[:1]}
		} else if len(res.Tokens)+1 == req.MaxTokens {
			st.Tokens, st.Accepted = st.Tokens[:1], nil
		}
		onStep(st)
		res.Tokens = append(res.Tokens, st.Tokens...)
		clear(st.Tokens) // valid only during the call
		clear(st.Accepted)
		if s.fail != "" && string(rune(req.Prompt[0])) == s.fail && len(res.Tokens) > 2 {
			return res, errors.New("planted")
		}
	}
	res.Reason = decode.StopLength
	s.memory[req.Group] += len(res.Tokens)
	return res, nil
}

// clocked lends the script's clock.
type clocked struct{ *script }

func (c clocked) Now() time.Duration { return time.Hour + c.now }

func testTrial() *plan.Trial {
	t := &plan.Trial{
		ID: "r0~t", Device: "local", Model: plan.Model{Name: "m", File: "m.gguf"}, Workload: "w", Digest: "wd",
		System: plan.System{Name: "row", System: "script"}, Warmup: 1, Segment: 2, Sampling: plan.Sampling{Seed: 5},
	}
	for i, c := range "zabcde" {
		t.Prompts = append(t.Prompts, plan.Prompt{ID: "p" + string(c), Group: fmt.Sprint("g", i%2), MaxTokens: 4, Messages: []plan.Message{{Role: "user", Content: string(c)}}})
	}
	return t
}

func encode(ms []plan.Message) ([]decode.Token, error) {
	var out []decode.Token
	for _, r := range ms[0].Content {
		if r == '!' {
			return nil, errors.New("the tokenizer cannot")
		}
		out = append(out, decode.Token(r))
	}
	return out, nil
}

func opener(s decode.System) func(context.Context, *plan.Trial) (*Subject, error) {
	return func(context.Context, *plan.Trial) (*Subject, error) {
		return &Subject{System: s, Encode: encode, Threads: 1}, nil
	}
}

func newScript() *script { return &script{memory: map[string]int{}} }

func history(t *testing.T, journal string) History {
	t.Helper()
	b, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	h, n := ReadHistory(b)
	if int(n) != len(b) {
		t.Fatalf("only %d of %d bytes of the journal can be read", n, len(b))
	}
	return h
}

// A virtual clock makes every recorded number predictable.
func TestRecord(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "j")
	closing, err := Run(t.Context(), testTrial(), Options{Journal: journal, Open: opener(clocked{newScript()})})
	if err != nil {
		t.Fatal(err)
	}
	if closing.Status != record.StatusOK || !closing.Simulated || closing.Identity.Name != "script" || closing.WorkloadDigest != "wd" ||
		closing.Facts.Threads != 1 || closing.Facts.Cores < 1 || closing.System != "row" {
		t.Errorf("closing line %+v", closing)
	}
	h := history(t, journal)
	if d := cmp.Diff(&closing, h.Closed); d != "" {
		t.Errorf("closing line in the journal:\n%s", d)
	}
	const ms = int64(time.Millisecond)
	q := h.Requests[1] // the first that is measured; 30 ms went into the warm-up
	want := record.Request{
		Type: record.TypeRequest, Key: record.Key{Trial: "r0~t", Device: "local", Model: "m", Workload: "w", System: "row"},
		Prompt: "pa", Group: "g1", Index: 1, Segment: 0, Seed: plan.RequestSeed(5, "pa", 0), PromptTokens: 1,
		PromptDigest: "a2d398922901344d08180dc41d3e9d73d8c148c7f6e092835bbb28e02dbcf184", // sha256 of 61 00 00 00
		Output:       []int32{97, 98, 99, 100}, Reason: "length", StartNS: 30 * ms, EndNS: 60 * ms,
		Steps: []record.Step{
			{NS: 40 * ms, Tokens: 1, Prefill: true, Width: 1},
			{NS: 50 * ms, Tokens: 2, Width: 3, Depth: 2, Drafted: record.Counts{"lookup": 1, "reuse": 1}, Accepted: []string{"lookup"}},
			{NS: 60 * ms, Tokens: 1, Width: 3, Depth: 2, Drafted: record.Counts{"lookup": 1, "reuse": 1}},
		},
	}
	if d := cmp.Diff(want, q); d != "" {
		t.Errorf("request:\n%s", d)
	}
	var segs []string
	for _, s := range h.Segments {
		if s.PeakBytes <= 0 {
			t.Errorf("segment %d: peak %d bytes", s.Segment, s.PeakBytes)
		}
		segs = append(segs, fmt.Sprint(s.Segment, s.Requests, s.StartNS/ms, s.EndNS/ms))
	}
	if d := cmp.Diff([]string{"0 2 30 90", "1 2 90 150", "2 1 150 180"}, segs); d != "" {
		t.Errorf("segments:\n%s", d)
	}
	if w := h.Requests[0]; !w.Warmup || w.Segment != -1 || w.Index != 0 || w.Prompt != "pz" {
		t.Errorf("warm-up %+v", w)
	}
}

// Whatever prefix of its journal a crash leaves, the trial ends with the same
// requests, each once, and with segments that hold each measured request once.
func TestEveryCut(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	if _, err := Run(t.Context(), testTrial(), Options{Journal: whole, Open: opener(newScript())}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(whole)
	outputs := func(h History) []string {
		var s []string
		for _, q := range h.Requests {
			s = append(s, fmt.Sprint(q.Index, q.Prompt, q.Warmup, q.Seed, q.Output))
		}
		return s
	}
	want := outputs(history(t, whole))
	lines := bytes.SplitAfter(text, []byte("\n"))
	ends := map[int]bool{}
	for n, l := 0, 0; l < len(lines); l++ {
		n += len(lines[l])
		ends[n] = true
	}
	for n := 0; n <= len(text); n++ {
		// Every byte around a line's end, and a sample of the others.
		if !ends[n] && !ends[n+1] && !ends[n-1] && n%499 != 0 {
			continue
		}
		j := filepath.Join(dir, "j")
		if err := os.WriteFile(j, text[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		s := newScript()
		closing, err := Run(t.Context(), testTrial(), Options{Journal: j, Open: opener(s)})
		if err != nil || closing.Status != record.StatusOK {
			t.Fatalf("cut at %d: %+v, %v", n, closing, err)
		}
		h := history(t, j)
		if d := cmp.Diff(want, outputs(h)); d != "" {
			t.Fatalf("cut at %d:\n%s", n, d)
		}
		measured, last := 0, int64(0)
		for _, g := range h.Segments {
			measured += g.Requests
			if g.StartNS < last || g.EndNS <= g.StartNS {
				t.Fatalf("cut at %d: segment %d runs from %d to %d after %d", n, g.Segment, g.StartNS, g.EndNS, last)
			}
			last = g.EndNS
		}
		if measured != 5 {
			t.Fatalf("cut at %d: segments hold %d requests, want 5", n, measured)
		}
		if n == len(text) && s.calls != nil {
			t.Errorf("a closed trial was opened again: %v", s.calls)
		}
	}
}

func TestHistoryIsRestored(t *testing.T) {
	j := filepath.Join(t.TempDir(), "j")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, testTrial(), Options{Journal: j, Open: opener(newScript()), Progress: func(p Progress) {
		if p.Done == 4 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s := newScript()
	closing, err := Run(t.Context(), testTrial(), Options{Journal: j, Open: opener(s)})
	if err != nil || closing.Resumed != 1 || len(closing.Warnings) != 1 {
		t.Fatalf("%+v, %v", closing, err)
	}
	if d := cmp.Diff([]string{"forget", "forget", "remember g1 4", "remember g0 4", "remember g1 4"}, s.calls); d != "" {
		t.Errorf("calls:\n%s", d)
	}
	h := history(t, j)
	if w := h.Segments[1].Warnings; len(w) != 1 || w[0] != "cut short: the agent ended early, after 1 requests of the segment" {
		t.Errorf("the segment that was cut short says %q", w)
	}
}

func TestFailures(t *testing.T) {
	run := func(t *testing.T, tr *plan.Trial, s *script) (record.Trial, History) {
		j := filepath.Join(t.TempDir(), "j")
		c, err := Run(t.Context(), tr, Options{Journal: j, Open: opener(s)})
		if err != nil {
			t.Fatal(err)
		}
		return c, history(t, j)
	}
	s := newScript()
	s.fail = "b"
	c, h := run(t, testTrial(), s)
	if c.Status != record.StatusFailed || c.Error != `1 of 5 requests failed: prompt "pb": planted` {
		t.Errorf("%+v", c)
	}
	if q := h.Requests[2]; q.Error != "planted" || len(q.Output) != 3 || len(q.Steps) != 2 || len(h.Requests) != 6 {
		t.Errorf("the request that failed: %+v", q)
	}
	tr := testTrial()
	tr.Prompts[5].Messages[0].Content = "!"
	if c, _ := run(t, tr, newScript()); c.Error != `1 of 5 requests failed: prompt "pe": the tokenizer cannot` {
		t.Errorf("%+v", c)
	}
	c, err := Run(t.Context(), testTrial(), Options{Journal: filepath.Join(t.TempDir(), "j"), Open: func(context.Context, *plan.Trial) (*Subject, error) { return nil, errors.New("no model") }})
	if err != nil || c.Status != record.StatusFailed || c.Error != "no model" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestJournalOfAnother(t *testing.T) {
	j := filepath.Join(t.TempDir(), "j")
	if _, err := Run(t.Context(), testTrial(), Options{Journal: j, Open: opener(newScript())}); err != nil {
		t.Fatal(err)
	}
	moved := testTrial()
	moved.Model.File = "elsewhere/m.gguf"
	if _, err := Run(t.Context(), moved, Options{Journal: j, Open: opener(newScript())}); err != nil {
		t.Errorf("the same trial with its files elsewhere: %v", err)
	}
	other := testTrial()
	other.Prompts[2].MaxTokens = 5
	_, err := Run(t.Context(), other, Options{Journal: j, Open: opener(newScript())})
	if want := j + ": is the journal of another trial (r0~t)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAgent(t *testing.T) {
	dir := t.TempDir()
	good, err := json.Marshal(testTrial())
	if err != nil {
		t.Fatal(err)
	}
	agent := func(text string, stdin io.Reader, s decode.System) (int, string) {
		path := filepath.Join(dir, "trial.json")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := Agent(t.Context(), stdin, &out, path, filepath.Join(dir, "sub", "j"), opener(s))
		return code, out.String()
	}
	open, hold := io.Pipe() // a host that lives
	defer hold.Close()
	for text, want := range map[string]string{
		"":                  `EOF`,
		"{}":                `is no trial: id`,
		`{"id": "x"`:        `unexpected EOF`,
		`{"identity": "x"}`: `unknown field`,
	} {
		if code, out := agent(text, open, newScript()); code != ExitFailed || !strings.Contains(out, want) {
			t.Errorf("%q: exit %d, %s", text, code, out)
		}
	}
	// A host that is gone: its pipe has ended. The request in flight is dropped.
	if code, out := agent(string(good), strings.NewReader(""), hang{newScript()}); code != ExitFailed || !strings.Contains(out, "the host is gone") {
		t.Errorf("without a host: exit %d, %s", code, out)
	}
	code, out := agent(string(good), open, newScript())
	if n := strings.Count(out, `"type":"progress"`); code != ExitClosed || n != 6 || !strings.Contains(out, `{"type":"progress","done":6,"total":6,"tokens":4}`) {
		t.Errorf("exit %d, %s", code, out)
	}
}

// hang decodes until its context ends.
type hang struct{ *script }

func (h hang) Decode(ctx context.Context, _ decode.Request, _ func(decode.Step)) (decode.Result, error) {
	<-ctx.Done()
	return decode.Result{}, ctx.Err()
}
