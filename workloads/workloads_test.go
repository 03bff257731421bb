package workloads

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Digests of the embedded sets. A digest that changes makes old records
// incomparable: change a set only under a new name.
var digests = map[string]string{
	"summary": "33e866308f67105312b0ccc270b4a1438adb9dbf2e83e5bf41237701546880a2",
	"rag":     "ee163ee111323c1d6fe77549e84ef44dc26998a6dd50028aab6e581f91bd54cd",
	"ui":      "7f4f348e692b017a87c0dd687a355f3c3110668089cfe7f78577e51de6a34430",
	"tweet":   "e6217cb451abc6693fbedbe7df5b7122188ff7878e5eb3007a1dfc0b662b202e",
}

func TestEmbedded(t *testing.T) {
	for _, n := range Names() {
		s, err := Open(n)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != n || len(s.Prompts) != 80 || s.Licence != "CC0-1.0" || s.Groups() < 10 {
			t.Errorf("%s: name %q, %d prompts, licence %q, %d groups", n, s.Name, len(s.Prompts), s.Licence, s.Groups())
		}
		for _, p := range s.Prompts {
			if !strings.HasPrefix(p.ID, n+"-") || p.Reference == "" || p.Group == "" || len(p.Messages) != 2 {
				t.Errorf("%s: odd prompt %+v", n, p)
			}
		}
		if d := s.Digest(); d != digests[n] {
			t.Errorf("%s: digest %s, want %s", n, d, digests[n])
		}
	}
}

func TestWriteAndParse(t *testing.T) {
	for _, n := range Names() {
		s, err := Open(n)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(n, b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, again); d != "" || s.Digest() != again.Digest() {
			t.Errorf("%s: written and read again:\n%s", n, d)
		}
	}
}

func TestDigest(t *testing.T) {
	base := func() *Set {
		return &Set{Name: "n", Prompts: []Prompt{
			{ID: "a", Group: "g", MaxTokens: 5, Messages: []Message{{"user", "x"}}},
			{ID: "b", MaxTokens: 5, Messages: []Message{{"user", "y"}}},
		}}
	}
	want := base().Digest()
	for what, c := range map[string]struct {
		change func(*Set)
		same   bool
	}{
		"name":       {func(s *Set) { s.Name = "m" }, true},
		"reference":  {func(s *Set) { s.Prompts[0].Reference = "r" }, true},
		"id":         {func(s *Set) { s.Prompts[0].ID = "c" }, false},
		"group":      {func(s *Set) { s.Prompts[0].Group = "h" }, false},
		"content":    {func(s *Set) { s.Prompts[1].Messages[0].Content = "z" }, false},
		"role":       {func(s *Set) { s.Prompts[1].Messages[0].Role = "system" }, false},
		"max_tokens": {func(s *Set) { s.Prompts[1].MaxTokens = 6 }, false},
		"order":      {func(s *Set) { s.Prompts[0], s.Prompts[1] = s.Prompts[1], s.Prompts[0] }, false},
		"fewer":      {func(s *Set) { s.Prompts = s.Prompts[:1] }, false},
	} {
		s := base()
		c.change(s)
		if same := s.Digest() == want; same != c.same {
			t.Errorf("another %s: digest equal = %v", what, same)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const p = "name: n\nprompts:\n"
	const msg = "    messages: [{role: user, content: x}]\n"
	for text, want := range map[string]string{
		"":                       `f:1: is empty`,
		"name: n\n":              `f:1: "prompts" is missing`,
		"name: n\nprompts: []\n": `f:2: prompts: is empty; want at least 1`,
		p + "  - id: a\n" + msg + "  - id: a\n" + msg:                     `f:5: prompts: id "a" occurs twice (first at f:3)`,
		p + "  - id: 7\n" + msg:                                           `f:3: prompts[0].id: is the number 7; want text (quote it: "7")`,
		p + "  - id: a\n    max_token: 3\n" + msg:                         `f:4: prompts[0]: unknown key "max_token" (did you mean "max_tokens"?)`,
		p + "  - id: a\n    max_tokens: 0\n" + msg:                        `f:4: prompts[0].max_tokens: is 0; want at least 1`,
		p + "  - id: a\n    messages: []\n":                               `f:4: prompts[0].messages: is empty; want at least 1`,
		p + "  - id: a\n    messages: hello\n":                            `f:4: prompts[0].messages: is the text "hello"; want a list ([hello])`,
		p + "  - id: a\n    messages: [{role: usr, content: x}]\n":        `f:4: prompts[0].messages[0].role: unknown value "usr" (did you mean "user"? One of system, user, assistant)`,
		p + "  - id: a\n    messages: [{role: user, content: \"\"}]\n":    `f:4: prompts[0].messages[0].content: is empty`,
		p + "  - id: a\n    messages: [{role: assistant, content: hi}]\n": `f:4: prompts[0].messages: ends with an answer; the last message is the one to answer`,
	} {
		if _, err := Parse("f", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"sumary":         `workload "sumary": no such workload (did you mean "summary"?; or the path of a file)`,
		"quite other":    `workload "quite other": no such workload (embedded: summary, rag, ui, tweet; or the path of a file)`,
		dir + "/no.yaml": `workload ` + dir + `/no.yaml: no such file or directory`,
	} {
		if _, err := Open(name); err == nil || err.Error() != want {
			t.Errorf("Open(%q):\ngot  %v\nwant %s", name, err, want)
		}
	}
}

func TestImportSpecBench(t *testing.T) {
	const text = `{"question_id": 81, "category": "writing", "turns": ["One?", "Two?"]}

{"question_id": 241, "category": "summarization", "turns": ["Sum up."], "reference": ["x"]}
`
	s, err := Import("dir/question.jsonl", []byte(text), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Set{Name: "question", Prompts: []Prompt{
		{ID: "81", Group: "writing", MaxTokens: 1024, Messages: []Message{{"user", "One?"}}},
		{ID: "241", Group: "summarization", MaxTokens: 1024, Messages: []Message{{"user", "Sum up."}}},
	}}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	s, err = Import("q.jsonl", []byte(text), ImportOptions{Name: "sum", Category: "summarization", MaxTokens: 64})
	if err != nil || s.Name != "sum" || len(s.Prompts) != 1 || s.Prompts[0].ID != "241" || s.Prompts[0].MaxTokens != 64 {
		t.Errorf("one category: %+v, %v", s, err)
	}
}

func TestImportMessages(t *testing.T) {
	const text = `{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "extra": 1}
{"id": 7, "group": "g", "messages": [{"role": "user", "content": "Ho"}], "max_tokens": 9, "reference": "hum"}`
	file := filepath.Join(t.TempDir(), "chat.jsonl")
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	want := &Set{Name: "chat", Prompts: []Prompt{
		{ID: "chat-000", MaxTokens: 128, Messages: []Message{{"system", "Be brief."}, {"user", "Hi"}}},
		{ID: "7", Group: "g", MaxTokens: 9, Reference: "hum", Messages: []Message{{"user", "Ho"}}},
	}}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

func TestImportErrors(t *testing.T) {
	const ok = `{"question_id": 1, "category": "qa", "turns": ["x"]}` + "\n"
	for text, want := range map[string]string{
		"":                    `q.jsonl:1: holds no prompts`,
		"\n\n":                `q.jsonl:1: holds no prompts`,
		ok + `{"question_id"`: `q.jsonl:2: the line ends within a JSON object`,
		ok + "hello":          `q.jsonl:2: is not a JSON object: invalid character 'h' looking for beginning of value`,
		ok + ok:               `q.jsonl:2: id "1" occurs twice (first in line 1)`,
		`{"turns": "x"}`:      `q.jsonl:1: turns: is a JSON string; want []string`,
		`{"question_id": 1, "category": "qa", "turns": []}`:                  `q.jsonl:1: turns: is empty`,
		`{"question_id": 1, "turns": ["x"]}`:                                 `q.jsonl:1: "category" is missing`,
		`{"category": "qa", "turns": ["x"]}`:                                 `q.jsonl:1: "question_id" is missing`,
		`{"prompt": "x"}`:                                                    `q.jsonl:1: has neither "messages" nor "turns"`,
		`{"messages": []}`:                                                   `q.jsonl:1: messages: is empty`,
		`{"messages": [{"role": "bot", "content": "x"}]}`:                    `q.jsonl:1: messages: unknown role "bot"`,
		`{"messages": [{"role": "user", "content": "x"}], "max_tokens": -1}`: `q.jsonl:1: max_tokens: is -1; want at least 1`,
	} {
		if _, err := Import("q.jsonl", []byte(text), ImportOptions{}); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
	_, err := Import("q.jsonl", []byte(ok), ImportOptions{Category: "math"})
	if want := `q.jsonl: no prompt of category "math" (there are qa)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"question_id": 1, "category": "qa", "turns": ["x"]}`))
	f.Add([]byte(`{"messages": [{"role": "user", "content": "x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Import("f", b, ImportOptions{})
		if err == nil && len(s.Prompts) == 0 {
			t.Error("an empty set")
		}
	})
}
