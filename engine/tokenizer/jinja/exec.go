package jinja

import (
	"errors"
	"fmt"
	"strings"
)

// render is the state of one rendering.
type render struct {
	limits Limits
	steps  int
	bytes  int
	calls  int // depth of macro calls
	evals  int // depth of expressions
	out    *strings.Builder
}

// scope holds the variables of a loop round, a macro call or the template.
type scope struct {
	parent *scope
	vars   map[string]any
}

func (s *scope) lookup(name string) any {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v
		}
	}
	return undefined{name}
}

func (s *scope) inner() *scope { return &scope{parent: s, vars: map[string]any{}} }

func (r *render) step() error {
	if r.steps++; r.steps > r.limits.Steps {
		return fmt.Errorf("more than %d steps", r.limits.Steps)
	}
	return nil
}

func (r *render) spend(bytes int) error {
	if bytes < 0 || bytes > r.limits.Bytes-r.bytes {
		return fmt.Errorf("more than %d bytes of text", r.limits.Bytes)
	}
	r.bytes += bytes
	return nil
}

// at gives err a line, unless it has one.
func at(line int, err error) error {
	if err == nil {
		return nil
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		if e.Line == 0 {
			e.Line = line
		}
		return e
	}
	return errorf(line, "%v", err)
}

func (r *render) write(s string) error {
	if err := r.spend(len(s)); err != nil {
		return err
	}
	r.out.WriteString(s)
	return nil
}

// flow is how a body ended.
type flow uint8

const (
	flowOn flow = iota
	flowBreak
	flowContinue
)

func (r *render) run(s *scope, body []node) (flow, error) {
	for _, n := range body {
		if f, err := r.exec(s, n); err != nil || f != flowOn {
			return f, err
		}
	}
	return flowOn, nil
}

func (r *render) exec(s *scope, n node) (flow, error) {
	if err := r.step(); err != nil {
		return flowOn, at(lineOf(n), err)
	}
	switch n := n.(type) {
	case *textNode:
		return flowOn, at(1, r.write(n.text))
	case *outputNode:
		v, err := r.eval(s, n.x)
		if err != nil {
			return flowOn, err
		}
		text, err := r.str(v)
		if err == nil {
			err = r.write(text)
		}
		return flowOn, at(n.line, err)
	case *ifNode:
		for i, c := range n.conds {
			v, err := r.eval(s, c)
			if err != nil {
				return flowOn, err
			}
			if truth(v) {
				return r.run(s, n.then[i])
			}
		}
		return r.run(s, n.other)
	case *forNode:
		return r.loop(s, n)
	case *setNode:
		return flowOn, r.set(s, n)
	case *macroNode:
		s.vars[n.name] = r.macro(s, n)
		return flowOn, nil
	case *filterNode:
		text, err := r.capture(s, n.body)
		if err != nil {
			return flowOn, err
		}
		v, err := r.eval(s.with(text), n.filter)
		if err != nil {
			return flowOn, err
		}
		out, err := r.str(v)
		if err == nil {
			err = r.write(out)
		}
		return flowOn, at(n.line, err)
	case *withNode:
		in := s.inner()
		for i, name := range n.names {
			v, err := r.eval(s, n.xs[i])
			if err != nil {
				return flowOn, err
			}
			in.vars[name] = v
		}
		return r.run(in, n.body)
	case *breakNode:
		return flowBreak, nil
	case *continueNode:
		return flowContinue, nil
	}
	panic(fmt.Sprintf("internal error: statement %T", n))
}

func lineOf(n node) int {
	switch n := n.(type) {
	case *outputNode:
		return n.line
	case *ifNode:
		return n.line
	case *forNode:
		return n.line
	case *setNode:
		return n.line
	case *macroNode:
		return n.line
	}
	return 0
}

// capture returns what body prints.
func (r *render) capture(s *scope, body []node) (string, error) {
	out := r.out
	r.out = &strings.Builder{}
	defer func() { r.out = out }()
	_, err := r.run(s.inner(), body)
	return r.out.String(), err
}

// blockText is the name under which a filter block's placeholder finds the
// block's text; no template can spell it.
const blockText = "\x00block"

func (s *scope) with(text string) *scope {
	in := s.inner()
	in.vars[blockText] = text
	return in
}

func (r *render) set(s *scope, n *setNode) error {
	var v any
	var err error
	if n.x != nil {
		v, err = r.eval(s, n.x)
	} else {
		var text string
		if text, err = r.capture(s, n.body); err != nil {
			return err
		}
		v = text
		if n.filter != nil {
			v, err = r.eval(s.with(text), n.filter)
		}
	}
	if err != nil {
		return err
	}
	if n.attr != "" {
		d, ok := s.lookup(n.names[0]).(*dict)
		if !ok || !d.namespace {
			return errorf(n.line, "set of %s.%s: %s is no namespace", n.names[0], n.attr, n.names[0])
		}
		d.set(n.attr, v)
		return nil
	}
	return at(n.line, r.bind(s, n.names, v))
}

// bind assigns v to one name, or its items to several.
func (r *render) bind(s *scope, names []string, v any) error {
	if len(names) == 1 {
		s.vars[names[0]] = v
		return nil
	}
	items, err := r.items(v)
	if err != nil {
		return err
	}
	if len(items) != len(names) {
		return fmt.Errorf("%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		s.vars[name] = items[i]
	}
	return nil
}

func (r *render) loop(s *scope, n *forNode) (flow, error) {
	v, err := r.eval(s, n.in)
	if err != nil {
		return flowOn, err
	}
	items, err := r.items(v)
	if err != nil {
		return flowOn, at(n.line, err)
	}
	if n.cond != nil {
		var kept []any
		for _, item := range items {
			in := s.inner()
			if err := r.bind(in, n.names, item); err != nil {
				return flowOn, at(n.line, err)
			}
			ok, err := r.eval(in, n.cond)
			if err != nil {
				return flowOn, err
			}
			if truth(ok) {
				kept = append(kept, item)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		return r.run(s, n.other)
	}
	for i, item := range items {
		if err := r.step(); err != nil {
			return flowOn, at(n.line, err)
		}
		in := s.inner()
		if err := r.bind(in, n.names, item); err != nil {
			return flowOn, at(n.line, err)
		}
		in.vars["loop"] = loopValue(items, i)
		f, err := r.run(in, n.body)
		if err != nil {
			return flowOn, err
		}
		if f == flowBreak {
			break
		}
	}
	return flowOn, nil
}

// loopValue is the variable "loop" in round i.
func loopValue(items []any, i int) *dict {
	d := newDict()
	n := len(items)
	d.set("index", int64(i+1))
	d.set("index0", int64(i))
	d.set("revindex", int64(n-i))
	d.set("revindex0", int64(n-i-1))
	d.set("first", i == 0)
	d.set("last", i == n-1)
	d.set("length", int64(n))
	if i > 0 {
		d.set("previtem", items[i-1])
	}
	if i+1 < n {
		d.set("nextitem", items[i+1])
	}
	d.set("cycle", Func(func(args []any, _ map[string]any) (any, error) {
		if len(args) == 0 {
			return nil, fmt.Errorf("cycle without values")
		}
		return args[i%len(args)], nil
	}))
	return d
}

func (r *render) macro(s *scope, n *macroNode) Func {
	return func(args []any, named map[string]any) (any, error) {
		if r.calls++; r.calls > maxCallDepth {
			return nil, fmt.Errorf("macro %q: calls nested more than %d deep", n.name, maxCallDepth)
		}
		evals := r.evals
		r.evals = 0 // each call has its own nesting, of which there are maxCallDepth at most
		defer func() { r.calls--; r.evals = evals }()
		if len(args) > len(n.params) {
			return nil, fmt.Errorf("macro %q: %d arguments, takes %d", n.name, len(args), len(n.params))
		}
		in := s.inner()
		known := 0
		for i, p := range n.params {
			v, ok := named[p.name]
			switch {
			case ok:
				known++
			case i < len(args):
				v = args[i]
			case p.def != nil:
				var err error
				if v, err = r.eval(in, p.def); err != nil {
					return nil, err
				}
			default:
				v = undefined{p.name}
			}
			in.vars[p.name] = v
		}
		if known < len(named) {
			return nil, fmt.Errorf("macro %q: unknown argument name", n.name)
		}
		return r.capture(in, n.body)
	}
}
