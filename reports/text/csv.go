package text

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/coordbench/coordbench/reports"
)

// WriteCSV writes r's rows as CSV (RFC 4180) with one header line. Columns have
// the names of the report's JSON; those of acceptance are drafted_ and
// accepted_ with each origin that occurs. Unknown figures are empty cells.
func WriteCSV(w io.Writer, r *reports.Report) error {
	origins := r.Origins()
	c := csv.NewWriter(w)
	c.UseCRLF = true
	head := []string{"device", "model", "workload", "system", "is_baseline", "simulated", "prompts", "repeats", "requests",
		"tokens_per_s", "tokens_per_s_lo", "tokens_per_s_hi", "ms_per_token", "ms_per_token_p50", "ms_per_token_p95", "e2e_ms_per_token", "ttft_ms",
		"mat", "drafted_per_step", "peak_mb",
		"speedup", "speedup_lo", "speedup_hi", "speedup_prefill", "speedup_prefill_lo", "speedup_prefill_hi", "speedup_e2e", "speedup_e2e_lo", "speedup_e2e_hi",
		"identical", "total", "different", "unchecked", "identity"}
	for _, o := range origins {
		head = append(head, "drafted_"+o, "accepted_"+o)
	}
	if err := c.Write(append(head, "warnings")); err != nil {
		return err
	}
	for _, row := range r.Rows {
		rec := []string{row.Device, row.Model, row.Workload, row.System, strconv.FormatBool(row.IsBaseline), strconv.FormatBool(row.Simulated),
			strconv.Itoa(row.Prompts), strconv.Itoa(row.Repeats), strconv.Itoa(row.Requests)}
		for _, n := range []reports.Number{row.TokensPerS, row.TokensPerSLo, row.TokensPerSHi, row.MsPerToken, row.MsPerTokP50, row.MsPerTokP95, row.E2EMsPerTok, row.TTFTMs,
			row.MAT, row.DraftedPerStep, row.PeakMB,
			row.Speedup, row.SpeedupLo, row.SpeedupHi, row.SpeedupPrefill, row.SpeedupPrefillLo, row.SpeedupPrefillHi, row.SpeedupE2E, row.SpeedupE2ELo, row.SpeedupE2EHi,
			row.Identical} {
			rec = append(rec, n.String())
		}
		rec = append(rec, strconv.Itoa(row.Total), strconv.Itoa(row.Different), strconv.Itoa(row.Unchecked), string(row.Status))
		for _, o := range origins {
			a, ok := row.Acceptance[o]
			if !ok {
				rec = append(rec, "", "")
				continue
			}
			rec = append(rec, strconv.Itoa(a.Drafted), strconv.Itoa(a.Accepted))
		}
		texts := make([]string, len(row.Warnings))
		for i, w := range row.Warnings {
			texts[i] = w.Text
		}
		if err := c.Write(append(rec, strings.Join(texts, "; "))); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}
