package coordbench_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/coordbench/coordbench/"

// layers is the architecture: a package may import packages on lines above its
// own, and nothing on its own line or below.
var layers = [][]string{
	{"internal/golden", "internal/machine", "internal/yamlspec", "engine/tokenizer/jinja", "engine/decode", "engine/quant", "engine/demo", "experiments/record", "reports/stats", "devices"},
	{"engine/decode/decodetest", "engine/suffix", "engine/gguf", "engine/kernels", "engine/kvcache", "engine/sample", "engine/bench",
		"workloads", "devices/devicetest", "devices/local", "reports"},
	{"engine/draft", "engine/synth", "engine/tokenizer", "engine/reference", "engine/model", "reports/text"},
	{"engine/draft/ngram", "engine/speculate", "engine"},
	{"baselines/llamacpp"},
	{"baselines"},
	{"experiments"},
	{"experiments/plan"},
	{"experiments/trial"},
	{"experiments/campaign", "internal/session"},
	{"cmd/coordbench", "cmd/coordbench-agent"},
}

// walls forbid what layer order alone would let through.
var walls = []struct{ from, to, why string }{
	{"engine", "experiments", "the engine must build without the harness"},
	{"engine", "devices", "the engine must build without the harness"},
	{"engine", "reports", "the engine must build without the harness"},
	{"reports", "engine", "a report is a pure function of record files"},
	{"reports", "devices", "a report is a pure function of record files"},
	{"experiments/trial", "baselines", "the agent hands a trial its System"},
	{"cmd/coordbench-agent", "reports", "nothing but the measured thing runs on the phone"},
	{"cmd/coordbench-agent", "engine/demo", "the model is pushed to the phone as a file"},
	{"cmd/coordbench-agent", "baselines/llamacpp", "the agent is a static binary, which cannot load shared libraries"},
	{"cmd/coordbench-agent", "github.com/spf13/cobra", "nothing but the measured thing runs on the phone"},
}

func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

// imports maps each package to the packages outside the standard library that it
// imports, ours by their folder. It reads source
// rather than running go list, so every GOARCH's files count and go test's
// cache sees each edit.
func imports(t *testing.T) map[string][]string {
	m := map[string][]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := os.Stat(path.Join(name, "go.mod")); d.IsDir() && name != "." && err == nil {
			return fs.SkipDir // another module
		}
		if d.IsDir() && name != "." && (d.Name() == "testdata" || strings.ContainsAny(d.Name()[:1], "._")) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		m[pkg] = append(m[pkg], "")
		for _, s := range f.Imports {
			p, _ := strconv.Unquote(s.Path.Value)
			if to, ok := strings.CutPrefix(p, module); ok {
				m[pkg] = append(m[pkg], to)
			} else if p+"/" == module {
				m[pkg] = append(m[pkg], ".")
			} else if strings.Contains(p, ".") {
				m[pkg] = append(m[pkg], p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestArchitecture(t *testing.T) {
	for _, v := range violations(imports(t)) {
		t.Error(v)
	}
}

// violations lists what breaks the architecture, one sentence each.
func violations(deps map[string][]string) []string {
	var list []string
	rank := map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			rank[p] = i
		}
	}
	for from, tos := range deps {
		if _, ok := rank[from]; !ok {
			list = append(list, fmt.Sprintf("%s is in no layer; add it to arch_test.go", from))
		}
		for _, to := range tos {
			if _, ours := deps[to]; ours && rank[to] >= rank[from] {
				list = append(list, fmt.Sprintf("%s (layer %d) imports %s (layer %d)", from, rank[from], to, rank[to]))
			}
		}
		for _, w := range walls {
			if !within(from, w.from) {
				continue
			}
			if chain := reach(deps, from, w.to, nil); chain != nil {
				list = append(list, fmt.Sprintf("%s: %s", strings.Join(chain, " → "), w.why))
			}
		}
	}
	for p := range rank {
		if deps[p] == nil {
			list = append(list, fmt.Sprintf("arch_test.go lists %s, which does not exist", p))
		}
	}
	return list
}

// Each rule finds a defect that was planted for it.
func TestArchitectureFindsDefects(t *testing.T) {
	for _, c := range []struct {
		plant func(map[string][]string)
		want  string
	}{
		{func(d map[string][]string) { d["utils"] = []string{""} }, "utils is in no layer"},
		{func(d map[string][]string) { delete(d, "engine/suffix") }, "lists engine/suffix, which does not exist"},
		{func(d map[string][]string) { d["engine/quant"] = append(d["engine/quant"], "engine/model") }, "engine/quant (layer "},
		{func(d map[string][]string) { d["reports/text"] = append(d["reports/text"], "devices") }, "reports/text → devices: a report is a pure function"},
		{func(d map[string][]string) { d["engine/decode"] = append(d["engine/decode"], "github.com/spf13/cobra") }, "→ github.com/spf13/cobra: nothing but the measured thing"},
		{func(d map[string][]string) { // a cycle ends the search
			d["engine/draft"] = append(d["engine/draft"], "engine/speculate")
			d["engine/gguf"] = append(d["engine/gguf"], "experiments")
		}, "engine/gguf → experiments: the engine must build without"},
	} {
		deps := imports(t)
		c.plant(deps)
		if !slices.ContainsFunc(violations(deps), func(v string) bool { return strings.Contains(v, c.want) }) {
			t.Errorf("a planted defect is not found: %q", c.want)
		}
	}
}

// reach returns one import chain from pkg into root, or nil.
func reach(deps map[string][]string, pkg, root string, seen []string) []string {
	seen = append(seen, pkg)
	for _, to := range deps[pkg] {
		if to == "" || slices.Contains(seen, to) {
			continue
		}
		if within(to, root) {
			return append(seen, to)
		}
		if c := reach(deps, to, root, seen); c != nil {
			return c
		}
	}
	return nil
}
