package tokenizer_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/tokenizer"
)

func fileOf(t *testing.T, keys map[string]any) *gguf.File {
	t.Helper()
	var b bytes.Buffer
	w := gguf.NewWriter(&b)
	for k, v := range keys {
		w.Add(k, v)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse("test.gguf", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestReadVocab(t *testing.T) {
	tokens := []string{"<unk>", "<s>", "</s>", "a", "<|fim_pad|>"}
	v, err := tokenizer.ReadVocab(fileOf(t, map[string]any{
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": []float32{0, 0, 0, -1, -2},
		"tokenizer.ggml.token_type": []int32{2, 3, 3, 1, 3}, "tokenizer.ggml.eos_token_id": uint32(3), "tokenizer.ggml.padding_token_id": uint32(1 << 31),
		"tokenizer.ggml.fim_pad_token_id": uint32(4), "tokenizer.ggml.add_bos_token": false, "general.name": "x", "tokenizer.chat_template": "y",
	}))
	if err != nil {
		t.Fatal(err)
	}
	// eos as given, bos and unk as llama.cpp assumes, padding outside the vocabulary missing.
	if v.EOS != 3 || v.BOS != 1 || v.UNK != 0 || v.PAD != -1 || v.EOT != -1 || !slices.Equal(v.Stop, []decode.Token{4}) {
		t.Errorf("bos %d, eos %d, unk %d, pad %d, eot %d, stop %v", v.BOS, v.EOS, v.UNK, v.PAD, v.EOT, v.Stop)
	}
	if v.AddBOS == nil || *v.AddBOS || v.AddEOS != nil || v.AddSpacePrefix != nil {
		t.Errorf("add bos %v, eos %v, space prefix %v", v.AddBOS, v.AddEOS, v.AddSpacePrefix)
	}
	if v.Name != "x" || v.ChatTemplate != "y" || !slices.Equal(v.Tokens, tokens) || !slices.Equal(v.Types, []int32{2, 3, 3, 1, 3}) ||
		!slices.Equal(v.Scores, []float32{0, 0, 0, -1, -2}) || v.Merges != nil {
		t.Errorf("%+v", v)
	}
	v, err = tokenizer.ReadVocab(fileOf(t, map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens}))
	if err != nil || v.BOS != -1 || v.EOS != -1 || v.UNK != -1 {
		t.Errorf("a byte-level vocabulary without special tokens: bos %d, eos %d, unk %d, %v", v.BOS, v.EOS, v.UNK, err)
	}
}

func TestFromBadFiles(t *testing.T) {
	for _, c := range []struct {
		keys map[string]any
		want string
	}{
		{map[string]any{"tokenizer.ggml.model": "no_vocab"}, "the file has no vocabulary"},
		{map[string]any{}, "no tokenizer.ggml.model"},
		{map[string]any{"tokenizer.ggml.model": "gpt2"}, "empty vocabulary"},
		{map[string]any{"tokenizer.ggml.model": uint32(7)}, `metadata "tokenizer.ggml.model" is uint32, want string`},
		{map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": []int32{1}}, `metadata "tokenizer.ggml.tokens" is array of int32`},
		{map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.add_bos_token": "yes"}, `metadata "tokenizer.ggml.add_bos_token" is string`},
		{map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.eos_token_id": "2"}, `metadata "tokenizer.ggml.eos_token_id" is string`},
	} {
		_, err := tokenizer.FromGGUF(fileOf(t, c.keys))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.keys, err, c.want)
		}
		if errors.Is(err, tokenizer.ErrNoVocab) != (c.keys["tokenizer.ggml.model"] == "no_vocab") {
			t.Errorf("%v: ErrNoVocab is %t", c.keys, errors.Is(err, tokenizer.ErrNoVocab))
		}
	}
}
