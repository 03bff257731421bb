//go:build unix

package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coordbench/coordbench/devices"
	"github.com/coordbench/coordbench/devices/local"
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/experiments/trial"
)

// The test binary is also the host that gets killed and the agent that it starts.
const (
	roleVar = "COORDBENCH_TEST_ROLE"
	badVar  = "COORDBENCH_TEST_BAD" // what a trial of system "bad" does
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		// A program with the race detector sleeps for a second before it ends.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(m.Run())
	case "host":
		os.Setenv(roleVar, "agent")
		_, err := Run(context.Background(), options(os.Args[1], smallPlan(), true))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "agent":
		os.Exit(agentMain())
	}
}

func agentMain() int {
	path, journal := os.Args[1], os.Args[2]
	// For the test that kills agents.
	_ = os.WriteFile(filepath.Join(filepath.Dir(journal), "agent.pid"), []byte(strconv.Itoa(os.Getpid())), 0o666)
	if strings.Contains(path, "~bad.json") {
		switch os.Getenv(badVar) {
		case "panic":
			panic("the planted one")
		case "kill":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case "hang":
			time.Sleep(time.Hour)
		case "full": // as a disk with 3000 bytes left would: a write may end half way
			signal.Ignore(syscall.SIGXFSZ)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 3000, Max: 3000}); err != nil {
				panic(err)
			}
		}
	}
	return trial.Agent(context.Background(), os.Stdin, os.Stdout, path, journal, func(_ context.Context, t *plan.Trial) (*trial.Subject, error) {
		if strings.Contains(t.System.Name, "bad") && os.Getenv(badVar) == "open" {
			return nil, errors.New("no such model")
		}
		return &trial.Subject{System: &parrot{fail: strings.Contains(t.System.Name, "bad") && os.Getenv(badVar) == "request"}, Encode: encode}, nil
	})
}

func encode(ms []plan.Message) ([]decode.Token, error) {
	var out []decode.Token
	for _, m := range ms {
		for _, b := range []byte(m.Content) {
			out = append(out, decode.Token(b))
		}
	}
	return out, nil
}

// A parrot answers with tokens that depend on the prompt, the seed and all that
// it remembers of the group, so that a lost or doubled memory shows in the output.
type parrot struct {
	memory map[string]uint64
	fail   bool
}

func (p *parrot) Identity() decode.Identity {
	return decode.Identity{Name: "parrot", Model: "none", Backend: "test", Exact: true}
}
func (p *parrot) Close() error { return nil }
func (p *parrot) Forget()      { p.memory = map[string]uint64{} }
func (p *parrot) Remember(group string, out []decode.Token) {
	for _, t := range out {
		p.memory[group] = p.memory[group]*31 + uint64(t) + 1
	}
}

func (p *parrot) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	if p.memory == nil {
		p.Forget()
	}
	h := p.memory[req.Group] ^ req.Sampling.Seed
	for _, t := range req.Prompt {
		h = h*1099511628211 + uint64(t)
	}
	var res decode.Result
	rng := rand.New(rand.NewPCG(h, 1))
	for i := range req.MaxTokens {
		time.Sleep(time.Millisecond)
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		tok := []decode.Token{decode.Token(rng.IntN(1000))}
		s := decode.Step{Phase: decode.Verify, Tokens: tok, Width: 1}
		if i == 0 {
			s.Phase = decode.Prefill
		}
		onStep(s)
		res.Tokens = append(res.Tokens, tok...)
		if p.fail && i == 1 {
			return res, errors.New("the planted failure")
		}
	}
	res.Reason = decode.StopLength
	p.Remember(req.Group, res.Tokens)
	return res, nil
}

// smallPlan is three systems on one workload, twice, without any real file.
func smallPlan() *plan.Plan {
	e := &experiments.Experiment{
		Version: 1, Name: "small", Models: []experiments.Model{{Name: "m", File: "model"}}, Devices: []string{"local"},
		Workloads: []experiments.Workload{{Name: "w"}}, Repeats: 2, Warmup: 1, Segment: 3, KV: "f16", Seed: 1, Timeout: "30s", Baseline: "a",
	}
	p := &plan.Plan{Experiment: e, Workloads: []plan.Workload{{Name: "w", Digest: "d", Prompts: 7}}}
	var prompts []plan.Prompt
	for i := range 8 {
		prompts = append(prompts, plan.Prompt{ID: fmt.Sprint("p", i), Group: fmt.Sprint("g", i%2), MaxTokens: 3 + i/2, Messages: []plan.Message{{Role: "user", Content: fmt.Sprint("prompt ", i)}}})
	}
	for r := range 2 {
		for _, s := range []string{"a", "b", "bad"} {
			p.Trials = append(p.Trials, plan.Trial{
				ID: fmt.Sprintf("r%d~local~m~w~%s", r, s), Device: "local", Model: plan.Model{Name: "m", File: "model"}, Workload: "w", Digest: "d",
				System: plan.System{Name: s, System: s}, Repeat: r, Prompts: prompts, Warmup: 1, Segment: 3, KV: "f16",
			})
		}
	}
	for _, s := range []string{"a", "b", "bad"} {
		p.Systems = append(p.Systems, plan.System{Name: s, System: s})
	}
	return p
}

func options(folder string, p *plan.Plan, resume bool) Options {
	return Options{
		Folder: folder, Plan: p, Tool: "test", Resume: resume,
		Device: func(context.Context, string) (devices.Device, error) { return local.Open(folder) },
		Agent:  func(devices.Facts) (string, error) { return os.Executable() },
		Model: func(string) (string, error) {
			f := filepath.Join(folder, "model")
			return f, os.WriteFile(f, []byte("weights"), 0o666)
		},
	}
}

// summary is what must not depend on crashes: every request's key, prompt and
// output, every trial's status.
func summary(t *testing.T, folder string) map[string]string {
	t.Helper()
	l, err := record.Read(filepath.Join(folder, record.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Warnings) > 0 {
		t.Errorf("warnings %q", l.Warnings)
	}
	m := map[string]string{}
	put := func(k, v string) {
		if _, ok := m[k]; ok {
			t.Errorf("%s occurs twice", k)
		}
		m[k] = v
	}
	measured := map[string]int{}
	for _, q := range l.Requests {
		put(fmt.Sprintf("%s request %d", q.Trial, q.Index), fmt.Sprint(q.Prompt, q.Group, q.Seed, q.Warmup, q.Output, q.Error))
		if !q.Warmup {
			measured[q.Trial]++
		}
	}
	inSegments := map[string]int{}
	for _, s := range l.Segments {
		inSegments[s.Trial] += s.Requests
		if s.EndNS <= s.StartNS {
			t.Errorf("segment %d of %s: from %d to %d ns", s.Segment, s.Trial, s.StartNS, s.EndNS)
		}
	}
	if d := cmp.Diff(measured, inSegments); d != "" {
		t.Errorf("requests measured, requests in segments:\n%s", d)
	}
	for _, x := range l.Trials {
		put(x.Trial+" trial", x.Status+x.Error)
	}
	return m
}

func TestKillAndResume(t *testing.T) {
	t.Setenv(roleVar, "agent")
	t.Setenv(badVar, "")
	calm := t.TempDir()
	began := time.Now()
	if r, err := Run(t.Context(), options(calm, smallPlan(), false)); err != nil || r.Ran != 6 || len(r.Failures) > 0 {
		t.Fatalf("undisturbed: %+v, %v", r, err)
	}
	whole := time.Since(began)
	want := summary(t, calm)
	if len(want) != 6*8+6 {
		t.Fatalf("undisturbed: %d lines", len(want))
	}

	const kills = 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	hosts, agents, resumed := 0, 0, 0
	for hosts+agents < kills {
		folder := t.TempDir()
		for finished := false; !finished; {
			host := exec.Command(os.Args[0], folder)
			host.Env = append(os.Environ(), roleVar+"=host")
			var stderr bytes.Buffer
			host.Stderr = &stderr
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- host.Wait() }()
			// Within the time that is probably left, so that most kills hit.
			wait := time.After(time.Duration(rng.Int64N(int64(whole))))
			if hosts+agents >= kills {
				wait = nil
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Fatalf("host: %v: %s", err, stderr.String())
				}
				finished = !hasFailed(t, folder)
				continue
			case <-wait:
			}
			if rng.IntN(2) == 0 {
				_ = host.Process.Kill()
				<-ended
				hosts++
				continue
			}
			if b, err := os.ReadFile(filepath.Join(folder, "trials", "agent.pid")); err == nil {
				if pid, err := strconv.Atoi(string(b)); err == nil && isAgent(pid) && syscall.Kill(pid, syscall.SIGKILL) == nil {
					agents++
				}
			}
			if err := <-ended; err != nil {
				t.Fatalf("host whose agent was killed: %v: %s", err, stderr.String())
			}
			finished = !hasFailed(t, folder)
		}
		if d := cmp.Diff(want, summary(t, folder)); d != "" {
			t.Fatalf("after kills (-undisturbed +resumed):\n%s", d)
		}
		l, _ := record.Read(filepath.Join(folder, record.FileName))
		for _, x := range l.Trials {
			resumed += x.Resumed
		}
	}
	t.Logf("%d hosts and %d agents killed, %d trials went on from their journals", hosts, agents, resumed)
	if resumed == 0 {
		t.Error("no trial went on from its journal: the kills all missed")
	}
}

// isAgent guards against a process number that was given away again.
func isAgent(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(b, []byte(roleVar+"=agent"))
}

func hasFailed(t *testing.T, folder string) bool {
	l, err := record.Read(filepath.Join(folder, record.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range l.Trials {
		if x.Status != record.StatusOK {
			return true
		}
	}
	return false
}

// A trial that fails in whatever way is recorded with the reason, the others
// run, and a resume that meets no failure ends like an undisturbed run.
func TestFailedTrials(t *testing.T) {
	t.Setenv(roleVar, "agent")
	for _, c := range []struct{ bad, want string }{
		{"panic", "agent: exit status 2: panic: the planted one"},
		{"kill", "agent: signal: killed"},
		{"hang", "timed out after 300ms"},
		{"open", "no such model"},
		{"request", `7 of 7 requests failed: prompt "p1": the planted failure`},
	} {
		t.Run(c.bad, func(t *testing.T) {
			t.Setenv(badVar, c.bad)
			folder := t.TempDir()
			p := smallPlan()
			p.Trials = p.Trials[:3]
			if c.bad == "hang" {
				p.Experiment.Timeout = "300ms"
			}
			r, err := Run(t.Context(), options(folder, p, false))
			if err != nil {
				t.Fatal(err)
			}
			if want := []Failure{{p.Trials[2].ID, c.want}}; !cmp.Equal(r.Failures, want) {
				t.Fatalf("failures %+v, want %+v", r.Failures, want)
			}
			if got := summary(t, folder)[p.Trials[2].ID+" trial"]; got != "failed"+c.want {
				t.Errorf("recorded %q", got)
			}
			t.Setenv(badVar, "")
			r, err = Run(t.Context(), options(folder, p, true))
			if err != nil || r.Kept != 2 || r.Ran != 1 || len(r.Failures) > 0 {
				t.Errorf("resumed: %+v, %v", r, err)
			}
			if m := summary(t, folder); len(m) != 3*8+3 || m[p.Trials[2].ID+" trial"] != "ok" {
				t.Errorf("after the resume: %d lines, %q", len(m), m[p.Trials[2].ID+" trial"])
			}
		})
	}
}

func TestFolder(t *testing.T) {
	t.Setenv(roleVar, "agent")
	t.Setenv(badVar, "")
	p := smallPlan()
	p.Trials = p.Trials[:1]
	folder := filepath.Join(t.TempDir(), "run")

	lock := func() *os.File {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		f, err := takeLock(folder)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := lock()
	_, err := Run(t.Context(), options(folder, p, false))
	if want := fmt.Sprintf("%s: in use by process %d", folder, os.Getpid()); !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("a folder in use: %v, want %s", err, want)
	}
	f.Close()
	if _, err := Run(t.Context(), options(folder, p, false)); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(folder, record.FileName))
	if _, err := Run(t.Context(), options(folder, p, false)); !errors.Is(err, ErrExists) {
		t.Errorf("a second run in the folder: %v, want ErrExists", err)
	}
	p.Experiment.Warmup = 2
	_, err = Run(t.Context(), options(folder, p, true))
	if want := folder + ": the configuration has changed since the run began: was warmup: 1; is warmup: 2"; err == nil || err.Error() != want {
		t.Errorf("resuming with another configuration: %v, want %s", err, want)
	}
	if after, _ := os.ReadFile(filepath.Join(folder, record.FileName)); !bytes.Equal(before, after) {
		t.Error("a refused run changed the record")
	}

	p.Experiment.Warmup = 1
	for _, tail := range []string{"{\"type\":\"requ", string(before[bytes.IndexByte(before, '\n')+1 : bytes.LastIndex(before[:len(before)-1], []byte("\n"))+1])} {
		if err := os.WriteFile(filepath.Join(folder, record.FileName), append(bytes.Clone(before), tail...), 0o666); err != nil {
			t.Fatal(err)
		}
		if r, err := Run(t.Context(), options(folder, p, true)); err != nil || r.Kept != 1 || r.Ran != 0 {
			t.Errorf("after a torn write: %+v, %v", r, err)
		}
		if after, _ := os.ReadFile(filepath.Join(folder, record.FileName)); !bytes.Equal(before, after) {
			t.Error("a torn write was not cut off")
		}
	}
}

// A disk that is full stops the campaign with one line, and the record keeps
// what it had.
func TestFullDisk(t *testing.T) {
	t.Setenv(roleVar, "agent")
	t.Run("record", func(t *testing.T) { // /dev/full takes no byte
		l, _, err := openLog(filepath.Join(t.TempDir(), record.FileName), record.Header{Type: record.TypeHeader, Version: 1}, false)
		if err != nil {
			t.Fatal(err)
		}
		l.f.Close()
		if l.f, err = os.OpenFile("/dev/full", os.O_WRONLY, 0); err != nil {
			t.Skip("this system has no /dev/full")
		}
		err = l.append([]any{record.Trial{}})
		if err == nil || !strings.HasSuffix(err.Error(), "bytes to the record: write /dev/full: no space left on device") {
			t.Errorf("full disk: %v", err)
		}
	})
	t.Run("journal", func(t *testing.T) {
		t.Setenv(badVar, "full")
		folder := t.TempDir()
		p := smallPlan()
		p.Trials = p.Trials[1:3] // b, then bad
		r, err := Run(t.Context(), options(folder, p, false))
		want := fmt.Sprintf("device \"local\": %s: file too large", filepath.Join(folder, "trials", p.Trials[1].ID+".jsonl"))
		if err == nil || err.Error() != want || r.Ran != 1 {
			t.Fatalf("full disk: %+v, %v; want %s", r, err, want)
		}
		if m := summary(t, folder); len(m) != 8+1 {
			t.Errorf("%d lines, want those of the first trial", len(m))
		}
		t.Setenv(badVar, "")
		if r, err := Run(t.Context(), options(folder, p, true)); err != nil || r.Kept != 1 || r.Ran != 1 || len(r.Failures) > 0 {
			t.Errorf("with space again: %+v, %v", r, err)
		}
		if m := summary(t, folder); len(m) != 2*(8+1) {
			t.Errorf("%d lines after the resume", len(m))
		}
	})
}

func TestInterrupt(t *testing.T) {
	t.Setenv(roleVar, "agent")
	t.Setenv(badVar, "")
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	o := options(folder, smallPlan(), false)
	seen := 0
	o.Progress = func(e Event) {
		if e.Kind == RequestDone {
			if seen++; seen == 12 {
				cancel()
			}
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, ErrInterrupted) {
		t.Fatalf("interrupted: %v", err)
	}
	calm := t.TempDir()
	if _, err := Run(t.Context(), options(calm, smallPlan(), false)); err != nil {
		t.Fatal(err)
	}
	began := -1
	o = options(folder, smallPlan(), true)
	o.Progress = func(e Event) {
		if e.Kind == Began {
			began = e.Done
		}
	}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if began != 8 {
		t.Errorf("the resumed campaign began with %d requests done, want 8", began)
	}
	if d := cmp.Diff(summary(t, calm), summary(t, folder)); d != "" {
		t.Error(d)
	}
}

// The lines of a trial stand together, each segment after its last request and
// the closing line at the end.
func TestOrderOfLines(t *testing.T) {
	t.Setenv(roleVar, "agent")
	t.Setenv(badVar, "")
	folder := t.TempDir()
	p := smallPlan()
	p.Trials = p.Trials[:1]
	if _, err := Run(t.Context(), options(folder, p, false)); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(folder, record.FileName))
	var got []string
	for l := range bytes.Lines(text) {
		var x struct {
			Type    string
			Segment int
		}
		if err := json.Unmarshal(l, &x); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(x.Type, x.Segment))
	}
	want := "header0 request-1 request0 request0 request0 segment0 request1 request1 request1 segment1 request2 segment2 trial0"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}
