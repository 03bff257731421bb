package workloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coordbench/coordbench/internal/yamlspec"
)

// ImportOptions say what Import keeps.
type ImportOptions struct {
	Name      string // of the set; the file's name without its ending if empty
	Category  string // keep only this category (Spec-Bench) or group; "" keeps all
	MaxTokens int    // for lines that name none; 0 is 128, for Spec-Bench 1024 as its scripts use
}

// specBenchTokens is max_new_tokens of Spec-Bench's evaluation scripts.
const specBenchTokens = 1024

// A line of the file. Spec-Bench has question_id, category and turns; the plain
// form has messages, and optionally id, group, max_tokens and reference.
type importLine struct {
	QuestionID *int     `json:"question_id"`
	Category   string   `json:"category"`
	Turns      []string `json:"turns"`

	ID        any       `json:"id"`
	Task      string    `json:"task"`
	Group     string    `json:"group"`
	Messages  []Message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
	Reference any       `json:"reference"`
}

// Import reads JSON lines: Spec-Bench's question.jsonl, or objects with
// messages. Unknown keys are ignored, since the format is someone else's.
//
// A Spec-Bench question becomes one prompt, its first turn, with its category as
// the group. Later turns are left out: they need the model's own answer to the
// first as context, so different models would be given different prompts.
func Import(name string, text []byte, opt ImportOptions) (*Set, error) {
	s := &Set{Name: opt.Name}
	if s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	}
	first := map[string]int{}
	var groups []string
	for i, raw := range bytes.Split(text, []byte("\n")) {
		raw = bytes.TrimSpace(raw)
		if len(raw) == 0 {
			continue
		}
		fail := func(format string, args ...any) (*Set, error) {
			return nil, &yamlspec.Error{Where: fmt.Sprintf("%s:%d", name, i+1), Msg: fmt.Sprintf(format, args...)}
		}
		var l importLine
		if err := json.Unmarshal(raw, &l); err != nil {
			return fail("%s", jsonMessage(err))
		}
		p := Prompt{Group: l.Group, Messages: l.Messages, MaxTokens: l.MaxTokens}
		switch {
		case l.Turns != nil:
			if l.Category == "" {
				return fail("\"category\" is missing")
			}
			if len(l.Turns) == 0 || l.Turns[0] == "" {
				return fail("turns: is empty")
			}
			if l.QuestionID == nil {
				return fail("\"question_id\" is missing")
			}
			p.ID = strconv.Itoa(*l.QuestionID)
			p.Group = l.Category
			p.Messages = []Message{{Role: "user", Content: l.Turns[0]}}
			if p.MaxTokens == 0 {
				p.MaxTokens = specBenchTokens
				if opt.MaxTokens > 0 {
					p.MaxTokens = opt.MaxTokens
				}
			}
		case l.Messages != nil:
			switch id := l.ID.(type) {
			case nil:
				p.ID = fmt.Sprintf("%s-%03d", s.Name, len(s.Prompts))
			case string:
				p.ID = id
			case float64:
				p.ID = strconv.FormatFloat(id, 'f', -1, 64)
			default:
				return fail("id: want text or a number")
			}
			if r, ok := l.Reference.(string); ok {
				p.Reference = r
			}
			if p.MaxTokens == 0 {
				p.MaxTokens = maxTokens
				if opt.MaxTokens > 0 {
					p.MaxTokens = opt.MaxTokens
				}
			}
		default:
			return fail("has neither \"messages\" nor \"turns\"")
		}
		if msg := checkMessages(p.Messages); msg != "" {
			return fail("messages: %s", msg)
		}
		if p.MaxTokens < 1 {
			return fail("max_tokens: is %d; want at least 1", p.MaxTokens)
		}
		if was := first[p.ID]; was > 0 {
			return fail("id %q occurs twice (first in line %d)", p.ID, was)
		}
		first[p.ID] = i + 1
		if g := firstOf(l.Category, l.Task, l.Group); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
		if opt.Category == "" || opt.Category == l.Category || opt.Category == l.Task || opt.Category == p.Group {
			s.Prompts = append(s.Prompts, p)
		}
	}
	if len(first) == 0 {
		return nil, &yamlspec.Error{Where: name + ":1", Msg: "holds no prompts"}
	}
	if len(s.Prompts) == 0 {
		return nil, &yamlspec.Error{Where: name, Msg: fmt.Sprintf("no prompt of category %q", opt.Category), Hint: "there are " + strings.Join(groups, ", ")}
	}
	return s, nil
}

func firstOf(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

func checkMessages(ms []Message) string {
	if len(ms) == 0 {
		return "is empty"
	}
	for _, m := range ms {
		if m.Role != "system" && m.Role != "user" && m.Role != "assistant" {
			return fmt.Sprintf("unknown role %q", m.Role)
		}
		if m.Content == "" {
			return "content is empty"
		}
	}
	if ms[len(ms)-1].Role == "assistant" {
		return "ends with an answer; the last message is the one to answer"
	}
	return ""
}

func jsonMessage(err error) string {
	var te *json.UnmarshalTypeError
	switch {
	case errors.As(err, &te):
		return fmt.Sprintf("%s: is a JSON %s; want %s", te.Field, te.Value, te.Type)
	case errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "unexpected end"):
		return "the line ends within a JSON object"
	}
	return "is not a JSON object: " + err.Error()
}
