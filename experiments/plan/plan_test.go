package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/experiments/record"
	"github.com/coordbench/coordbench/workloads"
)

var catalog = experiments.Catalog{
	Systems: []string{"ar", "pld", "coordgen"}, Workloads: workloads.Names(), Models: []string{"coordlm-6m"},
	CheckDevice: func(string) error { return nil },
	Parts: func(string) []experiments.Part {
		return []experiments.Part{{Name: "calibration", Option: "calibration", Off: "false"}, {Name: "reuse", Option: "reuse", Off: "false"}}
	},
}

func build(t *testing.T, text string) *Plan {
	t.Helper()
	e, err := experiments.Parse("e.yaml", ".", []byte("version: 1\nname: e\nmodels: [embedded:coordlm-6m]\n"+text), nil, catalog)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Build(e, catalog)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each block runs each cell of device × model × system × workload exactly once,
// blocks follow each other, and the order depends on the seed alone.
func TestBlocks(t *testing.T) {
	property := func(seed uint16, repeats, warmup, prompts uint8) bool {
		r, w, n := int(repeats)%4+1, int(warmup)%3, int(prompts)%80+1
		text := fmt.Sprintf("devices: [local, phone]\nworkloads: [{name: rag, prompts: %d}, ui]\nsystems: [ar, pld]\nablations: [coordgen]\nrepeats: %d\nwarmup: %d\nseed: %d\n", n, r, w, seed)
		p := build(t, text)
		if d := cmp.Diff(p.Trials, build(t, text).Trials); d != "" {
			t.Errorf("the same experiment gives another plan:\n%s", d)
		}
		// 2 devices × (ar, pld, coordgen, 2 left out, base: base+calibration is coordgen-reuse) × 2 workloads
		const cells = 2 * 6 * 2
		if len(p.Trials) != r*cells {
			t.Fatalf("%d trials, want %d", len(p.Trials), r*cells)
		}
		ids := map[string]bool{}
		for i, x := range p.Trials {
			if x.Repeat != i/cells {
				t.Fatalf("trial %d is of repeat %d", i, x.Repeat)
			}
			cell := fmt.Sprint(x.Repeat, x.Device, x.Model.Name, x.Workload, x.System.Name)
			if ids[cell] || ids["id "+x.ID] {
				t.Fatalf("%s occurs twice", x.ID)
			}
			ids[cell], ids["id "+x.ID] = true, true
			want := 80
			if x.Workload == "rag" {
				want = n
			}
			if x.Warmup != w || len(x.Prompts) != w+want || x.Prompts[w].ID != x.Workload+"-000" {
				t.Fatalf("%s: %d prompts, %d of them warm-up, the first measured %s", x.ID, len(x.Prompts), x.Warmup, x.Prompts[w].ID)
			}
		}
		return true
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 3}); err != nil {
		t.Error(err)
	}
}

func TestShuffle(t *testing.T) {
	order := func(seed int, block int) string {
		p := build(t, fmt.Sprintf("workloads: [rag, ui, tweet]\nsystems: [ar, pld]\nrepeats: 2\nseed: %d\n", seed))
		var s []string
		for _, x := range p.Trials[6*block : 6*block+6] {
			s = append(s, x.System.Name+x.Workload)
		}
		return strings.Join(s, " ")
	}
	seen := map[string]bool{}
	for seed := range 20 {
		seen[order(seed, 0)] = true
		seen[order(seed, 1)] = true
	}
	if len(seen) < 30 {
		t.Errorf("40 blocks have only %d orders", len(seen))
	}
}

func TestWarmupDiffers(t *testing.T) {
	p := build(t, "workloads: [{name: ui, prompts: 70}]\nsystems: [ar]\nwarmup: 3\n")
	for i, want := range []string{"ui-079", "ui-078", "ui-077", "ui-000"} {
		if got := p.Trials[0].Prompts[i].ID; got != want {
			t.Errorf("prompt %d is %s, want %s", i, got, want)
		}
	}
}

func TestMaxTokens(t *testing.T) {
	p := build(t, "workloads: [{name: ui, max_tokens: 5}]\nsystems: [ar]\n")
	for _, q := range p.Trials[0].Prompts {
		if q.MaxTokens != 5 {
			t.Fatalf("%s: max_tokens %d", q.ID, q.MaxTokens)
		}
	}
	p = build(t, "workloads: [{name: ui, max_tokens: 500}]\nsystems: [ar]\n")
	if n := p.Trials[0].Prompts[0].MaxTokens; n != 128 {
		t.Errorf("max_tokens 500 raised the set's own 128 to %d", n)
	}
}

func TestTooManyPrompts(t *testing.T) {
	e, err := experiments.Parse("e.yaml", ".", []byte("version: 1\nname: e\nmodels: [embedded:coordlm-6m]\nworkloads: [{name: ui, prompts: 81}]\nsystems: [ar]\n"), nil, catalog)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Build(e, catalog); err == nil || err.Error() != `workload "ui": prompts: 81 of a set of 80` {
		t.Error(err)
	}
}

func TestRequestSeed(t *testing.T) {
	seen := map[uint64]string{}
	for base := range uint64(3) {
		for repeat := range 3 {
			for _, p := range []string{"a", "b", ""} {
				s := RequestSeed(base, p, repeat)
				if s >= 1<<53 {
					t.Errorf("seed %d does not fit 53 bits", s)
				}
				if was, ok := seen[s]; ok {
					t.Errorf("%s and %d %s %d share a seed", was, base, p, repeat)
				}
				seen[s] = fmt.Sprint(base, p, repeat)
			}
		}
	}
	// Records of earlier versions hold seeds: the rule is for ever.
	if got := RequestSeed(1, "summary-000", 0); got != 1560547145705481 {
		t.Errorf("RequestSeed(1, summary-000, 0) = %d", got)
	}
}

func TestConfig(t *testing.T) {
	p := build(t, "workloads: [ui]\nsystems: [ar]\n")
	c := p.Config(map[string]string{"embedded:coordlm-6m": "abc"})
	e, err := experiments.Parse("header", ".", []byte(c), nil, catalog)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Experiment, e); d != "" {
		t.Errorf("the recorded configuration read again:\n%s", d)
	}
	other := p.Config(map[string]string{"embedded:coordlm-6m": "abd"})
	if ConfigHash(c) == ConfigHash(other) {
		t.Error("another model file has the same hash")
	}
	if d := Diff(c, other); d != "was # model coordlm-6m: sha256 abc; is # model coordlm-6m: sha256 abd" {
		t.Error(d)
	}
	if Diff("a\nb", "b\na") != "the order of entries" {
		t.Error(Diff("a\nb", "b\na"))
	}
}

func TestTrialAsJSON(t *testing.T) {
	want := build(t, "workloads: [ui]\nsystems: [ar]\nsampling: {temperature: 0.7, top_p: 0.9}\n").Trials[0]
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Trial
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEstimate(t *testing.T) {
	p := build(t, "workloads: [{name: ui, prompts: 9}]\nsystems: [ar, pld]\nrepeats: 2\n")
	key := func(system string) record.Key { return record.Key{Model: "coordlm-6m", Workload: "ui", System: system} }
	l := &record.Log{Requests: []record.Request{
		{Key: key("ar"), EndNS: int64(2 * time.Second)},
		{Key: key("ar"), EndNS: int64(4 * time.Second)},
		{Key: key("ar"), EndNS: int64(4 * time.Hour), Error: "x"},
	}}
	est, ok := p.FromRun(l)
	// pld has no request of its own and is taken for the workload's mean.
	if want := 4*10*3*time.Second + 4*assumedTrialStartup; !ok || est.Time != want {
		t.Errorf("from a run: %v, %v; want %v", est, ok, want)
	}
	if _, ok := p.FromRun(&record.Log{}); ok {
		t.Error("an empty run gives an estimate")
	}
	one, two := p.FromSizes(map[string]int64{"coordlm-6m": 1e9}), p.FromSizes(map[string]int64{"coordlm-6m": 2e9})
	if one.Time < 40*128*50*time.Millisecond || two.Time < one.Time*19/10 {
		t.Errorf("from sizes: %v, %v", one.Time, two.Time)
	}
}
