// Package tokenizer turns text into the tokens of a GGUF vocabulary and back,
// and renders chat templates.
//
// Token ids equal llama.cpp's (src/llama-vocab.cpp, src/unicode.cpp) for the
// two kinds of vocabulary that are supported: byte-level BPE ("gpt2") and
// SentencePiece with scores ("llama"). Text is never normalised. The known
// differences are named where they are made; all of them concern files or
// inputs on which llama.cpp stops or loses text.
package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/coordbench/coordbench/engine/decode"
)

// ErrNoVocab is wrapped by the error for files that carry no vocabulary
// (tokenizer.ggml.model is "no_vocab" or "none"). Their prompts are token ids.
var ErrNoVocab = errors.New("the file has no vocabulary")

// The token types of tokenizer.ggml.token_type (llama.h, enum llama_token_type).
const (
	TypeNormal      int32 = 1
	TypeUnknown     int32 = 2
	TypeControl     int32 = 3
	TypeUserDefined int32 = 4
	TypeUnused      int32 = 5
	TypeByte        int32 = 6
)

// Vocab is what a GGUF file says about its tokenizer (the tokenizer.* keys).
type Vocab struct {
	Name   string    // general.name; names with "phi-3" have special tokens that swallow the white space after them
	Model  string    // "gpt2" or "llama"
	Pre    string    // how "gpt2" splits text into words: "qwen2", "llama-bpe", …; empty means "default"
	Tokens []string  // text by id; byte-level BPE writes each byte as one printable character
	Types  []int32   // by id; nil means all normal
	Scores []float32 // by id; "llama" merges the pair with the highest score first
	Merges []string  // "left right", best first; needed by "gpt2"

	BOS, EOS, EOT, EOM, UNK, PAD decode.Token   // -1 where there is none
	Stop                         []decode.Token // further tokens that end a generation

	// nil means the default of Model and Pre, as in llama.cpp.
	AddBOS, AddEOS, AddSpacePrefix *bool

	ChatTemplate string // Jinja; empty means ChatML
}

// Tokenizer translates between text and tokens. It may be used concurrently.
type Tokenizer struct {
	model string
	texts []string // by id
	attrs []attr   // by id
	ids   map[string]decode.Token
	// pieces holds the bytes that each token prints.
	pieces [][]byte
	stop   []decode.Token

	bos, eos, eot, eom, unk, pad decode.Token
	addBOS, addEOS, spacePrefix  bool

	userTokens, allTokens *matcher // recognised without and with ParseSpecial
	words                 encoder
	template              *template
}

// encoder appends the tokens of text that contains no special tokens.
type encoder interface {
	encode(dst []decode.Token, text string) []decode.Token
}

// New checks v and prepares it. The error wraps ErrNoVocab if v names no vocabulary.
func New(v Vocab) (*Tokenizer, error) {
	switch v.Model {
	case "gpt2", "llama":
	case "no_vocab", "none":
		return nil, fmt.Errorf("tokenizer: model %q: %w", v.Model, ErrNoVocab)
	case "":
		return nil, fmt.Errorf("tokenizer: no tokenizer.ggml.model; supported are gpt2 (byte-level BPE) and llama (SentencePiece)")
	default:
		return nil, fmt.Errorf("tokenizer: model %q is not supported; supported are gpt2 (byte-level BPE) and llama (SentencePiece)", v.Model)
	}
	n := len(v.Tokens)
	if n == 0 {
		return nil, fmt.Errorf("tokenizer: empty vocabulary")
	}
	if n > math.MaxInt32 {
		return nil, fmt.Errorf("tokenizer: %d tokens; at most %d", n, math.MaxInt32)
	}
	if v.Types != nil && len(v.Types) != n {
		return nil, fmt.Errorf("tokenizer: %d token types for %d tokens", len(v.Types), n)
	}
	if v.Scores != nil && len(v.Scores) != n {
		return nil, fmt.Errorf("tokenizer: %d scores for %d tokens", len(v.Scores), n)
	}
	t := &Tokenizer{
		model: v.Model,
		texts: make([]string, n), attrs: make([]attr, n), ids: make(map[string]decode.Token, n),
		bos: v.BOS, eos: v.EOS, eot: v.EOT, eom: v.EOM, unk: v.UNK, pad: v.PAD,
	}
	for i, text := range v.Tokens {
		if text == "" {
			text = fmt.Sprintf("[EMPTY_%d]", i) // as llama.cpp: an empty text would match everywhere
		}
		if j, ok := t.ids[text]; ok {
			return nil, fmt.Errorf("tokenizer: tokens %d and %d are both %q", j, i, text)
		}
		t.texts[i] = text
		t.ids[text] = decode.Token(i)
		t.attrs[i] = attrNormal
		if v.Types != nil {
			t.attrs[i] = attrOf(v.Types[i])
		}
	}
	named := []struct {
		name string
		id   decode.Token
	}{{"bos", v.BOS}, {"eos", v.EOS}, {"eot", v.EOT}, {"eom", v.EOM}, {"unk", v.UNK}, {"pad", v.PAD}}
	for _, id := range v.Stop {
		named = append(named, struct {
			name string
			id   decode.Token
		}{"stop", id})
	}
	for _, s := range named {
		if s.id < -1 || int(s.id) >= n {
			return nil, fmt.Errorf("tokenizer: %s token %d is outside the vocabulary of %d", s.name, s.id, n)
		}
	}
	var err error
	if t.model == "gpt2" {
		var pre preTokenizer
		if pre, err = preTokenizerOf(v.Pre); err != nil {
			return nil, err
		}
		t.addBOS = pre.addBOS
		t.words, err = newBPE(v.Merges, t.ids, pre)
	} else {
		t.addBOS, t.spacePrefix = true, true
		if v.AddSpacePrefix != nil {
			t.spacePrefix = *v.AddSpacePrefix
		}
		t.words, err = newSPM(v.Scores, t.ids, v.UNK)
	}
	if err != nil {
		return nil, err
	}
	if v.AddBOS != nil {
		t.addBOS = *v.AddBOS
	}
	if v.AddEOS != nil {
		t.addEOS = *v.AddEOS
	}
	if t.addBOS && t.bos < 0 {
		return nil, fmt.Errorf("tokenizer: prompts shall start with the bos token, but there is none")
	}
	if t.addEOS && t.eos < 0 {
		return nil, fmt.Errorf("tokenizer: prompts shall end with the eos token, but there is none")
	}
	t.findStops(v.Stop)
	if err := t.makePieces(); err != nil {
		return nil, err
	}
	t.makeMatchers(v.Name)
	t.template = &template{source: v.ChatTemplate}
	return t, nil
}

// EncodeOptions says what Encode does besides splitting text.
type EncodeOptions struct {
	AddSpecial   bool // add the bos and eos tokens that the file asks for
	ParseSpecial bool // recognise control tokens such as <|im_end|> in the text; user-defined tokens always are
}

// Encode returns the tokens of text. Each invalid byte of text counts as
// U+FFFD with a "gpt2" vocabulary and as itself with a "llama" vocabulary.
// A byte that a "gpt2" vocabulary has no token for is dropped, as llama.cpp does.
//
// The time is proportional to n·log n for n bytes, whatever they are.
func (t *Tokenizer) Encode(text string, opts EncodeOptions) []decode.Token {
	out := make([]decode.Token, 0, len(text)/3+2)
	if opts.AddSpecial && t.addBOS {
		out = append(out, t.bos)
	}
	m := t.userTokens
	if opts.ParseSpecial {
		m = t.allTokens
	}
	afterSpecial := true
	for _, f := range m.split(text) {
		if f.id >= 0 {
			out = append(out, f.id)
			afterSpecial = true
			continue
		}
		part := text[f.start:f.end]
		if t.spacePrefix && afterSpecial {
			part = " " + part
		}
		out = t.words.encode(out, part)
		afterSpecial = false
	}
	if opts.AddSpecial && t.addEOS {
		out = append(out, t.eos)
	}
	return out
}

// Decode returns the text of ids: what a Stream writes for them. Control tokens
// print nothing unless special is true. Ids outside the vocabulary, such as
// decode.Separator, print nothing. Bytes that are not UTF-8 become U+FFFD each.
//
// Where Encode puts a space before text, Decode takes one from the first token
// that prints anything, so that both are inverse. (llama.cpp's detokenizer
// leaves the space if a bos token precedes it. For some vocabularies it also
// deletes spaces before punctuation, which would not be inverse; Decode never does.)
func (t *Tokenizer) Decode(ids []decode.Token, special bool) string {
	s := t.NewStream(special)
	return s.Write(ids...) + s.Flush()
}

// Piece returns the bytes that id prints, control tokens included; nil for an
// id outside the vocabulary. They need not be valid UTF-8: a character can be
// spread over several tokens. Callers must not change them.
func (t *Tokenizer) Piece(id decode.Token) []byte {
	if id < 0 || int(id) >= len(t.pieces) {
		return nil
	}
	return t.pieces[id]
}

// Text returns the vocabulary's own spelling of id, "" if there is no such id.
func (t *Tokenizer) Text(id decode.Token) string {
	if id < 0 || int(id) >= len(t.texts) {
		return ""
	}
	return t.texts[id]
}

// Token returns the id of the token that the vocabulary spells text, -1 if there is none.
func (t *Tokenizer) Token(text string) decode.Token {
	if id, ok := t.ids[text]; ok {
		return id
	}
	return -1
}

// Size is the number of tokens; ids are 0 … Size()-1.
func (t *Tokenizer) Size() int { return len(t.texts) }

// BOS is the token that starts a text, -1 if there is none.
func (t *Tokenizer) BOS() decode.Token { return t.bos }

// EOS is the token that ends a text, -1 if there is none.
func (t *Tokenizer) EOS() decode.Token { return t.eos }

// EOT is the token that ends a turn of a chat, -1 if there is none.
func (t *Tokenizer) EOT() decode.Token { return t.eot }

// PAD is the token that fills rows, -1 if there is none.
func (t *Tokenizer) PAD() decode.Token { return t.pad }

// AddsBOS reports whether Encode with AddSpecial starts with BOS.
func (t *Tokenizer) AddsBOS() bool { return t.addBOS }

// IsControl reports whether id prints nothing in ordinary output.
func (t *Tokenizer) IsControl(id decode.Token) bool {
	return id >= 0 && int(id) < len(t.attrs) && t.attrs[id]&attrSpecial != 0
}

// StopTokens returns the tokens that end a generation, in ascending order: eos,
// eot, eom and the control tokens that llama.cpp counts as end of generation.
func (t *Tokenizer) StopTokens() []decode.Token { return append([]decode.Token(nil), t.stop...) }

// makePieces computes what each token prints.
func (t *Tokenizer) makePieces() error {
	t.pieces = make([][]byte, len(t.texts))
	for i, text := range t.texts {
		a := t.attrs[i]
		switch {
		case a&(attrSpecial|attrUserDefined) != 0:
			t.pieces[i] = []byte(text)
		case a&attrNormal != 0 && t.model == "gpt2":
			t.pieces[i] = bytesOf(text)
		case a&attrNormal != 0:
			t.pieces[i] = []byte(strings.ReplaceAll(text, spmSpace, " "))
		case a&attrByte != 0:
			b, ok := parseByteToken(text)
			if !ok {
				return fmt.Errorf("tokenizer: token %d has type byte but is %q, want <0xNN>", i, text)
			}
			t.pieces[i] = []byte{b}
		}
		// Unused tokens print nothing.
	}
	return nil
}
