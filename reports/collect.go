package reports

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coordbench/coordbench/experiments/record"
)

// place is where a row stands: within a device × model, a workload and a system.
type place struct{ device, model, workload, system string }

func placeOf(k record.Key) place { return place{k.Device, k.Model, k.Workload, k.System} }

// builder gathers what a record file says about each place.
type builder struct {
	log      *record.Log
	file     string // names the record file in warnings: without folders, so that a copy elsewhere gives the same report
	baseline string

	devices, models, workloads, systems []string // in the order of rows

	trials   map[string]*record.Trial // by id: the finished ones
	rows     map[place]*rowData
	warnings doubts
	finished int
	failed   int
}

// rowData is what was measured in one place.
type rowData struct {
	place
	samples  []*sample // by prompt, seed, repeat
	trials   []*record.Trial
	peak     int64 // bytes; 0 is unknown
	warnings doubts
}

// A sample is one measured request.
type sample struct {
	prompt string
	seed   uint64
	repeat int
	line   int
	digest string // of the prompt's tokens
	trial  *record.Trial
	output []int32
	steps  []record.Step

	ttft, gen, e2e float64 // ms
	genTokens      int     // emitted in the generation phase
	verifies       int     // steps of it

	state state
}

// state is what the identity check found.
type state uint8

const (
	unchecked state = iota
	identical
	different
)

func newBuilder(l *record.Log, o Options) *builder {
	b := &builder{
		log:      l,
		file:     filepath.Base(l.Path),
		baseline: cmp.Or(o.Baseline, l.Header.Baseline, DefaultBaseline),
		trials:   map[string]*record.Trial{},
		rows:     map[place]*rowData{},
	}
	devices, models, workloads, systems := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	see := func(k record.Key) {
		devices[k.Device], models[k.Model], workloads[k.Workload], systems[k.System] = true, true, true, true
	}
	for i := range l.Trials {
		see(l.Trials[i].Key)
	}
	for i := range l.Requests {
		see(l.Requests[i].Key)
	}
	b.devices = order(l.Header.Devices, devices)
	b.models = order(nil, models)
	b.workloads = order(l.Header.Workloads, workloads)
	b.systems = order(l.Header.Systems, systems)
	for _, w := range l.Warnings {
		// The log names the file by the path it was opened with.
		if rest, ok := strings.CutPrefix(w, l.Path); ok {
			w = b.file + rest
		}
		b.warnings.add(AboutRow, w)
	}
	return b
}

func (b *builder) hasSystem(name string) bool { return slices.Contains(b.systems, name) }

func (b *builder) at(line int) string { return fmt.Sprintf("%s:%d", b.file, line) }

func (b *builder) row(k record.Key) *rowData {
	p := placeOf(k)
	r := b.rows[p]
	if r == nil {
		r = &rowData{place: p}
		b.rows[p] = r
	}
	return r
}

func (b *builder) readTrials() {
	for i := range b.log.Trials {
		t := &b.log.Trials[i]
		if b.trials[t.Trial] != nil {
			b.warnings.addf(AboutRow, "doubled trial", "%s: trial %q is closed a second time; the first counts", b.at(b.log.TrialLines[i]), t.Trial)
			continue
		}
		b.trials[t.Trial] = t
		b.finished++
		r := b.row(t.Key)
		if t.Status != record.StatusOK {
			b.failed++
			r.warnings.addf(AboutRow, "failed trial", "trial %q failed and does not count: %s", t.Trial, cmp.Or(t.Error, "no reason given"))
			continue
		}
		r.trials = append(r.trials, t)
		if t.Resumed > 0 && len(t.Warnings) == 0 { // a resumed trial usually says so itself, and better
			r.warnings.addf(AboutRow, "resumed", "trial %q went on after being interrupted", t.Trial)
		}
		for _, w := range t.Warnings {
			r.warnings.add(AboutRow, w)
		}
	}
	if want := b.log.Header.Trials; b.finished < want {
		b.warnings.addf(AboutRow, "missing trials", "%d of %d trials have finished; the others are missing", b.finished, want)
	}
}

func (b *builder) readRequests() {
	type once struct {
		place
		prompt string
		seed   uint64
		repeat int
	}
	first := map[once]int{}
	for i := range b.log.Requests {
		q := &b.log.Requests[i]
		line := b.log.RequestLines[i]
		if q.Warmup {
			continue
		}
		r := b.row(q.Key)
		t := b.trials[q.Trial]
		switch {
		case t == nil:
			r.warnings.addf(AboutRow, "unfinished "+q.Trial, "trial %q has not finished: its requests do not count", q.Trial)
			continue
		case t.Key != q.Key:
			b.warnings.addf(AboutRow, "foreign", "%s: a request of trial %q says %q, %q, %q, %q, repeat %d, unlike the trial; it does not count", b.at(line),
				q.Trial, q.Device, q.Model, q.Workload, q.System, q.Repeat)
			continue
		case t.Status != record.StatusOK:
			continue
		}
		key := once{r.place, q.Prompt, q.Seed, q.Repeat}
		if at, ok := first[key]; ok {
			r.warnings.addf(AboutRow, "doubled", "%s: prompt %q was answered in this repeat already (line %d); the first counts", b.at(line), q.Prompt, at)
			continue
		}
		first[key] = line
		if q.Error != "" {
			r.warnings.addf(AboutRow, "failed request", "%s: prompt %q failed and does not count: %s", b.at(line), q.Prompt, q.Error)
			continue
		}
		for _, w := range q.Warnings {
			r.warnings.add(AboutRow, w)
		}
		if why := defect(q); why != "" {
			r.warnings.addf(AboutRow, "defect", "%s: prompt %q does not count: %s", b.at(line), q.Prompt, why)
			continue
		}
		r.samples = append(r.samples, newSample(q, t, line))
	}
	for _, r := range b.rows {
		slices.SortFunc(r.samples, func(x, y *sample) int {
			return cmp.Or(strings.Compare(x.prompt, y.prompt), cmp.Compare(x.seed, y.seed), cmp.Compare(x.repeat, y.repeat))
		})
	}
}

func (b *builder) readSegments() {
	for i := range b.log.Segments {
		s := &b.log.Segments[i]
		t := b.trials[s.Trial]
		if t == nil || t.Status != record.StatusOK || t.Key != s.Key {
			continue
		}
		r := b.row(s.Key)
		r.peak = max(r.peak, s.PeakBytes)
		if s.PeakWhole {
			r.warnings.addf(AboutPeak, "peak whole", "peak memory is that of the process's whole life, model load included")
		}
		for _, w := range s.Warnings {
			r.warnings.add(AboutRow, w)
		}
	}
	for _, r := range b.rows {
		// The notice is about the system, not about each of its segments.
		r.warnings.once("peak whole")
	}
}

const ms = 1e6 // nanoseconds

func newSample(q *record.Request, t *record.Trial, line int) *sample {
	last := q.Steps[len(q.Steps)-1]
	return &sample{
		prompt: q.Prompt, seed: q.Seed, repeat: q.Repeat, line: line, digest: q.PromptDigest,
		trial: t, output: q.Output, steps: q.Steps,
		ttft:      float64(q.Steps[0].NS-q.StartNS) / ms,
		gen:       float64(last.NS-q.Steps[0].NS) / ms,
		e2e:       float64(q.EndNS-q.StartNS) / ms,
		genTokens: len(q.Output) - q.Steps[0].Tokens,
		verifies:  len(q.Steps) - 1,
	}
}

// defect says what makes a request's record contradict itself, "" if nothing does.
func defect(q *record.Request) string {
	if len(q.Steps) == 0 || len(q.Output) == 0 {
		return fmt.Sprintf("%d steps emitted %d tokens", len(q.Steps), len(q.Output))
	}
	before, emitted := q.StartNS, 0
	for i, s := range q.Steps {
		if s.Prefill != (i == 0) {
			return fmt.Sprintf("step %d of %d: the first step, and no other, is the prefill", i, len(q.Steps))
		}
		if s.Tokens < 1 {
			return fmt.Sprintf("step %d emitted %d tokens", i, s.Tokens)
		}
		if s.NS < before {
			return fmt.Sprintf("step %d ends at %d ns, before what precedes it at %d ns", i, s.NS, before)
		}
		before = s.NS
		emitted += s.Tokens
		accepted := record.Counts{}
		for _, o := range s.Accepted {
			accepted[o]++
		}
		for _, o := range slices.Sorted(maps.Keys(accepted)) {
			if accepted[o] > s.Drafted[o] {
				return fmt.Sprintf("step %d accepted %d nodes of %s and drafted %d", i, accepted[o], o, s.Drafted[o])
			}
		}
		for _, o := range slices.Sorted(maps.Keys(s.Drafted)) {
			if s.Drafted[o] < 0 {
				return fmt.Sprintf("step %d drafted %d nodes of %s", i, s.Drafted[o], o)
			}
		}
	}
	if q.EndNS < before {
		return fmt.Sprintf("it ends at %d ns, before its last step at %d ns", q.EndNS, before)
	}
	if emitted != len(q.Output) {
		return fmt.Sprintf("its steps emitted %d tokens, its output holds %d", emitted, len(q.Output))
	}
	if len(q.Steps) > 1 && before == q.Steps[0].NS {
		return fmt.Sprintf("%d verifications took no time", len(q.Steps)-1)
	}
	return ""
}

// doubts gathers warnings in the order in which they first came up, each kind once.
type doubts struct {
	list []doubt
}

type doubt struct {
	about, kind, text string
	n                 int
}

// add notes a warning; equal texts are one kind.
func (d *doubts) add(about, text string) { d.note(about, text, text) }

// addf notes a warning of a kind: the first of a kind is told, the others are counted.
func (d *doubts) addf(about, kind, format string, args ...any) {
	d.note(about, kind, fmt.Sprintf(format, args...))
}

func (d *doubts) note(about, kind, text string) {
	for i := range d.list {
		if d.list[i].about == about && d.list[i].kind == kind {
			d.list[i].n++
			return
		}
	}
	d.list = append(d.list, doubt{about, kind, text, 1})
}

// once forgets how often a kind came up.
func (d *doubts) once(kind string) {
	for i := range d.list {
		if d.list[i].kind == kind {
			d.list[i].n = 1
		}
	}
}

// warnings is what is told, never nil.
func (d *doubts) warnings() []Warning {
	out := make([]Warning, 0, len(d.list))
	for _, w := range d.list {
		text := w.text
		if w.n > 1 && !strings.HasPrefix(w.kind, "unfinished ") {
			text += fmt.Sprintf(" (and %d more like it)", w.n-1)
		}
		out = append(out, Warning{w.about, text})
	}
	return out
}
