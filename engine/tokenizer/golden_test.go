package tokenizer_test

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"slices"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/tokenizer"
)

func open(t testing.TB, name string, data []byte) *tokenizer.Tokenizer {
	t.Helper()
	f, err := gguf.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func demoTokenizer(t testing.TB) *tokenizer.Tokenizer { return open(t, demo.Name, demo.Model()) }

// golden.jsonl has 40 chat prompts of the demonstration model's held-out set
// with the ids that llama.cpp gives them.
//
//go:embed testdata/golden.jsonl
var golden []byte

type goldenPrompt struct {
	ID     string         `json:"id"`
	Prompt string         `json:"prompt"`
	IDs    []decode.Token `json:"prompt_ids"`
}

func goldenPrompts(t testing.TB) []goldenPrompt {
	var all []goldenPrompt
	sc := bufio.NewScanner(bytes.NewReader(golden))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var g goldenPrompt
		if err := json.Unmarshal(sc.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	if err := sc.Err(); err != nil || len(all) != 40 {
		t.Fatalf("%d golden prompts, want 40: %v", len(all), err)
	}
	return all
}

func TestIdsEqualLlamaCpp(t *testing.T) {
	tok := demoTokenizer(t)
	for _, g := range goldenPrompts(t) {
		got := tok.Encode(g.Prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
		if !slices.Equal(got, g.IDs) {
			t.Errorf("%s: ids differ\n got %v\nwant %v", g.ID, got, g.IDs)
		}
		if text := tok.Decode(g.IDs, true); text != g.Prompt {
			t.Errorf("%s: Decode gives %q, want %q", g.ID, text, g.Prompt)
		}
	}
}

func TestDemoTokens(t *testing.T) {
	tok := demoTokenizer(t)
	if tok.Size() != 4096 || tok.AddsBOS() {
		t.Errorf("size %d, adds bos %t; want 4096, false", tok.Size(), tok.AddsBOS())
	}
	if want := []decode.Token{tok.Token("<|endoftext|>"), tok.Token("<|im_end|>")}; !slices.Equal(tok.StopTokens(), want) {
		t.Errorf("stop tokens %v, want %v", tok.StopTokens(), want)
	}
	if err := tokenizer.Compatible(tok, open(t, demo.DraftName, demo.Draft())); err != nil {
		t.Errorf("the demonstration draft model: %v", err)
	}
	// Without ParseSpecial the text of a control token is text.
	ids := tok.Encode("<|im_end|>", tokenizer.EncodeOptions{})
	if len(ids) < 2 || slices.Contains(ids, tok.Token("<|im_end|>")) || tok.Decode(ids, false) != "<|im_end|>" {
		t.Errorf("<|im_end|> as text: %v", ids)
	}
	if got := tok.Decode([]decode.Token{tok.Token("<|im_end|>"), decode.Separator, 4096, 1 << 30}, false); got != "" {
		t.Errorf("control token and ids outside the vocabulary print %q", got)
	}
}
