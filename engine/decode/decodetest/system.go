package decodetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
)

// SystemOptions say what a decode.System itself cannot be asked.
type SystemOptions struct {
	Vocab   int // tokens of its target
	Context int // of its target: 160 to some hundred tokens, since the suite fills it
	// Seed varies the prompts.
	Seed uint64
}

// RunSystem checks that what open returns is a decode.System. Where its Identity
// says Exact, the output for a request must be one sequence, however it is cut
// and whatever came before.
func RunSystem(t *testing.T, open func(t *testing.T) decode.System, o SystemOptions) {
	if o.Vocab < 16 || o.Context < leastContext {
		t.Fatalf("a vocabulary of %d and a context of %d; the suite needs 16 and %d", o.Vocab, o.Context, leastContext)
	}
	for _, c := range []struct {
		name string
		run  func(*system)
	}{
		{"StepsMakeTheResult", (*system).steps},
		{"MaxTokens", (*system).maxTokens},
		{"StopTokens", (*system).stops},
		{"FullContext", (*system).full},
		{"Sampled", (*system).sampled},
		{"Cancelled", (*system).cancelled},
		{"RequestsAreIndependent", (*system).independent},
		{"BadRequests", (*system).bad},
		{"Remember", (*system).remember},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := open(t)
			s := &system{T: t, x: x, o: o, id: x.Identity(), rng: rand.New(rand.NewPCG(o.Seed, uint64(len(c.name))))}
			if s.id.Name == "" || s.id.Model == "" || s.id.Backend == "" {
				t.Errorf("Identity lacks a name, a model or a backend: %+v", s.id)
			}
			c.run(s)
			if again := x.Identity(); !reflect.DeepEqual(again, s.id) {
				t.Errorf("Identity changed from %+v to %+v", s.id, again)
			}
			if err := x.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

type system struct {
	*testing.T
	x   decode.System
	o   SystemOptions
	id  decode.Identity
	rng *rand.Rand
}

func (s *system) prompt(n int) []decode.Token { return Prompt(s.rng, n, s.o.Vocab) }

// copyStep returns a copy of x; an empty list in it is nil, so that copies compare.
func copyStep(x decode.Step) decode.Step {
	x.Tokens, x.Accepted = append([]decode.Token(nil), x.Tokens...), append([]decode.Origin(nil), x.Accepted...)
	return x
}

// decode answers req and checks all that holds for any request.
func (s *system) decode(req decode.Request) (decode.Result, []decode.Step) {
	s.Helper()
	prompt, stop := slices.Clone(req.Prompt), slices.Clone(req.Stop)
	var steps []decode.Step
	res, err := s.x.Decode(context.Background(), req, func(x decode.Step) { steps = append(steps, copyStep(x)) })
	if err != nil {
		s.Fatalf("Decode of %d tokens: %v", len(prompt), err)
	}
	if !slices.Equal(prompt, req.Prompt) || !slices.Equal(stop, req.Stop) {
		s.Error("Decode wrote to its request")
	}
	CheckSteps(s.T, req, res, steps)
	return res, steps
}

// CheckSteps checks a finished request: that the steps are res, that their
// accounts are consistent, and that res ends where req says.
func CheckSteps(t *testing.T, req decode.Request, res decode.Result, steps []decode.Step) {
	t.Helper()
	n := len(res.Tokens)
	if n == 0 || len(steps) == 0 {
		t.Errorf("%d tokens in %d steps", n, len(steps))
		return
	}
	checkAccounts(t, len(req.Prompt), res.Tokens, steps)
	if n > req.MaxTokens {
		t.Errorf("%d tokens, MaxTokens is %d", n, req.MaxTokens)
	}
	if i := slices.IndexFunc(res.Tokens, func(x decode.Token) bool { return slices.Contains(req.Stop, x) }); i >= 0 && i < n-1 {
		t.Errorf("stop token %d at %d of %d tokens did not end the output", res.Tokens[i], i, n)
	}
	stopped := slices.Contains(req.Stop, res.Tokens[n-1])
	switch res.Reason {
	case decode.StopToken:
		if !stopped {
			t.Errorf("ended by a stop token, but the last token is %d", res.Tokens[n-1])
		}
	case decode.StopLength:
		if n != req.MaxTokens || stopped {
			t.Errorf("ended by length after %d of %d tokens, the last of which is a stop token: %t", n, req.MaxTokens, stopped)
		}
	case decode.StopContext:
		if stopped || n == req.MaxTokens {
			t.Errorf("ended by the context, but a stop token (%t) or MaxTokens (%d of %d) did before", stopped, n, req.MaxTokens)
		}
	default:
		t.Errorf("unknown reason %q", res.Reason)
	}
}

func checkAccounts(t *testing.T, prompt int, tokens []decode.Token, steps []decode.Step) {
	t.Helper()
	var joined []decode.Token
	for i, x := range steps {
		joined = append(joined, x.Tokens...)
		total := x.DraftedTotal()
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("step %d, %+v: %s", i, x, fmt.Sprintf(format, args...))
		}
		if i == 0 {
			if x.Phase != decode.Prefill || len(x.Tokens) != 1 || x.Width < prompt || total > 0 || len(x.Accepted) > 0 || x.Depth > 0 {
				fail("the first step is the prompt's, of %d tokens, and emits one", prompt)
			}
			continue
		}
		if x.Phase != decode.Verify {
			fail("only the first step is the prompt's")
		}
		if x.Width < 1+total || x.Depth > total || x.Depth == 0 && total > 0 {
			fail("%d drafted nodes", total)
		}
		if len(x.Accepted) > x.Depth {
			fail("%d accepted nodes in a draft of depth %d", len(x.Accepted), x.Depth)
		}
		last := i == len(steps)-1
		if e := len(x.Tokens); e != len(x.Accepted)+1 && !(last && e > 0 && e == len(x.Accepted)) {
			fail("%d tokens from %d accepted nodes", e, len(x.Accepted))
		}
		var by [decode.NumOrigins]uint8
		for _, o := range x.Accepted {
			if o == decode.FromRoot || o >= decode.NumOrigins {
				fail("a node of origin %d was accepted", o)
				continue
			}
			if by[o]++; by[o] > x.Drafted[o] {
				fail("%d nodes from %s were accepted, %d drafted", by[o], o, x.Drafted[o])
			}
		}
		if x.Drafted[decode.FromRoot] > 0 {
			fail("the root is not drafted")
		}
	}
	if !slices.Equal(joined, tokens) {
		t.Errorf("the steps hold %v, the result %v", joined, tokens)
	}
}

// whole is the output for a prompt, long enough to be cut.
func (s *system) whole(prompt []decode.Token, p decode.Sampling) []decode.Token {
	s.Helper()
	res, _ := s.decode(decode.Request{Prompt: prompt, MaxTokens: 60, Sampling: p})
	if len(res.Tokens) != 60 || res.Reason != decode.StopLength {
		s.Fatalf("%d tokens, ended by %q; want 60 by length", len(res.Tokens), res.Reason)
	}
	return res.Tokens
}

// same reports a difference where the system promises none.
func (s *system) same(what string, got, want []decode.Token) {
	s.Helper()
	if s.id.Exact && !slices.Equal(got, want) {
		s.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func (s *system) steps() {
	for _, n := range []int{1, 2, 40, 90} {
		prompt := s.prompt(n)
		want := s.whole(prompt, decode.Sampling{})
		res, err := s.x.Decode(context.Background(), decode.Request{Prompt: prompt, MaxTokens: 60}, nil)
		if err != nil {
			s.Fatalf("Decode without onStep: %v", err)
		}
		s.same("without onStep", res.Tokens, want)
	}
}

func (s *system) maxTokens() {
	prompt := s.prompt(50)
	want := s.whole(prompt, decode.Sampling{})
	for n := 1; n <= 20; n++ {
		res, _ := s.decode(decode.Request{Prompt: prompt, MaxTokens: n})
		s.same(fmt.Sprintf("MaxTokens %d", n), res.Tokens, want[:n])
	}
}

func (s *system) stops() {
	prompt := s.prompt(50)
	want := s.whole(prompt, decode.Sampling{})
	for at := 0; at < 40; at += 1 + s.rng.IntN(3) {
		stop := want[at]
		end := slices.Index(want, stop)
		unused := decode.Token(0)
		for slices.Contains(want, unused) {
			unused++
		}
		for _, set := range [][]decode.Token{{stop}, {unused, stop, stop}} {
			res, _ := s.decode(decode.Request{Prompt: prompt, MaxTokens: 60, Stop: set})
			s.same(fmt.Sprintf("stop token %d, which is output %d", stop, end), res.Tokens, want[:end+1])
			if s.id.Exact && res.Reason != decode.StopToken {
				s.Errorf("stop token %d: ended by %q", stop, res.Reason)
			}
		}
	}
	res, _ := s.decode(decode.Request{Prompt: prompt, MaxTokens: 7, Stop: want[6:7]})
	if s.id.Exact && len(res.Tokens) == 7 && res.Reason != decode.StopToken {
		s.Errorf("a stop token at MaxTokens: ended by %q, want %q", res.Reason, decode.StopToken)
	}
}

func (s *system) full() {
	size := s.o.Context
	for _, left := range []int{0, 1, 2, 9, 30} {
		prompt := s.prompt(size - left)
		res, _ := s.decode(decode.Request{Prompt: prompt, MaxTokens: 100})
		// The token after the last position needs no room.
		if len(res.Tokens) != left+1 || res.Reason != decode.StopContext {
			s.Errorf("%d tokens of room: %d tokens, ended by %q; want %d by %q", left, len(res.Tokens), res.Reason, left+1, decode.StopContext)
		}
		res, _ = s.decode(decode.Request{Prompt: prompt, MaxTokens: left + 1})
		if len(res.Tokens) != left+1 || res.Reason != decode.StopLength {
			s.Errorf("%d tokens of room for as many: %d tokens, ended by %q", left, len(res.Tokens), res.Reason)
		}
	}
}

func (s *system) sampled() {
	prompt := s.prompt(50)
	for _, p := range []decode.Sampling{
		{Temperature: 0.8, Seed: 1},
		{Temperature: 1.5, TopK: 20, TopP: 0.95, MinP: 0.02, Seed: 2},
		{Temperature: 0.8, TopK: 1, Seed: 3},
	} {
		want := s.whole(prompt, p)
		s.same(fmt.Sprintf("again with %+v", p), s.whole(prompt, p), want)
		for _, n := range []int{1, 2, 13} {
			res, _ := s.decode(decode.Request{Prompt: prompt, MaxTokens: n, Sampling: p})
			s.same(fmt.Sprintf("MaxTokens %d with %+v", n, p), res.Tokens, want[:n])
		}
		if p.TopK == 1 {
			s.same("the likeliest token alone", want, s.whole(prompt, decode.Sampling{}))
		}
	}
	a := s.whole(prompt, decode.Sampling{Temperature: 2, Seed: 10})
	b := s.whole(prompt, decode.Sampling{Temperature: 2, Seed: 11})
	if slices.Equal(a, b) {
		s.Errorf("two seeds at temperature 2 gave one output: %v", a)
	}
}

func (s *system) cancelled() {
	prompt := s.prompt(40)
	want := s.whole(prompt, decode.Sampling{})
	for after := range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		if after == 0 {
			cancel()
		}
		var steps []decode.Step
		res, err := s.x.Decode(ctx, decode.Request{Prompt: prompt, MaxTokens: 60}, func(x decode.Step) {
			if steps = append(steps, copyStep(x)); len(steps) == after {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			s.Fatalf("cancelled after %d steps: %v", after, err)
		}
		if len(steps) != after {
			s.Errorf("cancelled after %d steps, got %d", after, len(steps))
		}
		if after > 0 {
			checkAccounts(s.T, len(prompt), res.Tokens, steps)
		} else if len(res.Tokens) > 0 {
			s.Errorf("%d tokens of a request cancelled before its first step", len(res.Tokens))
		}
		s.same(fmt.Sprintf("cancelled after %d steps", after), res.Tokens, want[:min(len(res.Tokens), len(want))])
		s.same("the request after a cancelled one", s.whole(prompt, decode.Sampling{}), want)
	}
}

func (s *system) independent() {
	a, b := s.prompt(60), s.prompt(33)
	wantA, wantB := s.whole(a, decode.Sampling{}), s.whole(b, decode.Sampling{})
	for _, group := range []string{"", "x", "x", "y"} {
		for _, c := range []struct{ prompt, want []decode.Token }{{b, wantB}, {a, wantA}} {
			res, _ := s.decode(decode.Request{Prompt: c.prompt, MaxTokens: 60, Group: group})
			s.same(fmt.Sprintf("in group %q", group), res.Tokens, c.want)
		}
	}
}

func (s *system) bad() {
	ok := s.prompt(20)
	want := s.whole(ok, decode.Sampling{})
	for _, c := range []struct {
		name string
		req  decode.Request
		full bool
	}{
		{"empty prompt", decode.Request{MaxTokens: 5}, false},
		{"no tokens wanted", decode.Request{Prompt: ok}, false},
		{"fewer than no tokens wanted", decode.Request{Prompt: ok, MaxTokens: -1}, false},
		{"token beyond the vocabulary", decode.Request{Prompt: []decode.Token{1, decode.Token(s.o.Vocab)}, MaxTokens: 5}, false},
		{"separator in the prompt", decode.Request{Prompt: []decode.Token{1, decode.Separator}, MaxTokens: 5}, false},
		{"prompt beyond the context", decode.Request{Prompt: s.prompt(s.o.Context + 1), MaxTokens: 5}, true},
		{"negative temperature", decode.Request{Prompt: ok, MaxTokens: 5, Sampling: decode.Sampling{Temperature: -1}}, false},
		{"temperature that is no number", decode.Request{Prompt: ok, MaxTokens: 5, Sampling: decode.Sampling{Temperature: math.NaN()}}, false},
		{"negative top-k", decode.Request{Prompt: ok, MaxTokens: 5, Sampling: decode.Sampling{Temperature: 1, TopK: -1}}, false},
		{"top-p above 1", decode.Request{Prompt: ok, MaxTokens: 5, Sampling: decode.Sampling{Temperature: 1, TopP: 1.5}}, false},
		{"min-p above 1", decode.Request{Prompt: ok, MaxTokens: 5, Sampling: decode.Sampling{Temperature: 1, MinP: 2}}, false},
	} {
		steps := 0
		res, err := s.x.Decode(context.Background(), c.req, func(decode.Step) { steps++ })
		if err == nil || steps > 0 || len(res.Tokens) > 0 {
			s.Errorf("%s: error %v after %d steps and %d tokens; want an error at once", c.name, err, steps, len(res.Tokens))
		}
		if errors.Is(err, decode.ErrContextFull) != c.full {
			s.Errorf("%s: %v; is it decode.ErrContextFull? want %t", c.name, err, c.full)
		}
		s.same("the request after a bad one ("+c.name+")", s.whole(ok, decode.Sampling{}), want)
	}
}

func (s *system) remember() {
	r, ok := s.x.(decode.Rememberer)
	if !ok {
		return // a system without a memory has nothing to forget
	}
	prompt := s.prompt(30)
	request := func(group string) ([]decode.Token, []decode.Step) {
		res, steps := s.decode(decode.Request{Prompt: prompt, MaxTokens: 60, Group: group})
		return res.Tokens, steps
	}
	r.Forget()
	want, fresh := request("a")
	r.Forget()
	got, again := request("a")
	s.same("after Forget", got, want)
	if s.id.Exact && !reflect.DeepEqual(again, fresh) {
		s.Error("after Forget, the steps differ from those of a fresh system")
	}
	_, lived := request("a")
	r.Forget()
	r.Remember("a", want)
	got, told := request("a")
	s.same("after Remember", got, want)
	if s.id.Exact && !reflect.DeepEqual(told, lived) {
		s.Error("a remembered answer does not act like one that was given")
	}
	r.Forget()
	r.Remember("b", want)
	if got, other := request("a"); s.id.Exact && (!reflect.DeepEqual(other, fresh) || !slices.Equal(got, want)) {
		s.Error("the memory of one group acts in another")
	}
	r.Forget()
}
