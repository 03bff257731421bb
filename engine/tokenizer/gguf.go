package tokenizer

import (
	"fmt"
	"math"

	"github.com/coordbench/coordbench/engine/decode"
)

// Metadata is the part of a GGUF file that FromGGUF reads; *gguf.File is one.
// Each method returns def if there is no such key, and an error if its value
// has another type.
type Metadata interface {
	StringOr(key, def string) (string, error)
	BoolOr(key string, def bool) (bool, error)
	UintOr(key string, def uint64) (uint64, error)
	StringsOr(key string, def []string) ([]string, error)
	IntsOr(key string, def []int64) ([]int64, error)
	FloatsOr(key string, def []float64) ([]float64, error)
}

// FromGGUF makes the tokenizer of a file. The error wraps ErrNoVocab if the file has none.
func FromGGUF(f Metadata) (*Tokenizer, error) {
	v, err := ReadVocab(f)
	if err != nil {
		return nil, err
	}
	return New(v)
}

// ReadVocab collects what a file says about its tokenizer. As in llama.cpp, a
// special token's id outside the vocabulary counts as missing, and "llama"
// vocabularies without the keys have bos 1, eos 2 and unk 0. "gpt2"
// vocabularies without the keys have none (llama.cpp: 11 for bos and eos,
// which is a comma in most of them).
func ReadVocab(f Metadata) (Vocab, error) {
	g := getter{f: f}
	v := Vocab{
		Name:         g.str("general.name"),
		Model:        g.str("tokenizer.ggml.model"),
		Pre:          g.str("tokenizer.ggml.pre"),
		ChatTemplate: g.str("tokenizer.chat_template"),
	}
	var types []int64
	var scores []float64
	get(&g, &v.Tokens, f.StringsOr, "tokenizer.ggml.tokens")
	get(&g, &v.Merges, f.StringsOr, "tokenizer.ggml.merges")
	get(&g, &types, f.IntsOr, "tokenizer.ggml.token_type")
	get(&g, &scores, f.FloatsOr, "tokenizer.ggml.scores")
	if types != nil {
		v.Types = make([]int32, len(types))
		for i, t := range types {
			v.Types[i] = int32(max(math.MinInt32, min(t, math.MaxInt32)))
		}
	}
	if scores != nil {
		v.Scores = make([]float32, len(scores))
		for i, s := range scores {
			v.Scores[i] = float32(s)
		}
	}
	bos, eos, unk := -1, -1, -1
	if v.Model == "llama" {
		bos, eos, unk = 1, 2, 0
	}
	n := len(v.Tokens)
	v.BOS = g.id("bos", n, bos)
	v.EOS = g.id("eos", n, eos)
	v.UNK = g.id("unknown", n, unk)
	v.EOT = g.id("eot", n, -1)
	v.EOM = g.id("eom", n, -1)
	v.PAD = g.id("padding", n, -1)
	for _, name := range []string{"fim_pad", "fim_rep", "fim_sep"} { // llama.cpp ends a generation at these
		if id := g.id(name, n, -1); id >= 0 {
			v.Stop = append(v.Stop, id)
		}
	}
	v.AddBOS = g.flag("tokenizer.ggml.add_bos_token")
	v.AddEOS = g.flag("tokenizer.ggml.add_eos_token")
	v.AddSpacePrefix = g.flag("tokenizer.ggml.add_space_prefix")
	if g.err != nil {
		return Vocab{}, fmt.Errorf("tokenizer: %w", g.err)
	}
	return v, nil
}

// getter keeps the first error.
type getter struct {
	f   Metadata
	err error
}

func (g *getter) note(err error) {
	if g.err == nil {
		g.err = err
	}
}

func get[T any](g *getter, dst *T, read func(string, T) (T, error), key string) {
	var none T
	v, err := read(key, none)
	g.note(err)
	*dst = v
}

func (g *getter) str(key string) string {
	s, err := g.f.StringOr(key, "")
	g.note(err)
	return s
}

// flag returns nil if the key is missing.
func (g *getter) flag(key string) *bool {
	a, err := g.f.BoolOr(key, false)
	g.note(err)
	b, _ := g.f.BoolOr(key, true)
	if a != b {
		return nil
	}
	return &a
}

func (g *getter) id(name string, vocab, def int) decode.Token {
	const missing = math.MaxUint64
	id, err := g.f.UintOr("tokenizer.ggml."+name+"_token_id", missing)
	g.note(err)
	if id < uint64(vocab) {
		return decode.Token(id)
	}
	if def < vocab {
		return decode.Token(def)
	}
	return -1
}
