package speculate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Curve is what a verification costs by the number of its rows.
type Curve []Point

// A Point says that verifying Rows rows costs Cost.
type Point struct {
	Rows int
	Cost time.Duration
}

// At is the cost of w rows: linear between points, that of the nearest point
// outside them, and beyond the last point at the slope of the last two.
func (c Curve) At(w int) float64 {
	n := len(c)
	if w <= c[0].Rows || n == 1 {
		return float64(c[0].Cost)
	}
	i := 1
	for i < n-1 && c[i].Rows < w {
		i++
	}
	a, b := c[i-1], c[i]
	return float64(a.Cost) + float64(b.Cost-a.Cost)*float64(w-a.Rows)/float64(b.Rows-a.Rows)
}

// String is "1:5.1ms,32:18.2ms", which ParseCurve reads.
func (c Curve) String() string {
	var b strings.Builder
	for i, p := range c {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%s", p.Rows, p.Cost)
	}
	return b.String()
}

// ParseCurve reads rows and costs, "1:51ms,32:182ms". The first row count is 1,
// rows ascend, costs are positive and do not fall.
func ParseCurve(s string) (Curve, error) {
	var c Curve
	for part := range strings.SplitSeq(s, ",") {
		rows, cost, ok := strings.Cut(strings.TrimSpace(part), ":")
		n, err := strconv.Atoi(rows)
		if !ok || err != nil {
			return nil, fmt.Errorf("cost curve: %q is not rows:time, as in 1:51ms", part)
		}
		d, err := time.ParseDuration(cost)
		if err != nil {
			return nil, fmt.Errorf("cost curve: %q is no time, as in 51ms", cost)
		}
		c = append(c, Point{n, d})
	}
	return c, c.validate()
}

func (c Curve) validate() error {
	if len(c) == 0 {
		return fmt.Errorf("cost curve: no points")
	}
	for i, p := range c {
		switch {
		case i == 0 && p.Rows != 1:
			return fmt.Errorf("cost curve: starts at %d rows; expected 1", p.Rows)
		case p.Rows < 1 || p.Rows > decode.MaxNodes:
			return fmt.Errorf("cost curve: %d rows; expected 1 to %d", p.Rows, decode.MaxNodes)
		case p.Cost <= 0:
			return fmt.Errorf("cost curve: %d rows cost %s; expected more than 0", p.Rows, p.Cost)
		case i > 0 && p.Rows <= c[i-1].Rows:
			return fmt.Errorf("cost curve: %d rows after %d; expected ascending rows", p.Rows, c[i-1].Rows)
		case i > 0 && p.Cost < c[i-1].Cost:
			return fmt.Errorf("cost curve: %d rows cost %s, %d rows only %s", c[i-1].Rows, c[i-1].Cost, p.Rows, p.Cost)
		}
	}
	return nil
}

// measuredContext is how many tokens stand before the trees that are timed: about
// those of a summary or a passage answer. Attention makes rows dearer with each.
const measuredContext = 448

// MeasureCost times verifications of each number of rows behind a short context
// and leaves target empty. Each point is the median of runs; the widths take
// turns, so that a change of clock frequency touches all of them. Where a wider
// pass came out faster, its point is raised to the narrower one's. A Clocked
// target is measured on its own clock.
func MeasureCost(ctx context.Context, target decode.Target, widths []int, runs int) (Curve, error) {
	info := target.Info()
	widths = slices.Compact(slices.Sorted(slices.Values(append([]int{1}, widths...))))
	widths = slices.DeleteFunc(widths, func(w int) bool { return w < 1 || w > info.MaxNodes })
	before := min(measuredContext, info.Context-widths[len(widths)-1])
	if runs < 1 || before < 1 {
		return nil, fmt.Errorf("measuring verification: %d runs of up to %d rows in a context of %d", runs, widths[len(widths)-1], info.Context)
	}
	var now func() time.Duration
	if clocked, ok := target.(decode.Clocked); ok {
		now = clocked.Now
	} else {
		start := time.Now()
		now = func() time.Duration { return time.Since(start) }
	}
	if err := target.Truncate(0); err != nil {
		return nil, fmt.Errorf("measuring verification: %w", err)
	}
	prompt := make([]decode.Token, before)
	for i := range prompt {
		prompt[i] = decode.Token(i % info.Vocab)
	}
	if _, err := target.Prefill(ctx, prompt, decode.Want{}, 0); err != nil {
		return nil, fmt.Errorf("measuring verification: %w", err)
	}
	times := make([][]time.Duration, len(widths))
	var tree decode.Tree
	for run := -1; run < runs; run++ { // the first round warms up
		for i, w := range widths {
			tree.Reset(prompt[0])
			for tree.Len() < w {
				tree.Add(tree.Len()-1, prompt[tree.Len()%before], decode.FromRandom)
			}
			start := now()
			if _, err := target.Verify(ctx, &tree, decode.Want{}); err != nil {
				return nil, fmt.Errorf("measuring verification of %d rows: %w", w, err)
			}
			if run >= 0 {
				times[i] = append(times[i], now()-start)
			}
		}
	}
	var c Curve
	for i, w := range widths {
		slices.Sort(times[i])
		cost := max(times[i][runs/2], 1)
		if i > 0 {
			cost = max(cost, c[i-1].Cost)
		}
		c = append(c, Point{w, cost})
	}
	return c, target.Truncate(0)
}
