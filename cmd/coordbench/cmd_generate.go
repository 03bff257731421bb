package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/engine"
	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/internal/session"
	"github.com/coordbench/coordbench/internal/yamlspec"
)

type generateOptions struct {
	model, draft string
	system       string
	options      []string
	instruction  string
	chat, raw    bool
	maxTokens    int
	threads      int
	context      int
	kv           string
	sampling     decode.Sampling
}

func newGenerateCommand(env *environment) *cobra.Command {
	var opts generateOptions
	cmd := &cobra.Command{
		Use: "generate [PROMPT]", Short: "Answer one prompt, or chat, with any system", Args: cobra.MaximumNArgs(1),
		Long: `Answer a prompt with any decoding system, streamed to standard output, with a
line of statistics on standard error. The prompt is the argument, or all of
standard input. With --chat every line of standard input is a turn.

Without --model the embedded model answers. It is a demonstration: it knows the
four kinds of task of the embedded workloads and nothing else.

"coordbench systems" lists systems and their options.

` + exitHelp,
		RunE: func(cmd *cobra.Command, args []string) error { return runGenerate(cmd.Context(), env, opts, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&opts.model, "model", "m", experiments.EmbeddedPrefix+demo.Name, "model `file`")
	f.StringVar(&opts.draft, "draft", "", "draft model `file`, for systems that use one (the embedded model has its own)")
	f.StringVarP(&opts.system, "system", "s", "coordgen", "decoding system")
	f.StringArrayVar(&opts.options, "option", nil, "option of the system: `key=value`")
	f.StringVar(&opts.instruction, "instruction", "", "system message of the chat")
	f.BoolVar(&opts.chat, "chat", false, "hold a conversation")
	f.BoolVar(&opts.raw, "raw", false, "continue the text itself, without a chat template")
	f.IntVarP(&opts.maxTokens, "max-tokens", "n", 256, "most tokens of an answer")
	f.IntVar(&opts.threads, "threads", 0, "0 is all cores")
	f.IntVar(&opts.context, "context", 0, "tokens that the context holds; 0 is what the model was trained on, at most 4096")
	f.StringVar(&opts.kv, "kv", "f16", "format of cached keys and values: f16 or f32")
	f.Float64Var(&opts.sampling.Temperature, "temperature", 0, "0 is greedy")
	f.IntVar(&opts.sampling.TopK, "top-k", 0, "keep the k likeliest tokens; 0 keeps all")
	f.Float64Var(&opts.sampling.TopP, "top-p", 0, "keep the likeliest tokens up to this mass; 0 keeps all")
	f.Float64Var(&opts.sampling.MinP, "min-p", 0, "keep tokens with at least this share of the likeliest's probability")
	f.Uint64Var(&opts.sampling.Seed, "seed", 1, "of the sampler")
	return cmd
}

// check finds what is wrong with the flags.
func (o *generateOptions) check(args []string) (map[string]string, error) {
	s := o.sampling
	switch {
	case o.maxTokens < 1:
		return nil, usagef("--max-tokens: is %d; want at least 1", o.maxTokens)
	case o.threads < 0:
		return nil, usagef("--threads: is %d; want at least 0", o.threads)
	case o.context < 0:
		return nil, usagef("--context: is %d; want at least 0", o.context)
	case o.kv != "f16" && o.kv != "f32":
		return nil, usagef("--kv: unknown value %q (one of f16, f32)", o.kv)
	case !(s.Temperature >= 0 && s.Temperature <= 100):
		return nil, usagef("--temperature: is %g; want 0 to 100", s.Temperature)
	case s.TopK < 0:
		return nil, usagef("--top-k: is %d; want at least 0", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return nil, usagef("--top-p: is %g; want 0 to 1", s.TopP)
	case !(s.MinP >= 0 && s.MinP <= 1):
		return nil, usagef("--min-p: is %g; want 0 to 1", s.MinP)
	case o.chat && o.raw:
		return nil, usagef("--chat and --raw exclude each other")
	case o.chat && len(args) > 0:
		return nil, usagef("--chat reads its turns from standard input; it takes no prompt")
	case o.raw && o.instruction != "":
		return nil, usagef("--raw has no place for an --instruction")
	}
	if names := catalog().Systems; !slices.Contains(names, o.system) {
		hint := "known: " + strings.Join(names, ", ")
		if near := yamlspec.Nearest(o.system, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, usagef("--system: unknown system %q (%s)", o.system, hint)
	}
	options := map[string]string{}
	for _, kv := range o.options {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usagef("--option %s: want key=value", kv)
		}
		options[k] = v
	}
	if err := catalog().CheckOptions(o.system, options); err != nil {
		return nil, usagef("--option: %w", err)
	}
	return options, nil
}

func runGenerate(ctx context.Context, env *environment, opts generateOptions, args []string) error {
	options, err := opts.check(args)
	if err != nil {
		return err
	}
	if opts.draft == "" && opts.model == experiments.EmbeddedPrefix+demo.Name {
		opts.draft = experiments.EmbeddedPrefix + demo.DraftName
	}
	so := session.Options{System: opts.system, Options: options, Threads: opts.threads, Context: opts.context, KV: opts.kv}
	if so.Model, err = modelFile(opts.model); err != nil {
		return err
	}
	if so.Draft, err = modelFile(opts.draft); err != nil {
		return err
	}
	s, err := session.Open(so)
	if err != nil {
		return pathError(err)
	}
	defer s.Close()
	if opts.model == experiments.EmbeddedPrefix+demo.Name {
		fmt.Fprintf(env.stderr, "%s is a demonstration model: it knows the tasks of the embedded workloads and nothing else\n", demo.Name)
	}
	g := &generator{env: env, opts: opts, s: s}
	if opts.chat {
		return g.chat(ctx)
	}
	prompt := ""
	if len(args) > 0 {
		prompt = args[0]
	} else {
		b, err := io.ReadAll(env.stdin)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		prompt = strings.TrimRight(string(b), "\n")
	}
	if prompt == "" {
		return usagef("generate: the prompt is empty")
	}
	if opts.raw {
		_, err := g.answer(ctx, s.Model.Encode(prompt))
		return err
	}
	_, err = g.turn(ctx, append(g.start(), engine.Message{Role: "user", Content: prompt}))
	return err
}

type generator struct {
	env  *environment
	opts generateOptions
	s    *session.Session
}

// start is the conversation before the first turn.
func (g *generator) start() []engine.Message {
	if g.opts.instruction == "" {
		return nil
	}
	return []engine.Message{{Role: "system", Content: g.opts.instruction}}
}

func (g *generator) chat(ctx context.Context) error {
	fmt.Fprintln(g.env.stderr, "one line is one turn; end with ctrl-D")
	lines := bufio.NewScanner(g.env.stdin)
	lines.Buffer(nil, 1<<24)
	ms := g.start()
	for {
		fmt.Fprint(g.env.stderr, "> ")
		if !lines.Scan() {
			fmt.Fprintln(g.env.stderr)
			return lines.Err()
		}
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		ms = append(ms, engine.Message{Role: "user", Content: lines.Text()})
		text, err := g.turn(ctx, ms)
		if err != nil {
			return err
		}
		ms = append(ms, engine.Message{Role: "assistant", Content: text})
	}
}

func (g *generator) turn(ctx context.Context, ms []engine.Message) (string, error) {
	ids, err := g.s.Model.Chat(ms)
	if err != nil {
		return "", err
	}
	return g.answer(ctx, ids)
}

// answer streams the continuation of prompt and then its statistics.
func (g *generator) answer(ctx context.Context, prompt []decode.Token) (string, error) {
	if err := engine.Fits("", len(prompt), g.s.Context); err != nil {
		return "", err
	}
	stream := g.s.Model.Tokenizer().NewStream(false)
	var text strings.Builder
	show := func(s string) {
		text.WriteString(s)
		fmt.Fprint(g.env.stdout, s)
	}
	var st statistics
	began := time.Now()
	res, err := g.s.System.Decode(ctx, decode.Request{
		Prompt: prompt, MaxTokens: g.opts.maxTokens, Stop: g.s.Model.Tokenizer().StopTokens(), Sampling: g.opts.sampling, Group: "generate",
	}, func(s decode.Step) {
		st.add(s, time.Since(began))
		show(stream.Write(s.Tokens...))
	})
	show(stream.Flush())
	fmt.Fprintln(g.env.stdout)
	if ctx.Err() != nil {
		return "", errors.New("interrupted")
	}
	if err != nil {
		return "", err
	}
	fmt.Fprintln(g.env.stderr, st.line(g.opts.system, len(prompt), res.Reason))
	return text.String(), nil
}

// statistics of one answer. Rates are over the generation phase, from the first
// token to the last, as in reports.
type statistics struct {
	tokens, steps     int // tokens in all; verifications
	first, last       time.Duration
	drafted, accepted [decode.NumOrigins]int
}

func (st *statistics) add(s decode.Step, at time.Duration) {
	st.tokens += len(s.Tokens)
	st.last = at
	if s.Phase == decode.Prefill {
		st.first = at
		return
	}
	st.steps++
	for o, n := range s.Drafted {
		st.drafted[o] += int(n)
	}
	for _, o := range s.Accepted {
		st.accepted[o]++
	}
}

// line is the statistics as one line.
func (st *statistics) line(system string, prompt int, reason decode.StopReason) string {
	parts := []string{
		fmt.Sprintf("%s: %d prompt tokens, %d tokens (%s)", system, prompt, st.tokens, reason),
		fmt.Sprintf("first after %.1f ms", st.first.Seconds()*1e3),
	}
	if d := st.last - st.first; st.steps > 0 && d > 0 {
		parts = append(parts,
			fmt.Sprintf("%.1f tokens/s", float64(st.tokens-1)/d.Seconds()),
			fmt.Sprintf("%.2f tokens per verification", float64(st.tokens-1)/float64(st.steps)))
	}
	var origins []string
	for o, n := range st.drafted {
		if n > 0 {
			origins = append(origins, fmt.Sprintf("%v %d/%d", decode.Origin(o), st.accepted[o], n))
		}
	}
	if origins != nil {
		parts = append(parts, "accepted: "+strings.Join(origins, " "))
	}
	return strings.Join(parts, ", ")
}
