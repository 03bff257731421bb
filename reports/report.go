// Package reports turns record files into a Report: figures with intervals,
// the proof that every system emitted the baseline's tokens, and what is to be
// doubted about them. A Report is a function of the file alone.
//
// # Figures
//
// A request's first step ends the prefill and emits the first token. The
// generation phase goes from there to the last token; its steps are
// verifications. Warm-up requests, failed requests and trials, and trials that
// have not finished count nowhere.
//
//	ttft_ms           mean over requests of first step − start
//	ms_per_token      Σ generation time / Σ tokens of the generation phase
//	  p50, p95        over those tokens: a step of t ms that emitted m tokens
//	                  counts as m tokens of t/m ms
//	tokens_per_s      1000 / ms_per_token
//	e2e_ms_per_token  Σ (end − start) / Σ output tokens, prefill included
//	mat               Σ tokens of the generation phase / Σ verifications
//	drafted_per_step  Σ nodes drafted / Σ verifications
//	acceptance        by origin: nodes accepted / nodes drafted
//	peak_mb           most resident memory in any segment, in 10⁶ bytes
//	speedup           Σ baseline's generation time / Σ generation time, over prompts
//	                  that both answered in the same repeat; speedup_prefill and
//	                  speedup_e2e the same with the other times
//
// Sums are over requests; where pairs or intervals are involved, repeats of a
// prompt are averaged first. Intervals are 95 % bootstrap intervals over
// prompts (see stats): they say how far the figure depends on the choice of prompts.
package reports

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Version is the format of a Report's JSON: fields are added, never renamed or removed.
const Version = 1

// A Number is a figure that may be unknown: NaN here, null in JSON, an empty
// cell in CSV, a dash in a table; never 0.
type Number float64

// Unknown is the Number of what was not measured or may not be claimed.
var Unknown = Number(math.NaN())

// Known reports whether n is a figure.
func (n Number) Known() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// String is n to six significant digits, counts in full; "" where n is unknown.
func (n Number) String() string {
	f := float64(n)
	switch {
	case !n.Known():
		return ""
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	// Through a rounded value, so that no exponent appears in ordinary figures.
	r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 6, 64), 64)
	if a := math.Abs(r); a >= 1e-6 && a < 1e15 {
		return strconv.FormatFloat(r, 'f', -1, 64)
	}
	return strconv.FormatFloat(r, 'g', -1, 64)
}

// MarshalJSON writes null for what is unknown.
func (n Number) MarshalJSON() ([]byte, error) {
	if s := n.String(); s != "" {
		return []byte(s), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Number) UnmarshalJSON(b []byte) error {
	*n = Unknown
	if string(b) == "null" {
		return nil
	}
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*n = Number(f)
	return nil
}

// A Report is what a record file says. Numbers in it are as measured; what may
// not be claimed is Unknown, with a warning that says why.
type Report struct {
	Type       string        `json:"type"` // "report"
	Version    int           `json:"version"`
	Tool       string        `json:"tool"` // that wrote the records
	Experiment string        `json:"experiment"`
	ConfigHash string        `json:"config_hash"`
	Started    string        `json:"started"`
	Baseline   string        `json:"baseline"`
	Trials     Trials        `json:"trials"`
	Groups     []Group       `json:"groups"`
	Rows       []Row         `json:"rows"`
	Summary    []Summary     `json:"summary"`
	Ablations  []AblationRow `json:"ablations"`
	Identity   Identity      `json:"identity"`
	Warnings   []Warning     `json:"warnings"` // about the file as a whole
}

// Trials counts the trials of a plan.
type Trials struct {
	Planned  int `json:"planned"`
	Finished int `json:"finished"` // failed ones included
	Failed   int `json:"failed"`
}

// A Group is a device × model: what one table shows.
type Group struct {
	Device    string `json:"device"`
	Model     string `json:"model"`
	Facts     string `json:"facts"`     // "AMD EPYC, 2 of 2 cores, linux/amd64"; of the baseline where there is one
	Backend   string `json:"backend"`   // likewise
	Simulated bool   `json:"simulated"` // every row is
}

// A Row is a device × model × workload × system.
type Row struct {
	Device     string `json:"device"`
	Model      string `json:"model"`
	Workload   string `json:"workload"`
	System     string `json:"system"`
	IsBaseline bool   `json:"is_baseline"`
	Simulated  bool   `json:"simulated"`
	Prompts    int    `json:"prompts"` // distinct, measured
	Repeats    int    `json:"repeats"`
	Requests   int    `json:"requests"` // measured

	TokensPerS   Number `json:"tokens_per_s"`
	TokensPerSLo Number `json:"tokens_per_s_lo"`
	TokensPerSHi Number `json:"tokens_per_s_hi"`
	MsPerToken   Number `json:"ms_per_token"`
	MsPerTokP50  Number `json:"ms_per_token_p50"`
	MsPerTokP95  Number `json:"ms_per_token_p95"`
	E2EMsPerTok  Number `json:"e2e_ms_per_token"`
	TTFTMs       Number `json:"ttft_ms"`

	MAT            Number                `json:"mat"`
	DraftedPerStep Number                `json:"drafted_per_step"`
	Acceptance     map[string]Acceptance `json:"acceptance"` // by origin
	PeakMB         Number                `json:"peak_mb"`

	Speedup          Number `json:"speedup"`
	SpeedupLo        Number `json:"speedup_lo"`
	SpeedupHi        Number `json:"speedup_hi"`
	SpeedupPrefill   Number `json:"speedup_prefill"`
	SpeedupPrefillLo Number `json:"speedup_prefill_lo"`
	SpeedupPrefillHi Number `json:"speedup_prefill_hi"`
	SpeedupE2E       Number `json:"speedup_e2e"`
	SpeedupE2ELo     Number `json:"speedup_e2e_lo"`
	SpeedupE2EHi     Number `json:"speedup_e2e_hi"`

	// Identical counts the requests whose output was compared with the
	// baseline's and is the same; it is Unknown where none could be compared.
	// Total counts all measured requests: Total = Identical + Different + Unchecked.
	Identical Number `json:"identical"`
	Total     int    `json:"total"`
	Different int    `json:"different"`
	Unchecked int    `json:"unchecked"`
	Status    Status `json:"identity"`

	Warnings []Warning `json:"warnings"`
}

// Acceptance says what became of the draft nodes of one origin.
type Acceptance struct {
	Drafted  int    `json:"drafted"`
	Accepted int    `json:"accepted"`
	Rate     Number `json:"rate"`
}

// A Summary is a system's mean over the workloads of a group. It has a figure
// only where every workload has one: means over different workloads do not compare.
type Summary struct {
	Device     string    `json:"device"`
	Model      string    `json:"model"`
	System     string    `json:"system"`
	Workloads  int       `json:"workloads"`
	TokensPerS Number    `json:"tokens_per_s"` // geometric mean, as all of these
	MAT        Number    `json:"mat"`
	Speedup    Number    `json:"speedup"`
	SpeedupLo  Number    `json:"speedup_lo"`
	SpeedupHi  Number    `json:"speedup_hi"`
	E2E        Number    `json:"speedup_e2e"`
	E2ELo      Number    `json:"speedup_e2e_lo"`
	E2EHi      Number    `json:"speedup_e2e_hi"`
	Identical  Number    `json:"identical"`
	Total      int       `json:"total"`
	Different  int       `json:"different"`
	Warnings   []Warning `json:"warnings"`
}

// The Kind of an AblationRow.
const (
	Additive    = "additive"
	LeaveOneOut = "leave_one_out"
)

// An AblationRow says what a part gives on top of the ones before it
// (additive), or what is left without it (leave one out): factors are those of
// System over those of Versus. The first row of a comparison has no Versus.
type AblationRow struct {
	Ablation string `json:"ablation"`
	Kind     string `json:"kind"`
	Device   string `json:"device"`
	Model    string `json:"model"`
	Workload string `json:"workload"` // "" is the geometric mean over the workloads
	Part     string `json:"part"`     // "" for the base and for the whole
	System   string `json:"system"`
	Versus   string `json:"versus"`

	MAT             Number    `json:"mat"`
	MATFactor       Number    `json:"mat_factor"`
	MATFactorLo     Number    `json:"mat_factor_lo"`
	MATFactorHi     Number    `json:"mat_factor_hi"`
	TokensPerS      Number    `json:"tokens_per_s"`
	TokensFactor    Number    `json:"tokens_per_s_factor"`
	TokensFactorLo  Number    `json:"tokens_per_s_factor_lo"`
	TokensFactorHi  Number    `json:"tokens_per_s_factor_hi"`
	Warnings        []Warning `json:"warnings"`
	matEst, tokeEst factor
}

// A Status says what comparing token ids with the baseline's has shown.
type Status string

const (
	StatusIdentical Status = "identical" // all outputs compared, all the same
	StatusPartial   Status = "partial"   // no difference, but some could not be compared
	StatusDifferent Status = "different" // at least one differs
	StatusUnknown   Status = "unknown"   // nothing could be compared
)

// Identity is the proof that systems generate the same tokens.
type Identity struct {
	Status    Status `json:"status"`
	Identical Number `json:"identical"` // requests; see Row
	Total     int    `json:"total"`
	Different int    `json:"different"`
	Unchecked int    `json:"unchecked"`
	// Mismatches holds the first divergence of every row that has one.
	Mismatches []Mismatch `json:"mismatches"`
}

// A Mismatch is a request whose output is not the baseline's.
type Mismatch struct {
	Device   string  `json:"device"`
	Model    string  `json:"model"`
	Workload string  `json:"workload"`
	System   string  `json:"system"`
	Prompt   string  `json:"prompt"`
	Repeat   int     `json:"repeat"`
	Seed     uint64  `json:"seed"`
	Position int     `json:"position"` // of the first difference, output tokens from 0
	Want     *int32  `json:"want"`     // the baseline's token id; null where its output had ended
	Got      *int32  `json:"got"`
	Context  []int32 `json:"context"` // at most 8 output tokens before Position
	// Exact says that the system's target promises equal rows in any batch, so
	// that this is a defect and not rounding.
	Exact      bool   `json:"exact"`
	Requests   int    `json:"requests"` // how many of the row's requests differ
	At         string `json:"at"`       // "runs.jsonl:12"
	BaselineAt string `json:"baseline_at"`
}

// String is the mismatch in a sentence.
func (m Mismatch) String() string {
	tok := func(p *int32) string {
		if p == nil {
			return "the end"
		}
		return strconv.Itoa(int(*p))
	}
	s := fmt.Sprintf("%s: workload %q, prompt %q, system %q, repeat %d: output token %d is %s, the baseline's (%s) is %s",
		m.At, m.Workload, m.Prompt, m.System, m.Repeat, m.Position, tok(m.Got), m.BaselineAt, tok(m.Want))
	if len(m.Context) > 0 {
		ids := make([]string, len(m.Context))
		for i, id := range m.Context {
			ids[i] = strconv.Itoa(int(id))
		}
		s += ", after … " + strings.Join(ids, " ")
	}
	if m.Requests > 1 {
		s += fmt.Sprintf("; %d requests of this row differ", m.Requests)
	}
	return s
}

// What a Warning is about; renderers put its footnote there.
const (
	AboutRow      = ""
	AboutSpeedup  = "speedup"
	AboutIdentity = "identity"
	AboutPeak     = "peak_mb"
)

// A Warning is a doubt that travels with a figure and ends as a footnote. In
// JSON it is its text.
type Warning struct {
	About string
	Text  string
}

// MarshalText gives the warning's text.
func (w Warning) MarshalText() ([]byte, error) { return []byte(w.Text), nil }
