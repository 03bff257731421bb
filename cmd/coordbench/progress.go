package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/coordbench/coordbench/experiments/campaign"
)

// A progress shows how a campaign goes: a bar with the time left on a terminal,
// a line for each trial elsewhere.
type progress struct {
	w     io.Writer
	began time.Time

	// On a terminal:
	bars *mpb.Progress
	bar  *mpb.Bar
	mu   sync.Mutex
	name string // of the trial under way

	start int // requests done when this process began
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, began: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if width, _, err := term.GetSize(int(f.Fd())); err != nil || width == 0 {
			return p // a terminal that shows nothing, as some programs pretend to be
		}
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return p
}

func (p *progress) event(e campaign.Event) {
	if e.Kind == campaign.Began {
		p.start = e.Done
		if e.Done > 0 {
			p.printf("resuming: %d of %d requests are done\n", e.Done, e.Requests)
		}
		if p.bars != nil {
			p.bar = p.bars.AddBar(int64(e.Requests),
				mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { p.mu.Lock(); defer p.mu.Unlock(); return p.name }, decor.WCSyncSpaceR)),
				mpb.AppendDecorators(decor.CountersNoUnit("%d/%d requests"), decor.Any(func(s decor.Statistics) string { return p.left(int(s.Current), int(s.Total)) })),
			)
			p.bar.SetCurrent(int64(e.Done))
		}
		return
	}
	if p.bar != nil {
		p.mu.Lock()
		p.name = fmt.Sprintf("%d/%d %s", e.Number, e.Trials, e.Trial.ID)
		p.mu.Unlock()
		p.bar.SetCurrent(int64(e.Done))
	}
	if e.Kind != campaign.TrialEnded {
		return
	}
	if e.Failure != "" {
		p.printf("%d/%d %s: failed: %s\n", e.Number, e.Trials, e.Trial.ID, e.Failure)
	} else if p.bar == nil {
		p.printf("%d/%d %s: %d requests%s\n", e.Number, e.Trials, e.Trial.ID, len(e.Trial.Prompts), p.left(e.Done, e.Requests))
	}
}

// printf writes a line, above the bar if there is one.
func (p *progress) printf(format string, args ...any) {
	if p.bars != nil {
		fmt.Fprintf(p.bars, format, args...)
		return
	}
	fmt.Fprintf(p.w, format, args...)
}

// left says how long the rest takes if it goes on as it has since this process began.
func (p *progress) left(done, total int) string {
	now := done - p.start
	if now <= 0 || done >= total {
		return ""
	}
	rest := time.Duration(float64(time.Since(p.began)) / float64(now) * float64(total-done))
	return ", " + roundTime(rest).String() + " left"
}

// end leaves the terminal as it was.
func (p *progress) end() {
	if p.bars == nil {
		return
	}
	if p.bar != nil && !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.bars.Wait()
}
