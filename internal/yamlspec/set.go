package yamlspec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

var setStep = regexp.MustCompile(`\.?([^.\[\]]+)|\[([0-9]+)\]`)

// Set applies one --set argument, "repeats=3" or "workloads.0.prompts=4", to the
// document, as described by t. A step into a list is an index or the value of
// the list's Unique field; one past the end appends. Errors in the value are
// found by the next Check and located as "--set …".
func (d *Doc) Set(t *Type, arg string) error {
	where := "--set " + arg
	key, text, ok := strings.Cut(arg, "=")
	if !ok || key == "" {
		return &Error{Where: where, Msg: "want key=value, such as repeats=3"}
	}
	var val yaml.Node
	if strings.TrimSpace(text) == "" {
		val = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: ""}
	} else {
		doc, err := Parse(where, []byte(text))
		if err != nil {
			return &Error{Where: where, Msg: "the value is not YAML"}
		}
		val = *doc.Root
	}
	if d.sets == nil {
		d.sets = map[*yaml.Node]string{}
	}
	var steps []string
	for rest := key; rest != ""; {
		m := setStep.FindStringSubmatchIndex(rest)
		if m == nil || m[0] != 0 {
			return &Error{Where: where, Msg: fmt.Sprintf("%q is no path of keys and indices", key)}
		}
		if m[2] >= 0 {
			steps = append(steps, rest[m[2]:m[3]])
		} else {
			steps = append(steps, rest[m[4]:m[5]])
		}
		rest = rest[m[1]:]
	}
	n := d.Root
	for i, s := range steps {
		next, nt, err := d.step(n, t, s, where, strings.Join(steps[:i], "."))
		if err != nil {
			return err
		}
		n, t = next, nt
	}
	*n = val
	d.mark(n, where)
	return nil
}

func (d *Doc) mark(n *yaml.Node, where string) {
	d.sets[n] = where
	for _, c := range n.Content {
		d.mark(c, where)
	}
}

// step goes from n, of type t, to its part called s, which is made if absent.
func (d *Doc) step(n *yaml.Node, t *Type, s, where, path string) (*yaml.Node, *Type, error) {
	fail := func(hint, format string, args ...any) (*yaml.Node, *Type, error) {
		msg := fmt.Sprintf(format, args...)
		if path != "" {
			msg = path + ": " + msg
		}
		return nil, nil, &Error{Where: where, Msg: msg, Hint: hint}
	}
	fresh := n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	switch t.Kind {
	case Object, Map:
		nt := t.Elem
		if t.Kind == Object {
			var names []string
			for _, f := range t.Fields {
				names = append(names, f.Name)
				if f.Name == s {
					nt = f.Type
				}
			}
			if nt == nil {
				hint := "known: " + strings.Join(names, ", ")
				if near := Nearest(s, names); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				return fail(hint, "unknown key %q", s)
			}
		}
		if n.Kind == yaml.ScalarNode && !fresh && t.Short != "" {
			was := *n
			*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: was.Line, Column: was.Column}
			n.Content = []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: t.Short, Line: was.Line}, &was}
		} else if fresh {
			*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			d.sets[n] = where
		}
		if n.Kind != yaml.MappingNode {
			return fail("", "is %s, which has no key %q", describe(n), s)
		}
		if v := Get(n, s); v != nil {
			return v, nt, nil
		}
		k := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
		v := &yaml.Node{}
		d.sets[k] = where
		n.Content = append(n.Content, k, v)
		return v, nt, nil
	case List:
		if fresh {
			*n = yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
			d.sets[n] = where
		}
		if n.Kind != yaml.SequenceNode {
			return fail("", "is %s, which has no entry %q", describe(n), s)
		}
		if t.Unique != "" {
			for _, e := range n.Content {
				id := e
				if e.Kind == yaml.MappingNode {
					id = Get(e, t.Unique)
				}
				if id != nil && id.Value == s {
					return e, t.Elem, nil
				}
			}
		}
		i, err := strconv.Atoi(s)
		if err != nil || i < 0 || i > len(n.Content) {
			return fail(fmt.Sprintf("0 to %d, %d appends", len(n.Content), len(n.Content)), "no entry %q", s)
		}
		if i == len(n.Content) {
			n.Content = append(n.Content, &yaml.Node{})
		}
		return n.Content[i], t.Elem, nil
	}
	return fail("", "is %s, which has no part %q", kindNames[t.Kind], s)
}
