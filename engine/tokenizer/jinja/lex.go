package jinja

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF       tokenKind = iota
	tokText                // template text, white space control applied
	tokOpenExpr            // {{
	tokCloseExpr           // }}
	tokOpenStmt            // {%
	tokCloseStmt           // %}
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokenKind
	text string // of a string: its value
	line int
}

const blank = " \t\n\v\f\r"

// lex splits source into tokens. The rules for white space are Jinja's with
// trim_blocks (the line end after a statement or comment goes) and
// lstrip_blocks (so do blanks between the start of a line and one); a minus
// sign inside a tag strips all white space on its side, a plus sign none.
func lex(source string) ([]token, error) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, line: 1}
	lineStart := true // whether the text to come starts a line
	stripNext := false
	for l.pos < len(source) {
		start := l.pos
		at := nextTag(source, start)
		text := source[start:at]
		if stripNext {
			text = strings.TrimLeft(text, blank)
		}
		stripNext = false
		if at == len(source) {
			l.emit(tokText, text)
			break
		}
		kind := source[at+1]
		mark := byte(0)
		if at+2 < len(source) && (source[at+2] == '-' || source[at+2] == '+') {
			mark = source[at+2]
		}
		switch {
		case mark == '-':
			text = strings.TrimRight(text, blank)
		case mark == 0 && kind != '{':
			if i := strings.LastIndexByte(text, '\n') + 1; i > 0 || lineStart {
				if strings.Trim(text[i:], " \t") == "" {
					text = text[:i]
				}
			}
		}
		l.emit(tokText, text)
		l.line += strings.Count(source[start:at], "\n")
		l.pos = at + 2
		if mark != 0 {
			l.pos++
		}
		var err error
		switch kind {
		case '#':
			end := strings.Index(source[l.pos:], "#}")
			if end < 0 {
				return nil, errorf(l.line, "comment without end")
			}
			l.line += strings.Count(source[l.pos:l.pos+end], "\n")
			mark = 0
			if end > 0 {
				mark = source[l.pos+end-1]
			}
			l.pos += end + 2
		case '{':
			l.emit(tokOpenExpr, "{{")
			if mark, err = l.tag("}}"); err != nil {
				return nil, err
			}
			l.emit(tokCloseExpr, "}}")
		default:
			l.emit(tokOpenStmt, "{%")
			first := len(l.toks)
			if mark, err = l.tag("%}"); err != nil {
				return nil, err
			}
			l.emit(tokCloseStmt, "%}")
			if len(l.toks) == first+2 && l.toks[first].text == "raw" {
				l.toks = l.toks[:first-1]
				if mark, err = l.raw(mark); err != nil {
					return nil, err
				}
			}
		}
		lineStart = false
		switch {
		case mark == '-':
			stripNext = true
		case kind != '{' && mark != '+' && l.pos < len(source) && source[l.pos] == '\n':
			l.pos++
			l.line++
			lineStart = true
		}
	}
	l.emit(tokEOF, "")
	return l.toks, nil
}

// nextTag is the start of the next tag at or after i, or the end of s.
func nextTag(s string, i int) int {
	for ; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return len(s)
}

type lexer struct {
	src  string
	pos  int
	line int
	toks []token
}

func (l *lexer) emit(kind tokenKind, text string) {
	if kind == tokText && text == "" {
		return
	}
	l.toks = append(l.toks, token{kind, text, l.line})
}

var endRaw = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)

// raw reads text up to {% endraw %}, as it is.
func (l *lexer) raw(mark byte) (byte, error) {
	text := l.src[l.pos:]
	m := endRaw.FindStringSubmatchIndex(text)
	if m == nil {
		return 0, errorf(l.line, "raw without endraw")
	}
	body := text[:m[0]]
	if mark == '-' { // trim_blocks does not apply here
		body = strings.TrimLeft(body, blank)
	}
	switch sign := text[m[2]:m[3]]; sign {
	case "-":
		body = strings.TrimRight(body, blank)
	case "":
		if i := strings.LastIndexByte(body, '\n') + 1; i > 0 {
			if strings.Trim(body[i:], " \t") == "" {
				body = body[:i]
			}
		}
	}
	l.emit(tokText, body)
	l.line += strings.Count(text[:m[1]], "\n")
	l.pos += m[1]
	if m[5] > m[4] {
		return text[m[4]], nil
	}
	return 0, nil
}

var operators = []string{"//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "="}

// tag reads tokens up to end, and returns the sign before it, if there is one.
func (l *lexer) tag(end string) (mark byte, err error) {
	depth := 0 // of braces: "}}" can close two dictionaries
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		rest := l.src[l.pos:]
		switch {
		case c == '\n':
			l.line++
			l.pos++
			continue
		case strings.IndexByte(blank, c) >= 0:
			l.pos++
			continue
		case depth == 0 && strings.HasPrefix(rest, end):
			l.pos += 2
			return 0, nil
		case depth == 0 && (c == '-' || c == '+') && strings.HasPrefix(rest[1:], end):
			l.pos += 3
			return c, nil
		case isNameStart(c):
			n := 1
			for n < len(rest) && (isNameStart(rest[n]) || isDigit(rest[n])) {
				n++
			}
			l.emit(tokName, rest[:n])
			l.pos += n
			continue
		case isDigit(c):
			l.number(rest)
			continue
		case c == '\'' || c == '"':
			if err := l.str(rest, c); err != nil {
				return 0, err
			}
			continue
		}
		op := ""
		for _, o := range operators {
			if strings.HasPrefix(rest, o) {
				op = o
				break
			}
		}
		switch op {
		case "":
			r, _ := utf8.DecodeRuneInString(rest)
			return 0, errorf(l.line, "unexpected character %q", r)
		case "{":
			depth++
		case "}":
			depth--
		}
		l.emit(tokOp, op)
		l.pos += len(op)
	}
	return 0, errorf(l.line, "tag without %q", end)
}

func isNameStart(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool     { return '0' <= c && c <= '9' }

func (l *lexer) number(s string) {
	n := 1
	kind := tokInt
	for n < len(s) && (isDigit(s[n]) || s[n] == '_') {
		n++
	}
	if n+1 < len(s) && s[n] == '.' && isDigit(s[n+1]) {
		kind = tokFloat
		n++
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	l.emit(kind, strings.ReplaceAll(s[:n], "_", ""))
	l.pos += n
}

// str reads a string with Python's escapes.
func (l *lexer) str(s string, quote byte) error {
	var b strings.Builder
	line := l.line
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case quote:
			l.toks = append(l.toks, token{tokString, b.String(), line})
			l.pos += i + 1
			return nil
		case '\n':
			l.line++
			b.WriteByte(c)
		case '\\':
			if i++; i == len(s) {
				break
			}
			digits := 0
			switch e := s[i]; e {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case '\\', '\'', '"':
				b.WriteByte(e)
			case 'x':
				digits = 2
			case 'u':
				digits = 4
			default:
				b.WriteByte('\\')
				b.WriteByte(e)
			}
			if digits > 0 {
				if i+digits >= len(s) {
					return errorf(l.line, "escape sequence cut short")
				}
				r, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
				if err != nil {
					return errorf(l.line, "bad escape sequence %q", s[i-1:i+1+digits])
				}
				b.WriteRune(rune(r))
				i += digits
			}
		default:
			b.WriteByte(c)
		}
	}
	return errorf(line, "string without end")
}
