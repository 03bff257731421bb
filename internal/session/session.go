// Package session opens what is measured or talked to: a model file, a draft
// model where one is wanted, and a system on them.
package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/coordbench/coordbench/baselines"
	"github.com/coordbench/coordbench/engine"
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/trial"
)

// Options say what to open.
type Options struct {
	Model   string // file
	Draft   string // file of a draft model, or ""
	System  string // its name in baselines
	Options map[string]string
	Threads int    // 0 is one for each processor
	Context int    // tokens; 0 is what Longest or else the model says
	Longest int    // tokens of the longest prompt with its answer
	KV      string // "f16" or "f32"
}

// A Session is a system that is ready to decode.
type Session struct {
	Model   *engine.Model
	System  decode.System
	Context int // tokens that the target's context holds
	closers []func() error
}

// slack is the room for a draft tree behind the last token, so that drafts are
// not cut short at the end of the longest answer.
const slack = decode.MaxNodes

// Open opens o.
func Open(o Options) (*Session, error) {
	m, err := engine.Open(o.Model, engine.Options{Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	s, err := on(m, o)
	if err != nil {
		m.Close()
		return nil, err
	}
	return s, nil
}

// on is Open of a model that is open; the session owns it if there is no error.
func on(m *engine.Model, o Options) (_ *Session, err error) {
	s := &Session{Model: m}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	to := engine.TargetOptions{Context: o.Context, KV: o.KV}
	if to.Context == 0 && o.Longest > 0 {
		to.Context = o.Longest + slack
	}
	target, err := m.NewTarget(to)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, target.Close)
	s.Context = target.Info().Context
	info, err := baselines.Describe(o.System)
	if err != nil {
		return nil, err
	}
	c := baselines.Config{Target: target, Options: o.Options}
	if o.Draft != "" && info.NeedsDraft {
		d, err := engine.Open(o.Draft, engine.Options{Lender: m})
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, d.Close)
		c.DraftCheck = m.Compatible(d)
		if c.Draft, err = d.NewTarget(engine.TargetOptions{Context: s.Context, KV: o.KV}); err != nil {
			return nil, err
		}
		s.closers = append(s.closers, c.Draft.Close)
	}
	if s.System, err = baselines.Open(o.System, c); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.System.Close)
	return s, nil
}

// close closes everything but the model, the last first.
func (s *Session) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// Close closes the system and the models.
func (s *Session) Close() error { return errors.Join(s.close(), s.Model.Close()) }

// Subject opens what a trial measures.
func Subject(_ context.Context, t *plan.Trial) (*trial.Subject, error) {
	m, err := engine.Open(t.Model.File, engine.Options{Threads: t.Threads})
	if err != nil {
		return nil, err
	}
	sub, err := subject(m, t)
	if err != nil {
		m.Close()
		return nil, err
	}
	return sub, nil
}

func subject(m *engine.Model, t *plan.Trial) (*trial.Subject, error) {
	encode := func(ms []plan.Message) ([]decode.Token, error) {
		turns := make([]engine.Message, len(ms))
		for i, x := range ms {
			turns[i] = engine.Message(x)
		}
		return m.Chat(turns)
	}
	longest := 0
	var notes []string
	for _, p := range t.Prompts {
		ids, err := encode(p.Messages)
		if err != nil {
			return nil, fmt.Errorf("workload %q: prompt %q: %w", t.Workload, p.ID, err)
		}
		if t.Context > 0 {
			if err := engine.Fits(p.ID, len(ids), t.Context); err != nil {
				return nil, fmt.Errorf("workload %q: %w", t.Workload, err)
			}
		}
		longest = max(longest, len(ids)+p.MaxTokens)
	}
	if n := m.TrainContext(); n > 0 && longest > n {
		notes = append(notes, fmt.Sprintf("prompts with their answers have up to %d tokens; the model was trained on %d", longest, n))
	}
	s, err := on(m, Options{
		Draft: t.Model.Draft, System: t.System.System, Options: t.System.Options, Context: t.Context, Longest: longest, KV: t.KV,
	})
	if err != nil {
		return nil, err
	}
	return &trial.Subject{
		System: s.System, Encode: encode, Stop: m.Tokenizer().StopTokens(), Threads: m.Threads(), Notes: notes, Close: s.Close,
	}, nil
}
