// Package trial runs one trial: it asks a system to answer prompts one after
// the other, stamps the clock on every commitment, and keeps what happened in a
// journal that outlives a crash.
package trial

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/internal/machine"
)

// A Subject is what a trial measures: a system that is ready to decode, and the
// way from messages to its tokens.
type Subject struct {
	System  decode.System
	Encode  func(messages []plan.Message) ([]decode.Token, error) // chat template and tokenizer
	Stop    []decode.Token
	Threads int      // in use
	Notes   []string // doubts for the trial's warnings
	Close   func() error
}

// Options say how a trial reaches the world.
type Options struct {
	Journal string // file; made if absent, continued if not
	// Open makes the subject. It is not called for a trial whose journal is closed.
	Open func(ctx context.Context, t *plan.Trial) (*Subject, error)
	// Progress is told after each request; it may be nil.
	Progress func(Progress)
}

// Progress says how far a trial has come.
type Progress struct {
	Done   int // requests answered, warm-up included
	Total  int
	Tokens int // emitted by the last request
}

// Run runs t, or what its journal says is left of it, and returns its closing
// line, which is also the journal's last. A system that fails to open or to
// answer is a Trial with StatusFailed, not an error: errors are a cancelled
// context, a *StorageError and a journal in use.
//
// Each request's tokens are timed from the start of Decode: tokenizing the
// prompt is not part of it. Warm-up requests come first and are forgotten by the system.
func Run(ctx context.Context, t *plan.Trial, opt Options) (record.Trial, error) {
	j, h, err := openJournal(opt.Journal, t.ID, hash(t))
	if err != nil {
		return record.Trial{}, err
	}
	defer j.close()
	if h.Closed != nil {
		return *h.Closed, nil
	}
	r := &run{t: t, opt: opt, j: j, h: h, key: record.Key{
		Trial: t.ID, Device: t.Device, Model: t.Model.Name, Workload: t.Workload, System: t.System.Name, Repeat: t.Repeat,
	}}
	closing, err := r.all(ctx)
	if err != nil {
		return record.Trial{}, err
	}
	return closing, j.write(closing)
}

// hash tells trials apart that share an id; files may lie elsewhere after a resume.
func hash(t *plan.Trial) string {
	c := *t
	c.Model.File, c.Model.Draft = "", ""
	b, err := json.Marshal(c)
	if err != nil {
		panic("internal error: trial as JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

type run struct {
	t   *plan.Trial
	opt Options
	j   *journal
	h   History
	key record.Key

	sub     *Subject
	now     func() int64 // nanoseconds since the trial began; goes on where the journal ends
	stamps  []stamp
	origins []decode.Origin
	failed  int
	failure string // of the first request that failed
}

// A stamp is a decode.Step as cheaply as it can be kept while the clock runs.
type stamp struct {
	ns       int64
	phase    decode.Phase
	tokens   int
	width    int
	depth    int
	drafted  [decode.NumOrigins]uint8
	accepted int // the next so many entries of run.origins
}

func (r *run) all(ctx context.Context) (record.Trial, error) {
	t := r.t
	closing := record.Trial{
		Type: record.TypeTrial, Key: r.key, Status: record.StatusFailed, WorkloadDigest: t.Digest, Resumed: r.h.Resumed, Facts: Facts(t.Threads),
	}
	began := time.Now()
	sub, err := r.opt.Open(ctx, t)
	if err != nil {
		if ctx.Err() != nil {
			return closing, ctx.Err()
		}
		closing.Error = err.Error()
		return closing, nil
	}
	if sub.Close != nil {
		defer sub.Close()
	}
	r.sub = sub
	closing.LoadNS = time.Since(began).Nanoseconds()
	closing.Identity = record.Identity(sub.System.Identity())
	closing.Warnings = append(closing.Warnings, sub.Notes...)
	if sub.Threads > 0 {
		closing.Facts.Threads = sub.Threads
	}
	var clock decode.Clocked
	clock, closing.Simulated = sub.System.(decode.Clocked)
	r.startClock(began, clock)

	if r.h.Resumed > 0 {
		closing.Warnings = append(closing.Warnings, fmt.Sprintf("went on %d times after the agent had ended early; the times of its processes are joined", r.h.Resumed))
		if err := r.closeBroken(); err != nil {
			return closing, err
		}
	}
	if err := r.warmup(ctx); err != nil {
		return closing, err
	}
	if err := r.measure(ctx); err != nil {
		return closing, err
	}
	if r.failed > 0 {
		closing.Error = fmt.Sprintf("%d of %d requests failed: %s", r.failed, len(t.Prompts)-t.Warmup, r.failure)
		return closing, nil
	}
	closing.Status = record.StatusOK
	return closing, nil
}

// startClock makes r.now: the wall clock or the system's own, from where the journal ends.
func (r *run) startClock(began time.Time, clock decode.Clocked) {
	var offset int64
	for _, q := range r.h.Requests {
		offset = max(offset, q.EndNS)
	}
	if clock != nil {
		zero := clock.Now()
		r.now = func() int64 { return offset + int64(clock.Now()-zero) }
		return
	}
	r.now = func() int64 { return offset + time.Since(began).Nanoseconds() }
}

// closeBroken ends the segment in which the last process died: its window must
// not span the gap.
func (r *run) closeBroken() error {
	n, last := 0, -1
	var end int64
	for _, q := range r.h.Requests {
		if q.Segment > last {
			n, last = 0, q.Segment
		}
		if q.Segment == last && !q.Warmup {
			n++
			end = q.EndNS
		}
	}
	if last < 0 {
		return nil
	}
	var s *record.Segment
	for i := range r.h.Segments {
		if r.h.Segments[i].Segment == last {
			s = &r.h.Segments[i]
		}
	}
	if s == nil { // torn between its first request's line and its own
		s = &record.Segment{Type: record.TypeSegment, Key: r.key, Segment: last, PeakWhole: true}
		for _, q := range r.h.Requests {
			if q.Segment == last {
				s.StartNS = q.StartNS
				break
			}
		}
	}
	done := 0
	for _, q := range r.h.Requests {
		if !q.Warmup {
			done++
		}
	}
	left := len(r.t.Prompts) - r.t.Warmup - done
	if left > 0 && (r.t.Segment == 0 || done%r.t.Segment != 0) || s.Requests != n {
		s.Requests, s.EndNS = n, end
		s.Warnings = append(s.Warnings, fmt.Sprintf("cut short: the agent ended early, after %d requests of the segment", n))
		return r.j.write(*s)
	}
	return nil
}

// warmup answers the first prompts without measuring them, in every process: a
// resumed one is cold again. Only the first process writes them down.
func (r *run) warmup(ctx context.Context) error {
	rem, _ := r.sub.System.(decode.Rememberer)
	if rem != nil {
		rem.Forget()
	}
	for i := range r.t.Warmup {
		q, err := r.request(ctx, i)
		if err != nil {
			return err
		}
		q.Warmup, q.Segment = true, -1
		if !r.has(i) {
			if err := r.j.write(q); err != nil {
				return err
			}
		}
		r.progress(i+1, len(q.Output))
	}
	if rem != nil {
		rem.Forget()
		for _, q := range r.h.Requests {
			if !q.Warmup && q.Error == "" {
				rem.Remember(q.Group, tokens(q.Output))
			}
		}
	}
	return nil
}

func (r *run) has(index int) bool {
	for i := range r.h.Requests {
		if r.h.Requests[i].Index == index {
			return true
		}
	}
	return false
}

func (r *run) measure(ctx context.Context) error {
	number := 0
	for _, s := range r.h.Segments {
		number = max(number, s.Segment+1)
	}
	for _, q := range r.h.Requests {
		number = max(number, q.Segment+1)
		if q.Error != "" && !q.Warmup {
			r.fail(q)
		}
	}
	var seg *record.Segment
	for i := r.t.Warmup; i < len(r.t.Prompts); i++ {
		if r.has(i) {
			continue
		}
		if seg == nil {
			seg = &record.Segment{Type: record.TypeSegment, Key: r.key, Segment: number}
			number++
			debug.FreeOSMemory()
			seg.PeakWhole = !machine.ResetPeak()
		}
		q, err := r.request(ctx, i)
		if err != nil {
			return err
		}
		q.Segment = seg.Segment
		if q.Error != "" {
			r.fail(q)
		}
		if seg.Requests == 0 {
			seg.StartNS = q.StartNS
		}
		seg.Requests++
		seg.EndNS = q.EndNS
		seg.PeakBytes = machine.Peak()
		// The segment's line is rewritten with each request: a crash then costs
		// the request in flight and not the segment's peak.
		if err := r.j.write(q, *seg); err != nil {
			return err
		}
		r.progress(i+1, len(q.Output))
		if done := i + 1 - r.t.Warmup; r.t.Segment > 0 && done%r.t.Segment == 0 {
			seg = nil
		}
	}
	return nil
}

func (r *run) fail(q record.Request) {
	r.failed++
	if r.failure == "" {
		r.failure = fmt.Sprintf("prompt %q: %s", q.Prompt, q.Error)
	}
}

func (r *run) progress(done, tokens int) {
	if r.opt.Progress != nil {
		r.opt.Progress(Progress{Done: done, Total: len(r.t.Prompts), Tokens: tokens})
	}
}

// request answers prompt i. A failure of the system is part of the record; an
// error is a cancelled context.
func (r *run) request(ctx context.Context, i int) (record.Request, error) {
	p := &r.t.Prompts[i]
	q := record.Request{
		Type: record.TypeRequest, Key: r.key, Prompt: p.ID, Group: p.Group, Index: i,
		Seed: plan.RequestSeed(r.t.Sampling.Seed, p.ID, r.t.Repeat),
	}
	prompt, err := r.sub.Encode(p.Messages)
	if err != nil {
		q.StartNS = r.now()
		q.EndNS = q.StartNS
		q.Error = err.Error()
		return q, ctx.Err()
	}
	q.PromptTokens = len(prompt)
	q.PromptDigest = digest(prompt)
	req := decode.Request{
		Prompt: prompt, MaxTokens: p.MaxTokens, Stop: r.sub.Stop, Group: p.Group,
		Sampling: decode.Sampling{
			Temperature: r.t.Sampling.Temperature, TopK: r.t.Sampling.TopK, TopP: r.t.Sampling.TopP, MinP: r.t.Sampling.MinP, Seed: q.Seed,
		},
	}
	r.stamps, r.origins = r.stamps[:0], r.origins[:0]
	var emitted []decode.Token // kept for a request that fails on the way
	if cap(r.stamps) < p.MaxTokens {
		r.stamps = make([]stamp, 0, p.MaxTokens)
	}
	emitted = make([]decode.Token, 0, p.MaxTokens)
	q.StartNS = r.now()
	res, err := r.sub.System.Decode(ctx, req, func(s decode.Step) {
		r.stamps = append(r.stamps, stamp{r.now(), s.Phase, len(s.Tokens), s.Width, s.Depth, s.Drafted, len(s.Accepted)})
		r.origins = append(r.origins, s.Accepted...)
		emitted = append(emitted, s.Tokens...)
	})
	q.EndNS = r.now()
	if ctx.Err() != nil {
		return q, ctx.Err()
	}
	q.Output, q.Reason = ids(res.Tokens), string(res.Reason)
	if err != nil {
		q.Error, q.Output = err.Error(), ids(emitted)
	} else if len(emitted) != len(res.Tokens) {
		q.Error = fmt.Sprintf("internal error: %d tokens in steps, %d in the result", len(emitted), len(res.Tokens))
	}
	q.Steps = r.steps()
	return q, nil
}

// steps turns the stamps of a request into its record.
func (r *run) steps() []record.Step {
	out := make([]record.Step, len(r.stamps))
	origins := r.origins
	for i, s := range r.stamps {
		st := record.Step{NS: s.ns, Tokens: s.tokens, Prefill: s.phase == decode.Prefill, Width: s.width, Depth: s.depth}
		for o, n := range s.drafted {
			if n > 0 {
				if st.Drafted == nil {
					st.Drafted = record.Counts{}
				}
				st.Drafted[decode.Origin(o).String()] = int(n)
			}
		}
		for _, o := range origins[:s.accepted] {
			st.Accepted = append(st.Accepted, o.String())
		}
		origins = origins[s.accepted:]
		out[i] = st
	}
	return out
}

func ids(ts []decode.Token) []int32 {
	out := make([]int32, len(ts))
	for i, t := range ts {
		out[i] = int32(t)
	}
	return out
}

func tokens(ids []int32) []decode.Token {
	out := make([]decode.Token, len(ids))
	for i, t := range ids {
		out[i] = decode.Token(t)
	}
	return out
}

// digest is the sha256 of token ids as little-endian int32.
func digest(ts []decode.Token) string {
	b := make([]byte, 0, 4*len(ts))
	for _, t := range ts {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Facts describe this machine as a trial with so many threads finds it; 0 is all cores.
func Facts(threads int) record.Facts {
	m := machine.Read()
	if threads == 0 {
		threads = m.Cores
	}
	return record.Facts{OS: m.OS + "/" + m.Arch, CPU: m.CPU, Cores: m.Cores, Threads: threads, Memory: m.Memory, Kernel: m.Kernel}
}

// IsStorage reports whether err says that results cannot be kept.
func IsStorage(err error) bool {
	var s *StorageError
	return errors.As(err, &s)
}
