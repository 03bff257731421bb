package yamlspec

import (
	"strings"
	"testing"
)

// Every syntax error is told with the line on which the construct
// starts, or, for one that starts in the first line, where it breaks off: yaml.v3
// gives no more.
func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a: [1\n":               "f:2: did not find expected ',' or ']'",
		"\na: [1\n":             "f:2: did not find expected ',' or ']'",
		"a: 1\nb: {c: 1\n":      "f:2: did not find expected ',' or '}'",
		"a: 1\n b: 2\n":         "f:2: mapping values are not allowed in this context",
		"a: 1\nb:\n\t- x\n":     "f:3: found character that cannot start any token",
		"a: 1\nb: \"x\n":        "f:2: found unexpected end of stream",
		"a: 1\nb: 2\n- c\n":     "f:3: did not find expected key",
		"a: *x\n":               "f:1: unknown anchor 'x' referenced",
		"- a\nb: 1\n":           "f:2: did not find expected '-' indicator",
		"\xff":                  "f: is not UTF-8 text",
		"":                      "f:1: is empty",
		"a: 1\n---\n[":          "f:4: did not find expected node content",
		"a: 1\n---\nb: 1\n":     "f:2: a second document; one file holds one",
		"a: 1\n...\ntrailing\n": "f:3: did not find expected <document start>",
	} {
		_, err := Parse("f", []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"repeats", "warmup", "kv", "sampling"}
	for s, want := range map[string]string{
		"repeat": "repeats", "warmpu": "warmup", "Sampling": "sampling", "kb": "kv", "device": "", "x": "", "smapling": "sampling",
	} {
		if got := Nearest(s, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", s, got, want)
		}
	}
}

// A hopeless file gives at most maxErrors messages.
func TestErrorLimit(t *testing.T) {
	d, err := Parse("f", []byte(strings.Repeat("- x\n", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Check(&Type{Kind: List, Elem: &Type{Kind: Int}})
	if n := len(err.(Errors)); n != maxErrors {
		t.Errorf("%d errors, want %d", n, maxErrors)
	}
}

// No text makes Parse and Check do anything but return.
func FuzzCheck(f *testing.F) {
	t := &Type{Kind: Object, Fields: []Field{
		{Name: "a", Type: &Type{Kind: Int, Min: Bound(0)}},
		{Name: "l", Required: true, Type: &Type{Kind: List, Unique: "n", Elem: &Type{Kind: Object, Short: "n", Fields: []Field{{Name: "n", Type: &Type{Kind: String}}}}}},
		{Name: "m", Type: &Type{Kind: Map, Elem: &Type{Kind: Scalar}}},
		{Name: "d", Type: &Type{Kind: Duration}},
	}}
	f.Add("a: 1\nl: [x, {n: y}]\nm: {b: 1.5}\nd: 5s\n", "a=3")
	f.Add("l: &x [*x]\n", "l.0.n=z")
	f.Add("? {a: 1}\n: 2\n", "m.q=[]")
	f.Fuzz(func(tt *testing.T, text, set string) {
		d, err := Parse("f", []byte(text))
		if err != nil {
			return
		}
		if d.Set(t, set) == nil {
			_ = d.Check(t)
		}
	})
}
