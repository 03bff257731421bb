package reports

import (
	"cmp"
	"slices"

	"github.com/coordbench/coordbench/experiments/record"
)

// asked is what a prompt's output may depend on besides the model: outputs are
// compared within it, across systems and repeats.
type asked struct {
	prompt string
	seed   uint64
}

// checkIdentity compares the outputs of one device × model × workload with the
// baseline's, and the baseline's repeats with its first. rows holds the
// baseline's row, or nil, first.
func (b *builder) checkIdentity(base *rowData, rows []*rowData) []Mismatch {
	ref := map[asked]*sample{}
	if base != nil {
		for _, s := range base.samples {
			k := asked{s.prompt, s.seed}
			// Samples are sorted by repeat: the first stands for all.
			if ref[k] == nil && s.digest != "" && s.trial.Identity.ModelDigest != "" {
				ref[k] = s
			}
		}
	}
	var out []Mismatch
	for _, r := range rows {
		var first *Mismatch
		for _, s := range r.samples {
			want := ref[asked{s.prompt, s.seed}]
			if !b.comparable(r, s, want, len(ref) > 0) {
				continue
			}
			if slices.Equal(s.output, want.output) {
				s.state = identical
				continue
			}
			s.state = different
			if first != nil {
				first.Requests++
				continue
			}
			first = b.mismatch(r, s, want)
		}
		if first != nil {
			out = append(out, *first)
		}
	}
	return out
}

// comparable reports whether s and the baseline's answer want come from the
// same prompt on the same target; where not, r is told why. reference says
// whether the baseline answered anything.
func (b *builder) comparable(r *rowData, s, want *sample, reference bool) bool {
	switch {
	case s.digest == "" || s.trial.Identity.ModelDigest == "":
		r.warnings.addf(AboutIdentity, "no digest", "%s: prompt %q: the record lacks the digest of prompt or model: nothing to compare by", b.at(s.line), s.prompt)
	case want == nil && !reference: // a warning about the speedup says it for all
	case want == nil:
		r.warnings.addf(AboutIdentity, "no reference", "%s: prompt %q: %s has no answer to it with this seed: its output is not checked", b.at(s.line), s.prompt, b.baseline)
	case s.trial.Identity.ModelDigest != want.trial.Identity.ModelDigest:
		r.warnings.addf(AboutIdentity, "model digest", "%s: another model file than %s's (%.8s, %.8s): outputs are not compared", b.at(s.line), b.baseline,
			s.trial.Identity.ModelDigest, want.trial.Identity.ModelDigest)
	case s.digest != want.digest:
		r.warnings.addf(AboutIdentity, "prompt digest", "%s: prompt %q has other tokens than %s's (digests %.8s, %.8s): outputs are not compared", b.at(s.line), s.prompt, b.baseline,
			s.digest, want.digest)
	default:
		return true
	}
	return false
}

// mismatch describes where s leaves want.
func (b *builder) mismatch(r *rowData, s, want *sample) *Mismatch {
	at := 0
	for at < len(s.output) && at < len(want.output) && s.output[at] == want.output[at] {
		at++
	}
	token := func(x *sample) *int32 {
		if at < len(x.output) {
			return &x.output[at]
		}
		return nil
	}
	return &Mismatch{
		Device: r.device, Model: r.model, Workload: r.workload, System: r.system,
		Prompt: s.prompt, Repeat: s.repeat, Seed: s.seed,
		Position: at, Want: token(want), Got: token(s),
		Context: append([]int32{}, s.output[max(0, at-8):at]...),
		Exact:   s.trial.Identity.Exact, Requests: 1,
		At: b.at(s.line), BaselineAt: b.at(want.line),
	}
}

// count says how many of r's samples are in each state.
func (r *rowData) count() (same, diff, open int) {
	for _, s := range r.samples {
		switch s.state {
		case identical:
			same++
		case different:
			diff++
		default:
			open++
		}
	}
	return
}

// status sums counts up.
func status(same, diff, open int) Status {
	switch {
	case diff > 0:
		return StatusDifferent
	case same == 0:
		return StatusUnknown
	case open > 0:
		return StatusPartial
	}
	return StatusIdentical
}

// known is same as a Number: not a figure where nothing could be compared.
func known(same, diff int) Number {
	if same+diff == 0 {
		return Unknown
	}
	return Number(same)
}

// facts describes the machine and the program path of a trial in a line.
func facts(t *record.Trial) string {
	f := t.Facts
	return cmp.Or(f.CPU, "unknown CPU") + ", " + threads(f) + ", " + cmp.Or(f.OS, "unknown OS")
}
