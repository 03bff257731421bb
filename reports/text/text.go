// Package text renders a report for terminals, and as CSV.
//
// A figure's doubts are footnotes: superscripts beside the figure, at a table's
// heading where they hold for all of its rows.
package text

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/coordbench/coordbench/reports"
)

// DefaultWidth is the width in columns that reports are made for.
const DefaultWidth = 100

// Write writes r as tables at most width columns wide: three for each device
// and model (speed, latency, drafts), then the ablations, footnotes and the
// outputs that differ. Less
// than DefaultWidth is DefaultWidth: the figures need it.
func Write(w io.Writer, r *reports.Report, width int) error {
	p := &printer{width: max(width, DefaultWidth)}
	p.title(r)
	for _, g := range r.Groups {
		p.group(r, g)
	}
	p.identity(r)
	if len(r.Rows) > 0 {
		p.wrapped("", "tokens/s and speedup: generation phase; intervals: 95% bootstrap over prompts")
	}
	_, err := io.WriteString(w, p.out.String())
	return err
}

type printer struct {
	out   strings.Builder
	width int
	notes notes
}

func (p *printer) line(s string) {
	p.out.WriteString(strings.TrimRight(s, " "))
	p.out.WriteByte('\n')
}

// wrapped prints s with later lines indented like the text after lead.
func (p *printer) wrapped(lead, s string) {
	indent := strings.Repeat(" ", displayWidth(lead))
	for i, l := range wrap(s, p.width-displayWidth(lead)) {
		if i > 0 {
			lead = indent
		}
		p.line(lead + l)
	}
}

func (p *printer) title(r *reports.Report) {
	parts := []string{"experiment " + clean(cmp.Or(r.Experiment, "without a name"))}
	for _, s := range []string{r.Started, r.Tool} {
		if s != "" {
			parts = append(parts, clean(s))
		}
	}
	trials := fmt.Sprintf("%d of %d trials", r.Trials.Finished, r.Trials.Planned)
	if r.Trials.Failed > 0 {
		trials += fmt.Sprintf(", %d failed", r.Trials.Failed)
	}
	p.wrapped("", strings.Join(append(parts, trials), " · "))
	for _, w := range r.Warnings {
		p.wrapped("! ", clean(w.Text))
	}
}

func (p *printer) group(r *reports.Report, g reports.Group) {
	var rows []reports.Row
	for _, row := range r.Rows {
		if row.Device == g.Device && row.Model == g.Model {
			rows = append(rows, row)
		}
	}
	var sums []reports.Summary
	for _, s := range r.Summary {
		if s.Device == g.Device && s.Model == g.Model && s.Workloads > 1 {
			sums = append(sums, s)
		}
	}
	p.notes = notes{common: common(rows)}
	p.line("")
	head := "device: " + paren(g.Device, g.Facts) + " · model: " + paren(g.Model, g.Backend)
	if g.Simulated {
		head += " · SIMULATED"
	}
	p.wrapped("", head+p.notes.heading())

	p.line("")
	p.table(p.speed(r, rows, sums))
	p.line("")
	p.table(p.latency(r, rows, sums))
	if t := p.drafts(r, rows); t != nil {
		p.line("")
		p.table(t)
	}
	p.ablations(r, g, rows)
	if len(p.notes.texts) > 0 {
		p.line("")
	}
	for i, s := range p.notes.texts {
		p.wrapped(superscript(i+1)+" ", clean(s))
	}
}

// sections calls heading before the rows of each workload, and row for each.
func sections(rows []reports.Row, heading func(string), row func(reports.Row)) {
	for i, r := range rows {
		if i == 0 || r.Workload != rows[i-1].Workload {
			prompts, repeats := 0, 0
			for _, o := range rows {
				if o.Workload == r.Workload {
					prompts, repeats = max(prompts, o.Prompts), max(repeats, o.Repeats)
				}
			}
			heading(fmt.Sprintf("%s · %s × %s", clean(r.Workload), count(prompts, "prompt"), count(repeats, "repeat")))
		}
		row(r)
	}
}

func label(r reports.Row, simulated bool) string {
	s := "  " + clean(r.System)
	if r.Simulated && !simulated {
		s += " (simulated)"
	}
	return s
}

func allSimulated(rows []reports.Row) bool {
	for _, r := range rows {
		if !r.Simulated {
			return false
		}
	}
	return true
}

// speed is the first table: how fast, by which drafts, and that the output is the same.
func (p *printer) speed(r *reports.Report, rows []reports.Row, sums []reports.Summary) *table {
	t := newTable("generation", "tokens/s", "", "speedup", "95% interval", "MAT", "drafted\n/step", "peak MB", "identical")
	t.align[2], t.align[4] = left, left
	sim := allSimulated(rows)
	perS := precision(rows, func(r reports.Row) reports.Number { return r.TokensPerS })
	sections(rows, t.heading, func(row reports.Row) {
		t.row(
			cell{label(row, sim), p.notes.of(row.Warnings, reports.AboutRow)},
			cell{text: fixed(row.TokensPerS, perS)},
			cell{text: plusMinus(row.TokensPerS, row.TokensPerSLo, row.TokensPerSHi)},
			cell{times(row.Speedup), p.notes.of(row.Warnings, reports.AboutSpeedup)},
			cell{text: interval(row.SpeedupLo, row.SpeedupHi, row.IsBaseline)},
			cell{text: fixed(row.MAT, 2)},
			cell{text: fixed(row.DraftedPerStep, 1)},
			cell{fixed(row.PeakMB, 0), p.notes.of(row.Warnings, reports.AboutPeak)},
			cell{same(row.Identical, row.Different, row.Total), p.notes.of(row.Warnings, reports.AboutIdentity)},
		)
	})
	if len(sums) > 0 {
		t.heading(fmt.Sprintf("geometric mean of %s", count(sums[0].Workloads, "workload")))
	}
	for _, s := range sums {
		t.row(
			cell{text: "  " + clean(s.System)},
			cell{text: fixed(s.TokensPerS, perS)},
			cell{},
			cell{times(s.Speedup), p.notes.of(s.Warnings, reports.AboutSpeedup)},
			cell{text: interval(s.SpeedupLo, s.SpeedupHi, s.System == r.Baseline)},
			cell{text: fixed(s.MAT, 2)},
			cell{}, cell{},
			cell{text: same(s.Identical, s.Different, s.Total)},
		)
	}
	return t
}

// latency is the second table.
func (p *printer) latency(r *reports.Report, rows []reports.Row, sums []reports.Summary) *table {
	t := newTable("latency, ms", "first\ntoken", "ms/token\nmean", "\np50", "\np95", "end to end\nms/token", "prefill\nspeedup", "end to end\nspeedup", "\n95% interval")
	t.align[8] = left
	sim := allSimulated(rows)
	ttft := precision(rows, func(r reports.Row) reports.Number { return r.TTFTMs })
	token := precision(rows, func(r reports.Row) reports.Number { return r.MsPerToken })
	e2e := precision(rows, func(r reports.Row) reports.Number { return r.E2EMsPerTok })
	sections(rows, t.heading, func(row reports.Row) {
		t.row(
			cell{text: label(row, sim)},
			cell{text: fixed(row.TTFTMs, ttft)},
			cell{text: fixed(row.MsPerToken, token)},
			cell{text: fixed(row.MsPerTokP50, token)},
			cell{text: fixed(row.MsPerTokP95, token)},
			cell{text: fixed(row.E2EMsPerTok, e2e)},
			cell{text: times(row.SpeedupPrefill)},
			cell{text: times(row.SpeedupE2E)},
			cell{text: interval(row.SpeedupE2ELo, row.SpeedupE2EHi, row.IsBaseline)},
		)
	})
	if len(sums) > 0 {
		t.heading(fmt.Sprintf("geometric mean of %s", count(sums[0].Workloads, "workload")))
	}
	for _, s := range sums {
		t.row(cell{text: "  " + clean(s.System)}, cell{}, cell{}, cell{}, cell{}, cell{}, cell{},
			cell{text: times(s.E2E)}, cell{text: interval(s.E2ELo, s.E2EHi, s.System == r.Baseline)})
	}
	return t
}

// drafts is the third table: accepted of drafted nodes, by origin; nil where nothing was drafted.
func (p *printer) drafts(r *reports.Report, rows []reports.Row) *table {
	origins := r.Origins()
	if len(origins) == 0 {
		return nil
	}
	head := []string{"drafts accepted"}
	for _, o := range origins {
		head = append(head, clean(o))
	}
	t := newTable(append(head, "all")...)
	var drafting []reports.Row
	for _, row := range rows {
		if len(row.Acceptance) > 0 {
			drafting = append(drafting, row)
		}
	}
	if len(drafting) == 0 {
		return nil
	}
	sim := allSimulated(rows)
	sections(drafting, t.heading, func(row reports.Row) {
		cells := []cell{{text: label(row, sim)}}
		drafted, accepted := 0, 0
		for _, o := range origins {
			a, ok := row.Acceptance[o]
			if !ok {
				cells = append(cells, cell{})
				continue
			}
			drafted, accepted = drafted+a.Drafted, accepted+a.Accepted
			cells = append(cells, cell{text: percent(a.Accepted, a.Drafted)})
		}
		t.row(append(cells, cell{text: percent(accepted, drafted)})...)
	})
	return t
}

// ablations prints the comparisons of a group.
func (p *printer) ablations(r *reports.Report, g reports.Group, rows []reports.Row) {
	perS := precision(rows, func(r reports.Row) reports.Number { return r.TokensPerS })
	var t *table
	flush := func() {
		if t != nil {
			p.table(t)
		}
	}
	var prev reports.AblationRow
	for _, a := range r.Ablations {
		if a.Device != g.Device || a.Model != g.Model {
			continue
		}
		if t == nil || a.Ablation != prev.Ablation || a.Kind != prev.Kind {
			flush()
			title := "parts of " + clean(a.Ablation) + ", added one by one: factors over the row above"
			if a.Kind == reports.LeaveOneOut {
				title = "parts of " + clean(a.Ablation) + ", left out one at a time: factors over all parts"
			}
			p.line("")
			p.wrapped("", title)
			t = newTable("part", "system", "MAT", "factor", "95% interval", "tokens/s", "factor", "95% interval")
			t.align[1], t.align[4], t.align[7] = left, left, left
			t.words[1] = true
			prev = reports.AblationRow{}
		}
		if prev.System == "" || a.Workload != prev.Workload {
			t.heading(cmp.Or(clean(a.Workload), "geometric mean"))
		}
		prev = a
		part := "  base"
		switch {
		case a.Part != "" && a.Kind == reports.LeaveOneOut:
			part = "  − " + clean(a.Part)
		case a.Part != "" && a.Versus != "":
			part = "  + " + clean(a.Part)
		case a.Kind == reports.LeaveOneOut:
			part = "  all parts"
		}
		t.row(
			cell{part, p.notes.of(a.Warnings, reports.AboutRow)},
			cell{text: clean(a.System)},
			cell{text: fixed(a.MAT, 2)},
			cell{text: factor(a.MATFactor, a.Versus)},
			cell{text: interval(a.MATFactorLo, a.MATFactorHi, a.Versus == "")},
			cell{text: fixed(a.TokensPerS, perS)},
			cell{factor(a.TokensFactor, a.Versus), p.notes.of(a.Warnings, reports.AboutSpeedup)},
			cell{text: interval(a.TokensFactorLo, a.TokensFactorHi, a.Versus == "")},
		)
	}
	flush()
}

// identity closes the report with what is proven about outputs.
func (p *printer) identity(r *reports.Report) {
	id := r.Identity
	if len(r.Rows) == 0 {
		return
	}
	p.line("")
	base := clean(r.Baseline)
	switch id.Status {
	case reports.StatusIdentical:
		p.wrapped("", fmt.Sprintf("outputs: all %d equal %s's, token by token", id.Total, base))
	case reports.StatusPartial:
		p.wrapped("", fmt.Sprintf("outputs: %s of %d equal %s's, token by token; %d could not be compared", id.Identical, id.Total, base, id.Unchecked))
	case reports.StatusUnknown:
		p.wrapped("", fmt.Sprintf("outputs: not compared: whether they equal %s's is unknown", base))
	case reports.StatusDifferent:
		p.wrapped("", fmt.Sprintf("OUTPUTS DIFFER from %s's: %d of %d", base, id.Different, id.Total))
	}
	for _, m := range id.Mismatches {
		s := m.String()
		if !m.Exact {
			s += " (this backend does not promise equal rows in any batch)"
		}
		p.wrapped("✗ ", clean(s))
	}
}

func paren(name, more string) string {
	if more == "" {
		return clean(name)
	}
	return clean(name) + " (" + clean(more) + ")"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

const dash = "–"

func fixed(n reports.Number, decimals int) string {
	if !n.Known() {
		return dash
	}
	return strconv.FormatFloat(float64(n), 'f', decimals, 64)
}

func times(n reports.Number) string {
	if !n.Known() {
		return dash
	}
	return fixed(n, 2) + "×"
}

// factor is times, nothing where there is no versus.
func factor(n reports.Number, versus string) string {
	if versus == "" {
		return ""
	}
	return times(n)
}

// interval is "[1.90, 2.13]"; nothing where the figure is a definition.
func interval(lo, hi reports.Number, definition bool) string {
	if definition || !lo.Known() || !hi.Known() {
		return ""
	}
	return "[" + fixed(lo, 2) + ", " + fixed(hi, 2) + "]"
}

// plusMinus is the larger half of an interval as a share of the figure.
func plusMinus(n, lo, hi reports.Number) string {
	if !n.Known() || !lo.Known() || !hi.Known() || n == 0 {
		return ""
	}
	return fmt.Sprintf("± %.0f%%", math.Ceil(100*max(float64(hi-n), float64(n-lo))/math.Abs(float64(n))))
}

func percent(part, whole int) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

// same is "12/12", marked where an output differs.
func same(identical reports.Number, different, total int) string {
	switch {
	case total == 0:
		return dash
	case !identical.Known():
		return "unknown"
	case different > 0:
		return fmt.Sprintf("✗ %s/%d", identical, total)
	}
	return fmt.Sprintf("%s/%d", identical, total)
}

// precision is the number of decimals at which a column shows at least three
// significant digits for most of its figures.
func precision(rows []reports.Row, of func(reports.Row) reports.Number) int {
	votes := map[int]int{}
	for _, r := range rows {
		if n := of(r); n.Known() && n > 0 {
			votes[min(3, max(0, 2-int(math.Floor(math.Log10(float64(n))))))]++
		}
	}
	best := 0
	for d := range 4 {
		if votes[d] >= votes[best] && votes[d] > 0 {
			best = d
		}
	}
	return best
}
