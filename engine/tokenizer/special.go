package tokenizer

import (
	"slices"
	"strings"

	"github.com/coordbench/coordbench/engine/decode"
)

// attr is a set of properties of a token. A token that llama.cpp knows by its
// text to be a control token keeps its type beside attrControl.
type attr uint8

const (
	attrNormal attr = 1 << iota
	attrUnknown
	attrControl
	attrUserDefined
	attrUnused
	attrByte

	attrSpecial = attrControl | attrUnknown // prints nothing in ordinary output
)

func attrOf(typ int32) attr {
	switch typ {
	case TypeNormal:
		return attrNormal
	case TypeUnknown:
		return attrUnknown
	case TypeControl:
		return attrControl
	case TypeUserDefined:
		return attrUserDefined
	case TypeUnused:
		return attrUnused
	case TypeByte:
		return attrByte
	}
	return 0
}

// Texts that llama.cpp takes for the end of a turn where the file names no such
// token, and those that end a generation whatever the file says
// (llama-vocab.cpp, special_eot_id and special_eog_ids).
var (
	turnEnds = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>",
		"[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"}
	messageEnds    = []string{"<|eom_id|>"}
	fillPads       = []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}
	fillRepos      = []string{"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}
	fillSeparators = []string{"<|file_sep|>"}
	generationEnds = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
		"<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>",
		"<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["}
)

// findStops settles eot, eom and the stop tokens. Where several texts could be
// the eot token the first of the list wins; llama.cpp takes any.
func (t *Tokenizer) findStops(named []decode.Token) {
	// first makes the first token of the list a control token and returns it.
	first := func(texts []string) decode.Token {
		for _, text := range texts {
			if id, ok := t.ids[text]; ok {
				t.attrs[id] |= attrControl
				return id
			}
		}
		return -1
	}
	if t.eot < 0 {
		t.eot = first(turnEnds)
	}
	if t.eom < 0 {
		t.eom = first(messageEnds)
	}
	stop := append([]decode.Token{t.eos, t.eot, t.eom, first(fillPads), first(fillRepos), first(fillSeparators)}, named...)
	for _, text := range generationEnds {
		if id, ok := t.ids[text]; ok {
			t.attrs[id] |= attrControl
			stop = append(stop, id)
		}
	}
	// In these two families the token is an ordinary delimiter inside an answer.
	has := func(text string) bool { return slices.Contains(stop, t.Token(text)) && t.Token(text) >= 0 }
	drop := func(text string, a attr) {
		id := t.Token(text)
		t.attrs[id] = a
		stop = slices.DeleteFunc(stop, func(s decode.Token) bool { return s == id })
	}
	if calls := has("<|call|>") || has("<|calls|>"); calls && has("<|end|>") && (has("<|return|>") || has("<|flush|>")) {
		drop("<|end|>", attrUserDefined)
	}
	if has("<|tool_response>") && has("</s>") {
		drop("</s>", attrNormal)
	}
	slices.Sort(stop)
	stop = slices.Compact(stop)
	t.stop = slices.DeleteFunc(stop, func(s decode.Token) bool { return s < 0 })
}

// A fragment is a special token found in a text, or (id -1) the text between two.
type fragment struct {
	start, end int // bytes of the text
	id         decode.Token
}

// matcher finds special tokens in text, longest first.
type matcher struct {
	lengths []matchLength // longest first
}

// matchLength holds the special tokens of one length in bytes.
type matchLength struct {
	n     int
	first [256]bool // bytes that one of them starts with
	ids   map[string]decode.Token
	strip map[decode.Token]bool // tokens that swallow the white space after them
}

// makeMatchers builds the matchers for text with and without control tokens.
func (t *Tokenizer) makeMatchers(name string) {
	name = strings.ToLower(name)
	phi3 := strings.Contains(name, "phi-3") || strings.Contains(name, "phi3")
	t.userTokens, t.allTokens = &matcher{}, &matcher{}
	for i, a := range t.attrs {
		if a&(attrSpecial|attrUserDefined) == 0 {
			continue
		}
		text, id := t.texts[i], decode.Token(i)
		// Phi-3's tokenizer has this as a flag (rstrip) of each token, which GGUF
		// does not carry; llama.cpp goes by the model's name as well.
		strip := phi3 && text != "<unk>" && text != "<s>" && text != "<|endoftext|>"
		t.allTokens.add(text, id, strip)
		if a&attrSpecial == 0 {
			t.userTokens.add(text, id, strip)
		}
	}
}

func (m *matcher) add(text string, id decode.Token, strip bool) {
	i, ok := slices.BinarySearchFunc(m.lengths, len(text), func(l matchLength, n int) int { return n - l.n })
	if !ok {
		m.lengths = slices.Insert(m.lengths, i, matchLength{n: len(text), ids: map[string]decode.Token{}, strip: map[decode.Token]bool{}})
	}
	l := &m.lengths[i]
	l.first[text[0]] = true
	l.ids[text] = id
	if strip {
		l.strip[id] = true
	}
}

// split cuts text into special tokens and what is between them, empty
// fragments left out. A longer special token takes its place before a shorter
// one looks for its own, and of one length the leftmost does; llama.cpp goes
// through the tokens of one length one by one in unspecified order, which
// differs only where two of them overlap in the text.
func (m *matcher) split(text string) []fragment {
	if text == "" {
		return nil
	}
	frags := []fragment{{0, len(text), -1}}
	var next []fragment
	for i := range m.lengths {
		next = next[:0]
		for _, f := range frags {
			if f.id >= 0 {
				next = append(next, f)
				continue
			}
			next = m.lengths[i].cut(next, text, f)
		}
		frags, next = next, frags
	}
	return frags
}

// cut appends the parts of the text fragment f to dst.
func (l *matchLength) cut(dst []fragment, text string, f fragment) []fragment {
	for i := f.start; i+l.n <= f.end; {
		if !l.first[text[i]] {
			i++
			continue
		}
		id, ok := l.ids[text[i:i+l.n]]
		if !ok {
			i++
			continue
		}
		if i > f.start {
			dst = append(dst, fragment{f.start, i, -1})
		}
		dst = append(dst, fragment{i, i + l.n, id})
		i += l.n
		if l.strip[id] {
			for i < f.end && strings.IndexByte(" \t\n\v\f\r", text[i]) >= 0 {
				i++
			}
		}
		f.start = i
	}
	if f.start < f.end {
		dst = append(dst, fragment{f.start, f.end, -1})
	}
	return dst
}
