package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coordbench/coordbench/engine/decode"
)

// byteVocab is a byte-level vocabulary: the 256 bytes in order (id b is byte
// b), what merges make, and extra tokens of the given type.
func byteVocab(pre string, merges []string, typ int32, extra ...string) Vocab {
	v := Vocab{Model: "gpt2", Pre: pre, Merges: merges, BOS: -1, EOS: -1, EOT: -1, EOM: -1, UNK: -1, PAD: -1}
	for _, c := range byteChars {
		v.Tokens = append(v.Tokens, string(c))
	}
	for _, m := range merges {
		v.Tokens = append(v.Tokens, strings.Replace(m, " ", "", 1))
	}
	for range v.Tokens {
		v.Types = append(v.Types, TypeNormal)
	}
	for _, e := range extra {
		v.Tokens = append(v.Tokens, e)
		v.Types = append(v.Types, typ)
	}
	return v
}

// spmVocab is a SentencePiece vocabulary: unk, bos, eos, the 256 bytes, and pieces, best first.
func spmVocab(pieces ...string) Vocab {
	v := Vocab{Model: "llama", Tokens: []string{"<unk>", "<s>", "</s>"}, Types: []int32{TypeUnknown, TypeControl, TypeControl},
		Scores: []float32{0, 0, 0}, BOS: 1, EOS: 2, UNK: 0, EOT: -1, EOM: -1, PAD: -1}
	for b := range 256 {
		v.Tokens = append(v.Tokens, fmt.Sprintf("<0x%02X>", b))
		v.Types = append(v.Types, TypeByte)
		v.Scores = append(v.Scores, 0)
	}
	for i, p := range pieces {
		v.Tokens = append(v.Tokens, p)
		v.Types = append(v.Types, TypeNormal)
		v.Scores = append(v.Scores, -float32(i))
	}
	return v
}

func mustNew(t testing.TB, v Vocab) *Tokenizer {
	t.Helper()
	tok, err := New(v)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// texts are the vocabulary's spellings of ids, with bars between them.
func (t *Tokenizer) spell(ids []decode.Token) string {
	var s []string
	for _, id := range ids {
		s = append(s, t.Text(id))
	}
	return strings.Join(s, "|")
}

func TestByteLevelBPE(t *testing.T) {
	merges := []string{"h e", "l l", "he ll", "l o", "Ġ w", "hell o", "1 2", "3 4", "12 34", "Ã ©"}
	for _, c := range []struct{ pre, in, want string }{
		{"gpt-2", "hello", "hello"},
		{"gpt-2", "helo", "he|lo"},               // "l o" comes after "h e", and "he l" is no merge
		{"gpt-2", "llllo", "ll|ll|o"},            // of equal ranks the leftmost; "l l" before "l o"
		{"gpt-2", "hello we", "hello|Ġw|e"},      // the space belongs to the word after it
		{"gpt-2", "hello  we", "hello|Ġ|Ġw|e"},   // all but the last space are a word of their own
		{"gpt-2", "1234", "1234"},                // one word of digits
		{"smollm", "1234", "1|2|3|4"},            // each digit a word
		{"qwen2", "1234", "1|2|3|4"},             //
		{"llama-bpe", "1234", "12|3|4"},          // words 123 and 4
		{"default", "1234", "12|3|4"},            // 123 is split off
		{"qwen2", "é", "Ã©"},                     // two bytes, one merge
		{"qwen2", "\xff", "ï|¿|½"},               // an invalid byte is U+FFFD
		{"qwen2", "\x00", "Ā"},                   // every byte has its character
		{"qwen2", "he\r\nll\n", "he|č|Ċ|ll|Ċ"},   //
		{"", "a12345$b", "a|12|3|4|5|$|b"},       // an empty name is "default"
		{"qwen2", "", ""},                        //
		{"qwen2", "hello'S", "hello|'|S"},        //
		{"qwen2", "<|x|>", "<|||x|||>"},          // no special tokens here
		{"gpt-2", "hell ohell", "hell|Ġ|o|hell"}, //
	} {
		v := byteVocab(c.pre, merges, 0)
		no := false
		v.AddBOS = &no
		tok := mustNew(t, v)
		if got := tok.spell(tok.Encode(c.in, EncodeOptions{})); got != c.want {
			t.Errorf("%s: %q gives %s, want %s", c.pre, c.in, got, c.want)
		}
		// The second time every word comes from the cache.
		if got := tok.spell(tok.Encode(c.in, EncodeOptions{})); got != c.want {
			t.Errorf("%s: %q gives %s the second time, want %s", c.pre, c.in, got, c.want)
		}
	}
}

func TestIgnoreMerges(t *testing.T) {
	// "abc" is a token that no merge makes.
	for pre, want := range map[string]string{"llama-bpe": "abc", "dbrx": "a|b|c", "qwen2": "a|b|c"} {
		v := byteVocab(pre, []string{"x y"}, TypeNormal, "abc")
		if pre == "llama-bpe" {
			v.BOS = 0 // which this one adds by default
		}
		tok := mustNew(t, v)
		if got := tok.spell(tok.Encode("abc", EncodeOptions{})); got != want {
			t.Errorf("%s: %s, want %s", pre, got, want)
		}
		if tok.AddsBOS() != (pre == "llama-bpe") {
			t.Errorf("%s: adds bos %t", pre, tok.AddsBOS())
		}
	}
}

func TestMissingByte(t *testing.T) {
	v := byteVocab("qwen2", []string{"a b"}, 0)
	v.Tokens['\n'] = "[nothing]"
	tok := mustNew(t, v)
	if got := tok.spell(tok.Encode("ab\nab", EncodeOptions{})); got != "ab|ab" {
		t.Errorf("a byte without token: %s, want it dropped", got)
	}
}

func TestSpecialTokens(t *testing.T) {
	v := byteVocab("qwen2", []string{"a b"}, TypeControl, "<|im_start|>", "<|im_end|>", "<|im_end|>x")
	v.Tokens = append(v.Tokens, "<tool>", "  ")
	v.Types = append(v.Types, TypeUserDefined, TypeUserDefined)
	v.BOS, v.EOS = decode.Token(len(v.Tokens)-5), decode.Token(len(v.Tokens)-4)
	yes := true
	v.AddBOS, v.AddEOS = &yes, &yes
	tok := mustNew(t, v)
	for _, c := range []struct {
		in   string
		opts EncodeOptions
		want string
	}{
		{"<|im_start|>ab<|im_end|>", EncodeOptions{ParseSpecial: true}, "<|im_start|>|ab|<|im_end|>"},
		{"<|im_end|>x<|im_end|>", EncodeOptions{ParseSpecial: true}, "<|im_end|>x|<|im_end|>"}, // the longest wins
		{"a<tool>   b", EncodeOptions{}, "a|<tool>|  |Ġ|b"},                                    // user-defined tokens always count
		{"ab", EncodeOptions{AddSpecial: true}, "<|im_start|>|ab|<|im_end|>"},
		{"", EncodeOptions{AddSpecial: true}, "<|im_start|>|<|im_end|>"},
		{"<|im_", EncodeOptions{ParseSpecial: true}, "<|||i|m|_"},
	} {
		if got := tok.spell(tok.Encode(c.in, c.opts)); got != c.want {
			t.Errorf("%q %+v: %s, want %s", c.in, c.opts, got, c.want)
		}
	}
	ids := tok.Encode("<|im_start|>ab<tool><|im_end|>", EncodeOptions{ParseSpecial: true})
	if got := tok.Decode(ids, false); got != "ab<tool>" {
		t.Errorf("without special tokens: %q", got)
	}
	if got := tok.Decode(ids, true); got != "<|im_start|>ab<tool><|im_end|>" {
		t.Errorf("with special tokens: %q", got)
	}
}

// Cutting special tokens out one by one, as llama.cpp does, gives the same
// fragments: the special tokens here cannot overlap at equal length.
func TestMatcherEqualsOneByOne(t *testing.T) {
	specials := []string{"<a>", "<ab>", "<abc>", "ab>c", "   ", "  ", "<"}
	slow := func(text string) []fragment {
		order := slices.Clone(specials)
		slices.SortStableFunc(order, func(a, b string) int { return len(b) - len(a) })
		frags := []fragment{{0, len(text), -1}}
		for _, s := range order {
			var next []fragment
			for _, f := range frags {
				for f.id < 0 {
					i := strings.Index(text[f.start:f.end], s)
					if i < 0 {
						break
					}
					if i > 0 {
						next = append(next, fragment{f.start, f.start + i, -1})
					}
					next = append(next, fragment{f.start + i, f.start + i + len(s), decode.Token(slices.Index(specials, s))})
					f.start += i + len(s)
				}
				if f.id >= 0 || f.start < f.end {
					next = append(next, f)
				}
			}
			frags = next
		}
		return frags
	}
	m := &matcher{}
	for i, s := range specials {
		m.add(s, decode.Token(i), false)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		var b strings.Builder
		for range 1 + r.IntN(12) {
			b.WriteString([]string{"<", "a", "b", "c", ">", " ", "<ab>", "x"}[r.IntN(8)])
		}
		s := b.String()
		if got, want := m.split(s), slow(s); !slices.Equal(got, want) {
			t.Fatalf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestPhi3SpecialsSwallowSpace(t *testing.T) {
	v := spmVocab("▁", "a")
	v.Name = "Phi-3 mini"
	v.Tokens = append(v.Tokens, "<|user|>")
	v.Types = append(v.Types, TypeUserDefined)
	v.Scores = append(v.Scores, 0)
	tok := mustNew(t, v)
	if got := tok.spell(tok.Encode("<|user|> \n a<s> a", EncodeOptions{ParseSpecial: true})); got != "<|user|>|▁|a|<s>|▁|▁|a" {
		t.Error(got)
	}
}

func TestSentencePiece(t *testing.T) {
	no := false
	v := spmVocab("▁t", "he", "▁the", "in", "▁", "t", "h", "e", "i", "n", "日")
	bare := v
	bare.AddSpacePrefix = &no
	for _, c := range []struct {
		v        Vocab
		in, want string
	}{
		{v, "the in", "▁the|▁|in"},
		{v, "hthe", "▁|h|t|he"},                            // the best score first, wherever it stands
		{v, "日é", "▁|日|<0xC3>|<0xA9>"},                     // what is no piece falls back to bytes
		{v, "\xff\n", "▁|<0xFF>|<0x0A>"},                   // invalid bytes too
		{v, "the<s>the", "▁the|<0x3C>|<0x73>|<0x3E>|t|he"}, // control tokens are text without ParseSpecial
		{bare, "the in", "t|he|▁|in"},
		{v, "", ""},
	} {
		tok := mustNew(t, c.v)
		ids := tok.Encode(c.in, EncodeOptions{})
		if got := tok.spell(ids); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
		if got, want := tok.Decode(ids, false), strings.ToValidUTF8(c.in, "\ufffd"); got != want {
			t.Errorf("%q is decoded as %q", c.in, got)
		}
	}
	tok := mustNew(t, v)
	opts := EncodeOptions{AddSpecial: true, ParseSpecial: true}
	if got := tok.spell(tok.Encode("the<s>the", opts)); got != "<s>|▁the|<s>|▁the" { // a prefix after each special token
		t.Error(got)
	}
	if got := tok.Decode(tok.Encode(" the", opts), false); got != " the" {
		t.Errorf("text that starts with a space is decoded as %q", got)
	}
	// Without byte tokens a character is one unknown token.
	small := Vocab{Model: "llama", Tokens: []string{"<unk>", "a", "▁"}, Types: []int32{TypeUnknown, TypeNormal, TypeNormal},
		Scores: []float32{0, 0, 0}, BOS: -1, EOS: -1, EOT: -1, EOM: -1, UNK: 0, PAD: -1, AddBOS: &no}
	tok = mustNew(t, small)
	if got := tok.spell(tok.Encode("a日a", EncodeOptions{})); got != "▁|a|<unk>|a" {
		t.Error(got)
	}
}

func TestStopTokens(t *testing.T) {
	v := byteVocab("qwen2", []string{"a b"}, TypeControl, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eom_id|>", "<|fim_pad|>", "<|file_sep|>", "</s>", "<end>")
	v.EOS = 259
	v.Stop = []decode.Token{264}
	tok := mustNew(t, v)
	if want := []decode.Token{257, 259, 260, 261, 262, 263, 264}; !slices.Equal(tok.StopTokens(), want) {
		t.Errorf("stop tokens %v, want %v", tok.StopTokens(), want)
	}
	if tok.EOT() != 259 {
		t.Errorf("eot %d, want that of <|im_end|>, 259", tok.EOT())
	}
	v = byteVocab("qwen2", []string{"a b"}, TypeNormal, "<|end|>", "<|return|>", "<|call|>")
	if tok = mustNew(t, v); !slices.Equal(tok.StopTokens(), []decode.Token{258, 259}) || !tok.IsControl(258) || tok.IsControl(257) {
		t.Errorf("<|end|> beside <|return|> and <|call|> is an ordinary delimiter: stop tokens %v", tok.StopTokens())
	}
}

func TestBadVocabularies(t *testing.T) {
	good := func() Vocab { return byteVocab("qwen2", []string{"a b"}, 0) }
	yes := true
	for _, c := range []struct {
		name string
		edit func(*Vocab)
		want string
	}{
		{"bert", func(v *Vocab) { v.Model = "bert" }, `model "bert" is not supported; supported are gpt2`},
		{"t5", func(v *Vocab) { v.Model = "t5" }, `model "t5" is not supported`},
		{"no model", func(v *Vocab) { v.Model = "" }, "no tokenizer.ggml.model"},
		{"no_vocab", func(v *Vocab) { v.Model = "no_vocab" }, "the file has no vocabulary"},
		{"empty", func(v *Vocab) { v.Tokens = nil }, "empty vocabulary"},
		{"pre", func(v *Vocab) { v.Pre = "klingon" }, `pre-tokenizer "klingon" is not supported; supported are a.x-4.0, `},
		{"no merges", func(v *Vocab) { v.Merges = nil }, "without merges"},
		{"unknown piece", func(v *Vocab) { v.Merges = []string{"a zz"} }, `merge 0: "a zz": no token "zz"`},
		{"unknown result", func(v *Vocab) { v.Merges = []string{"b a"} }, `merge 0: "b a": no token "ba"`},
		{"no space", func(v *Vocab) { v.Merges = []string{"a b", "ab"} }, `merge 1: "ab" is not two pieces`},
		{"empty merge", func(v *Vocab) { v.Merges = []string{""} }, `merge 0: "" is not two pieces`},
		{"duplicate", func(v *Vocab) { v.Tokens[9] = v.Tokens[4] }, `tokens 4 and 9 are both "Ą"`},
		{"types", func(v *Vocab) { v.Types = v.Types[:7] }, "7 token types for 257 tokens"},
		{"scores", func(v *Vocab) { v.Scores = make([]float32, 9) }, "9 scores for 257 tokens"},
		{"bos", func(v *Vocab) { v.BOS = 300 }, "bos token 300 is outside the vocabulary of 257"},
		{"eos", func(v *Vocab) { v.EOS = -2 }, "eos token -2 is outside"},
		{"stop", func(v *Vocab) { v.Stop = []decode.Token{999} }, "stop token 999 is outside"},
		{"add bos", func(v *Vocab) { v.AddBOS = &yes }, "start with the bos token, but there is none"},
		{"add eos", func(v *Vocab) { v.AddEOS = &yes }, "end with the eos token, but there is none"},
		{"byte", func(v *Vocab) { v.Types[3] = TypeByte }, `token 3 has type byte but is "ă"`},
		{"no scores", func(v *Vocab) { *v = spmVocab("a"); v.Scores = nil }, `model "llama" without scores`},
		{"NaN", func(v *Vocab) { *v = spmVocab("a"); v.Scores[4] = float32(math.NaN()) }, "token 4 has score NaN"},
		{"no byte tokens", func(v *Vocab) { *v = spmVocab("a"); v.UNK = -1; v.Tokens[3] = "z" }, "byte 0x00 has no token, and there is no unknown token"},
	} {
		v := good()
		c.edit(&v)
		_, err := New(v)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer: ") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if errors.Is(err, ErrNoVocab) != (c.name == "no_vocab") {
			t.Errorf("%s: ErrNoVocab is %t", c.name, errors.Is(err, ErrNoVocab))
		}
	}
	if _, err := New(good()); err != nil {
		t.Errorf("the vocabulary that the others are made from: %v", err)
	}
}

func TestCompatible(t *testing.T) {
	make := func(edit func(*Vocab)) *Tokenizer {
		v := byteVocab("qwen2", []string{"a b"}, TypeControl, "<|im_end|>", "<pad>")
		if edit != nil {
			edit(&v)
		}
		return mustNew(t, v)
	}
	yes := true
	pad := func(n int) func(*Vocab) {
		return func(v *Vocab) {
			for i := range n {
				v.Tokens, v.Types = append(v.Tokens, fmt.Sprintf("[%d]", i)), append(v.Types, TypeUnused)
			}
		}
	}
	for _, c := range []struct {
		name          string
		target, draft func(*Vocab)
		want          string
	}{
		{"same", nil, nil, ""},
		{"padded target", pad(128), nil, ""},
		{"larger target", pad(129), nil, "it has 259 tokens, the target 388; at most 128 apart"},
		{"larger draft", nil, pad(1), "it has 260 tokens, more than the target's 259"},
		{"text", nil, func(v *Vocab) { v.Tokens[258] = "<x>" }, `token 258 is "<x>", the target's "<pad>"`},
		{"first ids", nil, func(v *Vocab) { v.Tokens[4] = "<x>" }, ""},
		{"id 5", nil, func(v *Vocab) { v.Tokens[5] = "<x>" }, `token 5 is "<x>"`},
		{"bos", nil, func(v *Vocab) { v.BOS = 257; v.AddBOS = &yes }, "prompts get bos token 257, the target's prompts get no bos token"},
		{"eos", func(v *Vocab) { v.EOS = 257; v.AddEOS = &yes }, func(v *Vocab) { v.EOS = 258; v.AddEOS = &yes }, "eos token 258, the target's prompts get eos token 257"},
		{"model", nil, func(v *Vocab) { *v = spmVocab("a") }, `its model is "llama", the target's "gpt2"`},
	} {
		err := Compatible(make(c.target), make(c.draft))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// For any ids, what a stream writes is what the pieces hold, with invalid bytes replaced.
func TestStream(t *testing.T) {
	tok := mustNew(t, byteVocab("qwen2", []string{"Ã ©", "ð Ł"}, TypeControl, "<|im_end|>"))
	r := rand.New(rand.NewPCG(5, 6))
	good := tok.Encode("aé日😀😀日é", EncodeOptions{})
	for round := range 3000 {
		var ids []decode.Token
		for range r.IntN(20) {
			if r.IntN(2) == 0 {
				i := r.IntN(len(good))
				ids = append(ids, good[i:]...)
			} else {
				ids = append(ids, decode.Token(r.IntN(tok.Size()+4)-2))
			}
		}
		for _, special := range []bool{false, true} {
			var raw []byte
			for _, id := range ids {
				if special || !tok.IsControl(id) {
					raw = append(raw, tok.Piece(id)...)
				}
			}
			want := string([]rune(string(raw))) // Go's own conversion: U+FFFD for each invalid byte
			if got := tok.Decode(ids, special); got != want {
				t.Fatalf("round %d: %v: Decode gives %q, want %q", round, ids, got, want)
			}
			var got strings.Builder
			s := tok.NewStream(special)
			for i := 0; i < len(ids); {
				n := min(1+r.IntN(3), len(ids)-i)
				part := s.Write(ids[i : i+n]...)
				i += n
				if !utf8.ValidString(part) {
					t.Fatalf("round %d: %v: part %q is not UTF-8", round, ids, part)
				}
				got.WriteString(part)
			}
			got.WriteString(s.Flush())
			if got.String() != want {
				t.Fatalf("round %d: %v: the stream writes %q, want %q", round, ids, got.String(), want)
			}
		}
	}
	s := tok.NewStream(false)
	if got := s.Write(good[1]) + "," + s.Write('\xe6') + "," + s.Write('\x97', '\xa5') + "," + s.Write('\xf0'); got != "é,,日," {
		t.Errorf("character by character: %q", got)
	}
	if got := s.Flush(); got != "\ufffd" {
		t.Errorf("a character cut short: %q", got)
	}
	if got := s.Flush(); got != "" {
		t.Errorf("nothing left: %q", got)
	}
}

func TestPieces(t *testing.T) {
	v := byteVocab("qwen2", []string{"Ã ©"}, TypeUnused, "reserved", "")
	v.Types[len(v.Types)-1] = TypeNormal
	tok := mustNew(t, v)
	for _, c := range []struct {
		id   decode.Token
		want []byte
	}{{'\n', []byte("\n")}, {256, []byte("é")}, {257, nil}, {258, []byte("[EMPTY_258]")}, {-1, nil}, {259, nil}, {math.MaxInt32, nil}, {math.MinInt32, nil}} {
		if got := tok.Piece(c.id); !bytes.Equal(got, c.want) {
			t.Errorf("piece %d is %q, want %q", c.id, got, c.want)
		}
	}
}

// Long words are encoded in n·log n; in n² this test would take hours.
func TestLongWords(t *testing.T) {
	bpe := mustNew(t, byteVocab("qwen2", []string{"Ġ Ġ", "ĠĠ ĠĠ", "ĠĠĠĠ ĠĠĠĠ", "a a", "aa aa", "a b"}, TypeUserDefined, "<t>", "\t\t"))
	spm := mustNew(t, spmVocab("▁▁", "▁▁▁▁", "aa", "aaaa", "▁", "a"))
	for _, s := range []string{" ", "a", "ab", "\t", "<t", "<t>", "\n \n", "日", "\xff", "!"} {
		size := 1 << 18
		if s == " " {
			size = 1 << 20
		}
		long := strings.Repeat(s, size/len(s))
		for _, tok := range []*Tokenizer{bpe, spm} {
			if tok.Decode(tok.Encode(long, EncodeOptions{ParseSpecial: true}), true) != string([]rune(long)) {
				t.Errorf("%s: %d bytes of %q do not survive", tok.model, size, s)
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := mustNew(t, byteVocab("qwen2", []string{"h e", "l l", "he ll"}, 0))
	want := tok.Encode("hell hello he", EncodeOptions{})
	done := make(chan bool)
	for range 8 {
		go func() {
			ok := true
			for i := range 200 {
				ok = ok && slices.Equal(tok.Encode("hell hello he", EncodeOptions{}), want)
				tok.Encode(fmt.Sprint("w", i), EncodeOptions{})
			}
			done <- ok
		}()
	}
	for range 8 {
		if !<-done {
			t.Error("ids differ")
		}
	}
}

// The cache may neither grow without bound nor lose words it has to find again.
func TestCacheIsBounded(t *testing.T) {
	tok := mustNew(t, byteVocab("qwen2", []string{"a b"}, 0))
	for i := range maxCachedWords + 100 {
		s := fmt.Sprintf("w%c%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26, 'a'+i/17576)
		if got := tok.Decode(tok.Encode(s, EncodeOptions{}), false); got != s {
			t.Fatalf("%q becomes %q", s, got)
		}
	}
	if n := len(tok.words.(*bpe).cache.words); n > maxCachedWords {
		t.Errorf("%d words in the cache, at most %d", n, maxCachedWords)
	}
}

func FuzzRoundTrip(f *testing.F) {
	bpe := mustNew(f, byteVocab("dbrx", []string{"h e", "l l", "he ll", "Ġ t", "Ġt he", "Ã ©"}, TypeControl, "<|im_end|>", "<|begin|>"))
	spm := mustNew(f, spmVocab("▁t", "he", "▁the", "▁", "t", "h", "e", "日"))
	for _, s := range samples {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			bpe.Encode(s, EncodeOptions{ParseSpecial: true}) // must only not panic
			spm.Encode(s, EncodeOptions{ParseSpecial: true})
			return
		}
		for _, parse := range []bool{false, true} {
			if got := bpe.Decode(bpe.Encode(s, EncodeOptions{ParseSpecial: parse}), true); got != s {
				t.Errorf("byte-level: %q becomes %q", s, got)
			}
		}
		// SentencePiece itself cannot tell ▁ from a space.
		if got := spm.Decode(spm.Encode(s, EncodeOptions{}), true); got != strings.ReplaceAll(s, spmSpace, " ") {
			t.Errorf("SentencePiece: %q becomes %q", s, got)
		}
	})
}
