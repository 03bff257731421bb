// Package bench times a decode.Target: prefill, one decode step, and the
// verify curve, which says what a draft of n rows costs beside one row.
package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
)

// Options say what is timed.
type Options struct {
	Prefill int   // prompt tokens of the prefill figure
	Context int   // tokens in the context before each decode and verify
	Rows    []int // widths of the verify curve, 1 … decode.MaxNodes
	Rounds  int   // each figure is measured once a round; the median is reported
	// OnRound, if not nil, is called after each round with its number, from 1.
	OnRound func(done, of int)
}

// Defaults are the figures that the documentation speaks of.
func Defaults() Options {
	return Options{Prefill: 512, Context: 512, Rows: []int{1, 2, 4, 8, 16, 32, 64}, Rounds: 7}
}

// A Stat is the median of repeated timings with their range.
type Stat struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// A Curve holds what Measure found for one target. Times are in milliseconds.
type Curve struct {
	PrefillMS Stat
	VerifyMS  map[int]Stat // by rows, after Options.Context tokens
}

// DecodeMS is the cost of one token: a verification of the root alone.
func (c Curve) DecodeMS() Stat { return c.VerifyMS[1] }

// token is the i-th of an arbitrary but fixed sequence: speed does not depend
// on which tokens are computed, but an embedding row read twice is cached.
func token(i, vocab int) decode.Token {
	return decode.Token((i*7919 + 13) % min(vocab, 1000))
}

// Measure times all targets side by side: each round measures every figure of
// every target in turn, so that a machine that slows down slows them all and
// ratios hold. It leaves the targets empty.
func Measure(ctx context.Context, targets []decode.Target, o Options) ([]Curve, error) {
	if err := o.check(targets); err != nil {
		return nil, err
	}
	prefill := make([][]float64, len(targets))
	verify := make([]map[int][]float64, len(targets))
	for i := range verify {
		verify[i] = map[int][]float64{}
	}
	// Round 0 warms caches, page tables and thread pools; it is not counted.
	for round := range o.Rounds + 1 {
		for i, t := range targets {
			p, v, err := measureOnce(ctx, t, o)
			if err != nil {
				return nil, fmt.Errorf("bench %s: %w", t.Info().Backend, err)
			}
			if round == 0 {
				continue
			}
			prefill[i] = append(prefill[i], p)
			for n, ms := range v {
				verify[i][n] = append(verify[i][n], ms)
			}
		}
		if o.OnRound != nil && round > 0 {
			o.OnRound(round, o.Rounds)
		}
	}
	curves := make([]Curve, len(targets))
	for i := range curves {
		curves[i] = Curve{PrefillMS: summarise(prefill[i]), VerifyMS: map[int]Stat{}}
		for n, ms := range verify[i] {
			curves[i].VerifyMS[n] = summarise(ms)
		}
	}
	return curves, nil
}

func (o Options) check(targets []decode.Target) error {
	if o.Rounds < 1 || o.Prefill < 1 || o.Context < 1 {
		return fmt.Errorf("bench: rounds %d, prefill %d and context %d must be at least 1", o.Rounds, o.Prefill, o.Context)
	}
	if !slices.Contains(o.Rows, 1) {
		return fmt.Errorf("bench: rows %v lack 1, the decode step", o.Rows)
	}
	for _, t := range targets {
		info := t.Info()
		for _, n := range o.Rows {
			if n < 1 || n > info.MaxNodes {
				return fmt.Errorf("bench: %d rows; %s verifies 1 to %d", n, info.Backend, info.MaxNodes)
			}
		}
		if need := max(o.Prefill, o.Context+slices.Max(o.Rows)); need > info.Context {
			return fmt.Errorf("bench: %d tokens are needed; %s has a context of %d", need, info.Backend, info.Context)
		}
	}
	return nil
}

// measureOnce returns the milliseconds of one prefill and of one verification of each width.
func measureOnce(ctx context.Context, t decode.Target, o Options) (float64, map[int]float64, error) {
	vocab := t.Info().Vocab
	prompt := make([]decode.Token, max(o.Prefill, o.Context))
	for i := range prompt {
		prompt[i] = token(i, vocab)
	}
	if err := t.Truncate(0); err != nil {
		return 0, nil, err
	}
	start := time.Now()
	if _, err := t.Prefill(ctx, prompt[:o.Prefill], decode.Want{}, 0); err != nil {
		return 0, nil, err
	}
	prefill := milliseconds(start)
	if o.Context > o.Prefill {
		if _, err := t.Prefill(ctx, prompt[o.Prefill:o.Context], decode.Want{}, 0); err != nil {
			return 0, nil, err
		}
	} else if err := t.Truncate(o.Context); err != nil {
		return 0, nil, err
	}
	ms := make(map[int]float64, len(o.Rows))
	var tree decode.Tree
	for _, n := range o.Rows {
		tree.Reset(token(0, vocab))
		for i := 1; i < n; i++ {
			tree.Add(i-1, token(i, vocab), decode.FromRandom)
		}
		start := time.Now()
		if _, err := t.Verify(ctx, &tree, decode.Want{}); err != nil {
			return 0, nil, err
		}
		ms[n] = milliseconds(start)
	}
	return prefill, ms, t.Truncate(0)
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since)) / 1e6 }

func summarise(x []float64) Stat {
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	return Stat{Median: (x[(n-1)/2] + x[n/2]) / 2, Min: x[0], Max: x[n-1]}
}
