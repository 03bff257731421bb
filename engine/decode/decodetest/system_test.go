package decodetest_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/speculate"
)

// A mutant is a system with one defect.
type mutant struct {
	*speculate.Engine
	target   *decodetest.Toy
	defect   string
	requests int
	kept     []decode.Token
}

func (m *mutant) Identity() decode.Identity {
	id := m.Engine.Identity()
	if m.defect == "identity changes" {
		id.Options = map[string]string{"requests": strings.Repeat("x", m.requests)}
	}
	return id
}

func (m *mutant) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	m.requests++
	say := onStep
	if onStep == nil {
		say = func(decode.Step) {}
		if m.defect == "needs onStep" {
			onStep(decode.Step{})
		}
	}
	steps := 0
	inner := func(s decode.Step) {
		steps++
		switch m.defect {
		case "accepted one too many":
			if s.Phase == decode.Verify {
				s.Accepted = append(slices.Clone(s.Accepted), decode.FromDynamic)
			}
		case "drafts not counted":
			s.Drafted = [decode.NumOrigins]uint8{}
		case "a step doubled":
			if steps == 4 {
				say(s)
			}
		case "no prompt step":
			s.Phase = decode.Verify
		case "prompt width":
			if s.Phase == decode.Prefill {
				s.Width = 1
			}
		}
		say(s)
	}
	switch m.defect {
	case "stop tokens ignored":
		req.Stop = nil
	case "first stop token only":
		req.Stop = req.Stop[:min(1, len(req.Stop))]
	case "cancellation ignored":
		ctx = context.Background()
	case "seed ignored":
		req.Sampling.Seed = 1
	case "always greedy":
		req.Sampling = decode.Sampling{}
	case "one token more":
		if req.MaxTokens > 0 {
			req.MaxTokens++
		}
	case "prompt changed":
		if len(req.Prompt) > 0 {
			defer func() { req.Prompt[0]++ }()
		}
	case "empty prompt answered":
		if len(req.Prompt) == 0 {
			req.Prompt = []decode.Token{0}
		}
	case "sampling not checked":
		if req.Sampling.TopP > 1 {
			req.Sampling.TopP = 1
		}
	case "earlier requests leak":
		was := m.kept
		if m.kept = slices.Clone(req.Prompt); m.requests > 3 && len(was) > 0 && len(req.Prompt) < 100 {
			req.Prompt = append(was[:1:1], req.Prompt...)
		}
	}
	res, err := m.Engine.Decode(ctx, req, inner)
	switch m.defect {
	case "a token lost":
		if len(res.Tokens) > 3 {
			res.Tokens = res.Tokens[:len(res.Tokens)-1]
		}
	case "nothing left after cancellation":
		if err != nil {
			res = decode.Result{}
		}
	case "reason":
		if res.Reason == decode.StopContext {
			res.Reason = decode.StopLength
		}
	case "stop token called length":
		if res.Reason == decode.StopToken && len(res.Tokens) == req.MaxTokens {
			res.Reason = decode.StopLength
		}
	}
	return res, err
}

// A forgetful one remembers across groups.
type forgetful struct {
	*mutant
	h *draft.History
	a *draft.Automaton
}

func (f *forgetful) Remember(group string, out []decode.Token) {
	if f.defect == "groups mixed" {
		group = ""
	}
	f.h.Remember(group, out)
}

func (f *forgetful) Forget() {
	if f.defect != "forget does nothing" {
		f.h.Forget()
	}
}

func (f *forgetful) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	if f.defect == "groups mixed" {
		req.Group = ""
	}
	f.a.Use(req.Group)
	res, err := f.mutant.Decode(ctx, req, onStep)
	if err == nil && f.defect != "answers not kept" {
		f.Remember(req.Group, res.Tokens)
	}
	return res, err
}

var systemDefects = []string{
	"identity changes", "needs onStep", "accepted one too many", "drafts not counted", "a step doubled", "no prompt step", "prompt width",
	"stop tokens ignored", "first stop token only", "cancellation ignored", "seed ignored", "always greedy", "one token more", "prompt changed",
	"empty prompt answered", "sampling not checked", "earlier requests leak", "a token lost", "nothing left after cancellation", "reason",
	"stop token called length", "groups mixed", "forget does nothing", "answers not kept",
}

// Each planted defect makes the suite fail, and a system without one passes.
func TestSystemSuiteFindsDefects(t *testing.T) {
	if d := os.Getenv("DECODETEST_DEFECT"); d != "" {
		decodetest.RunSystem(t, func(t *testing.T) decode.System {
			target := decodetest.NewToy(decodetest.ToyOptions{Context: 200})
			h := draft.NewHistory(1 << 12)
			o := draft.AutomatonDefaults()
			o.History = h
			a := draft.NewAutomaton(o)
			e, err := speculate.New(target, []draft.Source{a}, speculate.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return &forgetful{&mutant{Engine: e, target: target, defect: d}, h, a}
		}, decodetest.SystemOptions{Vocab: 64, Context: 200})
		return
	}
	for _, d := range append([]string{"none"}, systemDefects...) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSystemSuiteFindsDefects$")
		cmd.Env = append(os.Environ(), "DECODETEST_DEFECT="+d)
		out, err := cmd.CombinedOutput()
		if failed := strings.Contains(string(out), "--- FAIL") || strings.Contains(string(out), "panic:"); failed != (d != "none") {
			t.Errorf("defect %q: the suite's answer is %v\n%s", d, err, out)
		}
	}
}
