package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/reports"
	"github.com/coordbench/coordbench/reports/text"
)

type reportOptions struct {
	json     bool
	csv      bool
	baseline string
}

func newReportCommand(env *environment) *cobra.Command {
	var opts reportOptions
	cmd := &cobra.Command{
		Use: "report RUN", Short: "Show what a run measured", Args: cobra.ExactArgs(1),
		Long: `Show what a run measured: for each device, model, workload and system the time
to the first token, time per token, tokens per second, tokens per verification
(MAT), drafts and their acceptance, peak memory, and the speedup over the
baseline with a 95% bootstrap interval over prompts; then the ablations. RUN is
a run folder or its runs.jsonl; an unfinished run is reported as far as it came.

A speedup stands only where every output is token by token the baseline's, on
the same model file and prompt. Where one differs, the first difference is shown
and the exit status is 4. Doubts about a figure are its footnotes.

--json prints one object: rows[] with device, model, workload, system,
tokens_per_s, ms_per_token, ttft_ms, mat, drafted_per_step, speedup, speedup_lo,
speedup_hi, identical, total, peak_mb, warnings[] and more; summary[],
ablations[], identity and warnings[]. What is not known is null. --csv prints
the rows under the same names.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error { return runReport(env, opts, args[0]) },
	}
	cmd.Flags().BoolVar(&opts.json, "json", false, "one JSON object")
	cmd.Flags().BoolVar(&opts.csv, "csv", false, "rows as CSV")
	cmd.Flags().StringVar(&opts.baseline, "baseline", "", "compare with this `system` instead of the experiment's baseline")
	return cmd
}

func runReport(env *environment, opts reportOptions, run string) error {
	if opts.json && opts.csv {
		return usagef("report: --json and --csv exclude each other")
	}
	r, err := reports.LoadWith(run, reports.Options{Baseline: opts.baseline})
	if errors.Is(err, reports.ErrNoSystem) {
		return usagef("report: --baseline: %w", err)
	}
	if err != nil {
		return pathError(err)
	}
	switch {
	case opts.json:
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	case opts.csv:
		err = text.WriteCSV(env.stdout, r)
	default:
		err = text.Write(env.stdout, r, text.DefaultWidth)
	}
	if err != nil {
		return err
	}
	if id := r.Identity; len(id.Mismatches) > 0 {
		return &exitError{code: exitDifferent, err: fmt.Errorf("%d of %d outputs differ from %s's: the first: %v", id.Different, id.Total, r.Baseline, id.Mismatches[0])}
	}
	return nil
}

// reportRun prints the report of a run that has just ended.
func reportRun(env *environment, folder string, asJSON bool) error {
	return runReport(env, reportOptions{json: asJSON}, folder)
}
