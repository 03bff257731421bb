// Package engine is the way into the engine: it opens a model file with its
// tokenizer and gives targets that decode with it.
package engine

import (
	"errors"
	"fmt"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kvcache"
	"github.com/coordbench/coordbench/engine/model"
	"github.com/coordbench/coordbench/engine/tokenizer"
)

// Options of Open. The zero value is a good choice.
type Options struct {
	Threads int    // workers of the forward pass; 0 is one for each processor
	Lender  *Model // compute on this model's workers instead: for a draft model beside its target
}

// A Model is a model file ready to decode with. Its targets share its weights
// and workers, so one of them runs at a time.
type Model struct {
	path   string
	file   *gguf.File
	model  *model.Model
	tok    *tokenizer.Tokenizer
	digest string
}

// Open loads the model file at path. Errors name the file and what is wrong in it.
func Open(path string, o Options) (m *Model, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	digest, err := f.Digest()
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	mo := model.Options{Threads: o.Threads}
	if o.Lender != nil {
		mo.Pool = o.Lender.model.Pool()
	}
	mm, err := model.Load(f, mo)
	if err != nil {
		return nil, err
	}
	return &Model{path, f, mm, tok, digest}, nil
}

// Name is the model's own name for itself.
func (m *Model) Name() string { return m.model.Config().Name }

// Digest is the sha256 of the file in hexadecimal.
func (m *Model) Digest() string { return m.digest }

// TrainContext is the number of positions that the model was trained on.
func (m *Model) TrainContext() int { return m.model.Config().TrainContext }

// Tokenizer translates between text and the model's tokens.
func (m *Model) Tokenizer() *tokenizer.Tokenizer { return m.tok }

// Threads is the number of workers.
func (m *Model) Threads() int { return m.model.Pool().Workers() }

// A Message is one turn of a chat.
type Message = tokenizer.Message

// Chat returns the tokens that ask the model to answer messages, by the file's
// chat template.
func (m *Model) Chat(messages []Message) ([]decode.Token, error) {
	ids, err := m.tok.EncodeChat(messages, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	return ids, nil
}

// Encode returns the tokens of plain text, with those that the file wants before
// it. Special tokens in the text are taken for text.
func (m *Model) Encode(text string) []decode.Token {
	return m.tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
}

// TargetOptions of NewTarget. The zero value is a good choice.
type TargetOptions struct {
	Context int    // tokens; 0 is the trained context, at most 4096
	KV      string // "f16", the default, or "f32"
}

// NewTarget returns an empty context to decode in.
func (m *Model) NewTarget(o TargetOptions) (decode.Target, error) {
	t, err := m.model.NewContext(model.ContextOptions{Context: o.Context, KV: kvcache.Type(o.KV)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	return t, nil
}

// Compatible says why draft cannot propose tokens for m, or returns nil.
func (m *Model) Compatible(draft *Model) error { return tokenizer.Compatible(m.tok, draft.tok) }

// A PromptError says that a prompt does not fit a context.
type PromptError struct {
	Prompt  string // what the caller calls it; may be empty
	Tokens  int
	Context int
}

func (e *PromptError) Error() string {
	what := "the prompt"
	if e.Prompt != "" {
		what = fmt.Sprintf("prompt %q", e.Prompt)
	}
	return fmt.Sprintf("%s has %d tokens; the context holds %d, and an answer needs at least one more", what, e.Tokens, e.Context)
}

// Fits checks that a prompt of n tokens leaves room for an answer.
func Fits(prompt string, n, context int) error {
	if n >= context {
		return &PromptError{prompt, n, context}
	}
	return nil
}

// Close stops the workers and unmaps the file. Targets must be closed before.
func (m *Model) Close() error { return errors.Join(m.model.Close(), m.file.Close()) }
