package baselines

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
)

const (
	vocab = 64
	room  = 240
)

func toy(seed uint64) *decodetest.Toy {
	return decodetest.NewToy(decodetest.ToyOptions{Vocab: vocab, Context: room, Seed: seed})
}

// on returns a system on target; a draft model that is right three times out of
// four comes with it.
func on(t testing.TB, target decode.Target, seed uint64, name string, options map[string]string) decode.System {
	t.Helper()
	small := decodetest.NewToy(decodetest.ToyOptions{Name: "small", Vocab: vocab, Context: room, Seed: seed, Noise: 0.25})
	x, err := Open(name, Config{Target: target, Draft: small, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func run(t testing.TB, x decode.System, req decode.Request) (decode.Result, []decode.Step) {
	t.Helper()
	var steps []decode.Step
	res, err := x.Decode(context.Background(), req, func(s decode.Step) {
		s.Tokens = append([]decode.Token(nil), s.Tokens...)
		s.Accepted = append([]decode.Origin(nil), s.Accepted...)
		steps = append(steps, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	return res, steps
}

func prompt(seed uint64, n int) []decode.Token {
	return decodetest.Prompt(rand.New(rand.NewPCG(seed, 3)), n, vocab)
}

// Every system, and every variant of coordgen that ablations and the paper's rows
// use, is a decode.System.
func TestConformance(t *testing.T) {
	type variant struct {
		name    string
		options map[string]string
	}
	var all []variant
	for _, n := range Names() {
		all = append(all, variant{n, nil})
	}
	for _, o := range []string{
		"calibration=false", "reuse=false", "history=false", "calibration=false reuse=false history=false", "chain=lookup", "live=true order=dfs",
		"width=64 refill=true", "width=5", "history_cap=100 bias=2", "builder=eager occurrence=earliest",
	} {
		all = append(all, variant{"coordgen", parse(o)})
	}
	all = append(all, variant{"speculative", parse("p_min=0.5 k=12")}, variant{"sam", parse("occurrence=both alpha=1.5")}, variant{"pld", parse("partial=true latest=true")})
	for _, v := range all {
		t.Run(v.name+fmt.Sprint(v.options), func(t *testing.T) {
			decodetest.RunSystem(t, func(t *testing.T) decode.System { return on(t, toy(2), 2, v.name, v.options) },
				decodetest.SystemOptions{Vocab: vocab, Context: room, Seed: 11})
		})
	}
}

// parse reads "a=1 b=2".
func parse(s string) map[string]string {
	m := map[string]string{}
	for _, f := range strings.Fields(s) {
		k, v, _ := strings.Cut(f, "=")
		m[k] = v
	}
	return m
}

// randomOptions sets some of a system's options to values that it says are allowed.
func randomOptions(t *testing.T, rng *rand.Rand, name string) map[string]string {
	info, err := Describe(name)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, o := range info.Options {
		if rng.IntN(3) > 0 {
			continue
		}
		number := func() int { return int(o.Min) + rng.IntN(min(int(o.Max-o.Min), 70)+1) }
		switch o.Type {
		case Bool:
			set[o.Name] = []string{"true", "false"}[rng.IntN(2)]
		case Enum:
			set[o.Name] = o.Values[rng.IntN(len(o.Values))]
		case Int:
			set[o.Name] = fmt.Sprint(number())
		case Float:
			set[o.Name] = fmt.Sprint(o.Min + rng.Float64()*min(o.Max-o.Min, 8))
		case Ints:
			list := fmt.Sprint(number())
			for range rng.IntN(5) {
				list += fmt.Sprintf(",%d", number())
			}
			set[o.Name] = list
		case Text:
			set[o.Name] = []string{"measured", "1:5ms,16:9ms,64:60ms", "1:51ms,32:182ms"}[rng.IntN(3)]
		default:
			t.Fatalf("%s: option %s of type %q is not tried by this test", name, o.Name, o.Type)
		}
	}
	if set["n_min"] != "" || set["n_max"] != "" {
		set["n_min"] = "1"
	}
	return set
}

// The output of every system with any options is that of ar, greedy and sampled,
// request after request, to the end of the context.
func TestOutputIsARs(t *testing.T) {
	accepted := map[string]int{}
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 17))
		target := toy(seed % 5)
		ar := on(t, target, 0, "ar", nil)
		for _, name := range Names()[1:] {
			options := randomOptions(t, rng, name)
			x := on(t, target, seed%5, name, options)
			for i := range 4 {
				req := decode.Request{
					Prompt: prompt(seed*10+uint64(i), 1+rng.IntN(120)), MaxTokens: 1 + rng.IntN(200), Group: []string{"", "a", "a", "b"}[i],
					Stop: []decode.Token{decode.Token(rng.IntN(vocab))},
				}
				if i%2 == 1 {
					req.Sampling = decode.Sampling{Temperature: 0.8, TopK: rng.IntN(30), TopP: rng.Float64(), MinP: rng.Float64() / 10, Seed: seed}
				}
				want, _ := run(t, ar, req)
				got, steps := run(t, x, req)
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, %s %v, request %d:\ngot  %v\nwant %v", seed, name, options, i, got, want)
				}
				decodetest.CheckSteps(t, req, got, steps)
				for _, s := range steps {
					accepted[name] += len(s.Accepted)
				}
			}
		}
	}
	t.Logf("accepted nodes: %v", accepted)
	for _, name := range Names()[1:] {
		if accepted[name] < 300 {
			t.Errorf("%s: %d accepted nodes are too few to prove anything", name, accepted[name])
		}
	}
}

// A watcher keeps the trees that it is asked to verify.
type watcher struct {
	*decodetest.Toy
	saw func(context []decode.Token, tree *decode.Tree)
}

func (w *watcher) Verify(ctx context.Context, t *decode.Tree, want decode.Want) (decode.Scores, error) {
	if w.saw != nil {
		w.saw(w.Context(), t)
	}
	return w.Toy.Verify(ctx, t, want)
}

// chainOf is the draft of a tree that must be a chain.
func chainOf(t *testing.T, x *decode.Tree) []decode.Token {
	for i := 1; i < x.Len(); i++ {
		if x.Parents[i] != i-1 {
			t.Fatal("the draft is not a chain")
		}
	}
	return x.Tokens[1:]
}

// naivePLD is find_candidate_pred_tokens of prompt lookup decoding: n-grams from
// long to short, the first window that has all k tokens behind it in the stream and does
// not begin where the n-gram itself does.
func naivePLD(s []decode.Token) []decode.Token {
	const k = 10
	for n := 3; n >= 1; n-- {
		for i := 0; i+n <= len(s); i++ {
			if slices.Equal(s[i:i+n], s[max(0, len(s)-n):]) && i+n+k <= len(s) && i+n < len(s)-n {
				return s[i+n : i+n+k]
			}
		}
	}
	return nil
}

// naiveSAM continues the earliest occurrence of the longest suffix that has an
// earlier one, for 4 tokens per matched token, at most 40, and not into the root.
func naiveSAM(s []decode.Token) []decode.Token {
	for n := len(s) - 1; n >= 1; n-- {
		for end := n; end < len(s); end++ {
			if slices.Equal(s[end-n:end], s[len(s)-n:]) {
				return s[end:max(end, min(len(s)-1, end+min(40, 4*n)))]
			}
		}
	}
	return nil
}

// pld and sam draft by their published rules, step by step.
func TestPublishedRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		naive func([]decode.Token) []decode.Token
	}{{"pld", naivePLD}, {"sam", naiveSAM}} {
		drafts, long := 0, 0
		for seed := range uint64(6) {
			w := &watcher{Toy: toy(seed)}
			x := on(t, w, 0, c.name, nil)
			p := prompt(seed, 90)
			const most = 120
			w.saw = func(context []decode.Token, tree *decode.Tree) {
				got := chainOf(t, tree)
				want := c.naive(append(context, tree.Tokens[0]))
				// No draft is longer than what may still be emitted or held.
				left := min(most-(len(context)-len(p)+1)-1, room-len(context)-1)
				if want = want[:min(len(want), left)]; !slices.Equal(got, want) {
					t.Fatalf("%s, seed %d, after %d tokens: drafted %v, want %v", c.name, seed, len(context), got, want)
				}
				if len(want) > 0 {
					drafts++
				}
				if len(want) >= 10 {
					long++
				}
			}
			run(t, x, decode.Request{Prompt: p, MaxTokens: most})
		}
		if drafts < 50 || long < 20 {
			t.Errorf("%s: %d drafts, %d of them of 10 tokens or more, are too few", c.name, drafts, long)
		}
	}
}

// The base of the additive ablation, held to sam's rule, is sam.
func TestAdditiveBaseIsSAM(t *testing.T) {
	options := parse("fill=false occurrence=earliest width=64")
	for _, p := range Parts("coordgen") {
		options[p.Option] = p.Off
	}
	for seed := range uint64(8) {
		req := decode.Request{Prompt: prompt(seed, 100), MaxTokens: 120, Group: "a"}
		_, want := run(t, on(t, toy(seed), 0, "sam", nil), req)
		_, got := run(t, on(t, toy(seed), 0, "coordgen", options), req)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("seed %d: the steps differ", seed)
		}
	}
}

// Each part of coordgen turns off alone, and is seen in the drafts when it is on.
func TestParts(t *testing.T) {
	drafted := func(options map[string]string) (by [decode.NumOrigins]int) {
		x := on(t, toy(1), 1, "coordgen", options)
		for i := range uint64(6) {
			// The prompt comes back in the same group with other words behind it.
			req := decode.Request{Prompt: append(prompt(1, 100), prompt(i, 5)...), MaxTokens: 80, Group: "a", Sampling: decode.Sampling{Temperature: 0.9, Seed: i}}
			_, steps := run(t, x, req)
			for _, s := range steps {
				for o, n := range s.Drafted {
					by[o] += int(n)
				}
			}
		}
		return by
	}
	origin := map[string]decode.Origin{"calibration": decode.FromCalibrated, "reuse": decode.FromReuse, "history": decode.FromHistory}
	full := drafted(nil)
	for _, p := range Parts("coordgen") {
		without := drafted(map[string]string{p.Option: p.Off})
		for part, o := range origin {
			if full[o] == 0 {
				t.Errorf("full: no node from %s", o)
			}
			if (without[o] == 0) != (part == p.Name) {
				t.Errorf("%s off: %d nodes from %s", p.Name, without[o], o)
			}
		}
	}
}

// Builder lazy and eager draft the same, to the last step.
func TestBuildersAgree(t *testing.T) {
	for seed := range uint64(6) {
		req := decode.Request{Prompt: prompt(seed, 120), MaxTokens: 100}
		a, stepsA := run(t, on(t, toy(seed), 0, "coordgen", parse("builder=lazy")), req)
		b, stepsB := run(t, on(t, toy(seed), 0, "coordgen", parse("builder=eager")), req)
		if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(stepsA, stepsB) {
			t.Errorf("seed %d: the steps differ", seed)
		}
	}
}

// History helps a later request of its group and no other.
func TestHistory(t *testing.T) {
	p := prompt(5, 60)
	cost := func(x decode.System, group string) int {
		_, steps := run(t, x, decode.Request{Prompt: p, MaxTokens: 120, Group: group})
		return len(steps)
	}
	x := on(t, toy(3), 3, "coordgen", nil)
	fresh := cost(x, "a")
	if n := cost(x, "a"); n*2 > fresh {
		t.Errorf("the same request again takes %d steps, at first %d", n, fresh)
	}
	if n := cost(x, "b"); n != fresh {
		t.Errorf("in another group it takes %d steps, at first %d", n, fresh)
	}
	for range 2 {
		if n := cost(x, ""); n != fresh {
			t.Errorf("without a group it takes %d steps, at first %d", n, fresh)
		}
	}
	x.(decode.Rememberer).Forget()
	if n := cost(x, "a"); n != fresh {
		t.Errorf("after Forget it takes %d steps, at first %d", n, fresh)
	}
	if _, ok := on(t, toy(3), 3, "coordgen", parse("history=false")).(decode.Rememberer); ok {
		t.Error("with history off the system still remembers")
	}
	ctx, cancel := context.WithCancel(context.Background())
	y := on(t, toy(3), 3, "coordgen", nil)
	steps := 0
	y.Decode(ctx, decode.Request{Prompt: p, MaxTokens: 120, Group: "a"}, func(decode.Step) {
		if steps++; steps == fresh-1 {
			cancel()
		}
	})
	if n := cost(y, "a"); n != fresh {
		t.Errorf("after a cancelled request it takes %d steps, at first %d", n, fresh)
	}
}

var optionName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Descriptions are complete, defaults are allowed, and what is allowed is checked.
func TestDescribe(t *testing.T) {
	if want := []string{"ar", "pld", "sam", "sam-fill", "speculative", "coordgen", "ngram-simple", "ngram-map-k", "ngram-mod", "ngram-cache"}; !slices.Equal(Names(), want) {
		t.Errorf("Names() = %v, want %v", Names(), want)
	}
	for _, name := range Names() {
		info, err := Describe(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Doc == "" || strings.Contains(info.Doc, "\n") {
			t.Errorf("%s: documentation is %q", name, info.Doc)
		}
		seen := map[string]bool{}
		for _, o := range info.Options {
			if seen[o.Name] || !optionName.MatchString(o.Name) || o.Doc == "" || o.Allowed == "" || o.Default == "" {
				t.Errorf("%s: option %+v", name, o)
			}
			seen[o.Name] = true
			if err := Check(name, map[string]string{o.Name: o.Default}); err != nil {
				t.Errorf("default: %v", err)
			}
			bad := []string{"", "x", "-1", "1e99", "NaN"}
			if o.Type == Int {
				bad = append(bad, fmt.Sprint(int(o.Max)+1), "1.5", fmt.Sprint(int(o.Min)-1))
			}
			for _, v := range bad {
				err := Check(name, map[string]string{o.Name: v})
				if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("%s: option %s is %q; expected ", name, o.Name, v)) {
					t.Errorf("%s=%q: %v", o.Name, v, err)
				}
			}
		}
		x := on(t, toy(0), 0, name, nil)
		if id := x.Identity(); id.Name != name || len(id.Options) != len(info.Options) {
			t.Errorf("%s: identity %+v", name, id)
		}
		for _, p := range info.Parts {
			if !seen[p.Option] || Check(name, map[string]string{p.Option: p.Off}) != nil {
				t.Errorf("%s: part %+v", name, p)
			}
		}
	}
	if Parts("nobody") != nil || Parts("ar") != nil {
		t.Error("parts of systems that have none")
	}
}

// The identity says which options were in force, what was measured and derived
// among them.
func TestIdentity(t *testing.T) {
	id := on(t, toy(0), 0, "coordgen", parse("width=16 width_policy=adaptive breadth=4,2")).Identity()
	for k, v := range parse("width=16 breadth=4,2 topk=8 chain_nodes=7 calibrated_nodes=11 depth=5 reuse=true") {
		if id.Options[k] != v {
			t.Errorf("option %s is %q, want %q", k, id.Options[k], v)
		}
	}
	if !strings.HasPrefix(id.Options["cost"], "1:") || !strings.Contains(id.Options["cost"], ",16:") {
		t.Errorf("cost is %q, want the measured curve", id.Options["cost"])
	}
	if id := on(t, toy(0), 0, "speculative", nil).Identity(); id.Draft != "small" || id.DraftDigest == "" || !id.Exact {
		t.Errorf("identity %+v lacks the draft model", id)
	}
	twice := on(t, toy(0), 0, "coordgen", nil).Identity()
	if again := on(t, toy(0), 0, "coordgen", nil).Identity(); !maps.Equal(again.Options, twice.Options) {
		t.Error("one system opened twice has two identities")
	}
}

func TestOpenRefuses(t *testing.T) {
	target := toy(0)
	for _, c := range []struct {
		name    string
		config  Config
		options string
		want    string
	}{
		{"coordgn", Config{Target: target}, "", `unknown system "coordgn" (did you mean "coordgen"?); there are ar, pld, sam, sam-fill, speculative, coordgen, ngram-simple, ngram-map-k, ngram-mod, ngram-cache`},
		{"samfill", Config{Target: target}, "", `unknown system "samfill" (did you mean "sam-fill"?); there are`},
		{"eagle", Config{Target: target}, "", `unknown system "eagle"; there are`},
		{"ar", Config{Target: target}, "width=4", `ar: unknown option "width"; ar takes none`},
		{"pld", Config{Target: target}, "nmax=4", `pld: unknown option "nmax" (did you mean "n_max"?); there are n_max, n_min, k,`},
		{"pld", Config{Target: target}, "k=64", `pld: option k is "64"; expected an integer from 1 to 63`},
		{"pld", Config{Target: target}, "n_min=4", `pld: option n_min is 4, above n_max, which is 3`},
		{"sam", Config{Target: target}, "alpha=many", `sam: option alpha is "many"; expected a number from 0 to 64`},
		{"sam", Config{Target: target}, "occurrence=lates", `sam: option occurrence is "lates"; expected earliest, latest or both (did you mean "latest"?)`},
		{"coordgen", Config{Target: target}, "calibration=off", `coordgen: option calibration is "off"; expected true or false`},
		{"coordgen", Config{Target: target}, "breadth=8,x", `coordgen: option breadth is "8,x"; expected integers: 1 to 16 of 1 to 64, as in 8,3,1`},
		{"coordgen", Config{Target: target}, "cost=1:5", `coordgen: option cost is "1:5"; expected measured, or rows:time pairs as in 1:51ms,32:182ms (cost curve: "5" is no time, as in 51ms)`},
		{"ar", Config{}, "", `ar: no target model`},
		{"speculative", Config{Target: target}, "", `speculative: needs a draft model, and none was given`},
		{"speculative", Config{Target: target, Draft: toy(1), DraftCheck: fmt.Errorf("64 tokens differ")}, "", `speculative: draft model "toy" does not fit "toy": 64 tokens differ`},
	} {
		c.config.Options = parse(c.options)
		if _, err := Open(c.name, c.config); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %s:\ngot  %v\nwant %s…", c.name, c.options, err, c.want)
		}
	}
}
