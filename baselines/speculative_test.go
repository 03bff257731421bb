package baselines

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
)

func speculativeWith(t *testing.T, target, model decode.Target, options string) decode.System {
	t.Helper()
	x, err := Open("speculative", Config{Target: target, Draft: model, Options: parse(options)})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A draft model that is the target is always right: every step emits k+1 tokens.
func TestDraftModelThatIsTheTarget(t *testing.T) {
	target, model := toy(1), toy(1)
	req := decode.Request{Prompt: prompt(1, 50), MaxTokens: 121}
	want, _ := run(t, on(t, target, 0, "ar", nil), req)
	got, steps := run(t, speculativeWith(t, target, model, "k=5"), req)
	if !reflect.DeepEqual(got, want) || len(steps) != 21 {
		t.Errorf("%d steps, want 1 + 120/6; tokens equal: %t", len(steps), slices.Equal(got.Tokens, want.Tokens))
	}
}

// A counted target knows how many rows it computed.
type counted struct {
	*decodetest.Toy
	rows, passes int
	fail         error
}

func (c *counted) Prefill(ctx context.Context, p []decode.Token, w decode.Want, k int) (decode.PrefillResult, error) {
	if c.fail != nil && c.passes > 5 {
		return decode.PrefillResult{}, c.fail
	}
	c.rows += len(p)
	c.passes++
	return c.Toy.Prefill(ctx, p, w, k)
}

// The draft model computes each token once: what was accepted stays in its context.
func TestDraftModelFollows(t *testing.T) {
	target := toy(1)
	model := &counted{Toy: decodetest.NewToy(decodetest.ToyOptions{Vocab: vocab, Context: room, Seed: 1, Noise: 0.3})}
	req := decode.Request{Prompt: prompt(1, 100), MaxTokens: 100}
	_, steps := run(t, speculativeWith(t, target, model, "k=4"), req)
	drafted := 0
	for _, s := range steps {
		drafted += s.DraftedTotal()
	}
	// The prompt, the root of each step or the token before it, and what was drafted but the last of each chain.
	if most := 100 + 2*len(steps) + drafted; model.rows > most {
		t.Errorf("the draft model computed %d rows for %d steps and %d drafted tokens; expected at most %d", model.rows, len(steps), drafted, most)
	}
}

// Where the stream leaves a small vocabulary or a short context, the draft model
// falls silent and the output is what it was.
func TestDraftModelFallsSilent(t *testing.T) {
	target := toy(4)
	req := decode.Request{Prompt: prompt(4, 60), MaxTokens: 150}
	want, _ := run(t, on(t, target, 0, "ar", nil), req)
	for _, o := range []decodetest.ToyOptions{{Vocab: 40, Context: room}, {Vocab: vocab, Context: 100, Seed: 4}, {Vocab: vocab, Context: 30, Seed: 4}, {Vocab: 100, Context: room}} {
		x := speculativeWith(t, target, decodetest.NewToy(o), "")
		for range 2 {
			if got, _ := run(t, x, req); !reflect.DeepEqual(got, want) {
				t.Errorf("draft model %+v changed the output", o)
			}
		}
	}
}

// A chain ends with a stop token, and before an unlikely one.
func TestDraftChainEnds(t *testing.T) {
	req := decode.Request{Prompt: prompt(2, 50), MaxTokens: 80}
	free, _ := run(t, on(t, toy(2), 2, "ar", nil), req)
	req.Stop = free.Tokens[40:41]
	w := &watcher{Toy: toy(2), saw: func(_ []decode.Token, tree *decode.Tree) {
		for i, tok := range chainOf(t, tree) {
			if tok == req.Stop[0] && i < tree.Len()-2 {
				t.Errorf("drafted %v behind the stop token %d", tree.Tokens[i+2:], tok)
			}
		}
	}}
	run(t, on(t, w, 2, "speculative", parse("k=20")), req)
	all, few, none := 0, 0, 0
	for pMin, n := range map[string]*int{"p_min=0 k=8": &all, "p_min=0.6 k=8": &few, "p_min=1 k=8": &none} {
		_, steps := run(t, on(t, toy(2), 2, "speculative", parse(pMin)), decode.Request{Prompt: req.Prompt, MaxTokens: 80})
		for _, s := range steps {
			*n = max(*n, 0) + s.DraftedTotal()
		}
	}
	if !(all > few && few > none && none == 0) {
		t.Errorf("drafted %d without p_min, %d above 0.6, %d above 1", all, few, none)
	}
}

// A draft model that fails ends the request with its error.
func TestDraftModelFails(t *testing.T) {
	broken := errors.New("draft: broken")
	model := &counted{Toy: toy(1), fail: broken}
	x := speculativeWith(t, toy(1), model, "")
	res, err := x.Decode(context.Background(), decode.Request{Prompt: prompt(1, 50), MaxTokens: 100}, nil)
	if !errors.Is(err, broken) || len(res.Tokens) == 0 {
		t.Errorf("%d tokens, %v; want those before the error, and the error", len(res.Tokens), err)
	}
}
