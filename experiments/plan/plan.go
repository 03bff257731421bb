package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/workloads"
)

// A Plan is everything that a campaign will run, in order.
type Plan struct {
	Experiment *experiments.Experiment
	Trials     []Trial
	Systems    []System // every row, those of ablations included
	Ablations  []record.Ablation
	Workloads  []Workload
}

// A Workload is a set as the plan uses it.
type Workload struct {
	Name    string
	Digest  string // of the whole set
	Prompts int    // measured in each trial
}

// Build lays e out as a randomised complete block design: each repeat is a
// block, and each block runs every device × model × system × workload once, in
// an order shuffled by e.Seed and the block's number. Drift of the machine then
// falls on all rows alike. The same experiment gives the same plan.
func Build(e *experiments.Experiment, c experiments.Catalog) (*Plan, error) {
	rows, ablations, err := e.Expand(c)
	if err != nil {
		return nil, err
	}
	p := &Plan{Experiment: e}
	for _, r := range rows {
		p.Systems = append(p.Systems, System{Name: r.Name, System: r.System, Options: r.Options})
	}
	for _, a := range ablations {
		p.Ablations = append(p.Ablations, record.Ablation{Name: a.Name, Full: a.Full, Additive: variants(a.Additive), LeaveOneOut: variants(a.LeaveOneOut)})
	}
	prompts := make([][]Prompt, len(e.Workloads))
	for i, w := range e.Workloads {
		set, err := workloads.Open(w.Source())
		if err != nil {
			return nil, err
		}
		measured, err := choose(set, w, e.Warmup, &prompts[i])
		if err != nil {
			return nil, fmt.Errorf("workload %q: %w", w.Name, err)
		}
		p.Workloads = append(p.Workloads, Workload{Name: w.Name, Digest: set.Digest(), Prompts: measured})
	}
	seen := map[string]bool{}
	for repeat := range e.Repeats {
		var block []Trial
		for _, d := range e.Devices {
			for _, m := range e.Models {
				for _, s := range p.Systems {
					for i, w := range p.Workloads {
						t := Trial{
							ID:     strings.Join([]string{fmt.Sprintf("r%d", repeat), fileName(d), m.Name, w.Name, s.Name}, "~"),
							Device: d, Model: Model{Name: m.Name, File: m.File, Draft: m.Draft},
							Workload: w.Name, Digest: w.Digest, System: s, Repeat: repeat,
							Prompts: prompts[i], Warmup: len(prompts[i]) - w.Prompts, Segment: e.Segment,
							Sampling: Sampling(e.Sampling),
							Threads:  e.Threads, Context: e.Context, KV: e.KV,
						}
						if seen[t.ID] {
							return nil, fmt.Errorf("two trials would be called %q; give devices and models names that differ by more than punctuation", t.ID)
						}
						seen[t.ID] = true
						block = append(block, t)
					}
				}
			}
		}
		rng := rand.New(rand.NewPCG(e.Seed, uint64(repeat)))
		rng.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		p.Trials = append(p.Trials, block...)
	}
	return p, nil
}

func variants(rows []experiments.Row) []record.Variant {
	var v []record.Variant
	for _, r := range rows {
		v = append(v, record.Variant{System: r.System, Part: r.Part})
	}
	return v
}

// choose takes the measured prompts from the start of the set and the warm-up
// from its end, so that they differ whenever the set is large enough; the trial
// clears a system's history after the warm-up in any case.
func choose(set *workloads.Set, w experiments.Workload, warmup int, out *[]Prompt) (int, error) {
	n := len(set.Prompts)
	if w.Prompts > n {
		return 0, fmt.Errorf("prompts: %d of a set of %d", w.Prompts, n)
	}
	if w.Prompts > 0 {
		n = w.Prompts
	}
	take := func(p workloads.Prompt) {
		q := Prompt{ID: p.ID, Group: p.Group, MaxTokens: p.MaxTokens}
		if w.MaxTokens > 0 {
			q.MaxTokens = min(q.MaxTokens, w.MaxTokens)
		}
		for _, m := range p.Messages {
			q.Messages = append(q.Messages, Message(m))
		}
		*out = append(*out, q)
	}
	for i := range warmup {
		take(set.Prompts[len(set.Prompts)-1-i%len(set.Prompts)])
	}
	for _, p := range set.Prompts[:n] {
		take(p)
	}
	return n, nil
}

// fileName keeps a device's name usable as part of a file's name on any device.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r) {
			return r
		}
		return '-'
	}, s)
}

// Requests counts the requests of the plan, warm-up included.
func (p *Plan) Requests() int {
	n := 0
	for _, t := range p.Trials {
		n += len(t.Prompts)
	}
	return n
}

// RequestSeed is the seed of one request: the same for every system, so that
// outputs can be compared, and different for each prompt and repeat. It stays
// below 2⁵³, so that every JSON reader keeps it whole.
func RequestSeed(base uint64, prompt string, repeat int) uint64 {
	h := sha256.New()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], base)
	binary.LittleEndian.PutUint64(b[8:], uint64(repeat))
	h.Write(b[:])
	h.Write([]byte(prompt))
	return binary.LittleEndian.Uint64(h.Sum(nil)) >> 11
}

// Config is the text that decides whether a run may be continued: the
// experiment with its defaults, and as comments the digests of what it names.
// digests maps each model file of the experiment to its sha256.
func (p *Plan) Config(digests map[string]string) string {
	var b strings.Builder
	b.WriteString(p.Experiment.YAML())
	for _, w := range p.Workloads {
		fmt.Fprintf(&b, "# workload %s: sha256 %s\n", w.Name, w.Digest)
	}
	for _, m := range p.Experiment.Models {
		fmt.Fprintf(&b, "# model %s: sha256 %s\n", m.Name, digests[m.File])
		if m.Draft != "" {
			fmt.Fprintf(&b, "# draft of %s: sha256 %s\n", m.Name, digests[m.Draft])
		}
	}
	return b.String()
}

// ConfigHash is the sha256 of a Config in hexadecimal.
func ConfigHash(config string) string {
	h := sha256.Sum256([]byte(config))
	return hex.EncodeToString(h[:])
}

// Diff names the lines in which two Configs differ, at most a few of them.
func Diff(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "was "+strings.TrimSpace(l))
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "is "+strings.TrimSpace(l))
		}
	}
	if len(out) == 0 {
		return "the order of entries"
	}
	if len(out) > 6 {
		out = append(out[:6], fmt.Sprintf("and %d more lines", len(out)-6))
	}
	return strings.Join(out, "; ")
}
