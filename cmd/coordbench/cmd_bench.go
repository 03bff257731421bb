package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/baselines/llamacpp"
	"github.com/coordbench/coordbench/engine/bench"
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kernels"
	"github.com/coordbench/coordbench/engine/kvcache"
	"github.com/coordbench/coordbench/engine/model"
	"github.com/coordbench/coordbench/internal/machine"
)

type benchOptions struct {
	threads int
	context int
	rounds  int
	kv      string
	against string
	json    bool
}

func newBenchCommand(env *environment) *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use: "bench FILE", Short: "Time a model: prefill, decode, and what verifying n rows costs", Args: cobra.ExactArgs(1),
		Long: `Time a model file: prefill of 512 tokens, decoding one, and verifying drafts of
1 to 64 rows after a context. Medians with their range, beside what this machine
can do at most: memory reads and int8 multiply-adds, measured first.

--against FOLDER times the real llama.cpp from that folder on the same file, round
by round in turn, so that the ratio holds while the machine's speed drifts. The
file needs no tokenizer; "models synth" makes one in the shape of a real model.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runBench(cmd.Context(), env, o, args[0]) },
	}
	f := cmd.Flags()
	f.IntVarP(&o.threads, "threads", "t", 0, "threads (all cores)")
	f.IntVar(&o.context, "context", bench.Defaults().Context, "tokens in the context before a decode or verify")
	f.IntVarP(&o.rounds, "rounds", "r", bench.Defaults().Rounds, "repetitions")
	f.StringVar(&o.kv, "kv", "f16", "format of keys and values: f16 or f32")
	f.StringVar(&o.against, "against", "", "`folder` of llama.cpp's libraries to time beside ours")
	f.BoolVar(&o.json, "json", false, "one JSON object")
	return cmd
}

// benchResult is what bench --json prints.
type benchResult struct {
	Model       string             `json:"model"`
	Digest      string             `json:"model_digest"`
	FileMB      float64            `json:"file_mb"`
	Threads     int                `json:"threads"`
	Context     int                `json:"context"`
	Rounds      int                `json:"rounds"`
	LimitGBs    float64            `json:"limit_gb_s"`
	LimitGMACs  float64            `json:"limit_gmac_s"`
	LimitPath   string             `json:"limit_path"`
	benchEngine                    // ours
	LlamaCpp    *benchEngine       `json:"llamacpp,omitempty"`
	Ratios      map[string]float64 `json:"ratios,omitempty"` // ours/theirs, of medians
}

// benchEngine is one engine's figures.
type benchEngine struct {
	Backend     string                `json:"backend"`
	KernelPath  string                `json:"kernel_path"`
	PrefillTokS float64               `json:"prefill_tok_s"`
	DecodeMS    float64               `json:"decode_ms"`
	VerifyMS    map[string]float64    `json:"verify_ms"`
	Spread      map[string]bench.Stat `json:"spread"` // of the milliseconds
	PeakMB      *float64              `json:"peak_mb"`
	LoadS       float64               `json:"load_s"`
	KVMB        *float64              `json:"kv_mb"`
}

func runBench(ctx context.Context, env *environment, o benchOptions, name string) error {
	if o.threads == 0 {
		o.threads = runtime.GOMAXPROCS(0)
	}
	if o.threads < 1 || o.rounds < 1 || o.context < 1 {
		return usagef("bench: threads %d, rounds %d and context %d must be at least 1", o.threads, o.rounds, o.context)
	}
	file, err := modelFile(name)
	if err != nil {
		return err
	}
	opts := bench.Defaults()
	opts.Context, opts.Rounds = o.context, o.rounds
	room := max(opts.Prefill, opts.Context) + slices.Max(opts.Rows)

	start := time.Now()
	f, err := gguf.Open(file)
	if err != nil {
		return pathError(err)
	}
	defer f.Close()
	m, err := model.Load(f, model.Options{Threads: o.threads})
	if err != nil {
		return err
	}
	defer m.Close()
	ours, err := m.NewContext(model.ContextOptions{Context: room, KV: kvcache.Type(o.kv)})
	if err != nil {
		return err
	}
	defer ours.Close()
	load := time.Since(start)

	targets := []decode.Target{ours}
	var theirLoad time.Duration
	if o.against != "" {
		lib, err := llamacpp.Load(o.against)
		if err != nil {
			return err
		}
		start := time.Now()
		lm, err := lib.OpenModel(file, llamacpp.Options{})
		if err != nil {
			return err
		}
		defer lm.Close()
		t, err := lm.NewTarget(llamacpp.Options{Threads: o.threads, Context: room})
		if err != nil {
			return err
		}
		defer t.Close()
		theirLoad = time.Since(start)
		targets = append(targets, t)
	}
	opts.OnRound = func(done, of int) { fmt.Fprintf(env.stderr, "\rround %d of %d", done, of) }
	curves, err := bench.Measure(ctx, targets, opts)
	fmt.Fprintln(env.stderr)
	if err != nil {
		return err
	}
	peak := machine.Peak()
	limits := bench.MeasureLimits(o.threads)
	digest, derr := f.Digest()
	if derr != nil {
		return derr
	}
	r := benchResult{
		Model: strings.TrimSuffix(filepath.Base(file), ".gguf"), Digest: digest, FileMB: megabytes(f.Size()),
		Threads: o.threads, Context: o.context, Rounds: o.rounds,
		LimitGBs: limits.GBs, LimitGMACs: limits.GMACs, LimitPath: limits.Path,
		benchEngine: engineFigures(curves[0], opts, ours.Info().Backend, kernels.Path(), load),
	}
	kv := megabytes(ours.KVBytes())
	r.KVMB = &kv
	// Where llama.cpp shares the process, its memory cannot be told from ours.
	if o.against == "" {
		p := megabytes(peak)
		r.PeakMB = &p
	}
	if len(targets) > 1 {
		e := engineFigures(curves[1], opts, targets[1].Info().Backend, "llama.cpp", theirLoad)
		r.LlamaCpp = &e
		r.Ratios = map[string]float64{"prefill_tok_s": r.PrefillTokS / e.PrefillTokS, "decode_ms": r.DecodeMS / e.DecodeMS}
		for n, ms := range r.VerifyMS {
			r.Ratios["verify_ms_"+n] = ms / e.VerifyMS[n]
		}
	}
	if o.json {
		return json.NewEncoder(env.stdout).Encode(r)
	}
	return writeBench(env, &r, opts, curves)
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

func engineFigures(c bench.Curve, o bench.Options, backend, path string, load time.Duration) benchEngine {
	e := benchEngine{
		Backend: backend, KernelPath: path, LoadS: load.Seconds(),
		PrefillTokS: float64(o.Prefill) / c.PrefillMS.Median * 1e3,
		DecodeMS:    c.DecodeMS().Median,
		VerifyMS:    map[string]float64{},
		Spread:      map[string]bench.Stat{"prefill": c.PrefillMS},
	}
	for n, s := range c.VerifyMS {
		e.VerifyMS[strconv.Itoa(n)] = s.Median
		e.Spread["verify_"+strconv.Itoa(n)] = s
	}
	return e
}

func writeBench(env *environment, r *benchResult, o bench.Options, curves []bench.Curve) error {
	w := env.stdout
	fmt.Fprintf(w, "%s · %.0f MB · %d threads · %s · context %d · median of %d rounds [range]\n", r.Model, r.FileMB, r.Threads, r.KernelPath, r.Context, r.Rounds)
	fmt.Fprintf(w, "this machine: %.1f GB/s of memory reads, %.0f G multiply-adds/s (%s)\n", r.LimitGBs, r.LimitGMACs, r.LimitPath)
	fmt.Fprintf(w, "loaded in %.2f s", r.LoadS)
	if r.PeakMB != nil {
		fmt.Fprintf(w, "; peak memory %.0f MB, %.2f × (file + keys and values)", *r.PeakMB, *r.PeakMB/(r.FileMB+*r.KVMB))
	}
	fmt.Fprint(w, "\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\tms\trange\ttokens/s\tGB/s\tof limit\t×decode\t")
	if r.LlamaCpp != nil {
		fmt.Fprint(tw, "llama.cpp ms\trange\tours/theirs\t")
	}
	fmt.Fprintln(tw)
	line := func(name string, s, theirs bench.Stat, tokens int, read bool) {
		fmt.Fprintf(tw, "%s\t%.2f\t[%.2f, %.2f]\t%.1f\t", name, s.Median, s.Min, s.Max, float64(tokens)/s.Median*1e3)
		if read {
			gbs := r.FileMB / s.Median
			fmt.Fprintf(tw, "%.1f\t%.0f%%\t%.2f\t", gbs, 100*gbs/r.LimitGBs, s.Median/r.DecodeMS)
		} else {
			fmt.Fprint(tw, "\t\t\t")
		}
		if r.LlamaCpp != nil {
			fmt.Fprintf(tw, "%.2f\t[%.2f, %.2f]\t%.2f\t", theirs.Median, theirs.Min, theirs.Max, s.Median/theirs.Median)
		}
		fmt.Fprintln(tw)
	}
	theirs := bench.Curve{}
	if len(curves) > 1 {
		theirs = curves[1]
	}
	line(fmt.Sprintf("prefill %d", o.Prefill), curves[0].PrefillMS, theirs.PrefillMS, o.Prefill, false)
	for _, n := range slices.Sorted(maps.Keys(curves[0].VerifyMS)) {
		name := fmt.Sprintf("verify %d", n)
		if n == 1 {
			name = "decode"
		}
		line(name, curves[0].VerifyMS[n], theirs.VerifyMS[n], n, true)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nGB/s counts the whole file once a pass.")
	return nil
}
