package jinja

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

const maxEvals = 1000 // depth of expressions in each other; a + b + … nests to the left

func (r *render) eval(s *scope, x expr) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	if r.evals++; r.evals > maxEvals {
		return nil, fmt.Errorf("expression nested more than %d deep", maxEvals)
	}
	defer func() { r.evals-- }()
	switch x := x.(type) {
	case *constExpr:
		return x.v, nil
	case *placeholder:
		return s.lookup(blockText), nil
	case *nameExpr:
		return s.lookup(x.name), nil
	case *listExpr:
		l := &list{}
		for _, e := range x.xs {
			v, err := r.eval(s, e)
			if err != nil {
				return nil, at(x.line, err)
			}
			l.items = append(l.items, v)
		}
		return l, at(x.line, r.spend(entryBytes*len(l.items)))
	case *dictExpr:
		d := newDict()
		for i := range x.keys {
			k, err := r.eval(s, x.keys[i])
			if err != nil {
				return nil, at(x.line, err)
			}
			v, err := r.eval(s, x.vals[i])
			if err != nil {
				return nil, at(x.line, err)
			}
			key, err := r.str(k)
			if err != nil {
				return nil, at(x.line, err)
			}
			d.set(key, v)
		}
		return d, at(x.line, r.spend(2*entryBytes*len(d.keys)))
	case *attrExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		v, err = r.attr(v, x.name)
		return v, at(x.line, err)
	case *indexExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		i, err := r.eval(s, x.i)
		if err != nil {
			return nil, at(x.line, err)
		}
		v, err = r.index(v, i)
		return v, at(x.line, err)
	case *sliceExpr:
		v, err := r.slice(s, x)
		return v, at(x.line, err)
	case *callExpr:
		f, err := r.eval(s, x.f)
		if err != nil {
			return nil, at(x.line, err)
		}
		fn, ok := f.(Func)
		if !ok {
			if u, ok := f.(undefined); ok {
				return nil, errorf(x.line, "function %q is not supported or not defined", u.name)
			}
			return nil, errorf(x.line, "%s is no function", kindOf(f))
		}
		pos, named, err := r.args(s, x.args)
		if err != nil {
			return nil, at(x.line, err)
		}
		v, err := fn(pos, named)
		return v, at(x.line, err)
	case *filterExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		pos, named, err := r.args(s, x.args)
		if err != nil {
			return nil, at(x.line, err)
		}
		v, err = r.filter(x.name, v, pos, named)
		return v, at(x.line, err)
	case *testExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		pos, _, err := r.args(s, x.args)
		if err != nil {
			return nil, at(x.line, err)
		}
		ok, err := r.test(x.name, v, pos)
		return ok != x.not, at(x.line, err)
	case *unaryExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		if x.op == "not" {
			return !truth(v), nil
		}
		if i, ok := integer(v); ok {
			if x.op == "-" {
				i = -i
			}
			return i, nil
		}
		if f, ok := v.(float64); ok {
			if x.op == "-" {
				f = -f
			}
			return f, nil
		}
		return nil, errorf(x.line, "%s of %s", x.op, kindOf(v))
	case *binaryExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		if x.op == "and" && !truth(v) || x.op == "or" && truth(v) {
			return v, nil
		}
		w, err := r.eval(s, x.y)
		if err != nil {
			return nil, at(x.line, err)
		}
		if x.op == "and" || x.op == "or" {
			return w, nil
		}
		v, err = r.arithmetic(x.op, v, w)
		return v, at(x.line, err)
	case *compareExpr:
		v, err := r.eval(s, x.x)
		if err != nil {
			return nil, at(x.line, err)
		}
		for i, op := range x.ops {
			w, err := r.eval(s, x.ys[i])
			if err != nil {
				return nil, at(x.line, err)
			}
			ok, err := r.compare(op, v, w)
			if err != nil || !ok {
				return false, at(x.line, err)
			}
			v = w
		}
		return true, nil
	case *condExpr:
		c, err := r.eval(s, x.cond)
		if err != nil {
			return nil, at(x.line, err)
		}
		if truth(c) {
			return r.eval(s, x.x)
		}
		if x.other == nil {
			return undefined{}, nil
		}
		return r.eval(s, x.other)
	}
	panic(fmt.Sprintf("internal error: expression %T", x))
}

func (r *render) args(s *scope, a args) (pos []any, named map[string]any, err error) {
	for _, x := range a.pos {
		v, err := r.eval(s, x)
		if err != nil {
			return nil, nil, err
		}
		pos = append(pos, v)
	}
	for i, x := range a.named {
		v, err := r.eval(s, x)
		if err != nil {
			return nil, nil, err
		}
		if named == nil {
			named = map[string]any{}
		}
		named[a.names[i]] = v
	}
	return pos, named, nil
}

// attr is v.name: a method, or what v has under that name.
func (r *render) attr(v any, name string) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, fmt.Errorf("%q is undefined, so it has no %q", u.name, name)
	}
	if d, ok := v.(*dict); ok {
		// A namespace's and a loop's own entries; a message has no key like a method's name.
		if x, ok := d.vals[name]; ok && (d.namespace || methodOf(v, name) == nil) {
			return x, nil
		}
	}
	if m := methodOf(v, name); m != nil {
		return Func(func(args []any, named map[string]any) (any, error) { return m(r, v, args, named) }), nil
	}
	return undefined{name}, nil
}

// index is v[i].
func (r *render) index(v, i any) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, fmt.Errorf("%q is undefined, so it has no members", u.name)
	}
	switch x := v.(type) {
	case *dict:
		key, err := r.str(i)
		if err != nil {
			return nil, err
		}
		if y, ok := x.vals[key]; ok {
			return y, nil
		}
		return undefined{key}, nil
	case *list:
		if k, ok := integer(i); ok {
			if k < 0 {
				k += int64(len(x.items))
			}
			if k >= 0 && k < int64(len(x.items)) {
				return x.items[k], nil
			}
			return undefined{fmt.Sprintf("item %d of %d", k, len(x.items))}, nil
		}
	case string:
		if k, ok := integer(i); ok {
			if err := r.spend(len(x)); err != nil { // the characters have to be counted
				return nil, err
			}
			n := int64(utf8.RuneCountInString(x))
			if k < 0 {
				k += n
			}
			if k >= 0 && k < n {
				return string([]rune(x)[k]), nil
			}
			return undefined{fmt.Sprintf("character %d of %d", k, n)}, nil
		}
	}
	if name, ok := i.(string); ok {
		return r.attr(v, name)
	}
	return undefined{fmt.Sprintf("member of %s", kindOf(v))}, nil
}

func (r *render) slice(s *scope, x *sliceExpr) (any, error) {
	v, err := r.eval(s, x.x)
	if err != nil {
		return nil, err
	}
	var chars []rune
	var n int64
	str, isString := v.(string)
	l, isList := v.(*list)
	switch {
	case isString:
		if err := r.spend(4 * len(str)); err != nil {
			return nil, err
		}
		chars = []rune(str)
		n = int64(len(chars))
	case isList:
		n = int64(len(l.items))
	default:
		return nil, fmt.Errorf("slice of %s", kindOf(v))
	}
	bound := func(e expr) (int64, bool, error) {
		if e == nil {
			return 0, false, nil
		}
		b, err := r.eval(s, e)
		if err != nil || b == nil {
			return 0, false, err
		}
		i, ok := integer(b)
		if !ok {
			return 0, false, fmt.Errorf("slice bound is %s", kindOf(b))
		}
		return i, true, nil
	}
	stride, ok, err := bound(x.stride)
	if err != nil {
		return nil, err
	}
	if !ok {
		stride = 1
	}
	if stride == 0 {
		return nil, fmt.Errorf("slice with stride 0")
	}
	stride = max(-n-1, min(stride, n+1)) // the same to a larger one, and no overflow
	first, last := int64(0), n
	if stride < 0 {
		first, last = n-1, -1
	}
	lo, okLo, err := bound(x.lo)
	if err != nil {
		return nil, err
	}
	hi, okHi, err := bound(x.hi)
	if err != nil {
		return nil, err
	}
	clamp := func(i int64) int64 {
		if i < 0 {
			i += n
		}
		if stride > 0 {
			return max(0, min(i, n))
		}
		return max(-1, min(i, n-1))
	}
	if okLo {
		first = clamp(lo)
	}
	if okHi {
		last = clamp(hi)
	}
	var b strings.Builder
	out := &list{}
	for i := first; stride > 0 && i < last || stride < 0 && i > last; i += stride {
		if isString {
			b.WriteRune(chars[i])
		} else {
			out.items = append(out.items, l.items[i])
		}
	}
	if isString {
		return b.String(), r.spend(b.Len())
	}
	return out, r.spend(entryBytes * len(out.items))
}

func (r *render) arithmetic(op string, a, b any) (any, error) {
	if op == "~" {
		x, err := r.str(a)
		if err != nil {
			return nil, err
		}
		y, err := r.str(b)
		if err != nil {
			return nil, err
		}
		return r.concat(x, y)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok {
			return nil, fmt.Errorf("%q is undefined", u.name)
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok && op == "+" {
			return r.concat(x, y)
		}
		if n, ok := b.(int64); ok && op == "*" {
			return r.repeat(x, n)
		}
	}
	if x, ok := a.(*list); ok && op == "+" {
		if y, ok := b.(*list); ok {
			if err := r.spend(entryBytes * (len(x.items) + len(y.items))); err != nil {
				return nil, err
			}
			return &list{append(append([]any(nil), x.items...), y.items...)}, nil
		}
	}
	if x, ok := integer(a); ok && op != "/" {
		if y, ok := integer(b); ok {
			switch op {
			case "+":
				return x + y, nil
			case "-":
				return x - y, nil
			case "*":
				return x * y, nil
			case "//", "%":
				if y == 0 {
					return nil, fmt.Errorf("division by zero")
				}
				q, m := x/y, x%y
				if m != 0 && (m < 0) != (y < 0) { // Python rounds down
					q, m = q-1, m+y
				}
				if op == "%" {
					return m, nil
				}
				return q, nil
			}
		}
	}
	x, okX := number(a)
	y, okY := number(b)
	if okX && okY {
		switch op {
		case "+":
			return x + y, nil
		case "-":
			return x - y, nil
		case "*":
			return x * y, nil
		}
		if y == 0 {
			return nil, fmt.Errorf("division by zero")
		}
		switch op {
		case "/":
			return x / y, nil
		case "//":
			return math.Floor(x / y), nil
		case "%":
			return x - y*math.Floor(x/y), nil
		}
	}
	return nil, fmt.Errorf("%s %s %s", kindOf(a), op, kindOf(b))
}

func (r *render) concat(x, y string) (string, error) {
	if err := r.spend(len(x) + len(y)); err != nil {
		return "", err
	}
	return x + y, nil
}

func (r *render) repeat(x string, n int64) (string, error) {
	if n <= 0 || x == "" {
		return "", nil
	}
	if n > int64(r.limits.Bytes) {
		return "", r.spend(math.MaxInt)
	}
	if err := r.spend(len(x) * int(n)); err != nil {
		return "", err
	}
	return strings.Repeat(x, int(n)), nil
}

func (r *render) compare(op string, a, b any) (bool, error) {
	switch op {
	case "==":
		return equal(a, b, 0), r.compared(a)
	case "!=":
		return !equal(a, b, 0), r.compared(a)
	case "in":
		return r.in(a, b)
	case "not in":
		ok, err := r.in(a, b)
		return !ok, err
	}
	c := 0
	x, okX := number(a)
	y, okY := number(b)
	s, okS := a.(string)
	t, okT := b.(string)
	switch {
	case okX && okY:
		c = cmp.Compare(x, y)
	case okS && okT:
		c = strings.Compare(s, t)
	default:
		return false, fmt.Errorf("%s %s %s", kindOf(a), op, kindOf(b))
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// compared charges for a comparison, so that many of large values end too.
func (r *render) compared(v any) error {
	n, _ := length(v)
	return r.spend(int(n))
}

func (r *render) in(a, b any) (bool, error) {
	switch b := b.(type) {
	case string:
		s, ok := a.(string)
		if !ok {
			return false, fmt.Errorf("%s in string", kindOf(a))
		}
		return strings.Contains(b, s), r.spend(len(b))
	case *list:
		for _, x := range b.items {
			if err := r.step(); err != nil {
				return false, err
			}
			if equal(a, x, 0) {
				return true, nil
			}
		}
		return false, nil
	case *dict:
		key, err := r.str(a)
		_, ok := b.vals[key]
		return ok, err
	case undefined:
		return false, nil
	}
	return false, fmt.Errorf("in %s", kindOf(b))
}
