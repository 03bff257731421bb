package experiments

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rows are the systems that an ablation compares, by row name.
type Rows struct {
	Name        string // of the ablation
	Full        string
	Additive    []Row // from everything off to Full, one more part each
	LeaveOneOut []Row // Full without one part each
}

// A Row is a system row and the part by which it differs.
type Row struct {
	System string
	Part   string // "" for the base
}

// Expand returns every system row, the file's own first, then those that the
// ablations add:
//
//	base, base+calibration, base+calibration+reuse, …   additive, up to the full system
//	coordgen-calibration, coordgen-reuse, …             leave one out
//
// A row that would repeat the system and options of another row of the same
// ablation is not run twice: both tables name the one row.
func (e *Experiment) Expand(c Catalog) ([]System, []Rows, error) {
	rows := slices.Clone(e.Systems)
	var out []Rows
	for _, a := range e.Ablations {
		off := map[string]Part{}
		for _, p := range c.Parts(a.System) {
			off[p.Name] = p
		}
		added := map[string]bool{}
		// row returns the name of the row with the given parts off.
		row := func(name string, without []string) (string, error) {
			opts := maps.Clone(a.Options)
			if opts == nil {
				opts = Options{}
			}
			for _, w := range without {
				opts[off[w].Option] = off[w].Off
			}
			for _, r := range rows {
				if r.System == a.System && maps.Equal(r.Options, opts) && (added[r.Name] || len(without) == 0) {
					return r.Name, nil
				}
			}
			for _, r := range rows {
				if r.Name == name {
					return "", fmt.Errorf("%s: row %q occurs twice", a.Name, name)
				}
			}
			if len(opts) == 0 {
				opts = nil
			}
			rows = append(rows, System{Name: name, System: a.System, Options: opts})
			added[name] = true
			return name, nil
		}
		r := Rows{Name: a.Name}
		var err error
		if r.Full, err = row(a.Name, nil); err != nil {
			return nil, nil, err
		}
		for i := range a.Parts {
			name, err := row(a.Name+"-"+a.Parts[i], []string{a.Parts[i]})
			if err != nil {
				return nil, nil, err
			}
			r.LeaveOneOut = append(r.LeaveOneOut, Row{System: name, Part: a.Parts[i]})
		}
		for i := 0; i <= len(a.Parts); i++ {
			name := strings.Join(append([]string{a.Base}, a.Parts[:i]...), "+")
			part := ""
			if i > 0 {
				part = a.Parts[i-1]
			}
			if name, err = row(name, a.Parts[i:]); err != nil {
				return nil, nil, err
			}
			r.Additive = append(r.Additive, Row{System: name, Part: part})
		}
		out = append(out, r)
	}
	return rows, out, nil
}
