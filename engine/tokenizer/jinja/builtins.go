package jinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxRange bounds range(); Python has no such bound, sandboxed Jinja has.
const maxRange = 100_000

func (r *render) rangeFunc(args []any, _ map[string]any) (any, error) {
	if len(args) < 1 || len(args) > 3 {
		return nil, fmt.Errorf("range of %d arguments", len(args))
	}
	var n [3]int64
	for i, a := range args {
		x, ok := integer(a)
		if !ok {
			return nil, fmt.Errorf("range of %s", kindOf(a))
		}
		n[i] = x
	}
	start, stop, step := n[0], n[1], n[2]
	switch len(args) {
	case 1:
		start, stop, step = 0, n[0], 1
	case 2:
		step = 1
	}
	if step == 0 {
		return nil, fmt.Errorf("range with step 0")
	}
	l := &list{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(l.items) == maxRange {
			return nil, fmt.Errorf("range of more than %d", maxRange)
		}
		l.items = append(l.items, i)
		if step > 0 && i > math.MaxInt64-step || step < 0 && i < math.MinInt64-step {
			break
		}
	}
	return l, r.spend(entryBytes * len(l.items))
}

func (r *render) namespaceFunc(args []any, named map[string]any) (any, error) {
	v, err := r.dictFunc(args, named)
	if err == nil {
		v.(*dict).namespace = true
	}
	return v, err
}

func (r *render) dictFunc(args []any, named map[string]any) (any, error) {
	d := newDict()
	for _, a := range args {
		from, ok := a.(*dict)
		if !ok {
			return nil, fmt.Errorf("dict of %s", kindOf(a))
		}
		for _, k := range from.keys {
			d.set(k, from.vals[k])
		}
	}
	names := make([]string, 0, len(named))
	for k := range named {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		d.set(k, named[k])
	}
	return d, r.spend(2 * entryBytes * len(d.keys))
}

// A method works on v, which has the type it is listed under.
type method func(r *render, v any, args []any, named map[string]any) (any, error)

var stringMethods = map[string]method{
	"strip":        stripMethod(strings.Trim, strings.TrimSpace),
	"lstrip":       stripMethod(strings.TrimLeft, func(s string) string { return strings.TrimLeftFunc(s, unicode.IsSpace) }),
	"rstrip":       stripMethod(strings.TrimRight, func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) }),
	"upper":        textMethod(strings.ToUpper),
	"lower":        textMethod(strings.ToLower),
	"title":        textMethod(title),
	"capitalize":   textMethod(capitalize),
	"startswith":   affixMethod(strings.HasPrefix),
	"endswith":     affixMethod(strings.HasSuffix),
	"removeprefix": cutMethod(strings.TrimPrefix),
	"removesuffix": cutMethod(strings.TrimSuffix),
	"find": func(r *render, v any, args []any, _ map[string]any) (any, error) {
		sub, err := stringArg(args, 0, "find")
		if err != nil {
			return nil, err
		}
		s := v.(string)
		i := strings.Index(s, sub)
		if i > 0 {
			i = len([]rune(s[:i]))
		}
		return int64(i), r.spend(len(s))
	},
	"count": func(r *render, v any, args []any, _ map[string]any) (any, error) {
		sub, err := stringArg(args, 0, "count")
		return int64(strings.Count(v.(string), sub)), orSpend(r, err, len(v.(string)))
	},
	"replace": func(r *render, v any, args []any, _ map[string]any) (any, error) {
		return r.replace(v.(string), args)
	},
	"join": func(r *render, v any, args []any, _ map[string]any) (any, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("join of %d arguments", len(args))
		}
		return r.join(args[0], v.(string))
	},
	"split":  splitMethod(false),
	"rsplit": splitMethod(true),
	"splitlines": func(r *render, v any, _ []any, _ map[string]any) (any, error) {
		s := strings.TrimSuffix(strings.ReplaceAll(v.(string), "\r\n", "\n"), "\n")
		if s == "" {
			return &list{}, nil
		}
		return r.strings(strings.Split(s, "\n"), len(s))
	},
}

var dictMethods = map[string]method{
	"items": func(r *render, v any, _ []any, _ map[string]any) (any, error) {
		d := v.(*dict)
		l := &list{}
		for _, k := range d.keys {
			l.items = append(l.items, &list{[]any{k, d.vals[k]}})
		}
		return l, r.spend(3 * entryBytes * len(l.items))
	},
	"keys": func(r *render, v any, _ []any, _ map[string]any) (any, error) {
		items, err := r.items(v)
		return &list{items}, err
	},
	"values": func(r *render, v any, _ []any, _ map[string]any) (any, error) {
		d := v.(*dict)
		l := &list{}
		for _, k := range d.keys {
			l.items = append(l.items, d.vals[k])
		}
		return l, r.spend(entryBytes * len(l.items))
	},
	"get": func(_ *render, v any, args []any, _ map[string]any) (any, error) {
		key, err := stringArg(args, 0, "get")
		if err != nil {
			return nil, err
		}
		if x, ok := v.(*dict).vals[key]; ok {
			return x, nil
		}
		if len(args) > 1 {
			return args[1], nil
		}
		return nil, nil
	},
}

func methodOf(v any, name string) method {
	switch v.(type) {
	case string:
		return stringMethods[name]
	case *dict:
		return dictMethods[name]
	}
	return nil
}

func orSpend(r *render, err error, n int) error {
	if err != nil {
		return err
	}
	return r.spend(n)
}

func stringArg(args []any, i int, name string) (string, error) {
	if i >= len(args) {
		return "", fmt.Errorf("%s without argument %d", name, i+1)
	}
	s, ok := args[i].(string)
	if !ok {
		return "", fmt.Errorf("%s: argument %d is %s, want a string", name, i+1, kindOf(args[i]))
	}
	return s, nil
}

func textMethod(f func(string) string) method {
	return func(r *render, v any, _ []any, _ map[string]any) (any, error) {
		return f(v.(string)), r.spend(len(v.(string)))
	}
}

func stripMethod(cut func(s, set string) string, space func(string) string) method {
	return func(r *render, v any, args []any, _ map[string]any) (any, error) {
		s := v.(string)
		if err := r.spend(len(s)); err != nil {
			return nil, err
		}
		if len(args) == 0 || args[0] == nil {
			return space(s), nil
		}
		set, err := stringArg(args, 0, "strip")
		return cut(s, set), err
	}
}

func affixMethod(has func(s, affix string) bool) method {
	return func(_ *render, v any, args []any, _ map[string]any) (any, error) {
		if len(args) > 0 {
			if l, ok := args[0].(*list); ok { // a tuple: any of them
				for i := range l.items {
					affix, err := stringArg(l.items, i, "startswith")
					if err != nil {
						return nil, err
					}
					if has(v.(string), affix) {
						return true, nil
					}
				}
				return false, nil
			}
		}
		affix, err := stringArg(args, 0, "startswith")
		return has(v.(string), affix), err
	}
}

func cutMethod(cut func(s, affix string) string) method {
	return func(_ *render, v any, args []any, _ map[string]any) (any, error) {
		affix, err := stringArg(args, 0, "removeprefix")
		return cut(v.(string), affix), err
	}
}

func splitMethod(fromRight bool) method {
	return func(r *render, v any, args []any, named map[string]any) (any, error) {
		s := v.(string)
		limit := int64(-1)
		m, ok := named["maxsplit"]
		if !ok && len(args) > 1 {
			m, ok = args[1], true
		}
		if ok {
			if limit, ok = integer(m); !ok {
				return nil, fmt.Errorf("split: maxsplit is %s", kindOf(m))
			}
		}
		if err := r.spend(entryBytes * len(s)); err != nil { // as many parts at most, but for one
			return nil, err
		}
		if len(args) == 0 || args[0] == nil {
			if limit >= 0 {
				return nil, fmt.Errorf("split at white space with maxsplit is not supported")
			}
			return r.strings(strings.Fields(s), len(s))
		}
		sep, err := stringArg(args, 0, "split")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, fmt.Errorf("split: empty separator")
		}
		parts := strings.Split(s, sep)
		if extra := int64(len(parts)) - 1 - limit; limit >= 0 && extra > 0 {
			if fromRight {
				parts = append([]string{strings.Join(parts[:extra+1], sep)}, parts[extra+1:]...)
			} else {
				parts = append(parts[:limit:limit], strings.Join(parts[limit:], sep))
			}
		}
		return r.strings(parts, len(s))
	}
}

func (r *render) strings(parts []string, bytes int) (*list, error) {
	l := &list{}
	for _, p := range parts {
		l.items = append(l.items, p)
	}
	return l, r.spend(bytes + entryBytes*len(parts))
}

func (r *render) join(v any, sep string) (string, error) {
	items, err := r.items(v)
	if err != nil {
		return "", err
	}
	w := &writer{r: r}
	for i, x := range items {
		if i > 0 {
			if err := w.add(sep); err != nil {
				return "", err
			}
		}
		s, err := r.str(x)
		if err == nil {
			err = w.add(s)
		}
		if err != nil {
			return "", err
		}
	}
	return w.b.String(), nil
}

func capitalize(s string) string {
	for i, c := range s {
		if i > 0 {
			return strings.ToUpper(s[:i]) + strings.ToLower(s[i:])
		}
		_ = c
	}
	return strings.ToUpper(s)
}

func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, c := range s {
		if inWord {
			b.WriteRune(unicode.ToLower(c))
		} else {
			b.WriteRune(unicode.ToUpper(c))
		}
		inWord = unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c)
	}
	return b.String()
}

func titleWords(s string) string {
	var b strings.Builder
	inWord := false
	for _, c := range s {
		switch {
		case unicode.IsSpace(c) || strings.ContainsRune("-({[<", c):
			inWord = false
			b.WriteRune(c)
		case inWord:
			b.WriteRune(unicode.ToLower(c))
		default:
			inWord = true
			b.WriteRune(unicode.ToUpper(c))
		}
	}
	return b.String()
}

// arg is the argument at position i or called name.
func arg(args []any, named map[string]any, i int, name string) (any, bool) {
	if v, ok := named[name]; ok {
		return v, true
	}
	if i < len(args) {
		return args[i], true
	}
	return nil, false
}

func (r *render) filter(name string, v any, args []any, named map[string]any) (any, error) {
	switch name {
	case "trim":
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		return stringMethods["strip"](r, s, args, named)
	case "title": // unlike the method, it starts words after blanks and brackets only
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		return titleWords(s), r.spend(len(s))
	case "upper", "lower", "capitalize":
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		return stringMethods[name](r, s, nil, nil)
	case "string":
		return r.str(v)
	case "safe":
		return v, nil
	case "length", "count":
		n, ok := length(v)
		if !ok {
			return nil, fmt.Errorf("length of %s", kindOf(v))
		}
		return n, nil
	case "default", "d":
		def, ok := arg(args, named, 0, "default_value")
		if !ok {
			def = ""
		}
		falsy, _ := arg(args, named, 1, "boolean")
		if _, undef := v.(undefined); undef || truth(falsy) && !truth(v) {
			return def, nil
		}
		return v, nil
	case "first", "last":
		items, err := r.items(v)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefined{name}, nil
		}
		if name == "first" {
			return items[0], nil
		}
		return items[len(items)-1], nil
	case "list":
		items, err := r.items(v)
		return &list{items}, err
	case "reverse":
		items, err := r.items(v)
		if err != nil {
			return nil, err
		}
		items = slices.Clone(items)
		slices.Reverse(items)
		if _, ok := v.(string); ok {
			return r.join(&list{items}, "")
		}
		return &list{items}, r.spend(entryBytes * len(items))
	case "join":
		sep := ""
		if x, ok := arg(args, named, 0, "d"); ok {
			var err error
			if sep, err = r.str(x); err != nil {
				return nil, err
			}
		}
		if by, ok := named["attribute"]; ok {
			var err error
			if v, err = r.mapAttribute(v, by); err != nil {
				return nil, err
			}
		}
		return r.join(v, sep)
	case "replace":
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		return r.replace(s, args)
	case "int":
		return toInt(v), nil
	case "float":
		if s, ok := v.(string); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil {
				return 0.0, nil
			}
			return f, nil
		}
		f, _ := number(v)
		return f, nil
	case "abs":
		if i, ok := integer(v); ok {
			return max(i, -i), nil
		}
		if f, ok := v.(float64); ok {
			return math.Abs(f), nil
		}
		return nil, fmt.Errorf("abs of %s", kindOf(v))
	case "tojson":
		indent := int64(0)
		if x, ok := arg(args, named, 0, "indent"); ok && x != nil {
			if indent, ok = integer(x); !ok || indent < 0 || indent > 16 {
				return nil, fmt.Errorf("tojson: indent must be 0 to 16")
			}
		}
		w := &writer{r: r}
		err := w.json(v, int(indent), 0)
		return w.b.String(), err
	case "indent":
		return r.indent(v, args, named)
	case "items", "dictsort":
		d, ok := v.(*dict)
		if !ok {
			if _, ok := v.(undefined); ok && name == "items" {
				return &list{}, nil
			}
			return nil, fmt.Errorf("%s of %s", name, kindOf(v))
		}
		if name == "dictsort" {
			d = &dict{keys: slices.Clone(d.keys), vals: d.vals}
			slices.SortStableFunc(d.keys, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		}
		return dictMethods["items"](r, d, nil, nil)
	case "map":
		if by, ok := named["attribute"]; ok {
			return r.mapAttribute(v, by)
		}
		inner, err := stringArg(args, 0, "map")
		if err != nil {
			return nil, err
		}
		items, err := r.items(v)
		if err != nil {
			return nil, err
		}
		out := &list{}
		for _, x := range items {
			if err := r.step(); err != nil {
				return nil, err
			}
			y, err := r.filter(inner, x, args[1:], nil)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, y)
		}
		return out, r.spend(entryBytes * len(out.items))
	case "select", "reject", "selectattr", "rejectattr":
		return r.sel(name, v, args)
	}
	return nil, fmt.Errorf("filter %q is not supported", name)
}

func (r *render) mapAttribute(v, by any) (any, error) {
	name, ok := by.(string)
	if !ok {
		return nil, fmt.Errorf("attribute is %s, want a string", kindOf(by))
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	out := &list{}
	for _, x := range items {
		y, err := r.index(x, name)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, y)
	}
	return out, r.spend(entryBytes * len(out.items))
}

// sel is select(test), reject(test), selectattr(name, test) and rejectattr(name, test).
func (r *render) sel(name string, v any, args []any) (any, error) {
	attr := ""
	if strings.HasSuffix(name, "attr") {
		var err error
		if attr, err = stringArg(args, 0, name); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	test := ""
	if len(args) > 0 {
		var err error
		if test, err = stringArg(args, 0, name); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	out := &list{}
	for _, x := range items {
		if err := r.step(); err != nil {
			return nil, err
		}
		y := x
		if attr != "" {
			if y, err = r.index(x, attr); err != nil {
				return nil, err
			}
		}
		ok := truth(y)
		if test != "" {
			if ok, err = r.test(test, y, args); err != nil {
				return nil, err
			}
		}
		if ok == strings.HasPrefix(name, "select") {
			out.items = append(out.items, x)
		}
	}
	return out, r.spend(entryBytes * len(out.items))
}

func (r *render) replace(s string, args []any) (any, error) {
	from, err := stringArg(args, 0, "replace")
	if err != nil {
		return nil, err
	}
	to, err := stringArg(args, 1, "replace")
	if err != nil {
		return nil, err
	}
	n := strings.Count(s, from)
	if len(args) > 2 && args[2] != nil {
		limit, ok := integer(args[2])
		if !ok {
			return nil, fmt.Errorf("replace: count is %s", kindOf(args[2]))
		}
		if limit >= 0 {
			n = int(min(int64(n), limit))
		}
	}
	if len(to) > 0 && n > r.limits.Bytes/len(to) {
		return nil, r.spend(math.MaxInt)
	}
	if err := r.spend(len(s) + n*len(to)); err != nil {
		return nil, err
	}
	return strings.Replace(s, from, to, n), nil
}

// indent puts spaces before each line but the first; blank lines stay empty.
func (r *render) indent(v any, args []any, named map[string]any) (any, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	prefix := "    "
	if x, ok := arg(args, named, 0, "width"); ok {
		if p, ok := x.(string); ok {
			prefix = p
		} else if n, ok := integer(x); ok && n >= 0 && n <= 64 {
			prefix = strings.Repeat(" ", int(n))
		} else {
			return nil, fmt.Errorf("indent: width must be 0 to 64")
		}
	}
	first, _ := arg(args, named, 1, "first")
	blankLines, _ := arg(args, named, 2, "blank")
	w := &writer{r: r}
	for i, line := range strings.SplitAfter(s, "\n") {
		if (i > 0 || truth(first)) && (strings.TrimSuffix(line, "\n") != "" || truth(blankLines)) {
			if err := w.add(prefix); err != nil {
				return nil, err
			}
		}
		if err := w.add(line); err != nil {
			return nil, err
		}
	}
	return w.b.String(), nil
}

// toInt is Jinja's int filter: 0 for what is no number.
func toInt(v any) int64 {
	switch v := v.(type) {
	case string:
		s := strings.TrimSpace(v)
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<63 {
			return int64(f)
		}
	case float64:
		if math.Abs(v) < 1<<63 {
			return int64(v)
		}
	}
	i, _ := integer(v)
	return i
}

func (r *render) test(name string, v any, args []any) (bool, error) {
	_, undef := v.(undefined)
	switch name {
	case "defined":
		return !undef, nil
	case "undefined":
		return undef, nil
	case "none":
		return v == nil, nil
	case "string", "boolean", "mapping":
		return kindOf(v) == name, nil
	case "number":
		return kindOf(v) == "number" || kindOf(v) == "boolean", nil // as in Python, bool is an int
	case "integer":
		_, ok := v.(int64)
		return ok, nil
	case "float":
		_, ok := v.(float64)
		return ok, nil
	case "true":
		return v == true, nil
	case "false":
		return v == false, nil
	case "callable":
		_, ok := v.(Func)
		return ok, nil
	case "iterable", "sequence":
		_, ok := length(v)
		return ok, nil
	case "odd", "even":
		m, err := r.arithmetic("%", v, int64(2))
		want := int64(0)
		if name == "odd" {
			want = 1
		}
		return equal(m, want, 0), err
	case "lower", "upper":
		s, err := r.str(v)
		if err != nil {
			return false, err
		}
		if name == "lower" {
			return s == strings.ToLower(s) && s != strings.ToUpper(s), nil
		}
		return s == strings.ToUpper(s) && s != strings.ToLower(s), nil
	}
	ops := map[string]string{"equalto": "==", "eq": "==", "ne": "!=", "in": "in", "lt": "<", "lessthan": "<", "le": "<=", "gt": ">",
		"greaterthan": ">", "ge": ">=", "sameas": "=="}
	op, ok := ops[name]
	if !ok && name != "divisibleby" && !slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, name) {
		return false, fmt.Errorf("test %q is not supported", name)
	}
	if len(args) != 1 {
		return false, fmt.Errorf("test %q of %d arguments, takes 1", name, len(args))
	}
	if name == "divisibleby" {
		m, err := r.arithmetic("%", v, args[0])
		return err == nil && equal(m, int64(0), 0), err
	}
	if !ok {
		op = name
	}
	return r.compare(op, v, args[0])
}
