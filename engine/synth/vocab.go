package synth

import (
	_ "embed"
	"strings"

	"github.com/coordbench/coordbench/engine/gguf"
)

// words.txt has common English words, most frequent first: enough for prompts
// to take a token for a frequent word and a few for others, as with a real
// vocabulary.
//
//go:embed words.txt
var words string

// Special tokens are the last of the vocabulary.
const (
	tokenEnd   = "<|endoftext|>"
	tokenStart = "<|im_start|>"
	tokenStop  = "<|im_end|>"
)

// minVocab leaves room for 256 bytes, 3 special tokens and some merges.
const minVocab = 512

// chatML is the plain ChatML template.
const chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// Token types of tokenizer.ggml.token_type (enum llama_token_type, llama.h).
const (
	typeNormal  int32 = 1
	typeControl int32 = 3
)

// tokenizer adds a byte-level BPE vocabulary of exactly s.Vocab tokens: the
// 256 bytes, merges learned from words.txt, fillers that no text encodes to
// (a space and four letters or more, so that generated noise reads as words),
// and the special tokens.
func (s Shape) tokenizer(g *gguf.Writer) error {
	tokens := byteAlphabet()
	merges := learnMerges(strings.Fields(words), s.Vocab-len(tokens)-3)
	seen := make(map[string]bool, s.Vocab)
	add := func(t string) { // two merges can give one text: "th"+"e" and "t"+"he"
		if !seen[t] {
			seen[t] = true
			tokens = append(tokens, t)
		}
	}
	for _, m := range merges {
		add(m[0] + m[1])
	}
	for i := 0; len(tokens) < s.Vocab-3; i++ {
		add(filler(i))
	}
	tokens = append(tokens, tokenEnd, tokenStart, tokenStop)
	types := make([]int32, len(tokens))
	for i := range types {
		types[i] = typeNormal
		if i >= s.Vocab-3 {
			types[i] = typeControl
		}
	}
	lines := make([]string, len(merges))
	for i, m := range merges {
		lines[i] = m[0] + " " + m[1]
	}
	pre := "qwen2"
	if s.Arch == "llama" {
		pre = "llama-bpe"
	}
	g.Add("tokenizer.ggml.model", "gpt2")
	g.Add("tokenizer.ggml.pre", pre)
	g.Add("tokenizer.ggml.tokens", tokens)
	g.Add("tokenizer.ggml.token_type", types)
	g.Add("tokenizer.ggml.merges", lines)
	g.Add("tokenizer.ggml.bos_token_id", uint32(s.Vocab-3))
	g.Add("tokenizer.ggml.eos_token_id", uint32(s.Vocab-1))
	g.Add("tokenizer.ggml.padding_token_id", uint32(s.Vocab-3))
	g.Add("tokenizer.ggml.add_bos_token", false)
	return g.Add("tokenizer.chat_template", chatML)
}

// byteAlphabet returns the printable characters that stand for the bytes 0 to
// 255 in byte-level BPE, in the token order of GPT-2: the printable bytes for
// themselves, then U+0100 onward for the 68 others (encoder.py, bytes_to_unicode).
func byteAlphabet() []string {
	var own, other []string
	for b := range rune(256) {
		if '!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b {
			own = append(own, string(b))
		} else {
			other = append(other, string(rune(256+len(other))))
		}
	}
	return append(own, other...)
}

// filler is the i-th filler token: a space (Ġ) and i in base 26, four letters or more.
func filler(i int) string {
	var b []byte
	for ; i > 0 || len(b) < 4; i /= 26 {
		b = append(b, byte('a'+i%26))
	}
	return "Ġ" + string(b)
}

// learnMerges runs byte-pair encoding over the words, each with a space before
// it and weighted by its rank, until every word is one token or limit merges
// are made.
func learnMerges(words []string, limit int) [][2]string {
	type entry struct {
		parts  []string
		weight int
	}
	var corpus []entry
	for i, w := range words {
		corpus = append(corpus, entry{append([]string{"Ġ"}, strings.Split(w, "")...), len(words)/(i+1) + 1})
	}
	var merges [][2]string
	for len(merges) < limit {
		counts := map[[2]string]int{}
		for _, e := range corpus {
			for i := 1; i < len(e.parts); i++ {
				counts[[2]string{e.parts[i-1], e.parts[i]}] += e.weight
			}
		}
		if len(counts) == 0 {
			break
		}
		var best [2]string
		for p, n := range counts {
			if m := counts[best]; n > m || n == m && less(p, best) {
				best = p
			}
		}
		merges = append(merges, best)
		for c, e := range corpus {
			out := e.parts[:0]
			for i := 0; i < len(e.parts); i++ {
				if i+1 < len(e.parts) && e.parts[i] == best[0] && e.parts[i+1] == best[1] {
					out = append(out, best[0]+best[1])
					i++
				} else {
					out = append(out, e.parts[i])
				}
			}
			corpus[c].parts = out
		}
	}
	return merges
}

// less breaks ties between pairs, so that the map's order does not show.
func less(a, b [2]string) bool { return a[0] < b[0] || a[0] == b[0] && a[1] < b[1] }
