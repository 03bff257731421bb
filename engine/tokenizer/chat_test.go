package tokenizer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/tokenizer"
)

// chatVocab is a byte-level vocabulary with bos <s>, eos </s> and the given chat template.
func chatVocab(template string) tokenizer.Vocab {
	v := tokenizer.Vocab{Model: "gpt2", Pre: "qwen2", Merges: []string{"a b"}, ChatTemplate: template,
		BOS: 257, EOS: 258, EOT: -1, EOM: -1, UNK: -1, PAD: -1}
	for b := range rune(256) {
		switch {
		case '!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b:
			v.Tokens = append(v.Tokens, string(b))
		default:
			v.Tokens = append(v.Tokens, string(256+b)) // any other characters would do
		}
	}
	// Those 68 have to be U+0100 … in order of the bytes.
	next := rune(256)
	for b, text := range v.Tokens {
		if r := []rune(text)[0]; r >= 256 {
			v.Tokens[b] = string(next)
			next++
		}
	}
	v.Tokens = append(v.Tokens, "ab", "<s>", "</s>")
	for range v.Tokens {
		v.Types = append(v.Types, tokenizer.TypeNormal)
	}
	v.Types[257], v.Types[258] = tokenizer.TypeControl, tokenizer.TypeControl
	return v
}

func newTokenizer(t *testing.T, v tokenizer.Vocab) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.New(v)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func msg(role, content string) tokenizer.Message {
	return tokenizer.Message{Role: role, Content: content}
}

// The templates do in their own words what those of the model families do.
const (
	headerTemplate = `{{- bos_token }}
{#- The system message, if there is one, goes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
    {%- set turns = messages %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- endif %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today: " + date_string + "\n\n" }}
{%- if tools is not none and tools %}
    {{- "Tools: " ~ (tools | tojson(indent=4)) }}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in turns %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- else %}
        {{- raise_exception("no tools here") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
`
	alternatingTemplate = `{{ bos_token }}{% set ns = namespace(system='') %}
{%- for m in messages if m.role == 'system' %}{% set ns.system = m.content %}{% endfor %}
{%- for message in messages | rejectattr('role', 'equalto', 'system') %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- ' [INST] ' + (ns.system + '\n\n' if loop.last and ns.system else '') + message['content'] + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'].split('</think>')[-1].lstrip('\n') + eos_token }}
    {%- else %}
        {{- raise_exception('Only user, system and assistant roles are supported!') }}
    {%- endif %}
{%- endfor %}`
)

func TestChatTemplates(t *testing.T) {
	user := []tokenizer.Message{msg("user", " Hi ")}
	system := []tokenizer.Message{msg("system", " Be brief. "), msg("user", "Hi")}
	turns := []tokenizer.Message{msg("system", "S"), msg("user", "1"), msg("assistant", "<think>hm</think>\n\n2"), msg("user", "3")}
	const header = "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n"
	for _, c := range []struct {
		name, template string
		messages       []tokenizer.Message
		generate       bool
		want           string
	}{
		{"ChatML where the file has none", "", system, true, "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
		{"no generation prompt", "", user, false, "<|im_start|>user\n Hi <|im_end|>\n"},
		{"no messages", "", nil, true, "<|im_start|>assistant\n"},
		{"headers", headerTemplate, user, true, header + "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
		{"headers, system", headerTemplate, system, false, header + "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"},
		{"alternating", alternatingTemplate, user, true, "<s> [INST]  Hi  [/INST]"},
		{"alternating, turns", alternatingTemplate, turns, true, "<s> [INST] 1 [/INST] 2</s> [INST] S\n\n3 [/INST]"},
	} {
		tok := newTokenizer(t, chatVocab(c.template))
		if got, err := tok.Chat(c.messages, c.generate); err != nil || got != c.want {
			t.Errorf("%s\n got %q, %v\nwant %q", c.name, got, err, c.want)
		}
		if tok.HasChatTemplate() != (c.template != "") {
			t.Errorf("%s: HasChatTemplate is %t", c.name, tok.HasChatTemplate())
		}
	}
}

func TestDemoChat(t *testing.T) {
	tok := demoTokenizer(t)
	got, err := tok.Chat([]tokenizer.Message{msg("user", "Hi")}, true)
	if want := "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"; err != nil || got != want {
		t.Errorf("without a system message: %q, %v\nwant %q", got, err, want)
	}
	// The golden prompts are such chats.
	for _, g := range goldenPrompts(t) {
		rest, ok := strings.CutPrefix(g.Prompt, "<|im_start|>system\n")
		system, rest, ok2 := strings.Cut(rest, "<|im_end|>\n<|im_start|>user\n")
		user, rest, ok3 := strings.Cut(rest, "<|im_end|>\n<|im_start|>assistant\n")
		if !ok || !ok2 || !ok3 || rest != "" {
			t.Fatalf("%s is no chat of a system and a user message", g.ID)
		}
		ids, err := tok.EncodeChat([]tokenizer.Message{msg("system", system), msg("user", user)}, true)
		if err != nil || !slices.Equal(ids, g.IDs) {
			t.Errorf("%s: %v, %v\nwant %v", g.ID, ids, err, g.IDs)
		}
	}
}

func TestChatErrors(t *testing.T) {
	user := []tokenizer.Message{msg("user", "Hi")}
	for _, c := range []struct {
		template string
		messages []tokenizer.Message
		want     string
	}{
		{alternatingTemplate, []tokenizer.Message{msg("assistant", "Hi")}, "chat template refuses the messages: Conversation roles must alternate user/assistant/user/assistant/..."},
		{alternatingTemplate, []tokenizer.Message{msg("user", "1"), msg("critic", "2")}, "chat template refuses the messages: Only user, system and assistant roles are supported!"},
		{"{{ raise_exception() }}", user, "chat template refuses the messages: no reason given"},
		{"\n{% if %}", user, `chat template: line 2: expected an expression, found "%}"`},
		{"{{ messages[7].content }}", user, `chat template: line 1: "item 7 of 1" is undefined, so it has no "content"`},
		{"{% include '/etc/passwd' %}", user, `chat template: line 1: statement "include" is not supported`},
		{"{{ strftime_now('%Q') }}", user, "chat template: line 1: strftime_now: %Q is not supported"},
		{"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", user, `chat template: line 1: macro "m": calls nested more than 50 deep`},
		{headerTemplate, nil, `chat template: line 3: "item 0 of 0" is undefined, so it has no members`},
	} {
		tok := newTokenizer(t, chatVocab(c.template))
		for range 2 { // the error stays
			if _, err := tok.Chat(c.messages, true); err == nil || err.Error() != c.want {
				t.Errorf("%.40q: %v\nwant %s", c.template, err, c.want)
			}
		}
		if _, err := tok.EncodeChat(c.messages, true); err == nil {
			t.Errorf("%.40q: EncodeChat gives no error", c.template)
		}
	}
}

func TestEncodeChatAddsOneBOS(t *testing.T) {
	yes := true
	for _, template := range []string{"ab", "{{ bos_token }}ab"} {
		v := chatVocab(template)
		v.AddBOS, v.AddEOS = &yes, &yes
		ids, err := newTokenizer(t, v).EncodeChat(nil, true)
		if want := []decode.Token{257, 256}; err != nil || !slices.Equal(ids, want) {
			t.Errorf("%q: %v, %v; want %v", template, ids, err, want)
		}
	}
}

func TestStrftime(t *testing.T) {
	tok := newTokenizer(t, chatVocab("{{ strftime_now('%A %a %d %B %b %m %Y %y %H:%M:%S %I %p %j %F %T 100%%') }}"))
	if got, err := tok.Chat(nil, false); err != nil || got != "Friday Fri 26 July Jul 07 2024 24 00:00:00 12 AM 208 2024-07-26 00:00:00 100%" {
		t.Errorf("%q, %v", got, err)
	}
}

// A chat with much text is rendered; the limits grow with it.
func TestLargeChat(t *testing.T) {
	long := strings.Repeat("0123456789 ", 1<<18)
	got, err := newTokenizer(t, chatVocab(headerTemplate)).Chat([]tokenizer.Message{msg("system", long), msg("user", long)}, true)
	if err != nil || len(got) < 2*len(long)-4 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
