package reports

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/reports/stats"
)

// fewPrompts is the number of prompts below which an interval is called unreliable.
const fewPrompts = 6

// demoModels is how the names of the embedded models begin.
const demoModels = "coordlm-"

// report computes everything from what was collected.
func (b *builder) report() *Report {
	h := b.log.Header
	r := &Report{
		Type: "report", Version: Version,
		Tool: h.Tool, Experiment: h.Experiment, ConfigHash: h.ConfigHash, Started: h.Started,
		Baseline: b.baseline,
		Trials:   Trials{h.Trials, b.finished, b.failed},
		Groups:   []Group{}, Rows: []Row{}, Summary: []Summary{}, Ablations: []AblationRow{},
	}
	r.Identity.Mismatches = []Mismatch{}
	same, diff, open := 0, 0, 0
	for _, device := range b.devices {
		for _, model := range b.models {
			var group []*rowData // all of this device × model
			from := len(r.Rows)
			ests := map[place]*estimates{}
			for _, workload := range b.workloads {
				rows, base := b.rowsOf(device, model, workload)
				if len(rows) == 0 {
					continue
				}
				group = append(group, rows...)
				ms := b.checkIdentity(base, rows)
				r.Identity.Mismatches = append(r.Identity.Mismatches, ms...)
				for _, d := range rows {
					row, est := b.makeRow(d, base)
					ests[d.place] = est
					r.Rows = append(r.Rows, row)
					s, x, o := d.count()
					same, diff, open = same+s, diff+x, open+o
				}
			}
			if len(group) == 0 {
				continue
			}
			rows := r.Rows[from:]
			r.Groups = append(r.Groups, b.makeGroup(device, model, group, rows))
			r.Summary = append(r.Summary, b.summarise(rows, ests)...)
			r.Ablations = append(r.Ablations, b.ablate(device, model, group)...)
		}
	}
	r.Identity.Status = status(same, diff, open)
	r.Identity.Identical, r.Identity.Total = known(same, diff), same+diff+open
	r.Identity.Different, r.Identity.Unchecked = diff, open
	if len(r.Rows) == 0 {
		b.warnings.add(AboutRow, "the file holds no measurements")
	} else if !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.IsBaseline && row.Requests > 0 }) {
		b.warnings.addf(AboutSpeedup, "no baseline", "no measurements of the baseline %q: no speedups, and identity of outputs is unknown", b.baseline)
	}
	r.Warnings = b.warnings.warnings()
	return r
}

// rowsOf returns the rows of one workload in order, and the baseline's, nil if absent.
func (b *builder) rowsOf(device, model, workload string) (rows []*rowData, base *rowData) {
	for _, system := range b.systems {
		if d := b.rows[place{device, model, workload, system}]; d != nil {
			rows = append(rows, d)
			if system == b.baseline {
				base = d
			}
		}
	}
	return rows, base
}

// estimates are a row's figures that means over workloads are made of.
type estimates struct{ speedup, e2e stats.Estimate }

// none is the Estimate of what cannot be computed.
var none = stats.Estimate{Value: math.NaN(), Lo: math.NaN(), Hi: math.NaN()}

// seed makes strata that are combined draw different samples, and systems of
// one workload the same ones.
func seed(device, model, workload string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q", device, model, workload)
	return h.Sum64()
}

func (b *builder) makeRow(d, base *rowData) (Row, *estimates) {
	row := Row{
		Device: d.device, Model: d.model, Workload: d.workload, System: d.system, IsBaseline: d == base,
		Requests: len(d.samples), Total: len(d.samples), Acceptance: map[string]Acceptance{},
		PeakMB:  Unknown,
		Speedup: Unknown, SpeedupLo: Unknown, SpeedupHi: Unknown,
		SpeedupPrefill: Unknown, SpeedupPrefillLo: Unknown, SpeedupPrefillHi: Unknown,
		SpeedupE2E: Unknown, SpeedupE2ELo: Unknown, SpeedupE2EHi: Unknown,
	}
	d.times(&row)
	d.drafts(&row)
	row.MAT = d.mat()
	if d.peak > 0 {
		row.PeakMB = Number(float64(d.peak) / 1e6)
	}
	est := &estimates{none, none}
	same, diff, open := d.count()
	row.Identical, row.Different, row.Unchecked = known(same, diff), diff, open
	row.Status = status(same, diff, open)

	switch baseDiff := differing(base); {
	case len(d.samples) == 0:
		d.warnings.add(AboutRow, "no measurements")
	case diff > 0:
		d.warnings.addf(AboutIdentity, "different", "%d of %d outputs differ from %s's: the speedup is withheld", diff, same+diff, b.baseline)
	case base == nil || len(base.samples) == 0:
		d.warnings.addf(AboutSpeedup, "no baseline", "no %s on this device, model and workload: no speedup, and identity of outputs is unknown", b.baseline)
	case baseDiff > 0:
		d.warnings.addf(AboutSpeedup, "baseline differs", "%s disagrees with itself between repeats (%d outputs): the speedup is withheld", b.baseline, baseDiff)
	case d == base:
		one := stats.Estimate{Value: 1, Lo: 1, Hi: 1}
		row.Speedup, row.SpeedupLo, row.SpeedupHi = 1, 1, 1
		row.SpeedupPrefill, row.SpeedupPrefillLo, row.SpeedupPrefillHi = 1, 1, 1
		row.SpeedupE2E, row.SpeedupE2ELo, row.SpeedupE2EHi = 1, 1, 1
		*est = estimates{one, one}
	default:
		b.speedups(&row, est, d, base)
	}
	d.doubts(&row, base, b.baseline)
	row.Warnings = d.warnings.warnings()
	return row, est
}

func differing(d *rowData) int {
	if d == nil {
		return 0
	}
	_, diff, _ := d.count()
	return diff
}

// times fills in a row's latencies and its tokens/s.
func (d *rowData) times(row *Row) {
	var ttft []float64
	var perToken []stats.Weighted
	var gen, e2e float64
	genTokens, tokens := 0, 0
	prompts, repeats := map[string]bool{}, map[int]bool{}
	for _, s := range d.samples {
		prompts[s.prompt], repeats[s.repeat] = true, true
		ttft = append(ttft, s.ttft)
		gen, e2e = gen+s.gen, e2e+s.e2e
		genTokens, tokens = genTokens+s.genTokens, tokens+len(s.output)
		for i := 1; i < len(s.steps); i++ {
			n := float64(s.steps[i].Tokens)
			perToken = append(perToken, stats.Weighted{Value: float64(s.steps[i].NS-s.steps[i-1].NS) / ms / n, Weight: n})
		}
	}
	row.Prompts, row.Repeats = len(prompts), len(repeats)
	q := stats.Quantiles(perToken, 0.50, 0.95)
	row.TTFTMs = Number(stats.Mean(ttft))
	row.MsPerToken = Number(gen / float64(genTokens)) // 0/0 is unknown
	row.MsPerTokP50, row.MsPerTokP95 = Number(q[0]), Number(q[1])
	row.E2EMsPerTok = Number(e2e / float64(tokens))
	speed := stats.Bootstrap(d.table(), stats.Options{Seed: seed(d.device, d.model, d.workload)}, tokensPerS)[0]
	row.TokensPerS, row.TokensPerSLo, row.TokensPerSHi = Number(speed.Value), Number(speed.Lo), Number(speed.Hi)
}

// tokensPerS is the Statistic of rowData.table.
func tokensPerS(sums []float64) float64 { return 1000 * sums[1] / sums[0] }

// table has a unit for each prompt: generation time (ms) and tokens, summed over repeats.
func (d *rowData) table() *stats.Table {
	t := stats.NewTable(2, 1)
	for _, g := range byPrompt(d.samples) {
		var time, tokens float64
		for _, s := range g {
			time, tokens = time+s.gen, tokens+float64(s.genTokens)
		}
		t.Add(time, tokens)
	}
	return t
}

// byPrompt splits samples, which are sorted by prompt.
func byPrompt(samples []*sample) [][]*sample {
	var out [][]*sample
	for i, s := range samples {
		if i == 0 || s.prompt != samples[i-1].prompt {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], s)
	}
	return out
}

// mat is the tokens emitted per verification; 0/0 is unknown.
func (d *rowData) mat() Number {
	tokens, verifies := 0, 0
	for _, s := range d.samples {
		tokens, verifies = tokens+s.genTokens, verifies+s.verifies
	}
	return Number(float64(tokens) / float64(verifies))
}

// tokensPerS is the tokens emitted per second of the generation phase.
func (d *rowData) tokensPerS() Number { return Number(tokensPerS(d.table().Sums())) }

// drafts fills in what a row drafted and what became of it.
func (d *rowData) drafts(row *Row) {
	drafted, accepted := map[string]int{}, map[string]int{}
	verifies, nodes := 0, 0
	for _, s := range d.samples {
		verifies += s.verifies
		for _, st := range s.steps[1:] {
			for o, n := range st.Drafted {
				drafted[o] += n
				nodes += n
			}
			for _, o := range st.Accepted {
				accepted[o]++
			}
		}
	}
	row.DraftedPerStep = Number(float64(nodes) / float64(verifies))
	for o, n := range drafted {
		if n > 0 {
			row.Acceptance[o] = Acceptance{n, accepted[o], Number(float64(accepted[o]) / float64(n))}
		}
	}
}

// A pair is two systems' answers to one prompt in one repeat.
type pair struct{ a, b *sample }

// pairs returns, by prompt, the requests that both rows answered in the same
// repeat with the same seed, unless their outputs or targets are known or
// feared to differ.
func pairs(a, b *rowData) (out [][]pair, left int) {
	type key struct {
		asked
		repeat int
	}
	in := map[key]*sample{}
	for _, s := range a.samples {
		in[key{asked{s.prompt, s.seed}, s.repeat}] = s
	}
	for _, group := range byPrompt(b.samples) {
		var ps []pair
		for _, s := range group {
			o := in[key{asked{s.prompt, s.seed}, s.repeat}]
			if o == nil || o.state != identical || s.state != identical {
				left++
				continue
			}
			ps = append(ps, pair{o, s})
		}
		if len(ps) > 0 {
			out = append(out, ps)
		}
	}
	return out, left
}

// The columns of a table of pairs, the mean over a prompt's repeats. That of
// the second system follows that of the first.
const (
	colGen      = iota * 2 // ms
	colTTFT                // ms
	colE2E                 // ms
	colTokens              // of the generation phase
	colVerifies            // verifications
	numCols
)

func pairTable(ps [][]pair) *stats.Table {
	t := stats.NewTable(numCols, 1)
	for _, group := range ps {
		row := make([]float64, numCols)
		for _, p := range group {
			for i, s := range []*sample{p.a, p.b} {
				row[colGen+i] += s.gen
				row[colTTFT+i] += s.ttft
				row[colE2E+i] += s.e2e
				row[colTokens+i] += float64(s.genTokens)
				row[colVerifies+i] += float64(s.verifies)
			}
		}
		for c := range row {
			row[c] /= float64(len(group))
		}
		t.Add(row...)
	}
	return t
}

// speedups fills in the times of base over those of d.
func (b *builder) speedups(row *Row, est *estimates, d, base *rowData) {
	ps, left := pairs(base, d)
	if len(ps) == 0 {
		d.warnings.addf(AboutSpeedup, "no pairs", "no prompt that %s answered in the same repeat, with the same outcome: no speedup", b.baseline)
		return
	}
	if left > 0 {
		d.warnings.addf(AboutSpeedup, "left out", "%d of %d requests have no counterpart of %s and are left out of the speedup", left, len(d.samples), b.baseline)
	}
	e := stats.Bootstrap(pairTable(ps), stats.Options{Seed: seed(d.device, d.model, d.workload)},
		stats.Ratio(colGen, colGen+1), stats.Ratio(colTTFT, colTTFT+1), stats.Ratio(colE2E, colE2E+1))
	row.Speedup, row.SpeedupLo, row.SpeedupHi = Number(e[0].Value), Number(e[0].Lo), Number(e[0].Hi)
	row.SpeedupPrefill, row.SpeedupPrefillLo, row.SpeedupPrefillHi = Number(e[1].Value), Number(e[1].Lo), Number(e[1].Hi)
	row.SpeedupE2E, row.SpeedupE2ELo, row.SpeedupE2EHi = Number(e[2].Value), Number(e[2].Lo), Number(e[2].Hi)
	*est = estimates{e[0], e[2]}
	if row.SpeedupLo.Known() && row.SpeedupLo <= 1 && row.SpeedupHi >= 1 {
		d.warnings.add(AboutSpeedup, "the interval contains 1: no difference is shown")
	}
}

// doubts adds what is to be said about a row besides its figures.
func (d *rowData) doubts(row *Row, base *rowData, baseline string) {
	w := &d.warnings
	simulated := 0
	demo := strings.HasPrefix(d.model, demoModels)
	for _, t := range d.trials {
		if t.Simulated {
			simulated++
		}
		demo = demo || strings.HasPrefix(t.Identity.Model, demoModels)
	}
	row.Simulated = simulated > 0
	switch {
	case simulated > 0 && simulated < len(d.trials):
		w.addf(AboutRow, "simulated", "%d of %d trials are simulated: measured and simulated times are mixed", simulated, len(d.trials))
	case simulated > 0:
		w.add(AboutRow, "simulated: times come from a device profile, not from a clock")
	}
	if demo {
		w.add(AboutRow, "embedded demo model: small enough to live in the cache, so verification costs relatively more than with a real model")
	}
	if row.Requests > 0 && row.Repeats == 1 {
		w.add(AboutRow, "one repeat: variation from run to run is not known")
	}
	if row.Requests > 0 && row.Prompts < fewPrompts {
		w.addf(AboutRow, "few prompts", "only %d prompts: intervals are unreliable", row.Prompts)
	}
	if base == nil {
		base = d
	}
	d.compare(base, baseline, "machine", facts)
	d.compare(base, baseline, "backend", func(t *record.Trial) string { return t.Identity.Backend })
	d.compare(base, baseline, "workload digest", func(t *record.Trial) string { return fmt.Sprintf("%.8s", t.WorkloadDigest) })
}

// compare warns where a row's trials disagree about what, with each other or
// with the baseline's.
func (d *rowData) compare(base *rowData, baseline, what string, of func(*record.Trial) string) {
	mine, theirs := distinct(d.trials, of), distinct(base.trials, of)
	switch {
	case len(mine) > 1:
		d.warnings.addf(AboutRow, "own "+what, "trials differ in %s: %s", what, quoteAll(mine))
	case len(mine) == 1 && len(theirs) > 0 && !slices.Equal(mine, theirs):
		d.warnings.addf(AboutRow, "other "+what, "%s %s; %s has %s", what, quoteAll(mine), baseline, quoteAll(theirs))
	}
}

func distinct(ts []*record.Trial, of func(*record.Trial) string) []string {
	set := map[string]bool{}
	for _, t := range ts {
		set[of(t)] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func threads(f record.Facts) string {
	if f.Threads == 0 || f.Threads == f.Cores {
		return fmt.Sprintf("%d cores", f.Cores)
	}
	return fmt.Sprintf("%d threads on %d cores", f.Threads, f.Cores)
}

// makeGroup describes a device × model by the baseline's trial, or the first.
func (b *builder) makeGroup(device, model string, data []*rowData, rows []Row) Group {
	g := Group{Device: device, Model: model, Simulated: true}
	for _, r := range rows {
		g.Simulated = g.Simulated && r.Simulated
	}
	var t *record.Trial
	for _, d := range data {
		if len(d.trials) > 0 && (t == nil || d.system == b.baseline && t.System != b.baseline) {
			t = d.trials[0]
		}
	}
	if t != nil {
		g.Facts, g.Backend = facts(t), t.Identity.Backend
	}
	return g
}

// summarise makes the means of a group's systems over its workloads.
func (b *builder) summarise(rows []Row, ests map[place]*estimates) []Summary {
	workloads := map[string]bool{}
	for _, r := range rows {
		workloads[r.Workload] = true
	}
	var out []Summary
	for _, system := range b.systems {
		s := Summary{System: system, Workloads: len(workloads)}
		var tokens, mat []float64
		var speedup, e2e []stats.Estimate
		same, diff, open := 0, 0, 0
		missing := 0
		isBase := false
		for _, r := range rows {
			if r.System != system {
				continue
			}
			s.Device, s.Model = r.Device, r.Model
			isBase = r.IsBaseline
			tokens, mat = append(tokens, float64(r.TokensPerS)), append(mat, float64(r.MAT))
			e := ests[place{r.Device, r.Model, r.Workload, r.System}]
			speedup, e2e = append(speedup, e.speedup), append(e2e, e.e2e)
			if !r.Speedup.Known() {
				missing++
			}
			if r.Identical.Known() {
				same += int(r.Identical)
			}
			diff, open = diff+r.Different, open+r.Unchecked
			s.Total += r.Total
		}
		if len(tokens) == 0 {
			continue
		}
		missing += len(workloads) - len(tokens)
		var d doubts
		s.TokensPerS, s.MAT = Unknown, Unknown
		if len(tokens) == len(workloads) {
			s.TokensPerS, s.MAT = Number(stats.GeoMean(tokens)), Number(stats.GeoMean(mat))
		}
		sp, ee := none, none
		switch {
		case missing == 0 && isBase:
			sp = stats.Estimate{Value: 1, Lo: 1, Hi: 1}
			ee = sp
		case missing == 0:
			sp, ee = stats.GeoMeanOf(speedup), stats.GeoMeanOf(e2e)
		case missing < len(workloads):
			d.addf(AboutSpeedup, "missing", "%d of %d workloads have no speedup: no mean over them", missing, len(workloads))
		}
		s.Speedup, s.SpeedupLo, s.SpeedupHi = Number(sp.Value), Number(sp.Lo), Number(sp.Hi)
		s.E2E, s.E2ELo, s.E2EHi = Number(ee.Value), Number(ee.Lo), Number(ee.Hi)
		s.Identical, s.Different = known(same, diff), diff
		s.Warnings = d.warnings()
		out = append(out, s)
	}
	return out
}

// Origins lists the origins that any row drafted from, sorted.
func (r *Report) Origins() []string {
	set := map[string]Acceptance{}
	for _, row := range r.Rows {
		maps.Copy(set, row.Acceptance)
	}
	return slices.Sorted(maps.Keys(set))
}
