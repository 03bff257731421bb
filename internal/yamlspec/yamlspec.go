// Package yamlspec describes a YAML document once: the strict check, with the
// line of whatever is wrong, and the JSON Schema for editors come from the same
// description, so they cannot drift apart.
package yamlspec

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// A Kind is the sort of value that a Type describes.
type Kind int

const (
	Object   Kind = iota // a mapping with known keys
	List                 // a sequence of Elem
	Map                  // a mapping from free keys to Elem
	String               // text
	Int                  // a whole number
	Number               // any finite number
	Bool                 // true or false
	Duration             // text such as 90s or 1h30m
	Scalar               // text, a number or a bool
)

var kindNames = map[Kind]string{
	Object: "a mapping", List: "a list", Map: "a mapping", String: "text", Int: "a whole number",
	Number: "a number", Bool: "true or false", Duration: "a duration such as 90s", Scalar: "text, a number, true or false",
}

// durationPattern is what time.ParseDuration takes without sign and fraction.
const durationPattern = `^([0-9]+(h|m|s|ms))+$`

// A Type describes one value. The zero value of a bound is no bound.
type Type struct {
	Kind   Kind
	Doc    string
	Fields []Field // Object, in the order of the documentation
	// Short names the field that plain text stands for: "summary" for {name: summary}.
	Short   string
	Elem    *Type          // List, Map
	Min     *float64       // Int, Number: least value; List: fewest elements; String: fewest characters
	Max     *float64       // Int, Number: greatest value
	Enum    []string       // String: the only values
	Pattern *regexp.Regexp // String
	Want    string         // what Pattern asks for, in words
	// Unique is a field by which a list's elements must differ. JSON Schema
	// cannot say so; the check does.
	Unique  string
	Default any // for documentation: what absence means
}

// A Field is a key of an Object.
type Field struct {
	Name     string
	Required bool
	Type     *Type
}

// Bound is a bound of a Type.
func Bound(x float64) *float64 { return &x }

// An Error is something wrong in a document.
type Error struct {
	Where string // "exp.yaml:14" or "--set repeats=x"
	Msg   string
	Hint  string
}

func (e *Error) Error() string {
	s := e.Where + ": " + e.Msg
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Errors are what Check found, in the order of the document.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// A Doc is a parsed document with a name for error messages.
type Doc struct {
	Name string
	Root *yaml.Node // the document's value; never nil
	sets map[*yaml.Node]string
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// Parse reads exactly one YAML document.
func Parse(name string, data []byte) (*Doc, error) {
	if !utf8.Valid(data) {
		return nil, &Error{Where: name, Msg: "is not UTF-8 text"}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var n yaml.Node
	if err := dec.Decode(&n); err != nil {
		if err.Error() == "EOF" {
			return nil, &Error{Where: name + ":1", Msg: "is empty"}
		}
		return nil, syntaxError(name, err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		return nil, &Error{Where: fmt.Sprintf("%s:%d", name, max(more.Line, 1)), Msg: "a second document; one file holds one"}
	} else if err.Error() != "EOF" {
		return nil, syntaxError(name, err)
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
		return nil, &Error{Where: name + ":1", Msg: "is empty"}
	}
	return &Doc{Name: name, Root: n.Content[0]}, nil
}

func syntaxError(name string, err error) error {
	m := yamlLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	if m == nil {
		return &Error{Where: name, Msg: err.Error()}
	}
	line, _ := strconv.Atoi(m[1])
	// yaml.v3 counts lines from 0 in errors of its parser, though not of its
	// scanner, and leaves line 0 out (decode.go, func fail).
	if rest, ok := strings.CutPrefix(m[2], "did not find expected "); ok && slices.Contains(parserErrors, rest) || line == 0 {
		line++
	}
	return &Error{Where: fmt.Sprintf("%s:%d", name, line), Msg: m[2]}
}

// parserErrors are the ends of "did not find expected …" in yaml.v3's parserc.go.
var parserErrors = []string{"<stream-start>", "<document start>", "node content", "'-' indicator", "key", "',' or ']'", "',' or '}'"}

// At says where n stands: file and line, or the --set that made it.
func (d *Doc) At(n *yaml.Node) string {
	if s, ok := d.sets[n]; ok {
		return s
	}
	return fmt.Sprintf("%s:%d", d.Name, n.Line)
}

// Errorf is an Error at n.
func (d *Doc) Errorf(n *yaml.Node, hint, format string, args ...any) *Error {
	return &Error{Where: d.At(n), Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// maxErrors keeps a hopeless file from filling the screen.
const maxErrors = 20

// Check says what in the document breaks t, or returns nil.
func (d *Doc) Check(t *Type) error {
	c := &checker{doc: d}
	c.value(d.Root, t, "")
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs
}

type checker struct {
	doc  *Doc
	errs Errors
}

func (c *checker) add(n *yaml.Node, path, hint, format string, args ...any) {
	if len(c.errs) >= maxErrors {
		return
	}
	msg := fmt.Sprintf(format, args...)
	if path != "" {
		msg = path + ": " + msg
	}
	c.errs = append(c.errs, &Error{Where: c.doc.At(n), Msg: msg, Hint: hint})
}

// describe names what stands in the document, for "is …, want …".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!str":
		return fmt.Sprintf("the text %q", clip(n.Value))
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return "the truth value " + n.Value
	}
	return fmt.Sprintf("%s %s", strings.TrimPrefix(n.Tag, "!!"), clip(n.Value))
}

func clip(s string) string {
	if utf8.RuneCountInString(s) <= 60 {
		return s
	}
	return string([]rune(s)[:57]) + "..."
}

func (c *checker) value(n *yaml.Node, t *Type, path string) {
	if n.Kind == yaml.AliasNode {
		c.add(n, path, "write the value out", "aliases are not supported")
		return
	}
	bad := func(hint string) {
		want := kindNames[t.Kind]
		if t.Short != "" {
			want = "a mapping or text"
		}
		c.add(n, path, hint, "is %s; want %s", describe(n), want)
	}
	switch t.Kind {
	case Object:
		if n.Kind == yaml.ScalarNode && t.Short != "" {
			for _, f := range t.Fields {
				if f.Name == t.Short {
					c.value(n, f.Type, path)
				}
			}
			return
		}
		if n.Kind != yaml.MappingNode {
			bad("")
			return
		}
		c.object(n, t, path)
	case Map:
		if n.Kind != yaml.MappingNode {
			bad("")
			return
		}
		seen := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if c.key(k, path, seen) {
				c.value(n.Content[i+1], t.Elem, join(path, k.Value))
			}
		}
	case List:
		if n.Kind != yaml.SequenceNode {
			hint := ""
			if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
				hint = fmt.Sprintf("[%s]", clip(n.Value))
			}
			bad(hint)
			return
		}
		if t.Min != nil && float64(len(n.Content)) < *t.Min {
			if len(n.Content) == 0 {
				c.add(n, path, "", "is empty; want at least %g", *t.Min)
			} else {
				c.add(n, path, "", "has %d entries; want at least %g", len(n.Content), *t.Min)
			}
		}
		first := map[string]*yaml.Node{}
		for i, e := range n.Content {
			c.value(e, t.Elem, fmt.Sprintf("%s[%d]", path, i))
			if t.Unique == "" {
				continue
			}
			id := e
			if e.Kind == yaml.MappingNode {
				id = Get(e, t.Unique)
			}
			if id == nil || id.Kind != yaml.ScalarNode || id.Value == "" {
				continue
			}
			if was := first[id.Value]; was != nil {
				c.add(id, path, "first at "+c.doc.At(was), "%s %q occurs twice", t.Unique, id.Value)
			} else {
				first[id.Value] = id
			}
		}
	case String:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			hint := ""
			if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
				hint = fmt.Sprintf("quote it: %q", n.Value)
			}
			bad(hint)
			return
		}
		c.text(n, t, path)
	case Scalar:
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			bad("")
		}
	case Bool:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			bad("")
		}
	case Duration:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !regexp.MustCompile(durationPattern).MatchString(n.Value) {
			bad("")
			return
		}
		if _, err := time.ParseDuration(n.Value); err != nil {
			bad("")
		}
	case Int, Number:
		c.number(n, t, path, bad)
	}
}

func (c *checker) object(n *yaml.Node, t *Type, path string) {
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !c.key(k, path, seen) {
			continue
		}
		var ft *Type
		names := make([]string, 0, len(t.Fields))
		for _, f := range t.Fields {
			names = append(names, f.Name)
			if f.Name == k.Value {
				ft = f.Type
			}
		}
		if ft == nil {
			hint := "known: " + strings.Join(names, ", ")
			if near := Nearest(k.Value, names); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			c.add(k, path, hint, "unknown key %q", k.Value)
			continue
		}
		c.value(v, ft, join(path, k.Value))
	}
	for _, f := range t.Fields {
		if f.Required && seen[f.Name] == nil {
			c.add(n, path, "", "%q is missing", f.Name)
		}
	}
}

// key checks a mapping's key and that it is the first of its name.
func (c *checker) key(k *yaml.Node, path string, seen map[string]*yaml.Node) bool {
	if k.Kind != yaml.ScalarNode {
		c.add(k, path, "", "a key is %s; want text", describe(k))
		return false
	}
	if was := seen[k.Value]; was != nil {
		c.add(k, path, "first at "+c.doc.At(was), "key %q occurs twice", k.Value)
		return false
	}
	seen[k.Value] = k
	return true
}

func (c *checker) text(n *yaml.Node, t *Type, path string) {
	if t.Min != nil && float64(utf8.RuneCountInString(n.Value)) < *t.Min {
		if n.Value == "" {
			c.add(n, path, "", "is empty")
		} else {
			c.add(n, path, "", "is %q; want at least %g characters", n.Value, *t.Min)
		}
		return
	}
	if len(t.Enum) > 0 {
		for _, e := range t.Enum {
			if n.Value == e {
				return
			}
		}
		hint := "one of " + strings.Join(t.Enum, ", ")
		if near := Nearest(n.Value, t.Enum); near != "" {
			hint = fmt.Sprintf("did you mean %q? One of %s", near, strings.Join(t.Enum, ", "))
		}
		c.add(n, path, hint, "unknown value %q", n.Value)
		return
	}
	if t.Pattern != nil && !t.Pattern.MatchString(n.Value) {
		c.add(n, path, "", "is %q; want %s", clip(n.Value), t.Want)
	}
}

func (c *checker) number(n *yaml.Node, t *Type, path string, bad func(string)) {
	if n.Kind != yaml.ScalarNode || (n.Tag != "!!int" && n.Tag != "!!float") {
		bad("")
		return
	}
	var x float64
	if err := n.Decode(&x); err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		bad("")
		return
	}
	// 2⁵³ is where a whole number stops being one in every JSON reader.
	if t.Kind == Int && (x != math.Trunc(x) || math.Abs(x) > 1<<53) {
		bad("")
		return
	}
	if t.Min != nil && x < *t.Min {
		c.add(n, path, "", "is %s; want at least %s", n.Value, strconv.FormatFloat(*t.Min, 'g', -1, 64))
	}
	if t.Max != nil && x > *t.Max {
		c.add(n, path, "", "is %s; want at most %s", n.Value, strconv.FormatFloat(*t.Max, 'g', -1, 64))
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Get returns the value of a mapping's key, or nil.
func Get(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// Nearest returns the name that was probably meant: at most a third of its
// letters away, or "".
func Nearest(s string, names []string) string {
	best, bestDist := "", math.MaxInt
	for _, n := range names {
		if d := distance(strings.ToLower(s), strings.ToLower(n)); d < bestDist {
			best, bestDist = n, d
		}
	}
	if bestDist > max(1, len(s)/3) {
		return ""
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours between a and b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range y {
		d[0][j+1] = j + 1
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
