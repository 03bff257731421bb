package jinja

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func renderText(t testing.TB, source string, vars map[string]any) (string, error) {
	t.Helper()
	tm, err := Parse(source)
	if err != nil {
		return "", err
	}
	return tm.Render(vars, DefaultLimits(0))
}

var vars = map[string]any{
	"a": 1, "b": 2.5, "s": "Hello World", "n": nil, "yes": true, "l": []any{1, 2, 3}, "u": "日本é",
	"d":    map[string]any{"x": 1, "y": "z"},
	"msgs": []any{map[string]any{"role": "system", "content": "S"}, map[string]any{"role": "user", "content": " U "}, map[string]any{"role": "user", "content": "V"}},
	"fail": Func(func(args []any, _ map[string]any) (any, error) { return nil, errors.New("told to") }),
}

// The expected texts follow Jinja 2's documentation; those with white space
// control follow trim_blocks=True, lstrip_blocks=True.
func TestRender(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"one line end goes\n", "one line end goes"},
		{"but one only\n\n", "but one only\n"},
		{"{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 1.5 + 1 }}", "7 3 -4 2 3.5 2.5"},
		{"{{ 'a' ~ 1 ~ none ~ true }}{{ 'x' * 3 }}", "a1NoneTruexxx"},
		{"{{ 1 < 2 <= 2 }} {{ 3 > 2 > 2 }} {{ 'a' in 'cat' }} {{ 2 not in l }} {{ 'x' in d }}", "True False True False True"},
		{"{{ a and s }} {{ n or 'x' }} {{ not n }} {{ not a == 2 }}", "Hello World x True True"},
		{"{{ 'p' if yes else 'q' }}{{ 'p' if n }}", "p"},
		{"{{ s[0] }}{{ s[-1] }} {{ s[:5] }} {{ s[6:] }} {{ s[::-1] }} {{ u[1] }} {{ u|length }}", "Hd Hello World dlroW olleH 本 3"},
		{"{{ l[::-1] }} {{ l[1:] }} {{ l[:-1] }} {{ l[9] is defined }} {{ l[-1] }} {{ l[5:2] }} {{ l[::2] }}", "[3, 2, 1] [2, 3] [1, 2] False 3 [] [1, 3]"},
		{"{{ d.x }}{{ d['y'] }}{{ d.nothing }}{{ d.get('q', 7) }}{{ d.get('q') }}", "1z7None"},
		{"{{ nothing }}|{{ nothing is defined }}|{{ s is string }}|{{ n is none }}|{{ a is number }}|{{ d is mapping }}|{{ l is iterable }}", "|False|True|True|True|True|True"},
		{"{{ 3 is odd }} {{ 4 is divisibleby 2 }} {{ a is not none }} {{ a is equalto 1 }} {{ s is not defined or s == '' }}", "True True True True False"},
		{"{{ ' x ' | trim }}|{{ '  x'.strip() }}|{{ 'xyx'.strip('x') }}|{{ 'xa'.lstrip('x') }}|{{ 'ax\n'.rstrip() }}", "x|x|y|a|ax"},
		{"{{ 'a,b,c'.split(',') }} {{ 'a</t>b</t>c'.split('</t>')[-1] }} {{ 'a b  c'.split() }} {{ 'a.b.c'.rsplit('.', 1) }} {{ 'a.b.c'.split('.', 1) }}",
			"['a', 'b', 'c'] c ['a', 'b', 'c'] ['a.b', 'c'] ['a', 'b.c']"},
		{"{{ s.upper() }} {{ s|lower }} {{ 'ab cd'|title }} {{ 'aB'|capitalize }} {{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }}", "HELLO WORLD hello world Ab Cd Ab True True"},
		{"{{ s|replace('o', '0') }} {{ s.replace('o', '0', 1) }} {{ l|join('-') }} {{ ', '.join(['a', 'b']) }}", "Hell0 W0rld Hell0 World 1-2-3 a, b"},
		{"{{ nothing|default('x') }} {{ ''|default('y', true) }} {{ ''|default('y') }}|{{ n|default('z', boolean=true) }}", "x y |z"},
		{"{{ l|first }}{{ l|last }}{{ l|length }} {{ l|reverse|list }} {{ '12'|int + 1 }} {{ 'x'|int }} {{ 3|float }} {{ -3|abs }}", "133 [3, 2, 1] 13 0 3.0 3"},
		{`{{ d|tojson }} {{ [1, none, "é\"", 1.0]|tojson }}`, `{"x": 1, "y": "z"} [1, null, "é\"", 1.0]`},
		{"{{ {'b': [1], 'a': {}}|tojson(indent=2) }}", "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}"},
		{"{{ [none, true, 'it\\'s', {'k': 1}] }}", `[None, True, "it's", {'k': 1}]`},
		{"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d|items %}{{ k }}{% endfor %}", "x=1;y=z;xy"},
		{"{% for m in msgs %}{{ loop.index }}{{ m.role[0] }}{{ ',' if not loop.last }}{% endfor %}", "1s,2u,3u"},
		{"{% for m in msgs if m['role'] == 'user' %}{{ loop.index0 }}{{ loop.length }}{{ m.content | trim }}{% else %}none{% endfor %}", "02U12V"},
		{"{% for x in [] %}x{% else %}none{% endfor %}{% for x in nothing %}x{% endfor %}", "none"},
		{"{% for x in l %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}", "1"},
		{"{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "<1>2 1<2>3 2<3> "},
		{"{% for i in range(3) %}{% for j in range(2, 0, -1) %}{{ i }}{{ j }} {% endfor %}{% endfor %}", "02 01 12 11 22 21 "},
		{"{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "aba"},
		{"{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}", "1"}, // a loop has its own scope
		{"{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2"},     // a condition has not
		{"{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "7"},
		{"{% set x %}a{{ 1 }}{% endset %}[{{ x }}]{% set x | upper %}a{% endset %}[{{ x }}]", "[a1][A]"},
		{"{% set p, q = 1, 2 %}{{ q }}{{ p }}{% set (p, q) = (q, p) %}{{ q }}{{ p }}", "2112"},
		{"{% macro m(x, y='d') %}<{{ x }}{{ y }}>{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(y=3, x=4) }}", "<1d><12><43>"},
		{"{% filter upper | trim %} ab {% endfilter %}", "AB"},
		{"{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}{{ x }}", "12"},
		{"{% raw %}{{ x }}{% if %}{% endraw %}", "{{ x }}{% if %}"},
		{"{% raw -%}\n {{ x }} \n{%- endraw -%}\n b {% raw %}\n{% y{%endraw%}\nc", "{{ x }}b \n{% yc"},
		{"{% raw %}x\n  {% endraw %}y", "x\ny"},
		{"{{ 'a,b (c-d' | title }} {{ 'a,b'.title() }} {{ 2.5 is even }}", "A,b (C-D A,B False"},
		{"{% generation %}{{ a }}{% endgeneration %}", "1"},
		{"a{# {{ no }} #}b", "ab"},
		{"{% if a == 1 %}one{% elif a == 2 %}two{% else %}more{% endif %}", "one"},
		{"{{ msgs | map(attribute='role') | join(',') }} {{ msgs | selectattr('role', 'equalto', 'user') | list | length }} {{ msgs | rejectattr('role', 'eq', 'user') | map(attribute='content') | first }}", "system,user,user 2 S"},
		{"{{ [0, 1, '', 'x'] | select | list }} {{ [1, 2, 3] | reject('odd') | list }} {{ ['a', 'b'] | map('upper') | list }}", "[1, 'x'] [2] ['A', 'B']"},
		{"{{ 'a\nb\n\nc' | indent(2) }}|{{ 'a\nb' | indent(1, true) }}", "a\n  b\n\n  c| a\n b"},
		{"{{ 'x' 'y' }}{{ \"q\\n\\t\\\\\\u00e9\" }}", "xyq\n\t\\é"},
		{"{{ -2|abs }} {{ -2 is integer }} {{ - 3 + 1 }} {{ 'a' is lower }} {{ 'A1' is upper }} {{ '1' is lower }}", "2 True -2 True True False"},
		{"{{ {'a': {'b': 1}}.a.b }}{{ (1, 2)[1] }}{{ [[1], [2]][1][0] }}", "122"},
		{"{{ l + [4] }} {{ 'a' + 'b' }}", "[1, 2, 3, 4] ab"},
		// White space.
		{"a\n{% if true %}\nb\n{% endif %}\nc", "a\nb\nc"},
		{"a\n  {% if true %}\n  b\n  {% endif %}\nc", "a\n  b\nc"},
		{"a\n  {%+ if true %}b{% endif %}", "a\n  b"},
		{"a \n {%- if true -%} \n b \n {%- endif -%} \n c", "abc"},
		{"a {{- ' b ' -}} c", "a b c"},
		{"x\n  {{ 1 }}\ny", "x\n  1\ny"},
		{"  {# c #}\nx", "x"},
		{"a {% if true %} b{% endif %}", "a  b"},
		{"{% if true +%}\nx{% endif %}", "\nx"},
		{"{% set x = 1 %}\n{% set y = 2 %}\n{{ x }}", "1"},
		{"a\r\n{% if true %}\r\nb{% endif %}", "a\nb"},
		{"{{ {'a': {'b': 2}}['a']['b'] }}}", "2}"},
	} {
		got, err := renderText(t, c.in, vars)
		if err != nil || got != c.want {
			t.Errorf("%q\n got %q, %v\nwant %q", c.in, got, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"{{ 1", `line 1: tag without "}}"`},
		{"a\nb{% if x %}", "line 2: missing {% endif %}"},
		{"{% endif %}", `line 1: statement "endif" is not supported`},
		{"{% include 'x' %}", `statement "include" is not supported`},
		{"{% import 'x' as y %}", `statement "import" is not supported`},
		{"{% extends '/etc/passwd' %}", `statement "extends" is not supported`},
		{"{# x", "comment without end"},
		{"{{ 'abc }}", "string without end"},
		{"{{ a ? }}", `unexpected character '?'`},
		{"{{ }}", `expected an expression, found "}}"`},
		{"{{ a b }}", `expected "}}", found "b"`},
		{"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
		{"{% break %}", "break outside a loop"},
		{"{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "break outside a loop"},
		{"\n\n{{ s|nosuch }}", `line 3: filter "nosuch" is not supported`},
		{"{{ s is nosuch }}", `test "nosuch" is not supported`},
		{"{{ nosuch(1) }}", `function "nosuch" is not supported or not defined`},
		{"{{ nothing.x }}", `"nothing" is undefined, so it has no "x"`},
		{"{{ nothing['x'] }}", `"nothing" is undefined`},
		{"{{ 'a' + 1 }}", "string + number"},
		{"{{ 'a' + nothing }}", `"nothing" is undefined`},
		{"{{ 1 // 0 }}", "division by zero"},
		{"{{ 1 % 0 }}", "division by zero"},
		{"{{ 1 / 0.0 }}", "division by zero"},
		{"{{ 'a' < 1 }}", "string < number"},
		{"{{ l[::0] }}", "slice with stride 0"},
		{"{{ range(1, 2, 0) }}", "range with step 0"},
		{"{{ range(1000000000) }}", "range of more than 100000"},
		{"{% set d.x = 1 %}", "d is no namespace"},
		{"{% set p, q = [1] %}", "1 values for 2 names"},
		{"{{ fail() }}", "told to"},
		{"{{ 99999999999999999999 }}", "integer 99999999999999999999 is too large"},
		{"{% raw %}x", "raw without endraw"},
		{"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", `macro "m": 2 arguments, takes 1`},
		{"{% macro m(a) %}{% endmacro %}{{ m(z=2) }}", `macro "m": unknown argument name`},
		{"{{ [1, [fail]]|tojson }}", "function is not JSON"},
	} {
		_, err := renderText(t, c.in, vars)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.in, err, c.want)
		}
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%q: %T is no *Error", c.in, err)
		}
	}
	if _, err := renderText(t, "x", map[string]any{"v": struct{}{}}); err == nil || !strings.Contains(err.Error(), `variable "v"`) {
		t.Errorf("a variable of no template type: %v", err)
	}
}

// Each of these would hang a general engine, fill its memory or exhaust its stack.
func TestHostileTemplates(t *testing.T) {
	double := "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}" + strings.Repeat("{% set ns.x = ns.x ~ ns.x %}", 60)
	for name, c := range map[string]struct{ in, want string }{
		"nested loops":       {strings.Repeat("{% for a in range(100000) %}", 5) + strings.Repeat("{% endfor %}", 5), "more than"},
		"loop over a string": {"{% for a in 'x' * 10000000 %}{% endfor %}", "bytes"},
		"macro":              {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested more than 50 deep"},
		"macro tree":         {"{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(45) }}", "steps"},
		"doubling":           {double, "bytes"},
		"list doubling":      {strings.ReplaceAll(strings.Replace(double, "'aaaaaaaaaaaaaaaa'", "[1]", 1), "~", "+"), "bytes"},
		"repeat":             {"{{ 'a' * 1000000000000 }}", "bytes"},
		"repeat overflow":    {"{{ 'ab' * 9223372036854775807 }}", "bytes"},
		"replace":            {"{% set x = 'a' * 100000 %}{{ x|replace('a', x) }}", "bytes"},
		"join":               {"{{ range(100000)|join('x' * 100000) }}", "bytes"},
		"tojson":             {"{% set x = 'a' * 1000000 %}{{ [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]|tojson }}", "bytes"},
		"itself":             {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "nested more than 50 deep"},
		"itself as JSON":     {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns|tojson }}", "nested more than 50 deep"},
		"parentheses":        {"{{ " + strings.Repeat("(", 100000) + " }}", "nested more than 200 deep"},
		"brackets":           {"{{ " + strings.Repeat("[", 100000) + " }}", "nested more than 200 deep"},
		"nots":               {"{{ " + strings.Repeat("not ", 100000) + "1 }}", "nested more than 200 deep"},
		"minuses":            {"{{ " + strings.Repeat("- ", 100000) + "1 }}", "nested more than 200 deep"},
		"blocks":             {strings.Repeat("{% if 1 %}", 100000), "nested more than 200 deep"},
		"a long sum":         {"{{ 1" + strings.Repeat("+1", 100000) + " }}", "nested more than 1000 deep"},
		"a chain of filters": {"{{ 1" + strings.Repeat("|string", 10000) + " }}", "more than 200 filters"},
		"a chain of calls":   {"{{ a" + strings.Repeat("()", 10000) + " }}", "more than 200 calls"},
		"size":               {strings.Repeat("x", maxSource+1), "at most 1048576"},
	} {
		if _, err := renderText(t, c.in, vars); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// Comparing values that contain themselves ends as well.
	got, err := renderText(t, "{% set p = namespace() %}{% set q = namespace() %}{% set p.a = p %}{% set q.a = q %}{{ p == q }}", nil)
	if err != nil || got != "False" {
		t.Errorf("comparing endless values: %q, %v", got, err)
	}
}

func TestRaisedKeepsItsLine(t *testing.T) {
	_, err := renderText(t, "x\n{{ stop() }}", map[string]any{"stop": Func(func([]any, map[string]any) (any, error) { return nil, &Error{Msg: "no", Raised: true} })})
	var e *Error
	if !errors.As(err, &e) || !e.Raised || e.Line != 2 || e.Msg != "no" {
		t.Errorf("%#v", err)
	}
}

// A template can be rendered by several goroutines at once.
func TestConcurrentRender(t *testing.T) {
	tm, err := Parse("{% set ns = namespace(n=0) %}{% for i in range(n) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for n := range 8 {
		go func() {
			got, err := tm.Render(map[string]any{"n": n}, DefaultLimits(0))
			if want := fmt.Sprint(n * (n - 1) / 2); err == nil && got != want {
				err = fmt.Errorf("%d: %s, want %s", n, got, want)
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("{% for m in msgs %}{{ m.content|trim }}{% endfor %}")
	f.Add("{%- macro m(x) -%}{{ x[::-1] }}{% endmacro %}{{ m(s)|upper ~ l|tojson }}")
	f.Add("{% set ns = namespace(a=1) %}{% if ns.a is defined and not n %}{{ ns.a // 2 % 3 }}{% endif %}")
	f.Add("{% raw %}{{{% endraw %}{# c #}{{ {'a': [1, (2,)]}['a'][0:1] }}")
	f.Add("{%raw%}{%}")
	f.Fuzz(func(t *testing.T, source string) {
		tm, err := Parse(source)
		if err != nil {
			return
		}
		out, err := tm.Render(vars, Limits{Steps: 20000, Bytes: 1 << 18})
		if err == nil && len(out) > 1<<18 {
			t.Errorf("%d bytes of output, limit %d", len(out), 1<<18)
		}
	})
}
