package tokenizer

import (
	"unicode/utf8"

	"github.com/coordbench/coordbench/engine/decode"
)

// Stream prints tokens as they come, whole characters only. Everything written,
// and flushed at the end, is Decode of all the tokens.
type Stream struct {
	t       *Tokenizer
	special bool
	trim    bool   // the space that Encode puts before text is still to come
	rest    []byte // start of a character, at most 3 bytes between calls
}

// NewStream returns a Stream. Control tokens print nothing unless special is true.
func (t *Tokenizer) NewStream(special bool) *Stream {
	return &Stream{t: t, special: special, trim: t.spacePrefix}
}

// Write returns the characters that ids complete.
func (s *Stream) Write(ids ...decode.Token) string {
	for _, id := range ids {
		if !s.special && s.t.IsControl(id) {
			continue
		}
		p := s.t.Piece(id)
		if s.trim && len(p) > 0 {
			s.trim = false
			if p[0] == ' ' {
				p = p[1:]
			}
		}
		s.rest = append(s.rest, p...)
	}
	return s.take(false)
}

// Flush returns what is left, a character cut short, as one U+FFFD for each byte.
// The Stream is then as new.
func (s *Stream) Flush() string {
	out := s.take(true)
	s.trim = s.t.spacePrefix
	return out
}

// take removes and returns whole characters from rest, all of rest if last.
func (s *Stream) take(last bool) string {
	var out []byte
	i := 0
	for i < len(s.rest) && (last || utf8.FullRune(s.rest[i:])) {
		r, n := utf8.DecodeRune(s.rest[i:]) // an invalid byte is U+FFFD of length 1
		out = utf8.AppendRune(out, r)
		i += n
	}
	s.rest = append(s.rest[:0], s.rest[i:]...)
	return string(out)
}
