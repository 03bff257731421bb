// Package experiments reads experiment files: strict YAML that says which
// systems to measure on which workloads, models and devices, and how often.
package experiments

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/coordbench/coordbench/internal/yamlspec"
)

// EmbeddedPrefix starts the name of a model that is part of the program.
const EmbeddedPrefix = "embedded:"

// An Experiment is a parsed and checked file: defaults are filled in, paths are
// absolute and names are unique.
type Experiment struct {
	Version     int        `yaml:"version"`
	Name        string     `yaml:"name"`
	Description string     `yaml:"description,omitempty"`
	Models      []Model    `yaml:"models"`
	Devices     []string   `yaml:"devices"`
	Workloads   []Workload `yaml:"workloads"`
	Systems     []System   `yaml:"systems"`
	Ablations   []Ablation `yaml:"ablations,omitempty"`
	Baseline    string     `yaml:"baseline"` // the row that others are compared with
	Sampling    Sampling   `yaml:"sampling"`
	Repeats     int        `yaml:"repeats"`
	Warmup      int        `yaml:"warmup"`
	Segment     int        `yaml:"segment"`
	Threads     int        `yaml:"threads"`
	Context     int        `yaml:"context"`
	KV          string     `yaml:"kv"`
	Seed        uint64     `yaml:"seed"`
	Timeout     string     `yaml:"timeout"` // of a trial; see TrialTimeout
}

// TrialTimeout is Timeout as a duration.
func (e *Experiment) TrialTimeout() time.Duration {
	d, err := time.ParseDuration(e.Timeout)
	if err != nil {
		panic("internal error: unchecked timeout " + e.Timeout)
	}
	return d
}

// A Model is a target, and optionally a draft model, to measure.
type Model struct {
	Name  string `yaml:"name"`
	File  string `yaml:"file"` // "embedded:NAME" or an absolute path
	Draft string `yaml:"draft,omitempty"`
}

// A Workload is a set of prompts, or the start of one.
type Workload struct {
	Name      string `yaml:"name"`
	File      string `yaml:"file,omitempty"`       // absolute; empty for an embedded set
	Prompts   int    `yaml:"prompts,omitempty"`    // the first so many; 0 is all of them
	MaxTokens int    `yaml:"max_tokens,omitempty"` // upper bound on each prompt's own; 0 is none
}

// Source is what workloads.Open takes.
func (w Workload) Source() string {
	if w.File != "" {
		return w.File
	}
	return w.Name
}

// A System is a row of the report.
type System struct {
	Name    string  `yaml:"name"`
	System  string  `yaml:"system"`
	Options Options `yaml:"options,omitempty"`
}

// An Ablation takes a system apart: see Expand.
type Ablation struct {
	Name    string   `yaml:"name"`
	System  string   `yaml:"system"`
	Base    string   `yaml:"base"`            // what the row with every part off is called
	Parts   []string `yaml:"parts,omitempty"` // in the order in which they are added; empty is all
	Options Options  `yaml:"options,omitempty"`
}

// Sampling is decode.Sampling with a base seed.
type Sampling struct {
	Temperature float64 `yaml:"temperature"`
	TopK        int     `yaml:"top_k,omitempty"`
	TopP        float64 `yaml:"top_p,omitempty"`
	MinP        float64 `yaml:"min_p,omitempty"`
	Seed        uint64  `yaml:"seed"`
}

// Options are a system's options as text.
type Options map[string]string

// UnmarshalYAML takes scalars as they are written: false stays "false".
func (o *Options) UnmarshalYAML(n *yaml.Node) error {
	*o = Options{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		(*o)[n.Content[i].Value] = n.Content[i+1].Value
	}
	return nil
}

// UnmarshalYAML takes a file's name for {file: name}.
func (m *Model) UnmarshalYAML(n *yaml.Node) error {
	type plain Model
	if n.Kind == yaml.ScalarNode {
		m.File = n.Value
		return nil
	}
	return n.Decode((*plain)(m))
}

// UnmarshalYAML takes text for {name: text}.
func (w *Workload) UnmarshalYAML(n *yaml.Node) error {
	type plain Workload
	if n.Kind == yaml.ScalarNode {
		w.Name = n.Value
		return nil
	}
	return n.Decode((*plain)(w))
}

// UnmarshalYAML takes text for {name: text}.
func (s *System) UnmarshalYAML(n *yaml.Node) error {
	type plain System
	if n.Kind == yaml.ScalarNode {
		s.Name = n.Value
		return nil
	}
	return n.Decode((*plain)(s))
}

// UnmarshalYAML takes text for {system: text}.
func (a *Ablation) UnmarshalYAML(n *yaml.Node) error {
	type plain Ablation
	if n.Kind == yaml.ScalarNode {
		a.System = n.Value
		return nil
	}
	return n.Decode((*plain)(a))
}

// A Catalog says what an experiment may name. The experiment format itself
// knows no system.
type Catalog struct {
	Systems   []string // names of baselines
	Workloads []string // names of embedded sets
	Models    []string // names of embedded models, without the prefix
	// CheckOptions says what is wrong with a system's options; nil checks nothing.
	CheckOptions func(system string, options map[string]string) error
	// Parts lists what an ablation can turn off in a system.
	Parts func(system string) []Part
	// CheckDevice says what is wrong with a device's name; nil allows "local" only.
	CheckDevice func(name string) error
}

// A Part of a system can be turned off by an option.
type Part struct {
	Name   string
	Option string // "calibration"
	Off    string // its value that turns the part off: "false"
}

// Load reads the file at path and applies each of sets, "key=value", to it.
func Load(path string, sets []string, c Catalog) (*Experiment, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return Parse(path, filepath.Dir(path), text, sets, c)
}

// Parse is Load of a text; relative paths in it start at dir, and name stands in
// error messages.
func Parse(name, dir string, text []byte, sets []string, c Catalog) (*Experiment, error) {
	doc, err := yamlspec.Parse(name, text)
	if err != nil {
		return nil, err
	}
	t := format(c)
	for _, s := range sets {
		if err := doc.Set(t, s); err != nil {
			return nil, err
		}
	}
	if err := doc.Check(t); err != nil {
		return nil, err
	}
	e := &Experiment{Repeats: 1, Warmup: 1, KV: "f16", Seed: 1, Timeout: "30m", Sampling: Sampling{Seed: 1}, Devices: []string{"local"}}
	if err := doc.Root.Decode(e); err != nil {
		return nil, &yamlspec.Error{Where: name, Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	p := &resolver{doc: doc, dir: dir, cat: c, exp: e}
	p.resolve()
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return e, nil
}

// YAML is e as a file that Parse reads back as e.
func (e *Experiment) YAML() string {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(e); err != nil {
		panic("internal error: experiment as YAML: " + err.Error())
	}
	return b.String()
}

// resolver does what a format description cannot: defaults that depend on
// other keys, names that must exist, files that must be there.
type resolver struct {
	doc  *yamlspec.Doc
	dir  string
	cat  Catalog
	exp  *Experiment
	errs yamlspec.Errors
}

func (p *resolver) add(n *yaml.Node, hint, format string, args ...any) {
	p.errs = append(p.errs, p.doc.Errorf(n, hint, format, args...))
}

// node finds what a message is about: the key of an entry of a list, or the entry itself.
func (p *resolver) node(list string, i int, key string) *yaml.Node {
	l := yamlspec.Get(p.doc.Root, list)
	if l == nil {
		return p.doc.Root
	}
	n := l.Content[i]
	if v := yamlspec.Get(n, key); v != nil {
		return v
	}
	return n
}

func (p *resolver) unknown(n *yaml.Node, path, what, name string, known []string) {
	hint := "known: " + strings.Join(known, ", ")
	if near := yamlspec.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	p.add(n, hint, "%s: unknown %s %q", path, what, name)
}

// file makes a path absolute and wants it to be a file.
func (p *resolver) file(n *yaml.Node, path, file string) string {
	if !filepath.IsAbs(file) {
		file = filepath.Join(p.dir, file)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		p.add(n, "", "%s: %v", path, err)
		return file
	}
	switch st, err := os.Stat(abs); {
	case errors.Is(err, fs.ErrNotExist):
		p.add(n, "paths start at the experiment's folder", "%s: no file %q", path, file)
	case err != nil:
		p.add(n, "", "%s: file %q: %v", path, file, err)
	case st.IsDir():
		p.add(n, "", "%s: %q is a folder", path, file)
	}
	return abs
}

func (p *resolver) model(n *yaml.Node, path, file string) string {
	if name, ok := strings.CutPrefix(file, EmbeddedPrefix); ok {
		if !slices.Contains(p.cat.Models, name) {
			p.unknown(n, path, "embedded model", name, p.cat.Models)
		}
		return file
	}
	return p.file(n, path, file)
}

func stem(file string) string { return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) }

func (p *resolver) resolve() {
	e := p.exp
	for i := range e.Models {
		m := &e.Models[i]
		path := fmt.Sprintf("models[%d].file", i)
		if m.Name == "" {
			if name, ok := strings.CutPrefix(m.File, EmbeddedPrefix); ok {
				m.Name = name
			} else {
				m.Name = stem(m.File)
			}
		}
		m.File = p.model(p.node("models", i, "file"), path, m.File)
		if m.Draft != "" {
			m.Draft = p.model(p.node("models", i, "draft"), fmt.Sprintf("models[%d].draft", i), m.Draft)
		}
	}
	for i := range e.Workloads {
		w := &e.Workloads[i]
		if w.File == "" && w.Name == "" {
			p.add(p.node("workloads", i, ""), "", "workloads[%d]: neither \"name\" nor \"file\"", i)
			continue
		}
		if w.File != "" {
			w.File = p.file(p.node("workloads", i, "file"), fmt.Sprintf("workloads[%d].file", i), w.File)
			if w.Name == "" {
				w.Name = stem(w.File)
			}
		} else if !slices.Contains(p.cat.Workloads, w.Name) {
			hint := "embedded: " + strings.Join(p.cat.Workloads, ", ") + "; another one needs \"file\""
			if near := yamlspec.Nearest(w.Name, p.cat.Workloads); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			p.add(p.node("workloads", i, "name"), hint, "workloads[%d]: unknown workload %q", i, w.Name)
		}
	}
	for i, d := range e.Devices {
		err := error(nil)
		if p.cat.CheckDevice != nil {
			err = p.cat.CheckDevice(d)
		} else if d != "local" {
			err = fmt.Errorf("unknown device %q", d)
		}
		if err != nil {
			p.add(p.node("devices", i, ""), "", "devices[%d]: %v", i, err)
		}
	}
	for i := range e.Systems {
		s := &e.Systems[i]
		if s.System == "" {
			s.System = s.Name
		}
		if s.Name == "" {
			s.Name = s.System
		}
		at := "system"
		if yamlspec.Get(p.node("systems", i, ""), "system") == nil {
			at = "name"
		}
		p.system(p.node("systems", i, at), p.node("systems", i, "options"), fmt.Sprintf("systems[%d]", i), s.System, s.Options)
	}
	for i := range e.Ablations {
		a := &e.Ablations[i]
		if a.Name == "" {
			a.Name = a.System
		}
		if a.Base == "" {
			a.Base = "base"
		}
		if p.system(p.node("ablations", i, "system"), p.node("ablations", i, "options"), fmt.Sprintf("ablations[%d]", i), a.System, a.Options) {
			p.parts(i, a)
		}
	}
	p.names()
	p.baseline()
	if e.Sampling.Temperature == 0 && (e.Sampling.TopK != 0 || e.Sampling.TopP != 0 || e.Sampling.MinP != 0) {
		p.add(yamlspec.Get(p.doc.Root, "sampling"), "set temperature above 0, or drop top_k, top_p and min_p",
			"sampling: temperature 0 takes the likeliest token, so the other numbers would do nothing")
	}
	if d, err := time.ParseDuration(e.Timeout); err != nil || d <= 0 {
		p.add(yamlspec.Get(p.doc.Root, "timeout"), "", "timeout: is %s; want more than 0s", e.Timeout)
	}
}

// system checks a system's name and options.
func (p *resolver) system(n, opts *yaml.Node, path, system string, options Options) bool {
	if !slices.Contains(p.cat.Systems, system) {
		p.unknown(n, path, "system", system, p.cat.Systems)
		return false
	}
	if p.cat.CheckOptions != nil {
		if err := p.cat.CheckOptions(system, options); err != nil {
			p.add(opts, "", "%s.options: %v", path, err)
			return false
		}
	}
	return true
}

func (p *resolver) parts(i int, a *Ablation) {
	var known []string
	for _, x := range p.cat.Parts(a.System) {
		known = append(known, x.Name)
	}
	if len(known) == 0 {
		p.add(p.node("ablations", i, "system"), "", "ablations[%d]: system %q has no parts to turn off", i, a.System)
		return
	}
	for j, x := range a.Parts {
		if !slices.Contains(known, x) {
			p.unknown(yamlspec.Get(p.node("ablations", i, ""), "parts").Content[j], fmt.Sprintf("ablations[%d].parts[%d]", i, j), "part", x, known)
		}
	}
	if len(a.Parts) == 0 {
		a.Parts = known
	}
}

// names wants every name of a list, explicit or derived, to be unique.
func (p *resolver) names() {
	e := p.exp
	check := func(list, what string, n int, name func(int) string) {
		first := map[string]*yaml.Node{}
		for i := range n {
			at := p.node(list, i, "name")
			if was := first[name(i)]; was != nil {
				p.add(at, "first at "+p.doc.At(was)+`; give one of them another "name"`, "%s[%d]: %s %q occurs twice", list, i, what, name(i))
			} else {
				first[name(i)] = at
			}
		}
	}
	check("models", "model", len(e.Models), func(i int) string { return e.Models[i].Name })
	check("workloads", "workload", len(e.Workloads), func(i int) string { return e.Workloads[i].Name })
	check("devices", "device", len(e.Devices), func(i int) string { return e.Devices[i] })
	check("systems", "system", len(e.Systems), func(i int) string { return e.Systems[i].Name })
	check("ablations", "ablation", len(e.Ablations), func(i int) string { return e.Ablations[i].Name })
	if len(p.errs) > 0 || len(e.Ablations) == 0 {
		return
	}
	if _, _, err := e.Expand(p.cat); err != nil {
		p.add(yamlspec.Get(p.doc.Root, "ablations"), `choose other names or another "base"`, "ablations: %v", err)
	}
}

func (p *resolver) baseline() {
	e := p.exp
	var rows []string
	for _, s := range e.Systems {
		rows = append(rows, s.Name)
	}
	switch {
	case e.Baseline != "":
		if !slices.Contains(rows, e.Baseline) {
			p.unknown(yamlspec.Get(p.doc.Root, "baseline"), "baseline", "row", e.Baseline, rows)
		}
	case slices.Contains(rows, "ar"):
		e.Baseline = "ar"
	case len(p.errs) > 0: // the row may be one that is misspelt
	default:
		for _, s := range e.Systems {
			if s.System == "ar" {
				e.Baseline = s.Name
			}
		}
		if e.Baseline == "" && slices.Contains(p.cat.Systems, "ar") {
			n := yamlspec.Get(p.doc.Root, "systems")
			p.add(n, `add "ar", or name a row with "baseline"`, "systems: no row to compare with")
		}
	}
}
