// Package jinja renders the Jinja templates in which model files say how a
// chat becomes a prompt.
//
// It is the part of Jinja 2 that such templates use, set up as transformers'
// apply_chat_template and llama.cpp do: trim_blocks and lstrip_blocks on,
// nothing escaped, values immutable except namespaces. Tuples are lists, which
// shows only where a template prints one whole. A template comes from a
// file that nobody has looked at, so it can reach nothing but its variables,
// and Render stops it with an error when it exceeds the Limits. (General Jinja
// libraries cannot promise that: a macro that calls itself, or a namespace that
// contains itself, exhausts the stack of the process.)
package jinja

import (
	"fmt"
	"strings"
)

// Limits bound a rendering.
type Limits struct {
	Steps int // expressions evaluated and statements executed
	Bytes int // text and list entries (16 bytes each) produced, intermediate results included
}

// DefaultLimits suit a chat whose messages have the given number of bytes.
func DefaultLimits(input int) Limits {
	return Limits{Steps: 1 << 21, Bytes: 16<<20 + 64*input}
}

const (
	maxSource    = 1 << 20 // bytes of a template
	maxNesting   = 200     // of expressions and statements in each other
	maxCallDepth = 50      // of macro calls
	maxDepth     = 50      // of values in each other
	entryBytes   = 16
)

// Error is what went wrong in a template, with the line of its source.
type Error struct {
	Line int
	Msg  string
	// Raised says that the template itself refused its input, with raise_exception.
	Raised bool
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

func errorf(line int, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...)}
}

// Template is a parsed template. It may be rendered concurrently.
type Template struct{ body []node }

// Parse reads a template. The error is an *Error.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, errorf(1, "template of %d bytes; at most %d", len(source), maxSource)
	}
	toks, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	body, err := p.body()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != tokEOF {
		return nil, errorf(p.peek().line, "unexpected {%% %s %%}", p.peekAt(1).text)
	}
	return &Template{body}, nil
}

// Render executes the template with the given variables: nil, bool, int, int64,
// float64, string, []any, map[string]any (in the order of its sorted keys) and
// Func. The error is an *Error.
func (t *Template) Render(vars map[string]any, limits Limits) (string, error) {
	r := &render{limits: limits, out: &strings.Builder{}}
	globals := &scope{vars: map[string]any{"range": Func(r.rangeFunc), "namespace": Func(r.namespaceFunc), "dict": Func(r.dictFunc)}}
	for name, v := range vars {
		x, err := fromGo(v, 0)
		if err != nil {
			return "", errorf(1, "variable %q: %v", name, err)
		}
		globals.vars[name] = x
	}
	// Functions may be redefined by the template, so they live one scope out.
	if _, err := r.run(&scope{parent: globals, vars: map[string]any{}}, t.body); err != nil {
		return "", err
	}
	return r.out.String(), nil
}
