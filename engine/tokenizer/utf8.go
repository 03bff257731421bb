package tokenizer

import "unicode/utf8"

// codePoints decodes text as llama.cpp's unicode_cpts_from_utf8 does. It is
// more lenient than unicode/utf8: surrogates and overlong forms are taken as
// what they spell. A byte that fits nowhere is U+FFFD; so is, unlike in
// llama.cpp, which fails, the first byte of a code point above U+10FFFF.
func codePoints(text string) []rune {
	out := make([]rune, 0, len(text))
	for i := 0; i < len(text); {
		b := text[i]
		if b < 0x80 {
			out = append(out, rune(b))
			i++
			continue
		}
		n, r := 0, rune(0)
		switch {
		case b&0xe0 == 0xc0:
			n, r = 2, rune(b&0x1f)
		case b&0xf0 == 0xe0:
			n, r = 3, rune(b&0x0f)
		case b&0xf8 == 0xf0:
			n, r = 4, rune(b&0x07)
		}
		ok := n > 0 && i+n <= len(text)
		for k := 1; ok && k < n; k++ {
			c := text[i+k]
			ok = c&0xc0 == 0x80
			r = r<<6 | rune(c&0x3f)
		}
		if !ok || r > utf8.MaxRune {
			out = append(out, utf8.RuneError)
			i++
			continue
		}
		out = append(out, r)
		i += n
	}
	return out
}

// appendCodePoints is the inverse: it writes surrogates as they are, which
// utf8.AppendRune would replace.
func appendCodePoints(dst []byte, chars []rune) []byte {
	for _, r := range chars {
		if 0xd800 <= r && r <= 0xdfff {
			dst = append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
