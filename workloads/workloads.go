// Package workloads holds sets of prompts: it loads them strictly, gives each a
// digest that goes into the record, and imports foreign formats.
package workloads

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/coordbench/coordbench/internal/yamlspec"
)

//go:embed data/*.yaml
var data embed.FS

// names is the order in which the embedded sets are listed: the paper's.
var names = []string{"summary", "rag", "ui", "tweet"}

// Names lists the embedded sets.
func Names() []string { return append([]string(nil), names...) }

// maxTokens bounds the answer of a prompt that names no bound of its own.
const maxTokens = 128

// A Set is a named list of prompts.
type Set struct {
	Name        string   `yaml:"name" json:"name"`
	Description string   `yaml:"description,omitempty" json:"description,omitempty"`
	Licence     string   `yaml:"licence,omitempty" json:"licence,omitempty"`
	Prompts     []Prompt `yaml:"prompts" json:"prompts"`
}

// A Prompt is one request.
type Prompt struct {
	ID    string `yaml:"id" json:"id"`                           // unique in the set
	Group string `yaml:"group,omitempty" json:"group,omitempty"` // task group: prompts of one group share history
	// Messages are the turns of a chat; the answer follows the last.
	Messages  []Message `yaml:"messages" json:"messages"`
	MaxTokens int       `yaml:"max_tokens,omitempty" json:"max_tokens"`
	Reference string    `yaml:"reference,omitempty" json:"reference,omitempty"` // a good answer; never shown to a system
}

// A Message is one turn.
type Message struct {
	Role    string `yaml:"role" json:"role"` // "system", "user" or "assistant"
	Content string `yaml:"content" json:"content"`
}

// Digest is the sha256, in hexadecimal, of all that can change an output: each
// prompt's id, group, messages and max_tokens, in order, as JSON. Name,
// description, licence and references do not count.
func (s *Set) Digest() string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, p := range s.Prompts {
		p.Reference = ""
		if err := enc.Encode(p); err != nil {
			panic("internal error: workload digest: " + err.Error())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Groups counts the set's task groups.
func (s *Set) Groups() int {
	g := map[string]bool{}
	for _, p := range s.Prompts {
		g[p.Group] = true
	}
	return len(g)
}

// format describes a workload file.
var format = &yamlspec.Type{
	Kind: yamlspec.Object, Doc: "A coordbench workload: a set of prompts.",
	Fields: []yamlspec.Field{
		{Name: "name", Required: true, Type: &yamlspec.Type{Kind: yamlspec.String, Min: yamlspec.Bound(1), Doc: "what reports call the set"}},
		{Name: "description", Type: &yamlspec.Type{Kind: yamlspec.String}},
		{Name: "licence", Type: &yamlspec.Type{Kind: yamlspec.String}},
		{Name: "prompts", Required: true, Type: &yamlspec.Type{Kind: yamlspec.List, Min: yamlspec.Bound(1), Unique: "id", Elem: &yamlspec.Type{
			Kind: yamlspec.Object,
			Fields: []yamlspec.Field{
				{Name: "id", Required: true, Type: &yamlspec.Type{Kind: yamlspec.String, Min: yamlspec.Bound(1), Doc: "unique in the set"}},
				{Name: "group", Type: &yamlspec.Type{Kind: yamlspec.String, Doc: "task group: prompts of one group share history"}},
				{Name: "messages", Required: true, Type: &yamlspec.Type{Kind: yamlspec.List, Min: yamlspec.Bound(1), Elem: &yamlspec.Type{
					Kind: yamlspec.Object,
					Fields: []yamlspec.Field{
						{Name: "role", Required: true, Type: &yamlspec.Type{Kind: yamlspec.String, Enum: []string{"system", "user", "assistant"}}},
						{Name: "content", Required: true, Type: &yamlspec.Type{Kind: yamlspec.String, Min: yamlspec.Bound(1)}},
					},
				}}},
				{Name: "max_tokens", Type: &yamlspec.Type{Kind: yamlspec.Int, Min: yamlspec.Bound(1), Max: yamlspec.Bound(1 << 20), Default: maxTokens,
					Doc: "most tokens of the answer"}},
				{Name: "reference", Type: &yamlspec.Type{Kind: yamlspec.String, Doc: "a good answer; no system sees it"}},
			},
		}}},
	},
}

// JSONSchema is the format of a workload file as a JSON Schema.
func JSONSchema() map[string]any {
	return yamlspec.JSONSchema(format, "https://coordbench.github.io/schema/workload.json", "coordbench workload")
}

// Parse reads a workload from YAML; name stands in error messages.
func Parse(name string, text []byte) (*Set, error) {
	doc, err := yamlspec.Parse(name, text)
	if err != nil {
		return nil, err
	}
	if err := doc.Check(format); err != nil {
		return nil, err
	}
	var s Set
	if err := doc.Root.Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i := range s.Prompts {
		p := &s.Prompts[i]
		if p.MaxTokens == 0 {
			p.MaxTokens = maxTokens
		}
		if last := p.Messages[len(p.Messages)-1]; last.Role == "assistant" {
			n := yamlspec.Get(yamlspec.Get(doc.Root, "prompts").Content[i], "messages")
			return nil, doc.Errorf(n.Content[len(n.Content)-1], "", "prompts[%d].messages: ends with an answer; the last message is the one to answer", i)
		}
	}
	return &s, nil
}

// ErrNotFound says that a name is neither an embedded set nor a file.
var ErrNotFound = errors.New("no such workload")

// Open loads an embedded set by its name, or else a file: YAML, or by its
// ending .jsonl a list of JSON objects (see Import).
func Open(nameOrPath string) (*Set, error) {
	for _, n := range names {
		if n == nameOrPath {
			text, err := data.ReadFile("data/" + n + ".yaml")
			if err != nil {
				return nil, fmt.Errorf("internal error: embedded workload %q: %w", n, err)
			}
			return Parse(n+".yaml", text)
		}
	}
	text, err := os.ReadFile(nameOrPath)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(nameOrPath, `/\.`) {
		hint := "embedded: " + strings.Join(names, ", ")
		if near := yamlspec.Nearest(nameOrPath, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, fmt.Errorf("workload %q: %w (%s; or the path of a file)", nameOrPath, ErrNotFound, hint)
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("workload %s: %w", nameOrPath, err)
	}
	if strings.EqualFold(filepath.Ext(nameOrPath), ".jsonl") {
		return Import(nameOrPath, text, ImportOptions{})
	}
	return Parse(nameOrPath, text)
}

// Write writes s as YAML.
func (s *Set) Write(w io.Writer) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(s); err != nil {
		return err
	}
	return enc.Close()
}
