package reports

import (
	"math"

	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/reports/stats"
)

// factor is the estimate of a factor, with the figure that it led to.
type factor struct {
	stats.Estimate
	figure float64
}

// ablate makes the comparisons that the header names for a device × model: each
// on every workload, and their geometric means.
func (b *builder) ablate(device, model string, group []*rowData) []AblationRow {
	rows := map[[2]string]*rowData{}
	var workloads []string
	for _, d := range group {
		rows[[2]string{d.workload, d.system}] = d
		if len(workloads) == 0 || workloads[len(workloads)-1] != d.workload {
			workloads = append(workloads, d.workload)
		}
	}
	var out []AblationRow
	for _, a := range b.log.Header.Ablations {
		additive := make([]step, len(a.Additive))
		for i, v := range a.Additive {
			additive[i] = step{v, ""}
			if i > 0 {
				additive[i].versus = a.Additive[i-1].System
			}
		}
		without := []step{{record.Variant{System: a.Full}, ""}}
		for _, v := range a.LeaveOneOut {
			without = append(without, step{v, a.Full})
		}
		for _, c := range []struct {
			kind  string
			steps []step
		}{{Additive, additive}, {LeaveOneOut, without}} {
			if len(c.steps) < 2 {
				continue
			}
			var all [][]AblationRow // by workload
			for _, w := range workloads {
				var rs []AblationRow
				for _, s := range c.steps {
					r := b.ablationRow(rows[[2]string{w, s.System}], rows[[2]string{w, s.versus}], s)
					r.Ablation, r.Kind, r.Device, r.Model, r.Workload = a.Name, c.kind, device, model, w
					rs = append(rs, r)
				}
				out = append(out, rs...)
				all = append(all, rs)
			}
			if len(all) > 1 {
				out = append(out, meanRows(all)...)
			}
		}
	}
	return out
}

// A step is a row of a comparison and the system it is compared with, "" for none.
type step struct {
	record.Variant
	versus string
}

// ablationRow compares d with v, either of which may be nil.
func (b *builder) ablationRow(d, v *rowData, s step) AblationRow {
	r := AblationRow{Part: s.Part, System: s.System, Versus: s.versus, MAT: Unknown, TokensPerS: Unknown}
	r.matEst, r.tokeEst = factor{none, math.NaN()}, factor{none, math.NaN()}
	var w doubts
	if d == nil || len(d.samples) == 0 {
		w.addf(AboutRow, "missing", "no measurements of %q", s.System)
	} else {
		r.MAT, r.TokensPerS = d.mat(), d.tokensPerS()
		r.matEst.figure, r.tokeEst.figure = float64(r.MAT), float64(r.TokensPerS)
	}
	switch {
	case s.versus == "" || d == nil || len(d.samples) == 0:
	case v == nil || len(v.samples) == 0:
		w.addf(AboutSpeedup, "no versus", "no measurements of %q to compare with", s.versus)
	case differing(d) > 0 || differing(v) > 0:
		w.add(AboutSpeedup, "outputs differ: the factor is withheld")
	default:
		ps, left := pairs(v, d)
		if len(ps) == 0 {
			w.addf(AboutSpeedup, "no pairs", "no prompt with checked outputs of both systems in the same repeat: no factor")
			break
		}
		if left > 0 {
			w.addf(AboutSpeedup, "left out", "%d of %d requests have no counterpart of %q and are left out of the factor", left, len(d.samples), s.versus)
		}
		e := stats.Bootstrap(pairTable(ps), stats.Options{Seed: seed(d.device, d.model, d.workload)}, matFactor, tokensFactor)
		r.matEst.Estimate, r.tokeEst.Estimate = e[0], e[1]
	}
	r.fill()
	r.Warnings = w.warnings()
	return r
}

// matFactor and tokensFactor are the second system's figure over the first's in a table of pairs.
func matFactor(s []float64) float64 {
	return (s[colTokens+1] / s[colVerifies+1]) / (s[colTokens] / s[colVerifies])
}

func tokensFactor(s []float64) float64 {
	return (s[colTokens+1] / s[colGen+1]) / (s[colTokens] / s[colGen])
}

// fill copies the estimates to the figures.
func (r *AblationRow) fill() {
	m, t := r.matEst, r.tokeEst
	r.MATFactor, r.MATFactorLo, r.MATFactorHi = Number(m.Value), Number(m.Lo), Number(m.Hi)
	r.TokensFactor, r.TokensFactorLo, r.TokensFactorHi = Number(t.Value), Number(t.Lo), Number(t.Hi)
}

// meanRows are the geometric means of a comparison over the workloads.
func meanRows(all [][]AblationRow) []AblationRow {
	out := make([]AblationRow, len(all[0]))
	for i := range out {
		r := all[0][i]
		r.Workload = ""
		var mat, tok []float64
		var matE, tokE []stats.Estimate
		lacking := 0
		for _, rs := range all {
			mat, tok = append(mat, rs[i].matEst.figure), append(tok, rs[i].tokeEst.figure)
			matE, tokE = append(matE, rs[i].matEst.Estimate), append(tokE, rs[i].tokeEst.Estimate)
			if r.Versus != "" && !rs[i].TokensFactor.Known() {
				lacking++
			}
		}
		var w doubts
		r.MAT, r.TokensPerS = Number(stats.GeoMean(mat)), Number(stats.GeoMean(tok))
		r.matEst.Estimate, r.tokeEst.Estimate = stats.GeoMeanOf(matE), stats.GeoMeanOf(tokE)
		if lacking > 0 {
			w.addf(AboutSpeedup, "lacking", "%d of %d workloads have no factor: no mean over them", lacking, len(all))
		}
		r.fill()
		r.Warnings = w.warnings()
		out[i] = r
	}
	return out
}
