package baselines

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/draft"
	"github.com/coordbench/coordbench/engine/speculate"
)

// coordgen is the paper's drafting (arXiv 2510.15312): retrieval, then branches
// from the calibrated distribution of the prompt, then reused segments of
// rejected drafts, merged into one tree of a fixed width.
//
// With calibration, reuse and history off, what remains is retrieval on the same
// width: the base of the additive ablation. It is not the sam row: it fills the
// width instead of drafting 4 tokens per matched one (fill), continues the
// earliest and the latest occurrence instead of the earliest alone (occurrence),
// and verifies up to 32 rows where sam's cap of 40 makes up to 41. With
// fill=false, occurrence=earliest and width=64 the base is sam, token for token.
//
// Earlier sources may use only part of the nodes while later ones are on:
// chain_nodes and calibrated_nodes are cumulative limits, 16 and 24 of 31 unless
// they are set. With later sources off their nodes go to the earlier ones: no
// part is turned off by leaving rows empty.
var coordgen = definition{
	name: "coordgen",
	doc:  "CoordGen: retrieval, calibrated tree and draft reuse in one draft tree, with history of the task group",
	parts: []Part{
		{"calibration", "calibration", "false"},
		{"reuse", "reuse", "false"},
		{"history", "history", "false"},
	},
	setup: func() ([]option, func(Config, map[string]string) (decode.System, error)) {
		g := newCoordgen()
		return g.options(), g.open
	},
}

type chainKind uint8

const (
	chainAutomaton chainKind = iota
	chainLookup
)

type widthKind uint8

const (
	widthFixed widthKind = iota
	widthAdaptive
)

type builderKind uint8

const (
	builderLazy builderKind = iota
	builderEager
)

type coordgenOptions struct {
	calibration, reuse, history bool

	width       int
	widthPolicy widthKind
	cost        string

	chain           chainKind
	lookup          draft.LookupOptions
	automaton       draft.AutomatonOptions
	chainNodes      int
	calibratedNodes int
	refill          bool
	calibrated      draft.CalibratedOptions
	builder         builderKind
	reused          draft.ReuseOptions
	historyCap      int
}

// measured is the value of option cost that has the curve measured at load.
const measured = "measured"

func newCoordgen() *coordgenOptions {
	g := &coordgenOptions{
		calibration: true, reuse: true, history: true,
		width: 32, cost: measured,
		lookup: draft.LookupDefaults(), automaton: draft.AutomatonDefaults(),
		calibrated: draft.CalibratedDefaults(), reused: draft.ReuseDefaults(), historyCap: draft.HistoryCap,
	}
	g.automaton.Fill, g.automaton.Occurrence = true, draft.Both
	// chain_nodes and calibrated_nodes say what is left for later sources.
	g.calibrated.Reserve = 0
	return g
}

func (g *coordgenOptions) options() []option {
	const most = decode.MaxNodes - 1
	return []option{
		boolOption(&g.calibration, "calibration", "draft from the target's own distribution over the prompt"),
		boolOption(&g.reuse, "reuse", "offer rejected segments of earlier drafts again"),
		boolOption(&g.history, "history", "retrieve from earlier answers of the task group, too"),

		widthOption(&g.width),
		enumOption(&g.widthPolicy, "width_policy", []string{"fixed", "adaptive"}, "verify the whole draft, or the part that pays by the measured cost"),
		textOption(&g.cost, "cost", "measured, or rows:time pairs as in 1:51ms,32:182ms", func(s string) error {
			if s == measured {
				return nil
			}
			_, err := speculate.ParseCurve(s)
			return err
		}, "what a verification costs by its rows, for width_policy adaptive"),

		enumOption(&g.chain, "chain", []string{"automaton", "lookup"}, "what retrieves: the longest suffix (SAM), or n-grams (PLD, without history)"),
		occurrenceOption(&g.automaton.Occurrence),
		boolOption(&g.automaton.Fill, "fill", "retrieve as much as there is room for; false is alpha and cap"),
		floatOption(&g.automaton.Alpha, "alpha", 0, 64, "without fill: retrieved tokens per matched token"),
		intOption(&g.automaton.Cap, "cap", 1, most, "without fill: most tokens retrieved"),
		minMatchOption(&g.automaton.MinMatch),
		intOption(&g.automaton.Bias, "bias", 0, 64, "history is used where its match is longer by more than this"),
		intOption(&g.lookup.NMax, "n_max", 1, 32, "lookup: longest suffix"),
		intOption(&g.lookup.NMin, "n_min", 1, 32, "lookup: shortest suffix"),
		intOption(&g.lookup.K, "k", 1, most, "lookup: tokens drafted"),
		intOption(&g.chainNodes, "chain_nodes", 0, most, "most retrieved nodes while calibration is on; 0 is 16/31 of the width"),
		intOption(&g.calibratedNodes, "calibrated_nodes", 0, most, "most nodes before reused segments; 0 is 24/31 of the width"),
		boolOption(&g.refill, "refill", "retrieved nodes beyond chain_nodes take what later sources leave free"),

		intOption(&g.calibrated.TopK, "topk", 1, 64, "calibration: likeliest tokens kept per prompt position"),
		floatOption(&g.calibrated.MinProb, "min_prob", 1e-6, 1, "calibration: less likely ones are not kept"),
		intOption(&g.calibrated.Depth, "depth", 1, 16, "calibration: longest branch"),
		intsOption(&g.calibrated.Breadth, "breadth", 1, 64, 16, "calibration: most children by depth; the last goes on"),
		floatOption(&g.calibrated.PathProb, "path_prob", 1e-9, 1, "calibration: branches below this probability end"),
		intOption(&g.calibrated.Occurrences, "occurrences", 1, 64, "calibration: occurrences of a token that are averaged"),
		intOption(&g.calibrated.Scan, "scan", 1, 1<<16, "calibration: latest occurrences that are looked at"),
		intOption(&g.calibrated.Suffix, "suffix", 1, 32, "calibration: longest context by which occurrences are ranked"),
		enumOption(&g.calibrated.Order, "order", []string{"best-first", "dfs"}, "calibration: order in which the tree is walked"),
		enumOption(&g.builder, "builder", []string{"lazy", "eager"}, "calibration: expand as needed or build the whole tree; the same draft"),
		boolOption(&g.calibrated.Live, "live", "calibration: verifications refresh the distribution, too"),

		intOption(&g.reused.Life, "life", 1, 64, "reuse: steps for which a segment is offered"),
		intOption(&g.reused.MinRun, "min_run", 1, 32, "reuse: tokens that a segment must have"),
		intOption(&g.reused.Pool, "pool", 1, 64, "reuse: most segments kept"),

		intOption(&g.historyCap, "history_cap", 1, 1<<24, "history: most tokens per task group"),
	}
}

func (g *coordgenOptions) open(c Config, in map[string]string) (decode.System, error) {
	if g.lookup.NMin > g.lookup.NMax {
		return nil, fmt.Errorf("option n_min is %d, above n_max, which is %d", g.lookup.NMin, g.lookup.NMax)
	}
	nodes := min(g.width, c.Target.Info().MaxNodes) - 1
	if g.chainNodes == 0 {
		g.chainNodes = nodes * 16 / 31
	}
	if g.calibratedNodes == 0 {
		g.calibratedNodes = nodes * 24 / 31
	}
	in["chain_nodes"], in["calibrated_nodes"] = strconv.Itoa(g.chainNodes), strconv.Itoa(g.calibratedNodes)
	s := &retrieval{}
	o := speculate.Options{Name: "coordgen", Options: in}
	var err error
	if o.Width, err = g.policy(c.Target, in); err != nil {
		return nil, err
	}
	s.width = o.Width

	chain := draft.Source(draft.NewLookup(g.lookup))
	if g.chain == chainAutomaton {
		if g.history {
			s.history = draft.NewHistory(g.historyCap)
			g.automaton.History = s.history
		}
		s.automaton = draft.NewAutomaton(g.automaton)
		chain = s.automaton
	}
	var sources []draft.Source
	switch {
	case g.calibration:
		sources = append(sources, draft.Upto(chain, g.chainNodes))
	case g.reuse:
		sources = append(sources, draft.Upto(chain, g.calibratedNodes))
	default:
		sources = append(sources, chain)
	}
	if g.calibration {
		g.calibrated.Eager = g.builder == builderEager
		o.TopK, o.Live = min(g.calibrated.TopK, c.Target.Info().Vocab), g.calibrated.Live
		calibrated := draft.Source(draft.NewCalibrated(g.calibrated))
		if g.reuse {
			calibrated = draft.Upto(calibrated, g.calibratedNodes)
		}
		sources = append(sources, calibrated)
	}
	if g.reuse {
		sources = append(sources, draft.NewReuse(g.reused))
	}
	if g.refill && len(sources) > 1 {
		sources = append(sources, again{chain})
	}
	if s.Engine, err = speculate.New(c.Target, sources, o); err != nil {
		return nil, err
	}
	if s.history == nil && g.widthPolicy == widthFixed {
		return s, nil
	}
	return &remembering{s}, nil
}

// policy makes the width policy and puts the curve in force among the options.
func (g *coordgenOptions) policy(target decode.Target, in map[string]string) (speculate.WidthPolicy, error) {
	if g.widthPolicy == widthFixed {
		return speculate.Fixed(g.width), nil
	}
	var curve speculate.Curve
	var err error
	if g.cost == measured {
		curve, err = g.measure(target)
	} else {
		curve, err = speculate.ParseCurve(g.cost)
	}
	if err != nil {
		return nil, err
	}
	in["cost"] = curve.String()
	return speculate.Adaptive(g.width, curve)
}

// measure times verifications: once each, which costs about as much as a prompt
// of the widths' sum, and where that was quick, as for small models, more often.
func (g *coordgenOptions) measure(target decode.Target) (speculate.Curve, error) {
	widths := slices.DeleteFunc([]int{2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, g.width}, func(w int) bool { return w > g.width })
	start := time.Now()
	curve, err := speculate.MeasureCost(context.Background(), target, widths, 1)
	switch once := time.Since(start); {
	case err != nil:
		return nil, err
	case once < 100*time.Millisecond:
		return speculate.MeasureCost(context.Background(), target, widths, 21)
	case once < 5*time.Second:
		return speculate.MeasureCost(context.Background(), target, widths, 3)
	}
	return curve, nil
}

// again has a source propose a second time; it is told nothing, since it has
// been told already.
type again struct{ s draft.Source }

func (again) Begin([]decode.Token, decode.PrefillResult) {}
func (again) Observe([]decode.Token, *draft.Verdict)     {}
func (a again) Propose(b *draft.Builder)                 { a.s.Propose(b) }

// A retrieval is an engine whose automaton may look into a history.
type retrieval struct {
	*speculate.Engine
	automaton *draft.Automaton
	history   *draft.History // or nil
	width     speculate.WidthPolicy
}

// A remembering system learns from request to request.
type remembering struct{ *retrieval }

var _ decode.Rememberer = (*remembering)(nil)

// Decode is decode.System's. An answer that was cut short by an error is not
// remembered.
func (r *remembering) Decode(ctx context.Context, req decode.Request, onStep func(decode.Step)) (decode.Result, error) {
	if r.automaton != nil {
		r.automaton.Use(req.Group)
	}
	res, err := r.Engine.Decode(ctx, req, onStep)
	if err == nil {
		r.Remember(req.Group, res.Tokens)
	}
	return res, err
}

// Remember is decode.Rememberer's. Requests without a group share nothing.
func (r *remembering) Remember(group string, output []decode.Token) {
	if r.history != nil && group != "" {
		r.history.Remember(group, output)
	}
}

// Forget is decode.Rememberer's; an adaptive width starts anew, too.
func (r *remembering) Forget() {
	if r.history != nil {
		r.history.Forget()
	}
	r.width.Forget()
}
