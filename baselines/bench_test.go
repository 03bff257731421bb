package baselines

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/decode/decodetest"
)

// A timed target knows how long its passes took.
type timed struct {
	decode.Target
	verify, prefill time.Duration
}

func (x *timed) Prefill(ctx context.Context, p []decode.Token, w decode.Want, k int) (decode.PrefillResult, error) {
	start := time.Now()
	defer func() { x.prefill += time.Since(start) }()
	return x.Target.Prefill(ctx, p, w, k)
}

func (x *timed) Verify(ctx context.Context, t *decode.Tree, w decode.Want) (decode.Scores, error) {
	start := time.Now()
	defer func() { x.verify += time.Since(start) }()
	return x.Target.Verify(ctx, t, w)
}

// Drafting and bookkeeping of each system behind a prompt of 2,000 tokens: all of
// a step but the target's own passes, and all of the prompt but its own.
func BenchmarkStep(b *testing.B) {
	const words = 1000
	for _, c := range []struct{ name, options string }{
		{"ar", ""}, {"pld", ""}, {"sam", ""}, {"sam-fill", ""}, {"coordgen", "calibration=false reuse=false history=false"}, {"coordgen", "history=false reuse=false"}, {"coordgen", ""},
		{"coordgen", "width=64"}, {"coordgen", "live=true"}, {"coordgen", "order=dfs"}, {"coordgen", "builder=eager"}, {"coordgen", "width_policy=adaptive cost=1:1ms,32:2ms"},
	} {
		b.Run(c.name+"/"+c.options, func(b *testing.B) {
			target := &timed{Target: decodetest.NewToy(decodetest.ToyOptions{Vocab: words, Context: 4096})}
			x, err := Open(c.name, Config{Target: target, Options: parse(c.options)})
			if err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			steps, tokens, drafted, prompts := 0, 0, 0, 0
			var inSteps, inPrompt time.Duration
			target.verify, target.prefill = 0, 0
			for b.Loop() {
				prompt := decodetest.Prompt(rng, 2000, words)
				last := time.Now()
				_, err := x.Decode(context.Background(), decode.Request{Prompt: prompt, MaxTokens: 300, Group: "g"}, func(s decode.Step) {
					now := time.Now()
					if s.Phase == decode.Prefill {
						inPrompt += now.Sub(last)
						prompts += len(prompt)
					} else {
						inSteps += now.Sub(last)
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
			b.ReportMetric(float64((inSteps-target.verify).Nanoseconds())/1e3/float64(steps), "µs/step")
			b.ReportMetric(float64((inPrompt-target.prefill).Nanoseconds())/float64(prompts), "ns/prompt-token")
			b.ReportMetric(float64(drafted)/float64(steps), "drafted/step")
			b.ReportMetric(float64(tokens)/float64(steps), "tokens/step")
			b.ReportMetric(0, "ns/op")
		})
	}
}
