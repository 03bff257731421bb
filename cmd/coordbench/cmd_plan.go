package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
)

type planOptions struct {
	sets []string
	runs string
	json bool
}

func newPlanCommand(env *environment) *cobra.Command {
	var opts planOptions
	cmd := &cobra.Command{
		Use: "plan EXPERIMENT", Short: "Show what an experiment would run and how long it may take", Args: cobra.ExactArgs(1),
		Long: `Show the trials of an experiment in the order in which "coordbench run" would
run them: a randomised complete block design, in which every repeat runs every
system on every workload once, in an order shuffled by the experiment's seed.

The time is estimated from the newest earlier run of the same experiment, or, if
there is none, from the size of the models under assumptions that are printed
with it. EXPERIMENT is a file, or the name of one that is built in.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error { return runPlan(env, opts, args[0]) },
	}
	cmd.Flags().StringArrayVar(&opts.sets, "set", nil, "change the experiment: `key=value`, such as repeats=3 or workloads.0.prompts=4")
	cmd.Flags().StringVar(&opts.runs, "runs", "runs", "`folder` of earlier runs")
	cmd.Flags().BoolVar(&opts.json, "json", false, "one JSON object")
	return cmd
}

func runPlan(env *environment, opts planOptions, name string) error {
	e, err := loadExperiment(name, opts.sets)
	if err != nil {
		return err
	}
	p, err := plan.Build(e, catalog())
	if err != nil {
		return err
	}
	est, ok := plan.Estimate{}, false
	if l := newestRun(opts.runs, e.Name); l != nil {
		est, ok = p.FromRun(l)
	}
	if !ok {
		sizes := map[string]int64{}
		for _, m := range e.Models {
			if sizes[m.Name], err = modelSize(m.File); err != nil {
				return fmt.Errorf("model %q: %w", m.Name, err)
			}
		}
		est = p.FromSizes(sizes)
	}
	if opts.json {
		return writePlanJSON(env, p, est)
	}
	tw := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "order\ttrial\trequests")
	for i, t := range p.Trials {
		fmt.Fprintf(tw, "%d\t%s\t%d\n", i+1, t.ID, len(t.Prompts))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "\n%s: %d trials, %d requests: %d repeats × %d devices × %d models × %d systems × %d workloads; order from seed %d\n",
		e.Name, len(p.Trials), p.Requests(), e.Repeats, len(e.Devices), len(e.Models), len(p.Systems), len(p.Workloads), e.Seed)
	fmt.Fprintf(env.stdout, "about %v (%s)\n", roundTime(est.Time), est.Basis)
	return nil
}

func writePlanJSON(env *environment, p *plan.Plan, est plan.Estimate) error {
	type trial struct {
		ID       string            `json:"id"`
		Device   string            `json:"device"`
		Model    string            `json:"model"`
		Workload string            `json:"workload"`
		System   string            `json:"system"`
		Runs     string            `json:"runs"`
		Options  map[string]string `json:"options,omitempty"`
		Repeat   int               `json:"repeat"`
		Requests int               `json:"requests"`
	}
	out := struct {
		Type          string  `json:"type"`
		Experiment    string  `json:"experiment"`
		Seed          uint64  `json:"seed"`
		Trials        []trial `json:"trials"`
		Requests      int     `json:"requests"`
		EstimateS     float64 `json:"estimate_s"`
		EstimateBasis string  `json:"estimate_basis"`
	}{"plan", p.Experiment.Name, p.Experiment.Seed, nil, p.Requests(), est.Time.Seconds(), est.Basis}
	for _, t := range p.Trials {
		out.Trials = append(out.Trials, trial{t.ID, t.Device, t.Model.Name, t.Workload, t.System.Name, t.System.System, t.System.Options, t.Repeat, len(t.Prompts)})
	}
	return json.NewEncoder(env.stdout).Encode(out)
}

// roundTime keeps the digits of a duration that an estimate deserves.
func roundTime(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Minute:
		return d.Round(time.Minute)
	case d > 10*time.Second:
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}

// newestRun returns the latest readable run of an experiment below folder.
func newestRun(folder, experiment string) *record.Log {
	files, err := filepath.Glob(filepath.Join(folder, "*", record.FileName))
	if err != nil {
		return nil
	}
	var best *record.Log
	for _, f := range files {
		if l, err := record.Read(f); err == nil && l.Header.Experiment == experiment && (best == nil || l.Header.Started > best.Header.Started) {
			best = l
		}
	}
	return best
}

// loadExperiment reads a file, or a built-in experiment by its name.
func loadExperiment(name string, sets []string) (*experiments.Experiment, error) {
	if _, err := os.Stat(name); err != nil {
		if text, ok := experiments.Builtin(name); ok {
			return experiments.Parse(name+".yaml", ".", text, sets, catalog())
		}
		if filepath.Ext(name) == "" && filepath.Base(name) == name {
			return nil, fmt.Errorf("experiment %q: no such file, and built in are only %v", name, experiments.BuiltinNames())
		}
	}
	return experiments.Load(name, sets, catalog())
}
