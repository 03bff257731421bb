package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/devices"
	"github.com/coordbench/coordbench/devices/local"
	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/experiments/campaign"
	"github.com/coordbench/coordbench/experiments/plan"
	"github.com/coordbench/coordbench/experiments/record"
)

type runOptions struct {
	sets   []string
	out    string
	resume bool
	agent  string
	json   bool
}

func newRunCommand(env *environment) *cobra.Command {
	var opts runOptions
	cmd := &cobra.Command{
		Use: "run EXPERIMENT | run --resume FOLDER", Short: "Run an experiment and report it", Args: cobra.MaximumNArgs(1),
		Long: `Run an experiment, a file or the name of one that is built in ("quickstart" or
"identity"),
and print its report.

Everything goes to a run folder, runs/NAME-TIME unless --out says otherwise: the
record is runs.jsonl. A run may be interrupted or killed at any moment: at most
the request in flight is lost, and --resume finishes the rest. It takes the
folder of the run, or the experiment and then continues the folder of --out or
the newest run of that name; it refuses if the experiment, a workload or a model
has changed since. Trials that failed are run again.

The agent, coordbench-agent, is the program that measures. It is looked for
beside this program, in $COORDBENCH_AGENT, or where --agent says.

` + exitHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			arg := ""
			if len(args) > 0 {
				arg = args[0]
			}
			return runRun(cmd.Context(), env, opts, arg)
		},
	}
	cmd.Flags().StringArrayVar(&opts.sets, "set", nil, "change the experiment: `key=value`, such as repeats=3 or workloads.0.prompts=4")
	cmd.Flags().StringVarP(&opts.out, "out", "o", "", "run `folder`")
	cmd.Flags().BoolVar(&opts.resume, "resume", false, "go on with a run that did not finish")
	cmd.Flags().StringVar(&opts.agent, "agent", "", "the agent's `file`")
	cmd.Flags().BoolVar(&opts.json, "json", false, "the report as one JSON object")
	return cmd
}

func runRun(ctx context.Context, env *environment, opts runOptions, arg string) error {
	e, folder, err := chooseRun(opts, arg)
	if err != nil {
		return err
	}
	p, err := plan.Build(e, catalog())
	if err != nil {
		return err
	}
	bar := newProgress(env.stderr)
	res, err := campaign.Run(ctx, campaign.Options{
		Folder: folder, Plan: p, Tool: toolVersion(), Resume: opts.resume,
		Device:   func(_ context.Context, name string) (devices.Device, error) { return local.Open(folder) },
		Agent:    func(f devices.Facts) (string, error) { return findAgent(env, opts.agent, f) },
		Model:    modelFile,
		Progress: bar.event,
	})
	bar.end()
	switch {
	case errors.Is(err, campaign.ErrInterrupted):
		return fmt.Errorf("interrupted after %d of %d trials (coordbench run --resume %s goes on)", res.Kept+res.Ran, len(p.Trials), folder)
	case errors.Is(err, campaign.ErrExists):
		return fmt.Errorf("%w (--resume goes on with it; --out names another folder)", pathError(err))
	case err != nil && res.Kept+res.Ran > 0:
		return fmt.Errorf("%w (%d of %d trials are safe; coordbench run --resume %s goes on)", pathError(err), res.Kept+res.Ran, len(p.Trials), folder)
	case err != nil:
		return pathError(err)
	}
	// The report comes even when trials failed: what did run is not lost.
	rerr := reportRun(env, folder, opts.json)
	where := env.stdout
	if opts.json {
		where = env.stderr
	}
	fmt.Fprintf(where, "\nrun folder: %s\n", folder)
	if n := len(res.Failures); n > 0 {
		return fmt.Errorf("%d of %d trials failed, the first: %s: %s (coordbench run --resume %s tries again)",
			n, len(p.Trials), res.Failures[0].Trial, res.Failures[0].Reason, folder)
	}
	return rerr
}

// chooseRun settles experiment and folder from what was typed.
func chooseRun(opts runOptions, arg string) (*experiments.Experiment, string, error) {
	folder := opts.out
	if opts.resume && arg != "" && isRunFolder(arg) {
		if folder != "" {
			return nil, "", usagef("run: both --out %s and the run folder %s", folder, arg)
		}
		folder, arg = arg, ""
	}
	if arg == "" {
		if !opts.resume {
			return nil, "", usagef(`run: no experiment (try "coordbench run quickstart")`)
		}
		if folder == "" {
			return nil, "", usagef("run --resume: no folder and no experiment")
		}
		// The record holds the experiment, with every path absolute.
		l, err := record.Read(filepath.Join(folder, record.FileName))
		if err != nil {
			return nil, "", pathError(err)
		}
		e, err := experiments.Parse(filepath.Join(folder, record.FileName)+" (its experiment)", folder, []byte(l.Header.Config), opts.sets, catalog())
		return e, folder, err
	}
	e, err := loadExperiment(arg, opts.sets)
	if err != nil {
		return nil, "", err
	}
	if folder != "" {
		return e, folder, nil
	}
	if opts.resume {
		l := newestRun("runs", e.Name)
		if l == nil {
			return nil, "", fmt.Errorf("run --resume: no run of %q below runs", e.Name)
		}
		return e, filepath.Dir(l.Path), nil
	}
	return e, filepath.Join("runs", e.Name+"-"+time.Now().Format("20060102-150405")), nil
}

func isRunFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// findAgent looks for the agent for a device with the given facts.
func findAgent(env *environment, flag string, f devices.Facts) (string, error) {
	for _, c := range []struct{ from, file string }{{"--agent", flag}, {"COORDBENCH_AGENT", env.getenv("COORDBENCH_AGENT")}} {
		if c.file == "" {
			continue
		}
		st, err := os.Stat(c.file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.from, pathError(err))
		}
		if st.IsDir() {
			return "", fmt.Errorf("%s: %s: is a folder", c.from, c.file)
		}
		return c.file, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for coordbench-agent: %w", err)
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	dir := filepath.Dir(exe)
	names := []string{"coordbench-agent-" + f.OS + "-" + f.Arch}
	if isHost(f) {
		names = append([]string{"coordbench-agent"}, names...)
	}
	for _, n := range names {
		if st, err := os.Stat(filepath.Join(dir, n)); err == nil && !st.IsDir() {
			return filepath.Join(dir, n), nil
		}
	}
	return "", fmt.Errorf("no agent for %s/%s: no %s in %s (build it with `go build ./cmd/coordbench-agent`, or name it with --agent or COORDBENCH_AGENT)",
		f.OS, f.Arch, strings.Join(names, " or "), dir)
}
