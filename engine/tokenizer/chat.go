package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/tokenizer/jinja"
)

// Message is one turn of a chat.
type Message struct {
	Role    string // "system", "user" or "assistant"
	Content string
}

// chatML serves vocabularies whose file has no template, as in llama.cpp.
const chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// chatDate is what strftime_now tells templates that put today's date into the
// prompt. It is fixed, since prompts must be the same on every day of a
// campaign; the day is the one that Llama 3's template falls back to.
var chatDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// template is a chat template, parsed when it is first used: a file whose
// template cannot be read is still good for prompts that are plain text.
type template struct {
	source string
	once   sync.Once
	parsed *jinja.Template
	err    error
}

// HasChatTemplate reports whether the file has a chat template of its own.
func (t *Tokenizer) HasChatTemplate() bool { return t.template.source != "" }

// Chat returns the prompt for messages: the file's chat template rendered with
// bos_token, eos_token and without tools, or ChatML if the file has none.
// With addGenerationPrompt it ends where the model's answer begins.
// It is to be encoded with ParseSpecial. Many templates begin with the bos
// token themselves; EncodeChat adds none to those.
//
// The template is untrusted: it can read nothing but these variables, and a
// template that takes too many steps or too much memory is an error (see
// package jinja).
func (t *Tokenizer) Chat(messages []Message, addGenerationPrompt bool) (string, error) {
	tm := t.template
	tm.once.Do(func() {
		source := tm.source
		if source == "" {
			source = chatML
		}
		tm.parsed, tm.err = jinja.Parse(source)
	})
	if tm.err != nil {
		return "", fmt.Errorf("chat template: %w", tm.err)
	}
	size := 0
	list := make([]any, len(messages))
	for i, m := range messages {
		list[i] = map[string]any{"role": m.Role, "content": m.Content}
		size += len(m.Role) + len(m.Content)
	}
	out, err := tm.parsed.Render(map[string]any{
		"messages":              list,
		"add_generation_prompt": addGenerationPrompt,
		"bos_token":             t.Text(t.bos),
		"eos_token":             t.Text(t.eos),
		"pad_token":             t.Text(t.pad),
		"unk_token":             t.Text(t.unk),
		"tools":                 nil,
		"documents":             nil,
		"raise_exception":       jinja.Func(raise),
		"strftime_now":          jinja.Func(strftimeNow),
	}, jinja.DefaultLimits(size))
	if err != nil {
		if e := (*jinja.Error)(nil); errors.As(err, &e) && e.Raised {
			return "", fmt.Errorf("chat template refuses the messages: %s", e.Msg)
		}
		return "", fmt.Errorf("chat template: %w", err)
	}
	return out, nil
}

// EncodeChat returns the tokens of Chat: special tokens are recognised, and
// those that the file asks for are added, but no second bos token.
func (t *Tokenizer) EncodeChat(messages []Message, addGenerationPrompt bool) ([]decode.Token, error) {
	text, err := t.Chat(messages, addGenerationPrompt)
	if err != nil {
		return nil, err
	}
	ids := t.Encode(text, EncodeOptions{ParseSpecial: true})
	if t.addBOS && (len(ids) == 0 || ids[0] != t.bos) {
		ids = append([]decode.Token{t.bos}, ids...)
	}
	return ids, nil // no eos: the answer is to follow
}

func raise(args []any, _ map[string]any) (any, error) {
	msg := "no reason given"
	if len(args) > 0 {
		if s, ok := args[0].(string); ok {
			msg = s
		}
	}
	return nil, &jinja.Error{Msg: msg, Raised: true}
}

func strftimeNow(args []any, _ map[string]any) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("strftime_now of %d arguments, takes 1", len(args))
	}
	format, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("strftime_now: format is no string")
	}
	layouts := map[byte]string{'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'H': "15", 'I': "03", 'j': "002", 'm': "01",
		'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'F': "2006-01-02", 'T': "15:04:05"}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := layouts[format[i]]
		switch {
		case ok:
			b.WriteString(chatDate.Format(layout))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			return nil, fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		}
	}
	return b.String(), nil
}
