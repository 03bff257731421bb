package jinja

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values are nil, bool, int64, float64, string, *list, *dict, undefined and
// Func. Lists and dicts do not change once made, except dicts that are
// namespaces, so a value can contain itself only through a namespace.

type list struct{ items []any }

type dict struct {
	keys      []string // in order of insertion
	vals      map[string]any
	namespace bool
}

// undefined is the value of a name or member that does not exist.
type undefined struct{ name string }

// Func is a function that templates can call.
type Func func(args []any, named map[string]any) (any, error)

func newDict() *dict { return &dict{vals: map[string]any{}} }

func (d *dict) set(key string, v any) {
	if _, ok := d.vals[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.vals[key] = v
}

// fromGo converts a variable.
func fromGo(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string, Func:
		return v, nil
	case int:
		return int64(v), nil
	case []any:
		l := &list{}
		for _, x := range v {
			y, err := fromGo(x, depth+1)
			if err != nil {
				return nil, err
			}
			l.items = append(l.items, y)
		}
		return l, nil
	case map[string]any:
		d := newDict()
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			y, err := fromGo(v[k], depth+1)
			if err != nil {
				return nil, err
			}
			d.set(k, y)
		}
		return d, nil
	}
	return nil, fmt.Errorf("templates cannot hold a %T", v)
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0 || v.namespace
	}
	return true
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "none"
	case undefined:
		return "undefined"
	case bool:
		return "boolean"
	case int64, float64:
		return "number"
	case string:
		return "string"
	case *list:
		return "list"
	case *dict:
		return "mapping"
	}
	return "function"
}

// number returns v as a float64; booleans count as in Python.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	}
	return 0, false
}

// equal is Python's ==. Values nested deeper than maxDepth are unequal.
func equal(a, b any, depth int) bool {
	if depth > maxDepth {
		return false
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		s, ok := b.(string)
		return ok && a == s
	case *list:
		l, ok := b.(*list)
		return ok && slices.EqualFunc(a.items, l.items, func(x, y any) bool { return equal(x, y, depth+1) })
	case *dict:
		d, ok := b.(*dict)
		if !ok || len(a.keys) != len(d.keys) {
			return false
		}
		for _, k := range a.keys {
			y, ok := d.vals[k]
			if !ok || !equal(a.vals[k], y, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// writer collects text within a budget.
type writer struct {
	r *render
	b strings.Builder
}

func (w *writer) add(s string) error {
	if err := w.r.spend(len(s)); err != nil {
		return err
	}
	w.b.WriteString(s)
	return nil
}

// str is Python's str(v).
func (r *render) str(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case undefined:
		return "", nil
	}
	w := &writer{r: r}
	err := w.repr(v, 0)
	return w.b.String(), err
}

// repr writes Python's repr(v).
func (w *writer) repr(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("value nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return w.add("None")
	case undefined:
		return w.add("Undefined")
	case bool:
		if v {
			return w.add("True")
		}
		return w.add("False")
	case int64:
		return w.add(strconv.FormatInt(v, 10))
	case float64:
		return w.add(formatFloat(v))
	case string:
		return w.add(quotePython(v))
	case *list:
		return w.sequence("[", "]", len(v.items), func(i int) error { return w.repr(v.items[i], depth+1) })
	case *dict:
		return w.sequence("{", "}", len(v.keys), func(i int) error {
			if err := w.add(quotePython(v.keys[i]) + ": "); err != nil {
				return err
			}
			return w.repr(v.vals[v.keys[i]], depth+1)
		})
	}
	return w.add("<function>")
}

func (w *writer) sequence(open, end string, n int, item func(i int) error) error {
	if err := w.add(open); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := w.add(", "); err != nil {
				return err
			}
		}
		if err := item(i); err != nil {
			return err
		}
	}
	return w.add(end)
}

func formatFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	case f == math.Trunc(f) && math.Abs(f) < 1e16:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func quotePython(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, c := range s {
		switch {
		case c == rune(q) || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte(q)
	return b.String()
}

// json writes v as Python's json.dumps(v, ensure_ascii=False, indent=indent)
// does; indent 0 means one line.
func (w *writer) json(v any, indent, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("value nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return w.add("null")
	case bool:
		return w.add(strconv.FormatBool(v))
	case int64, float64:
		return w.repr(v, depth)
	case string:
		return w.add(quoteJSON(v))
	case *list:
		return w.jsonItems("[", "]", len(v.items), indent, depth, func(i int) error { return w.json(v.items[i], indent, depth+1) })
	case *dict:
		return w.jsonItems("{", "}", len(v.keys), indent, depth, func(i int) error {
			if err := w.add(quoteJSON(v.keys[i]) + ": "); err != nil {
				return err
			}
			return w.json(v.vals[v.keys[i]], indent, depth+1)
		})
	}
	return fmt.Errorf("%s is not JSON", kindOf(v))
}

func (w *writer) jsonItems(open, end string, n, indent, depth int, item func(i int) error) error {
	if indent == 0 || n == 0 {
		return w.sequence(open, end, n, item)
	}
	line := func(depth int) error { return w.add("\n" + strings.Repeat(" ", indent*depth)) }
	if err := w.add(open); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := w.add(","); err != nil {
				return err
			}
		}
		if err := line(depth + 1); err != nil {
			return err
		}
		if err := item(i); err != nil {
			return err
		}
	}
	if err := line(depth); err != nil {
		return err
	}
	return w.add(end)
}

func quoteJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\b':
			b.WriteString(`\b`)
		case c == '\f':
			b.WriteString(`\f`)
		case c < 0x20:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// length is Python's len(v).
func length(v any) (int64, bool) {
	switch v := v.(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), true
	case *list:
		return int64(len(v.items)), true
	case *dict:
		return int64(len(v.keys)), true
	case undefined:
		return 0, true
	}
	return 0, false
}

// items returns what a loop over v goes through, charged to the budget.
func (r *render) items(v any) ([]any, error) {
	var out []any
	switch v := v.(type) {
	case undefined:
		return nil, nil
	case *list:
		return v.items, nil
	case *dict:
		for _, k := range v.keys {
			out = append(out, k)
		}
	case string:
		if err := r.spend(entryBytes * len(v)); err != nil {
			return nil, err
		}
		for _, c := range v {
			out = append(out, string(c))
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%s cannot be looped over", kindOf(v))
	}
	return out, r.spend(entryBytes * len(out))
}
