package speculate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/sample"
)

// plain generates without the loop, without trees: one prefill a token.
func plain(t *testing.T, x decode.Target, req decode.Request) decode.Result {
	t.Helper()
	s, err := sample.New(req.Sampling)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Truncate(0); err != nil {
		t.Fatal(err)
	}
	var res decode.Result
	next := req.Prompt
	for {
		r, err := x.Prefill(context.Background(), next, decode.Want{Logits: true}, 0)
		if errors.Is(err, decode.ErrContextFull) && len(res.Tokens) > 0 {
			res.Reason = decode.StopContext
			return res
		}
		if err != nil {
			t.Fatal(err)
		}
		tok := s.Pick(len(res.Tokens), r.Last.Logits)
		res.Tokens = append(res.Tokens, tok)
		if slices.Contains(req.Stop, tok) {
			res.Reason = decode.StopToken
			return res
		}
		if len(res.Tokens) == req.MaxTokens {
			res.Reason = decode.StopLength
			return res
		}
		next = []decode.Token{tok}
	}
}

// An oracle drafts what it was told will come, with wrong siblings and, now and
// then, a wrong token inside.
type oracle struct {
	rng   *rand.Rand
	vocab int
	known []decode.Token
	at    int
	wrong float64
}

func (o *oracle) Begin([]decode.Token, decode.PrefillResult)         { o.at = 0 }
func (o *oracle) Observe(committed []decode.Token, _ *draft.Verdict) { o.at += len(committed) }
func (o *oracle) Propose(b *draft.Builder) {
	u := 0
	for _, tok := range o.known[min(o.at, len(o.known)):] {
		if o.rng.IntN(3) == 0 {
			b.Add(u, decode.Token(o.rng.IntN(o.vocab)), decode.FromReuse)
		}
		if o.rng.Float64() < o.wrong {
			tok = decode.Token(o.rng.IntN(o.vocab))
		}
		if u, _ = b.Add(u, tok, decode.FromRandom); u < 0 {
			return
		}
	}
}

type drafters struct {
	name string
	make func(seed uint64, vocab int, known []decode.Token) []draft.Source
}

var allDrafters = []drafters{
	{"none", func(uint64, int, []decode.Token) []draft.Source { return nil }},
	{"random", func(seed uint64, v int, _ []decode.Token) []draft.Source {
		return []draft.Source{draft.NewRandom(seed, v)}
	}},
	{"oracle", func(seed uint64, v int, known []decode.Token) []draft.Source {
		return []draft.Source{&oracle{rng: rand.New(rand.NewPCG(seed, 1)), vocab: v, known: known, wrong: 0.02}}
	}},
	{"many", func(seed uint64, v int, known []decode.Token) []draft.Source {
		o := draft.AutomatonDefaults()
		o.Occurrence = draft.Both
		return []draft.Source{
			draft.Upto(draft.NewAutomaton(o), 20), draft.NewReuse(draft.ReuseDefaults()),
			&oracle{rng: rand.New(rand.NewPCG(seed, 2)), vocab: v, known: known, wrong: 0.3}, draft.NewRandom(seed, v),
		}
	}},
}

func policies(t *testing.T, rng *rand.Rand) WidthPolicy {
	w := []int{1, 2, 3, 8, 33, 64}[rng.IntN(6)]
	if rng.IntN(2) == 0 {
		return Fixed(w)
	}
	p, err := Adaptive(w, Curve{{1, 50 * time.Millisecond}, {32, time.Duration(60+rng.IntN(300)) * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever is drafted, and however wide, the output is the one of plain
// decoding: greedy and sampled, with stop tokens and token limits inside
// accepted paths, to the end of the context, with exact ties and the ends of the
// vocabulary.
func TestOutputIsPlainOutput(t *testing.T) {
	var inside struct{ stop, length, context, accepted, sampled int }
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		vocab := []int{16, 64, 300}[seed%3]
		target := decodetest.NewToy(decodetest.ToyOptions{Vocab: vocab, Context: 160, Seed: seed % 7, Nodes: []int{64, 64, 9}[seed/3%3]})
		for _, temp := range []float64{0, 0.8} {
			req := decode.Request{
				Prompt: decodetest.Prompt(rng, 1+rng.IntN(60), vocab), MaxTokens: 1 + rng.IntN(150),
				Sampling: decode.Sampling{Temperature: temp, Seed: seed},
			}
			if temp > 0 && seed%2 == 0 {
				req.Sampling.TopK, req.Sampling.TopP = 10, 0.9
			}
			long := plain(t, target, req)
			if rng.IntN(2) == 0 {
				req.Stop = []decode.Token{decode.Token(rng.IntN(vocab)), long.Tokens[rng.IntN(len(long.Tokens))]}
			}
			want := plain(t, target, req)
			for _, d := range allDrafters {
				e, err := New(target, d.make(seed, vocab, long.Tokens), Options{Width: policies(t, rng), TopK: 3, Live: seed%2 == 0})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second request finds the first one's leftovers
					var steps []decode.Step
					got, err := e.Decode(context.Background(), req, func(s decode.Step) {
						s.Tokens, s.Accepted = slices.Clone(s.Tokens), slices.Clone(s.Accepted)
						steps = append(steps, s)
						if n := target.Len() - len(req.Prompt) + 1; n != len(flat(steps)) {
							t.Errorf("%s: after a step the target holds %d output tokens but the last, the steps %d", d.name, n, len(flat(steps)))
						}
					})
					if err != nil {
						t.Fatalf("%s: %v", d.name, err)
					}
					if !slices.Equal(got.Tokens, want.Tokens) || got.Reason != want.Reason {
						t.Fatalf("seed %d, %s, %s, temperature %g:\ngot  %v %s\nwant %v %s", seed, d.name, e.o.Width, temp, got.Tokens, got.Reason, want.Tokens, want.Reason)
					}
					decodetest.CheckSteps(t, req, got, steps)
					if held := target.Context(); !slices.Equal(held, append(slices.Clone(req.Prompt), got.Tokens[:len(got.Tokens)-1]...)) {
						t.Fatalf("%s: the target holds %v after prompt %v and output %v", d.name, held, req.Prompt, got.Tokens)
					}
					last := steps[len(steps)-1]
					switch {
					case got.Reason == decode.StopToken && len(last.Tokens) > 1 && len(last.Accepted) == len(last.Tokens):
						inside.stop++
					case got.Reason == decode.StopLength && len(last.Accepted) > 0 && len(last.Accepted) == last.Depth:
						inside.length++ // the draft was cut at the limit, and right up to there
					}
					if got.Reason == decode.StopContext {
						inside.context++
					}
					for _, s := range steps {
						inside.accepted += len(s.Accepted)
						if temp > 0 {
							inside.sampled += len(s.Accepted)
						}
					}
				}
			}
		}
	}
	t.Logf("ended inside an accepted path: %d by a stop token; right up to MaxTokens: %d; by the context: %d; accepted nodes: %d, of these sampled: %d",
		inside.stop, inside.length, inside.context, inside.accepted, inside.sampled)
	if inside.stop < 10 || inside.length < 10 || inside.context < 10 || inside.sampled < 1000 {
		t.Error("too few")
	}
}

// Where a draft goes on beyond MaxTokens, as no builder's does, the accepted path
// is cut there all the same.
func TestMatchStopsAtLimit(t *testing.T) {
	target := decodetest.NewToy(decodetest.ToyOptions{})
	req := decode.Request{Prompt: []decode.Token{1, 2, 3}, MaxTokens: 20}
	want := plain(t, target, req).Tokens
	e, err := New(target, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for most := 2; most < 12; most++ {
		req.MaxTokens = most
		g, err := e.begin(context.Background(), req, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Prefill(context.Background(), req.Prompt, decode.Want{}, 0); err != nil {
			t.Fatal(err)
		}
		tree := &decode.Tree{}
		tree.Reset(want[0])
		for i, tok := range want[1:] {
			tree.Add(i, tok, decode.FromRandom)
		}
		s, err := target.Verify(context.Background(), tree, decode.Want{})
		if err != nil {
			t.Fatal(err)
		}
		e.out = append(e.out[:0], want[0])
		reason := e.match(g, tree, s)
		if !slices.Equal(e.out, want[:most]) || reason != decode.StopLength || len(e.origins) != most-1 {
			t.Errorf("MaxTokens %d: %v, %s, %d accepted; want %v", most, e.out, reason, len(e.origins), want[:most])
		}
	}
}

func flat(steps []decode.Step) (all []decode.Token) {
	for _, s := range steps {
		all = append(all, s.Tokens...)
	}
	return all
}

// The loop with each drafter is a decode.System.
func TestConformance(t *testing.T) {
	for _, d := range allDrafters {
		t.Run(d.name, func(t *testing.T) {
			decodetest.RunSystem(t, func(t *testing.T) decode.System {
				e, err := New(decodetest.NewToy(decodetest.ToyOptions{Context: 200}), d.make(3, 64, nil), Options{})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}, decodetest.SystemOptions{Vocab: 64, Context: 200, Seed: 5})
		})
	}
}

// A listener notes what a source is told.
type listener struct {
	*oracle
	t      *testing.T
	stream []decode.Token
	k      int
	judged int
}

func (l *listener) Begin(p []decode.Token, r decode.PrefillResult) {
	l.oracle.Begin(p, r)
	l.stream = slices.Clone(p)
	if r.K != l.k || len(r.Top) != l.k*len(p) {
		l.t.Errorf("%d of %d candidates for %d prompt tokens", len(r.Top), r.K, len(p))
	}
}

func (l *listener) Observe(c []decode.Token, v *draft.Verdict) {
	l.oracle.Observe(c, v)
	l.stream = append(l.stream, c...)
	if v == nil {
		return
	}
	l.judged++
	if err := v.Tree.Validate(l.vocab); err != nil {
		l.t.Error(err)
	}
	if len(v.Picked) != v.Tree.Len() || v.K != l.k || len(v.Top) != l.k*v.Tree.Len() {
		l.t.Errorf("%d picks and %d candidates of %d for %d nodes", len(v.Picked), len(v.Top), v.K, v.Tree.Len())
	}
	for i, tok := range c {
		if v.Picked[v.Path[i]] != tok {
			l.t.Errorf("emitted %v, picked %d after accepted node %d", c, v.Picked[v.Path[i]], i)
		}
		if i > 0 && v.Tree.Tokens[v.Path[i]] != c[i-1] {
			l.t.Errorf("path %v of %v is not what was emitted: %v", v.Path, v.Tree.Tokens, c)
		}
	}
	on := map[int]bool{}
	for _, u := range v.Path {
		on[u] = true
	}
	for i, tok := range v.Picked {
		if !on[i] && tok != v.Top[i*v.K].Token {
			l.t.Errorf("node %d is off the path: picked %d, likeliest %d", i, tok, v.Top[i*v.K].Token)
		}
	}
}

// Sources hear every token once and in order, and verdicts that match.
func TestSourcesHearEverything(t *testing.T) {
	target := decodetest.NewToy(decodetest.ToyOptions{})
	rng := rand.New(rand.NewPCG(1, 1))
	req := decode.Request{Prompt: decodetest.Prompt(rng, 40, 64), MaxTokens: 100, Sampling: decode.Sampling{Temperature: 0.7}}
	l := &listener{oracle: &oracle{rng: rng, vocab: 64, wrong: 0.2, known: plain(t, target, req).Tokens}, t: t, k: 4}
	e, err := New(target, []draft.Source{l}, Options{TopK: 4, Live: true, Width: Fixed(12)})
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.Decode(context.Background(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := append(slices.Clone(req.Prompt), res.Tokens...); !slices.Equal(l.stream, want) {
		t.Errorf("the source heard %v, want %v", l.stream, want)
	}
	if l.judged < 10 || l.judged > 60 {
		t.Errorf("%d verdicts for 100 tokens of a good drafter", l.judged)
	}
}

// A source that fails ends the request with its error; what was emitted stays.
type failing struct {
	*oracle
	calls int
}

func (f *failing) Propose(*draft.Builder) { f.calls++ }
func (f *failing) Err() error {
	if f.calls > 3 {
		return errors.New("draft model: broken")
	}
	return nil
}

func TestFailingSource(t *testing.T) {
	target := decodetest.NewToy(decodetest.ToyOptions{})
	req := decode.Request{Prompt: []decode.Token{1, 2, 3}, MaxTokens: 50}
	want := plain(t, target, req).Tokens
	e, err := New(target, []draft.Source{&failing{oracle: &oracle{}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.Decode(context.Background(), req, nil)
	if err == nil || err.Error() != "draft model: broken" || !slices.Equal(res.Tokens, want[:4]) {
		t.Errorf("got %v and %v, want the source's error and %v", res.Tokens, err, want[:4])
	}
}

func TestNewRefuses(t *testing.T) {
	target := decodetest.NewToy(decodetest.ToyOptions{})
	for _, o := range []Options{{Width: Fixed(0)}, {Width: Fixed(65)}, {TopK: -1}, {TopK: 65}, {Live: true}} {
		if _, err := New(target, nil, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// A timed target knows how long its passes took.
type timed struct {
	decode.Target
	spent  time.Duration
	passes int
}

func (x *timed) Verify(ctx context.Context, t *decode.Tree, w decode.Want) (decode.Scores, error) {
	start := time.Now()
	s, err := x.Target.Verify(ctx, t, w)
	x.spent += time.Since(start)
	x.passes++
	return s, err
}

// Everything of a step but the target's pass, behind a context of 2,000 tokens.
func BenchmarkOverhead(b *testing.B) {
	const vocab = 1000
	history := draft.NewHistory(draft.HistoryCap)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		history.Remember("", decodetest.Prompt(rng, 200, vocab))
	}
	sam := draft.AutomatonDefaults()
	both := draft.AutomatonOptions{Alpha: 4, Cap: 16, Fill: true, Occurrence: draft.Both, MinMatch: 1, History: history}
	for _, c := range []struct {
		name    string
		sources []draft.Source
	}{
		{"ar", nil},
		{"pld", []draft.Source{draft.NewLookup(draft.LookupDefaults())}},
		{"sam", []draft.Source{draft.NewAutomaton(sam)}},
		{"both+reuse", []draft.Source{draft.NewAutomaton(both), draft.NewReuse(draft.ReuseDefaults())}},
	} {
		b.Run(c.name, func(b *testing.B) {
			toy := decodetest.NewToy(decodetest.ToyOptions{Vocab: vocab, Context: 4096})
			target := &timed{Target: toy}
			e, err := New(target, c.sources, Options{Width: Fixed(32)})
			if err != nil {
				b.Fatal(err)
			}
			prompt := decodetest.Prompt(rng, 2000, vocab)
			steps, tokens, drafted := 0, 0, 0
			var last time.Time
			var all time.Duration
			for b.Loop() {
				last = time.Time{}
				_, err := e.Decode(context.Background(), decode.Request{Prompt: prompt, MaxTokens: 300}, func(s decode.Step) {
					now := time.Now()
					if !last.IsZero() {
						all += now.Sub(last)
						steps++
						tokens += len(s.Tokens)
						drafted += s.DraftedTotal()
					}
					last = now
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((all-target.spent).Nanoseconds())/1e3/float64(steps), "µs/step")
			b.ReportMetric(float64(tokens)/float64(steps), "tokens/step")
			b.ReportMetric(float64(drafted)/float64(steps), "drafted/step")
		})
	}
}

func ExampleParseCurve() {
	c, err := ParseCurve("1:51ms,32:182ms")
	fmt.Println(c, err, time.Duration(c.At(16)).Round(time.Millisecond))
	// Output: 1:51ms,32:182ms <nil> 114ms
}
