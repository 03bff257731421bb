package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

var testCatalog = Catalog{
	Systems:   []string{"ar", "pld", "sam", "sam-fill", "speculative", "coordgen", "ngram-simple", "ngram-map-k", "ngram-mod", "ngram-cache"},
	Workloads: []string{"summary", "rag", "ui", "tweet"},
	Models:    []string{"coordlm-6m", "coordlm-draft-1m"},
	CheckOptions: func(system string, options map[string]string) error {
		for k, v := range options {
			if k == "bogus" {
				return fmt.Errorf("unknown option %q of %q", k, system)
			}
			if k == "depth" && v == "many" {
				return errors.New(`depth: "many" is no whole number`)
			}
		}
		return nil
	},
	Parts: func(system string) []Part {
		if system != "coordgen" {
			return nil
		}
		return []Part{{"history", "history", "false"}, {"calibration", "calibration", "false"}, {"reuse", "reuse", "false"}}
	},
}

// head starts every document of the tables below; it is three lines long.
const head = "version: 1\nname: e\nmodels: [embedded:coordlm-6m]\n"

const tail = "workloads: [summary]\nsystems: [ar]\n"

func parse(text string, sets ...string) (*Experiment, error) {
	return Parse("e.yaml", "testdata", []byte(text), sets, testCatalog)
}

func TestDefaults(t *testing.T) {
	e, err := parse(head + "workloads: [summary, {name: own, file: own.yaml, prompts: 3, max_tokens: 9}]\nsystems:\n- ar\n- {name: half, system: coordgen, options: {reuse: false, depth: 3}}\n")
	if err != nil {
		t.Fatal(err)
	}
	own, _ := filepath.Abs("testdata/own.yaml")
	want := &Experiment{
		Version: 1, Name: "e", Models: []Model{{Name: "coordlm-6m", File: "embedded:coordlm-6m"}}, Devices: []string{"local"},
		Workloads: []Workload{{Name: "summary"}, {Name: "own", File: own, Prompts: 3, MaxTokens: 9}},
		Systems:   []System{{Name: "ar", System: "ar"}, {Name: "half", System: "coordgen", Options: Options{"reuse": "false", "depth": "3"}}},
		Baseline:  "ar", Sampling: Sampling{Seed: 1}, Repeats: 1, Warmup: 1, KV: "f16", Seed: 1, Timeout: "30m",
	}
	if d := cmp.Diff(want, e); d != "" {
		t.Error(d)
	}
	again, err := parse(e.YAML())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, again); d != "" {
		t.Errorf("written and read again:\n%s", d)
	}
}

// A badDoc is refused with exactly this message. beyond marks what JSON Schema
// cannot see: names that must be unique or exist, files that must be there.
type badDoc struct {
	name, text, want string
	beyond           bool
}

var badDocs = []badDoc{
	{"unknown key", head + tail + "repeat: 3\n", `e.yaml:6: unknown key "repeat" (did you mean "repeats"?)`, false},
	{"unknown key within", head + "workloads:\n- name: summary\n  prompt: 3\nsystems: [ar]\n", `e.yaml:6: workloads[0]: unknown key "prompt" (did you mean "prompts"?)`, false},
	{"unknown key, nothing near", head + tail + "sampling: {heat: 1}\n", `e.yaml:6: sampling: unknown key "heat" (known: temperature, top_k, top_p, min_p, seed)`, false},
	{"number for text", "version: 1\nname: 7\nmodels: [embedded:coordlm-6m]\n" + tail, `e.yaml:2: name: is the number 7; want text (quote it: "7")`, false},
	{"text for number", head + tail + "repeats: three\n", `e.yaml:6: repeats: is the text "three"; want a whole number`, false},
	{"fraction", head + tail + "repeats: 1.5\n", `e.yaml:6: repeats: is the number 1.5; want a whole number`, false},
	{"text for list", head + "workloads: summary\nsystems: [ar]\n", `e.yaml:4: workloads: is the text "summary"; want a list ([summary])`, false},
	{"list for text", head + tail + "kv: [f16]\n", `e.yaml:6: kv: is a list; want text`, false},
	{"nothing", head + tail + "seed:\n", `e.yaml:6: seed: is empty; want a whole number`, false},
	{"list as document", "- a\n", `e.yaml:1: is a list; want a mapping`, false},
	{"too few", head + tail + "repeats: 0\n", `e.yaml:6: repeats: is 0; want at least 1`, false},
	{"too much", head + tail + "sampling: {temperature: 1, top_p: 1.5}\n", `e.yaml:6: sampling.top_p: is 1.5; want at most 1`, false},
	{"bad value", head + tail + "kv: f61\n", `e.yaml:6: kv: unknown value "f61" (did you mean "f16"? One of f16, f32)`, false},
	{"bad duration", head + tail + "timeout: 5 minutes\n", `e.yaml:6: timeout: is the text "5 minutes"; want a duration such as 90s`, false},
	{"bad version", "version: 2\nname: e\nmodels: [embedded:coordlm-6m]\n" + tail, `e.yaml:1: version: is 2; want at most 1`, false},
	{"bad name", "version: 1\nname: a/b\nmodels: [embedded:coordlm-6m]\n" + tail, `e.yaml:2: name: is "a/b"; want letters, digits, and . _ + - after the first`, false},
	{"missing key", "version: 1\nname: e\n" + tail, `e.yaml:1: "models" is missing`, false},
	{"empty matrix", head + "workloads: []\nsystems: [ar]\n", `e.yaml:4: workloads: is empty; want at least 1`, false},
	{"empty systems", head + "workloads: [summary]\nsystems: []\n", `e.yaml:5: systems: is empty; want at least 1`, false},
	{"list as option", head + "workloads: [summary]\nsystems: [ar, {name: coordgen, options: {depth: [1]}}]\n", `e.yaml:5: systems[1].options.depth: is a list; want text, a number, true or false`, false},

	{"key twice", head + tail + "repeats: 1\nrepeats: 2\n", `e.yaml:7: key "repeats" occurs twice (first at e.yaml:6)`, true},
	{"name twice", head + "workloads: [summary]\nsystems:\n- ar\n- pld\n- ar\n", `e.yaml:8: systems: name "ar" occurs twice (first at e.yaml:6)`, true},
	{"workload twice", head + "workloads: [summary, {name: summary, prompts: 3}]\nsystems: [ar]\n", `e.yaml:4: workloads: name "summary" occurs twice (first at e.yaml:4)`, true},
	{"derived name twice", "version: 1\nname: e\nmodels: [a.gguf, sub/a.gguf]\n" + tail, `e.yaml:3: models[1]: model "a" occurs twice (first at e.yaml:3; give one of them another "name")`, true},
	{"missing model", "version: 1\nname: e\nmodels:\n- {name: m, file: no.gguf}\n" + tail, `e.yaml:4: models[0].file: no file "testdata/no.gguf" (paths start at the experiment's folder)`, true},
	{"missing draft", "version: 1\nname: e\nmodels:\n- file: embedded:coordlm-6m\n  draft: no.gguf\n" + tail, `e.yaml:5: models[0].draft: no file "testdata/no.gguf" (paths start at the experiment's folder)`, true},
	{"missing workload file", head + "workloads:\n- file: no.yaml\nsystems: [ar]\n", `e.yaml:5: workloads[0].file: no file "testdata/no.yaml" (paths start at the experiment's folder)`, true},
	{"folder for file", head + "workloads:\n- file: sub\nsystems: [ar]\n", `e.yaml:5: workloads[0].file: "testdata/sub" is a folder`, true},
	{"unknown embedded model", "version: 1\nname: e\nmodels: [embedded:coordlm-7m]\n" + tail, `e.yaml:3: models[0].file: unknown embedded model "coordlm-7m" (did you mean "coordlm-6m"?)`, true},
	{"unknown workload", head + "workloads: [sumary]\nsystems: [ar]\n", `e.yaml:4: workloads[0]: unknown workload "sumary" (did you mean "summary"?)`, true},
	{"unknown system", head + "workloads: [summary]\nsystems: [ar, coordgem]\n", `e.yaml:5: systems[1]: unknown system "coordgem" (did you mean "coordgen"?)`, true},
	{"unknown option", head + "workloads: [summary]\nsystems:\n- ar\n- name: coordgen\n  options:\n    bogus: 1\n", `e.yaml:9: systems[1].options: unknown option "bogus" of "coordgen"`, true},
	{"unknown part", head + tail + "ablations: [{system: coordgen, parts: [reuse, historie]}]\n", `e.yaml:6: ablations[0].parts[1]: unknown part "historie" (did you mean "history"?)`, true},
	{"ablation without parts", head + tail + "ablations: [ar]\n", `e.yaml:6: ablations[0]: system "ar" has no parts to turn off`, true},
	{"ablations collide", head + tail + "ablations: [coordgen, {name: other, system: coordgen, options: {depth: 2}}]\n", `e.yaml:6: ablations: other: row "base" occurs twice (choose other names or another "base")`, true},
	{"unknown device", head + tail + "devices: [phone]\n", `e.yaml:6: devices[0]: unknown device "phone"`, true},
	{"unknown baseline", head + tail + "baseline: al\n", `e.yaml:6: baseline: unknown row "al" (did you mean "ar"?)`, true},
	{"no baseline", head + "workloads: [summary]\nsystems: [pld]\n", `e.yaml:5: systems: no row to compare with (add "ar", or name a row with "baseline")`, true},
	{"greedy with top_k", head + tail + "sampling: {top_k: 4}\n", `e.yaml:6: sampling: temperature 0 takes the likeliest token, so the other numbers would do nothing (set temperature above 0, or drop top_k, top_p and min_p)`, true},
	{"neither name nor file", head + "workloads: [{prompts: 3}]\nsystems: [ar]\n", `e.yaml:4: workloads[0]: neither "name" nor "file"`, true},
	{"alias", head + "workloads: [&a summary, *a]\nsystems: [ar]\n", `e.yaml:4: workloads[1]: aliases are not supported (write the value out)`, true},
	{"empty", "", `e.yaml:1: is empty`, true},
	{"only a comment", "# nothing\n", `e.yaml:1: is empty`, true},
	{"two documents", head + tail + "---\na: 1\n", `e.yaml:6: a second document; one file holds one`, true},
	{"no YAML", head + "workloads: [summary\n", `e.yaml:4: did not find expected ',' or ']'`, true},
	{"not text", "\xff\xfe", `e.yaml: is not UTF-8 text`, true},
	{"zero timeout", head + tail + "timeout: 0s\n", `e.yaml:6: timeout: is 0s; want more than 0s`, true},
}

func TestErrors(t *testing.T) {
	for _, d := range badDocs {
		t.Run(d.name, func(t *testing.T) {
			_, err := parse(d.text)
			if err == nil || err.Error() != d.want {
				t.Errorf("\ngot  %v\nwant %s", err, d.want)
			}
		})
	}
}

// Several mistakes are all told, in the order of the file.
func TestAllErrors(t *testing.T) {
	_, err := parse(head + "workloads: [sumary]\nsystems: [ar, coordgem]\n")
	want := "e.yaml:4: workloads[0]: unknown workload \"sumary\" (did you mean \"summary\"?)\ne.yaml:5: systems[1]: unknown system \"coordgem\" (did you mean \"coordgen\"?)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSet(t *testing.T) {
	const doc = head + "workloads: [summary, rag]\nsystems: [ar, {name: coordgen, options: {depth: 3}}]\n"
	for _, c := range []struct {
		set  string
		want func(*Experiment) any
		is   any
	}{
		{"repeats=5", func(e *Experiment) any { return e.Repeats }, 5},
		{"sampling.temperature=0.8", func(e *Experiment) any { return e.Sampling.Temperature }, 0.8},
		{"workloads.0.prompts=4", func(e *Experiment) any { return e.Workloads[0] }, Workload{Name: "summary", Prompts: 4}},
		{"workloads[1].prompts=4", func(e *Experiment) any { return e.Workloads[1] }, Workload{Name: "rag", Prompts: 4}},
		{"workloads.rag.max_tokens=7", func(e *Experiment) any { return e.Workloads[1] }, Workload{Name: "rag", MaxTokens: 7}},
		{"systems.coordgen.options.depth=9", func(e *Experiment) any { return e.Systems[1].Options }, Options{"depth": "9"}},
		{"systems.2=pld", func(e *Experiment) any { return e.Systems[2] }, System{Name: "pld", System: "pld"}},
		{"systems=[ar, sam]", func(e *Experiment) any { return len(e.Systems) }, 2},
		{"description=a = b: c # d", func(e *Experiment) any { return e.Description }, nil},
		{"ablations.0={system: coordgen, name: c}", func(e *Experiment) any { return e.Ablations[0].Parts }, []string{"history", "calibration", "reuse"}},
	} {
		e, err := parse(doc, c.set)
		if c.is == nil {
			if err == nil {
				t.Errorf("--set %s: no error", c.set)
			}
			continue
		}
		if err != nil {
			t.Errorf("--set %s: %v", c.set, err)
			continue
		}
		if d := cmp.Diff(c.is, c.want(e)); d != "" {
			t.Errorf("--set %s: %s", c.set, d)
		}
	}
	for set, want := range map[string]string{
		"repeats":                   `--set repeats: want key=value, such as repeats=3`,
		"=3":                        `--set =3: want key=value, such as repeats=3`,
		"repeat=3":                  `--set repeat=3: unknown key "repeat" (did you mean "repeats"?)`,
		"repeats=many":              `--set repeats=many: repeats: is the text "many"; want a whole number`,
		"repeats=0":                 `--set repeats=0: repeats: is 0; want at least 1`,
		"repeats.x=0":               `--set repeats.x=0: repeats: is a whole number, which has no part "x"`,
		"workloads.5.prompts=4":     `--set workloads.5.prompts=4: workloads: no entry "5" (0 to 2, 2 appends)`,
		"workloads.0.prompt=4":      `--set workloads.0.prompt=4: workloads.0: unknown key "prompt" (did you mean "prompts"?)`,
		"workloads=[]":              `--set workloads=[]: workloads: is empty; want at least 1`,
		"systems.0=nonsense":        `--set systems.0=nonsense: systems[0]: unknown system "nonsense" (known: ar, pld, sam, sam-fill, speculative, coordgen, ngram-simple, ngram-map-k, ngram-mod, ngram-cache)`,
		"kv=":                       `--set kv=: kv: unknown value "" (one of f16, f32)`,
		"seed=[":                    `--set seed=[: the value is not YAML`,
		"models.0=embedded:nothing": `--set models.0=embedded:nothing: models[0].file: unknown embedded model "nothing" (known: coordlm-6m, coordlm-draft-1m)`,
	} {
		if _, err := parse(doc, set); err == nil || err.Error() != want {
			t.Errorf("--set %s\ngot  %v\nwant %s", set, err, want)
		}
	}
}

func TestExpand(t *testing.T) {
	e, err := parse(head + "workloads: [summary]\nsystems: [ar, coordgen]\nablations: [coordgen]\n")
	if err != nil {
		t.Fatal(err)
	}
	rows, abl, err := e.Expand(testCatalog)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprint(r.Name, " ", r.System, " ", r.Options))
	}
	want := []string{
		"ar ar map[]",
		"coordgen coordgen map[]",
		"coordgen-history coordgen map[history:false]",
		"coordgen-calibration coordgen map[calibration:false]",
		"coordgen-reuse coordgen map[reuse:false]",
		"base coordgen map[calibration:false history:false reuse:false]",
		"base+history coordgen map[calibration:false reuse:false]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows:\n%s", d)
	}
	wantRows := []Rows{{
		Name: "coordgen", Full: "coordgen",
		Additive:    []Row{{"base", ""}, {"base+history", "history"}, {"coordgen-reuse", "calibration"}, {"coordgen", "reuse"}},
		LeaveOneOut: []Row{{"coordgen-history", "history"}, {"coordgen-calibration", "calibration"}, {"coordgen-reuse", "reuse"}},
	}}
	if d := cmp.Diff(wantRows, abl); d != "" {
		t.Errorf("ablations:\n%s", d)
	}
}

// The strict check and the JSON Schema agree on every document that is wrong in
// a way that a schema can say, and on every good one.
func TestSchemaAgrees(t *testing.T) {
	schema := compile(t)
	for _, d := range badDocs {
		var v any
		if err := yaml.Unmarshal([]byte(d.text), &v); err != nil {
			continue
		}
		err := schema.Validate(v)
		if d.beyond && err != nil && d.name != "empty" && d.name != "only a comment" && d.name != "not text" {
			t.Errorf("%s: the schema refuses what it is said not to see: %v", d.name, err)
		}
		if !d.beyond && err == nil {
			t.Errorf("%s: the schema allows it", d.name)
		}
	}
	good, err := filepath.Glob("*.yaml")
	if err != nil || len(good) == 0 {
		t.Fatal(good, err)
	}
	sub, _ := filepath.Glob("*/*.yaml")
	for _, f := range append(good, sub...) {
		if strings.HasPrefix(f, "testdata") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		e, err := Load(f, nil, testCatalog)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := yaml.Unmarshal([]byte(e.YAML()), &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s, defaults filled in: %v", f, err)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	b, err := json.Marshal(JSONSchema(testCatalog))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("e.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("e.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBuiltin(t *testing.T) {
	names := BuiltinNames()
	if len(names) == 0 {
		t.Fatal("no built-in experiment")
	}
	for _, n := range names {
		text, ok := Builtin(n)
		if !ok {
			t.Fatalf("Builtin(%q) is not there", n)
		}
		e, err := Parse(n+".yaml", ".", text, nil, testCatalog)
		if err != nil || e.Name != n {
			t.Errorf("%s: %v", n, err)
		}
	}
	if _, ok := Builtin("../experiments/quickstart"); ok {
		t.Error("Builtin leaves its folder")
	}
}
