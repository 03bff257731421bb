package baselines

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The Type of an option's values.
type Type string

const (
	Int   Type = "integer"
	Float Type = "number"
	Bool  Type = "boolean"
	Enum  Type = "string"            // one of Values
	Ints  Type = "list of integers"  // "8,3,2"
	Text  Type = "string as allowed" // as Allowed says
)

// An Option of a system. All values are text.
type Option struct {
	Name     string
	Type     Type
	Default  string
	Doc      string   // one line
	Allowed  string   // "1 to 64", "fixed or adaptive"
	Min, Max float64  // of Int, Float and each of Ints
	Values   []string // of Enum
}

// An option that is bound to a variable.
type option struct {
	Option
	set func(text string) error // the error says only what is expected
	get func() string
}

// named fills what is common to all kinds. The default is what the variable holds.
func (o option) named(name, doc string, kind Type, allowed string) option {
	o.Name, o.Doc, o.Type, o.Allowed = name, doc, kind, allowed
	o.Default = o.get()
	return o
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func intOption(p *int, name string, low, high int, doc string) option {
	allowed := fmt.Sprintf("%d to %d", low, high)
	o := option{
		set: func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < low || n > high {
				return fmt.Errorf("an integer from %s", allowed)
			}
			*p = n
			return nil
		},
		get: func() string { return strconv.Itoa(*p) },
	}
	o.Min, o.Max = float64(low), float64(high)
	return o.named(name, doc, Int, allowed)
}

func floatOption(p *float64, name string, low, high float64, doc string) option {
	allowed := number(low) + " to " + number(high)
	o := option{
		set: func(s string) error {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(x) || x < low || x > high {
				return fmt.Errorf("a number from %s", allowed)
			}
			*p = x
			return nil
		},
		get: func() string { return number(*p) },
	}
	o.Min, o.Max = low, high
	return o.named(name, doc, Float, allowed)
}

func boolOption(p *bool, name, doc string) option {
	return option{
		set: func(s string) error {
			switch s {
			case "true":
				*p = true
			case "false":
				*p = false
			default:
				return fmt.Errorf("true or false")
			}
			return nil
		},
		get: func() string { return strconv.FormatBool(*p) },
	}.named(name, doc, Bool, "true or false")
}

// enumOption binds a variable whose value n is called names[n].
func enumOption[T ~uint8](p *T, name string, names []string, doc string) option {
	allowed := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	o := option{
		set: func(s string) error {
			i := slices.Index(names, s)
			if i < 0 {
				return fmt.Errorf("%s", allowed)
			}
			*p = T(i)
			return nil
		},
		get: func() string { return names[*p] },
	}
	o.Values = names
	return o.named(name, doc, Enum, allowed)
}

func intsOption(p *[]int, name string, low, high, most int, doc string) option {
	allowed := fmt.Sprintf("1 to %d of %d to %d, as in 8,3,1", most, low, high)
	o := option{
		set: func(s string) error {
			var list []int
			for part := range strings.SplitSeq(s, ",") {
				n, err := strconv.Atoi(strings.TrimSpace(part))
				if err != nil || n < low || n > high || len(list) == most {
					return fmt.Errorf("integers: %s", allowed)
				}
				list = append(list, n)
			}
			*p = list
			return nil
		},
		get: func() string {
			var parts []string
			for _, n := range *p {
				parts = append(parts, strconv.Itoa(n))
			}
			return strings.Join(parts, ",")
		},
	}
	o.Min, o.Max = float64(low), float64(high)
	return o.named(name, doc, Ints, allowed)
}

// textOption binds text that check approves of.
func textOption(p *string, name, allowed string, check func(string) error, doc string) option {
	return option{
		set: func(s string) error {
			if err := check(s); err != nil {
				return fmt.Errorf("%s (%w)", allowed, err)
			}
			*p = s
			return nil
		},
		get: func() string { return *p },
	}.named(name, doc, Text, allowed)
}

// apply sets options from text, in the order of their names.
func apply(system string, bound []option, values map[string]string) error {
	var names []string
	for _, o := range bound {
		names = append(names, o.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.Index(names, name)
		if i < 0 {
			if len(names) == 0 {
				return fmt.Errorf("%s: unknown option %q; %s takes none", system, name, system)
			}
			return fmt.Errorf("%s: unknown option %q%s; there are %s", system, name, nearest(name, names), strings.Join(names, ", "))
		}
		if err := bound[i].set(values[name]); err != nil {
			hint := ""
			if bound[i].Type == Enum {
				hint = nearest(values[name], bound[i].Values)
			}
			return fmt.Errorf("%s: option %s is %q; expected %w%s", system, name, values[name], err, hint)
		}
	}
	return nil
}

// nearest asks for the name that is fewest edits away, if it is near at all.
func nearest(word string, names []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, n := range names {
		if d := edits(strings.ReplaceAll(strings.ToLower(word), "_", "-"), strings.ReplaceAll(n, "_", "-")); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
