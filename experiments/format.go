package experiments

import (
	"regexp"

	"github.com/coordbench/coordbench/internal/yamlspec"
)

// name is what rows, workloads, models and devices may be called: names become
// parts of file names on every device.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

const nameWords = "letters, digits, and . _ + - after the first"

// JSONSchema is the format of an experiment file as a JSON Schema.
func JSONSchema(c Catalog) map[string]any {
	return yamlspec.JSONSchema(format(c), "https://coordbench.github.io/schema/experiment.json", "coordbench experiment")
}

// format describes an experiment file; the strict check and the JSON Schema both come from it.
func format(c Catalog) *yamlspec.Type {
	type T = yamlspec.Type
	type F = yamlspec.Field
	bound := yamlspec.Bound
	named := func(doc string) *T {
		return &T{Kind: yamlspec.String, Min: bound(1), Pattern: name, Want: nameWords, Doc: doc}
	}
	text := func(doc string) *T { return &T{Kind: yamlspec.String, Doc: doc} }
	file := func(doc string) *T { return &T{Kind: yamlspec.String, Min: bound(1), Doc: doc} }
	whole := func(lo, hi float64, def any, doc string) *T {
		return &T{Kind: yamlspec.Int, Min: bound(lo), Max: bound(hi), Default: def, Doc: doc}
	}
	options := &T{Kind: yamlspec.Map, Elem: &T{Kind: yamlspec.Scalar}, Doc: "options of the system; `coordbench systems` lists them"}
	seed := func(doc string) *T { return whole(0, 1<<53, 1, doc) }

	return &T{Kind: yamlspec.Object, Doc: "A coordbench experiment: systems × workloads × models × devices, repeated.", Fields: []F{
		{Name: "version", Required: true, Type: whole(1, 1, nil, "of this format: 1")},
		{Name: "name", Required: true, Type: named("names the run folder")},
		{Name: "description", Type: text("what the experiment is for")},
		{Name: "models", Required: true, Type: &T{Kind: yamlspec.List, Min: bound(1), Unique: "name", Elem: &T{Kind: yamlspec.Object, Short: "file", Fields: []F{
			{Name: "name", Type: named("in reports; the file's name without its ending by default")},
			{Name: "file", Required: true, Type: file("embedded:NAME, or a GGUF file; relative to the experiment")},
			{Name: "draft", Type: file("draft model for speculative decoding, likewise")},
		}}, Doc: "targets"}},
		{Name: "devices", Type: &T{Kind: yamlspec.List, Min: bound(1), Elem: file("local"), Doc: "where to measure; local by default"}},
		{Name: "workloads", Required: true, Type: &T{Kind: yamlspec.List, Min: bound(1), Unique: "name", Elem: &T{Kind: yamlspec.Object, Short: "name", Fields: []F{
			{Name: "name", Type: named("an embedded set, or what to call the file's")},
			{Name: "file", Type: file("a workload in YAML or JSON lines; relative to the experiment")},
			{Name: "prompts", Type: whole(1, 1<<20, nil, "only the first so many")},
			{Name: "max_tokens", Type: whole(1, 1<<20, nil, "shortens answers that the set allows to be longer")},
		}}, Doc: "sets of prompts"}},
		{Name: "systems", Required: true, Type: &T{Kind: yamlspec.List, Min: bound(1), Unique: "name", Elem: &T{Kind: yamlspec.Object, Short: "name", Fields: []F{
			{Name: "name", Type: named("of the row; the system's by default")},
			{Name: "system", Type: file("which system; the row's name by default")},
			{Name: "options", Type: options},
		}}, Doc: "ways of decoding, each a row of the report"}},
		{Name: "ablations", Type: &T{Kind: yamlspec.List, Elem: &T{Kind: yamlspec.Object, Short: "system", Fields: []F{
			{Name: "name", Type: named("of the ablation and its full row; the system's name by default")},
			{Name: "system", Required: true, Type: file("the system to take apart")},
			{Name: "base", Type: named("what the row with every part off is called; base by default")},
			{Name: "parts", Type: &T{Kind: yamlspec.List, Min: bound(1), Unique: "name", Elem: file("a part"), Doc: "in the order in which they are added; all by default"}},
			{Name: "options", Type: options},
		}}, Doc: "systems to take apart, additively and by leaving one part out"}},
		{Name: "baseline", Type: named("the row that others are compared with; ar by default")},
		{Name: "sampling", Type: &T{Kind: yamlspec.Object, Fields: []F{
			{Name: "temperature", Type: &T{Kind: yamlspec.Number, Min: bound(0), Max: bound(100), Default: 0, Doc: "0 is greedy"}},
			{Name: "top_k", Type: whole(0, 1<<20, 0, "keep the k likeliest; 0 keeps all")},
			{Name: "top_p", Type: &T{Kind: yamlspec.Number, Min: bound(0), Max: bound(1), Default: 0, Doc: "keep the smallest set with this mass; 0 keeps all"}},
			{Name: "min_p", Type: &T{Kind: yamlspec.Number, Min: bound(0), Max: bound(1), Default: 0, Doc: "keep what is at least this share of the likeliest"}},
			{Name: "seed", Type: seed("each request's seed comes from this, its prompt and its repeat")},
		}, Doc: "how tokens are picked; greedy by default"}},
		{Name: "repeats", Type: whole(1, 10000, 1, "blocks; each runs every system on every workload once, in shuffled order")},
		{Name: "warmup", Type: whole(0, 1000, 1, "unmeasured requests at the start of a trial")},
		{Name: "segment", Type: whole(0, 1<<20, 0, "requests measured as one energy window; 0 is a whole trial")},
		{Name: "threads", Type: whole(0, 1024, 0, "0 is all cores")},
		{Name: "context", Type: whole(0, 1<<24, 0, "tokens; 0 is what the longest prompt needs")},
		{Name: "kv", Type: &T{Kind: yamlspec.String, Enum: []string{"f16", "f32"}, Default: "f16", Doc: "format of cached keys and values"}},
		{Name: "seed", Type: seed("of the order of trials")},
		{Name: "timeout", Type: &T{Kind: yamlspec.Duration, Default: "30m", Doc: "for one trial"}},
	}}
}
