package text

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/coordbench/coordbench/reports"
)

const (
	right = iota
	left
)

// A cell is a figure with its footnotes, whose marks stand after it without
// shifting the column.
type cell struct {
	text  string
	notes []int
}

// A table has a header and rows; a row of one cell is a heading. A header may
// have several lines.
type table struct {
	head  []string
	align []int
	words []bool // columns that may be cut: names, never figures
	rows  [][]cell
}

func newTable(head ...string) *table {
	t := &table{head: head, align: make([]int, len(head)), words: make([]bool, len(head))}
	t.align[0], t.words[0] = left, true
	return t
}

func (t *table) heading(s string)     { t.rows = append(t.rows, []cell{{text: s}}) }
func (t *table) row(cells ...cell)    { t.rows = append(t.rows, cells) }
func (t *table) isHeading(i int) bool { return len(t.rows[i]) == 1 }

const (
	gap      = 2 // columns between columns
	leastCut = 8 // a name is not cut below this
)

// widths returns the width of each column's figures and of its marks, of which
// a cell shows at most most.
func (t *table) widths(most int) (text, marks []int, total int) {
	n := len(t.head)
	text, marks = make([]int, n), make([]int, n)
	for c := range n {
		for i, r := range t.rows {
			if t.isHeading(i) {
				continue
			}
			text[c] = max(text[c], displayWidth(r[c].text))
			marks[c] = max(marks[c], displayWidth(markString(r[c].notes, most)))
		}
		for h := range strings.SplitSeq(t.head[c], "\n") {
			text[c] = max(text[c], displayWidth(h))
		}
		total += text[c] + marks[c]
	}
	return text, marks, total + gap*(n-1)
}

// table prints t. What is too wide loses footnote marks down to one a cell,
// after names have been cut.
func (p *printer) table(t *table) {
	n := len(t.head)
	var text, marks []int
	most, total := 3, 0
	for ; ; most-- {
		text, marks, total = t.widths(most)
		for total > p.width {
			widest := -1
			for c := range n {
				if t.words[c] && text[c] > leastCut && (widest < 0 || text[c] > text[widest]) {
					widest = c
				}
			}
			if widest < 0 {
				break
			}
			text[widest]--
			total--
		}
		if total <= p.width || most == 1 {
			break
		}
	}
	lines := 0
	heads := make([][]string, n)
	for c := range n {
		heads[c] = strings.Split(t.head[c], "\n")
		lines = max(lines, len(heads[c]))
	}
	emit := func(of func(c int) string) {
		var b strings.Builder
		for c := range n {
			if c > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			b.WriteString(of(c))
		}
		p.line(b.String())
	}
	for l := range lines {
		emit(func(c int) string {
			s := ""
			if i := l - (lines - len(heads[c])); i >= 0 {
				s = cut(heads[c][i], text[c])
			}
			return pad(s, text[c], t.align[c]) + strings.Repeat(" ", marks[c])
		})
	}
	p.line(strings.Repeat("─", min(total, p.width)))
	for i, r := range t.rows {
		if t.isHeading(i) {
			p.line(cut(r[0].text, p.width))
			continue
		}
		emit(func(c int) string {
			s, m := cut(r[c].text, text[c]), markString(r[c].notes, most)
			if c == 0 { // marks stand right after a name
				return pad(s+m, text[c]+marks[c], left)
			}
			return pad(s, text[c], t.align[c]) + pad(m, marks[c], left)
		})
	}
}

// notes numbers the footnotes of a group in the order of their first mark.
type notes struct {
	common []reports.Warning // hold for every row: marked at the heading only
	texts  []string
}

// common returns the warnings that all rows share.
func common(rows []reports.Row) []reports.Warning {
	if len(rows) < 2 {
		return nil
	}
	var out []reports.Warning
	for _, w := range rows[0].Warnings {
		all := true
		for _, r := range rows[1:] {
			all = all && has(r.Warnings, w)
		}
		if all {
			out = append(out, w)
		}
	}
	return out
}

func has(ws []reports.Warning, w reports.Warning) bool {
	for _, o := range ws {
		if o == w {
			return true
		}
	}
	return false
}

// heading is the marks of what holds for every row.
func (n *notes) heading() string {
	var ids []int
	for _, w := range n.common {
		ids = append(ids, n.id(w.Text))
	}
	return markString(ids, len(ids))
}

// of numbers those warnings that are about something.
func (n *notes) of(ws []reports.Warning, about string) (ids []int) {
	for _, w := range ws {
		if w.About == about && !has(n.common, w) {
			ids = append(ids, n.id(w.Text))
		}
	}
	return ids
}

func (n *notes) id(text string) int {
	for i, t := range n.texts {
		if t == text {
			return i + 1
		}
	}
	n.texts = append(n.texts, text)
	return len(n.texts)
}

// markString is " ¹ ²": at most most marks, and a plus where there are more.
func markString(ids []int, most int) string {
	s := ""
	for i, id := range ids {
		if i == most {
			return s + "⁺"
		}
		s += " " + superscript(id)
	}
	return s
}

func superscript(n int) string {
	const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹"
	r := []rune(digits)
	s := ""
	for ; n > 0; n /= 10 {
		s = string(r[n%10]) + s
	}
	return s
}

// clean makes other people's text safe to print: a terminal must not obey it.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// displayWidth is the number of columns that s takes: two for East Asian wide
// characters, none for combining marks.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// pad fills s up to w columns.
func pad(s string, w, align int) string {
	fill := strings.Repeat(" ", max(0, w-displayWidth(s)))
	if align == right {
		return fill + s
	}
	return s + fill
}

// cut shortens s to w columns, the last of them an ellipsis.
func cut(s string, w int) string {
	if displayWidth(s) <= w {
		return s
	}
	n := 0
	for i, r := range s {
		if n+runeWidth(r) > w-1 {
			return s[:i] + "…"
		}
		n += runeWidth(r)
	}
	return s
}

// wrap breaks s into lines of at most w columns, at spaces where it can.
func wrap(s string, w int) []string {
	var out []string
	line, n := "", 0
	for _, word := range strings.Fields(s) {
		for {
			ww := displayWidth(word)
			sep := 0
			if n > 0 {
				sep = 1
			}
			if n+sep+ww <= w {
				line += strings.Repeat(" ", sep) + word
				n += sep + ww
				break
			}
			if n > 0 {
				out = append(out, line)
				line, n = "", 0
				continue
			}
			// A word longer than a line.
			i, m := 0, 0
			for j, r := range word {
				if m+runeWidth(r) > w && j > 0 {
					break
				}
				m += runeWidth(r)
				i = j + len(string(r))
			}
			out = append(out, word[:i])
			word = word[i:]
			if word == "" {
				break
			}
		}
	}
	if n > 0 || len(out) == 0 {
		out = append(out, line)
	}
	return out
}
