// Package campaign carries a plan out: it starts an agent for each trial, and
// collects what the agents' journals hold into one record file that survives
// being killed at any moment.
package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/coordbench/coordbench/devices"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/experiments/trial"
)

// Options say what a campaign runs and with what.
type Options struct {
	Folder string // the run folder; made if absent
	Plan   *plan.Plan
	Tool   string // for the header: "coordbench 0.1.0"
	Resume bool   // go on where the folder's run ends

	// Device opens a device by its name. It is called once for each.
	Device func(ctx context.Context, name string) (devices.Device, error)
	// Agent names the local file of the agent for a device.
	Agent func(devices.Facts) (string, error)
	// Model turns a model's name in the experiment into a local file.
	Model func(file string) (string, error)
	// Progress is told what happens, in order; nil tells nobody.
	Progress func(Event)
}

// An Event is a step of a campaign.
type Event struct {
	Kind     EventKind
	Trial    *plan.Trial // of TrialBegan, RequestDone and TrialEnded
	Number   int         // of the trial in the plan, from 1
	Trials   int         // in the plan
	Done     int         // requests answered so far, those of earlier processes included
	Requests int         // in the plan
	Failure  string      // of TrialEnded; empty if the trial went well
}

// An EventKind says what happened.
type EventKind int

const (
	Began EventKind = iota // once; Done counts what was there already
	TrialBegan
	RequestDone
	TrialEnded
)

// A Result says how a campaign ended.
type Result struct {
	Kept     int       // trials that an earlier run had finished
	Ran      int       // trials that ended now, failed ones included
	Failures []Failure // of this run
}

// A Failure is a trial that did not succeed.
type Failure struct {
	Trial  string
	Reason string
}

// ErrInterrupted says that the context ended before the plan did. Nothing is
// lost but the request in flight.
var ErrInterrupted = errors.New("interrupted")

// Run carries out a plan in a run folder:
//
//	lock               held while a campaign is at work
//	runs.jsonl         the record: header, then the lines of each trial that has ended
//	trials/ID.json     what the agent was asked
//	trials/ID.jsonl    the agent's journal
//	files/             what the agent needs, on the local device
//
// A trial's lines go to runs.jsonl together, after its end, so the file never
// holds half a trial for long; a half that a kill left behind is cut off by the
// next run, which finds the whole in the journal. Trials that fail are recorded
// as failed and the campaign goes on; resuming drops their lines and runs them again.
//
// An error means that the campaign itself could not go on.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	c := &campaign{Options: o, devices: map[string]*device{}, digests: map[string]string{}, files: map[string]string{}}
	defer c.close()
	if err := c.start(ctx); err != nil {
		return c.result, c.interrupted(ctx, err)
	}
	for i := range o.Plan.Trials {
		t := &o.Plan.Trials[i]
		if c.finished[t.ID] {
			continue
		}
		if err := c.trial(ctx, i, t); err != nil {
			return c.result, c.interrupted(ctx, err)
		}
	}
	return c.result, nil
}

type campaign struct {
	Options
	lock     *os.File
	log      *log
	devices  map[string]*device
	files    map[string]string // model name in the experiment → local file
	digests  map[string]string // likewise → sha256
	finished map[string]bool   // trials with StatusOK
	done     int               // requests
	result   Result
}

// A device is open and has the agent.
type device struct {
	devices.Device
	facts devices.Facts
	agent string // path there
}

func (c *campaign) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

// start prepares folder, lock, models, devices and, last, the record file: what
// is wrong with the others is found before there is a run.
func (c *campaign) start(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(c.Folder, "trials"), 0o777); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	var err error
	if c.lock, err = takeLock(c.Folder); err != nil {
		return err
	}
	e := c.Plan.Experiment
	for _, m := range e.Models {
		for _, name := range []string{m.File, m.Draft} {
			if name == "" || c.files[name] != "" {
				continue
			}
			file, err := c.Model(name)
			if err != nil {
				return fmt.Errorf("model %q: %w", m.Name, err)
			}
			c.files[name] = file
			if c.digests[name], err = digest(ctx, file); err != nil {
				return fmt.Errorf("model %q: %w", m.Name, err)
			}
		}
	}
	for _, name := range e.Devices {
		d, err := c.Device(ctx, name)
		if err != nil {
			return fmt.Errorf("device %q: %w", name, err)
		}
		open := &device{Device: d}
		c.devices[name] = open
		if open.facts, err = d.Facts(ctx); err != nil {
			return fmt.Errorf("device %q: %w", name, err)
		}
		agent, err := c.Agent(open.facts)
		if err != nil {
			return err
		}
		if open.agent, err = d.Put(ctx, agent); err != nil {
			return fmt.Errorf("device %q: agent: %w", name, err)
		}
	}
	if err := c.openLog(); err != nil {
		return err
	}
	for i := range c.Plan.Trials {
		if t := &c.Plan.Trials[i]; c.finished[t.ID] {
			c.done += len(t.Prompts)
			c.result.Kept++
		}
	}
	c.Progress(Event{Kind: Began, Trials: len(c.Plan.Trials), Done: c.done, Requests: c.Plan.Requests()})
	return nil
}

func (c *campaign) openLog() error {
	p := c.Plan
	config := p.Config(c.digests)
	h := record.Header{
		Type: record.TypeHeader, Version: record.Version, Tool: c.Tool, Experiment: p.Experiment.Name,
		ConfigHash: plan.ConfigHash(config), Config: config, Started: time.Now().UTC().Format(time.RFC3339), Seed: p.Experiment.Seed,
		Baseline: p.Experiment.Baseline, Devices: p.Experiment.Devices, Ablations: p.Ablations, Trials: len(p.Trials),
	}
	for _, s := range p.Systems {
		h.Systems = append(h.Systems, s.Name)
	}
	for _, w := range p.Workloads {
		h.Workloads = append(h.Workloads, w.Name)
	}
	var err error
	c.log, c.finished, err = openLog(filepath.Join(c.Folder, record.FileName), h, c.Resume)
	return err
}

func (c *campaign) close() {
	for _, d := range c.devices {
		d.Close()
	}
	if c.log != nil {
		c.log.close()
	}
	if c.lock != nil {
		c.lock.Close()
	}
}

// trial runs one trial to its closing line. The error is of the campaign; a
// failure of the trial is recorded.
func (c *campaign) trial(ctx context.Context, i int, t *plan.Trial) error {
	d := c.devices[t.Device]
	ev := Event{Trial: t, Number: i + 1, Trials: len(c.Plan.Trials), Done: c.done, Requests: c.Plan.Requests()}
	tell := func(k EventKind, done int, failure string) {
		ev.Kind, ev.Done, ev.Failure = k, c.done+done, failure
		c.Progress(ev)
	}
	tell(TrialBegan, 0, "")
	failure, err := c.agent(ctx, d, t, func(done int) { tell(RequestDone, done, "") })
	if err != nil {
		return err
	}
	h, err := c.collect(ctx, d, t)
	if err != nil {
		return err
	}
	closing := h.Closed
	switch {
	case closing == nil:
		if failure == "" {
			failure = "internal error: the agent ended well but did not close its journal"
		}
		closing = &record.Trial{
			Type: record.TypeTrial, Status: record.StatusFailed, Error: failure, WorkloadDigest: t.Digest, Resumed: h.Resumed,
			Key:      record.Key{Trial: t.ID, Device: t.Device, Model: t.Model.Name, Workload: t.Workload, System: t.System.Name, Repeat: t.Repeat},
			Identity: record.Identity{Name: t.System.System, Model: t.Model.Name, Options: t.System.Options},
			Facts:    record.Facts{OS: d.facts.OS + "/" + d.facts.Arch, CPU: d.facts.CPU, Cores: d.facts.Cores, Threads: t.Threads, Memory: d.facts.Memory, Kernel: d.facts.Kernel},
		}
	case closing.Status != record.StatusOK:
		failure = closing.Error
	default:
		failure = ""
		if err := complete(t, h); err != nil {
			return err
		}
	}
	if err := c.log.append(lines(h, closing)); err != nil {
		return err
	}
	c.done += len(t.Prompts)
	c.result.Ran++
	if failure != "" {
		c.result.Failures = append(c.result.Failures, Failure{t.ID, failure})
	}
	tell(TrialEnded, 0, failure)
	return nil
}

// agent runs the agent for t. The string says how the trial failed; the error is
// one that every further trial would meet as well.
func (c *campaign) agent(ctx context.Context, d *device, t *plan.Trial, requests func(int)) (string, error) {
	there := *t
	var err error
	if there.Model.File, err = d.Put(ctx, c.files[t.Model.File]); err != nil {
		return "", fmt.Errorf("device %q: model: %w", t.Device, err)
	}
	if t.Model.Draft != "" {
		if there.Model.Draft, err = d.Put(ctx, c.files[t.Model.Draft]); err != nil {
			return "", fmt.Errorf("device %q: draft model: %w", t.Device, err)
		}
	}
	spec := filepath.Join(c.Folder, "trials", t.ID+".json")
	if err := writeJSON(spec, there); err != nil {
		return "", err
	}
	path, err := d.Put(ctx, spec)
	if err != nil {
		return "", fmt.Errorf("device %q: trial: %w", t.Device, err)
	}
	limit := c.Plan.Experiment.TrialTimeout()
	tctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var said string
	err = d.Run(tctx, devices.Command{Args: []string{d.agent, path, c.journal(d, t)}, Stdout: func(line string) {
		var m trial.Message
		if json.Unmarshal([]byte(line), &m) != nil {
			return
		}
		switch m.Type {
		case "progress":
			requests(m.Done)
		case "error":
			said = m.Error
		}
	}})
	var exit *devices.ExitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case tctx.Err() != nil:
		return fmt.Sprintf("timed out after %v", limit), nil
	case errors.As(err, &exit) && exit.Code == trial.ExitStorage:
		return "", fmt.Errorf("device %q: %s", t.Device, said)
	case errors.As(err, &exit):
		if said != "" && exit.Signal == "" {
			return said, nil
		}
		return "agent: " + exit.Error(), nil
	}
	return "", fmt.Errorf("device %q: agent: %w", t.Device, err)
}

// journal is where the agent writes on the device.
func (c *campaign) journal(d *device, t *plan.Trial) string {
	return d.facts.Work + "/trials/" + t.ID + ".jsonl"
}

// writeJSON replaces path by v as one line of JSON.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replaceFile(path, append(b, '\n'))
}

// ErrInUse says that another campaign works in the folder.
var ErrInUse = errors.New("in use")
