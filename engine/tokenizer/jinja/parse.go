package jinja

import (
	"slices"
	"strconv"
)

// node is a statement; expr an expression. Evaluation is in exec.go and eval.go.
type (
	node any
	expr any
)

type (
	textNode   struct{ text string }
	outputNode struct {
		line int
		x    expr
	}
	ifNode struct {
		line  int
		conds []expr
		then  [][]node
		other []node
	}
	forNode struct {
		line  int
		names []string
		in    expr
		cond  expr // or nil
		body  []node
		other []node
	}
	setNode struct {
		line   int
		names  []string // or one name and an attribute
		attr   string
		x      expr   // or nil for a block
		body   []node // of a block
		filter expr   // on a block, or nil; its innermost operand is a *placeholder
	}
	macroNode struct {
		line   int
		name   string
		params []param
		body   []node
	}
	filterNode struct {
		line   int
		filter expr
		body   []node
	}
	withNode struct {
		line  int
		names []string
		xs    []expr
		body  []node
	}
	breakNode    struct{ line int }
	continueNode struct{ line int }
)

type param struct {
	name string
	def  expr // or nil
}

type (
	constExpr   struct{ v any }
	placeholder struct{} // the text that a filter block is applied to
	nameExpr    struct {
		line int
		name string
	}
	listExpr struct {
		line int
		xs   []expr
	}
	dictExpr struct {
		line       int
		keys, vals []expr
	}
	attrExpr struct {
		line int
		x    expr
		name string
	}
	indexExpr struct {
		line int
		x, i expr
	}
	sliceExpr struct {
		line           int
		x              expr
		lo, hi, stride expr // or nil
	}
	callExpr struct {
		line int
		f    expr
		args args
	}
	filterExpr struct {
		line int
		x    expr
		name string
		args args
	}
	testExpr struct {
		line int
		x    expr
		name string
		args args
		not  bool
	}
	unaryExpr struct {
		line int
		op   string
		x    expr
	}
	binaryExpr struct {
		line int
		op   string
		x, y expr
	}
	compareExpr struct {
		line int
		x    expr
		ops  []string
		ys   []expr
	}
	condExpr struct {
		line           int
		x, cond, other expr // other may be nil
	}
)

type args struct {
	pos   []expr
	names []string
	named []expr
}

type parser struct {
	toks  []token
	pos   int
	depth int
	loops int
}

func (p *parser) peek() token { return p.peekAt(0) }

func (p *parser) peekAt(n int) token {
	if p.pos+n >= len(p.toks) {
		return p.toks[len(p.toks)-1]
	}
	return p.toks[p.pos+n]
}

func (p *parser) next() token {
	t := p.peek()
	p.pos++
	return t
}

func (p *parser) isOp(text string) bool { return p.peek().kind == tokOp && p.peek().text == text }

func (p *parser) isName(text string) bool { return p.peek().kind == tokName && p.peek().text == text }

func (p *parser) accept(op string) bool {
	if p.isOp(op) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) acceptName(name string) bool {
	if p.isName(name) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(op string) error {
	if !p.accept(op) {
		return errorf(p.peek().line, "expected %q, found %s", op, p.peek().describe())
	}
	return nil
}

func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "the end of the template"
	case tokText:
		return "text"
	}
	return strconv.Quote(t.text)
}

func (p *parser) name() (string, error) {
	t := p.next()
	if t.kind != tokName {
		return "", errorf(t.line, "expected a name, found %s", t.describe())
	}
	return t.text, nil
}

func (p *parser) close() error {
	if t := p.next(); t.kind != tokCloseStmt {
		return errorf(t.line, "expected %q, found %s", "%}", t.describe())
	}
	return nil
}

// nest guards against nesting that would exhaust the stack.
func (p *parser) nest() error {
	if p.depth++; p.depth > maxNesting {
		return errorf(p.peek().line, "nested more than %d deep", maxNesting)
	}
	return nil
}

// body parses up to a statement that starts with one of until, which it leaves, or the end.
func (p *parser) body(until ...string) ([]node, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var nodes []node
	for {
		t := p.peek()
		switch t.kind {
		case tokText:
			p.pos++
			nodes = append(nodes, &textNode{t.text})
		case tokOpenExpr:
			p.pos++
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			if c := p.next(); c.kind != tokCloseExpr {
				return nil, errorf(c.line, "expected %q, found %s", "}}", c.describe())
			}
			nodes = append(nodes, &outputNode{t.line, x})
		case tokOpenStmt:
			word := p.peekAt(1)
			if word.kind != tokName {
				return nil, errorf(word.line, "expected a statement, found %s", word.describe())
			}
			if slices.Contains(until, word.text) {
				return nodes, nil
			}
			n, err := p.statement()
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n...)
		default:
			if len(until) > 0 {
				return nil, errorf(t.line, "missing {%% %s %%}", until[len(until)-1])
			}
			return nodes, nil
		}
	}
}

// end consumes the statement {% word %} that body stopped at.
func (p *parser) end() error {
	p.pos += 2
	return p.close()
}

func (p *parser) block(until string) ([]node, error) {
	if err := p.close(); err != nil {
		return nil, err
	}
	body, err := p.body(until)
	if err != nil {
		return nil, err
	}
	return body, p.end()
}

func (p *parser) statement() ([]node, error) {
	p.pos++
	word := p.next()
	one := func(n node, err error) ([]node, error) {
		if err != nil {
			return nil, err
		}
		return []node{n}, nil
	}
	switch word.text {
	case "if":
		return one(p.ifStatement(word.line))
	case "for":
		return one(p.forStatement(word.line))
	case "set":
		return one(p.setStatement(word.line))
	case "macro":
		return one(p.macroStatement(word.line))
	case "with":
		return one(p.withStatement(word.line))
	case "filter":
		f, err := p.filters(&placeholder{}, true)
		if err != nil {
			return nil, err
		}
		body, err := p.block("endfilter")
		return one(&filterNode{word.line, f, body}, err)
	case "generation": // marks the model's answers for training; prints its body
		return p.block("endgeneration")
	case "break", "continue":
		if p.loops == 0 {
			return nil, errorf(word.line, "%s outside a loop", word.text)
		}
		if word.text == "break" {
			return one(&breakNode{word.line}, p.close())
		}
		return one(&continueNode{word.line}, p.close())
	}
	return nil, errorf(word.line, "statement %q is not supported", word.text)
}

func (p *parser) ifStatement(line int) (node, error) {
	n := &ifNode{line: line}
	for {
		cond, err := p.expr()
		if err != nil {
			return nil, err
		}
		if err := p.close(); err != nil {
			return nil, err
		}
		body, err := p.body("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		n.conds, n.then = append(n.conds, cond), append(n.then, body)
		p.pos++
		switch p.next().text {
		case "elif":
		case "else":
			n.other, err = p.block("endif")
			return n, err
		default:
			return n, p.close()
		}
	}
}

func (p *parser) names() ([]string, error) {
	var names []string
	paren := p.accept("(")
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		if !p.accept(",") {
			break
		}
	}
	if paren {
		return names, p.expect(")")
	}
	return names, nil
}

func (p *parser) forStatement(line int) (node, error) {
	n := &forNode{line: line}
	var err error
	if n.names, err = p.names(); err != nil {
		return nil, err
	}
	if !p.acceptName("in") {
		return nil, errorf(p.peek().line, "expected \"in\", found %s", p.peek().describe())
	}
	if n.in, err = p.orExpr(); err != nil { // not p.expr: its "if" would take the loop's
		return nil, err
	}
	if p.acceptName("if") {
		if n.cond, err = p.expr(); err != nil {
			return nil, err
		}
	}
	if p.isName("recursive") {
		return nil, errorf(line, "recursive loops are not supported")
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	p.loops++
	n.body, err = p.body("else", "endfor")
	p.loops--
	if err != nil {
		return nil, err
	}
	p.pos++
	if p.next().text == "else" {
		n.other, err = p.block("endfor")
		return n, err
	}
	return n, p.close()
}

func (p *parser) setStatement(line int) (node, error) {
	n := &setNode{line: line}
	var err error
	if n.names, err = p.names(); err != nil {
		return nil, err
	}
	if len(n.names) == 1 && p.accept(".") {
		if n.attr, err = p.name(); err != nil {
			return nil, err
		}
	}
	if p.accept("=") {
		if n.x, err = p.tuple(); err != nil {
			return nil, err
		}
		return n, p.close()
	}
	if p.accept("|") {
		if n.filter, err = p.filters(&placeholder{}, true); err != nil {
			return nil, err
		}
	}
	if len(n.names) != 1 {
		return nil, errorf(line, "set of %d names without a value", len(n.names))
	}
	n.body, err = p.block("endset")
	return n, err
}

// tuple is an expression, or several with commas, which make a list.
func (p *parser) tuple() (expr, error) {
	line := p.peek().line
	x, err := p.expr()
	if err != nil || !p.isOp(",") {
		return x, err
	}
	l := &listExpr{line: line, xs: []expr{x}}
	for p.accept(",") {
		if p.peek().kind == tokCloseStmt {
			break
		}
		if x, err = p.expr(); err != nil {
			return nil, err
		}
		l.xs = append(l.xs, x)
	}
	return l, nil
}

func (p *parser) macroStatement(line int) (node, error) {
	n := &macroNode{line: line}
	var err error
	if n.name, err = p.name(); err != nil {
		return nil, err
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	for !p.accept(")") {
		if len(n.params) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		var q param
		if q.name, err = p.name(); err != nil {
			return nil, err
		}
		if p.accept("=") {
			if q.def, err = p.expr(); err != nil {
				return nil, err
			}
		}
		n.params = append(n.params, q)
	}
	loops := p.loops
	p.loops = 0
	n.body, err = p.block("endmacro")
	p.loops = loops
	return n, err
}

func (p *parser) withStatement(line int) (node, error) {
	n := &withNode{line: line}
	for p.peek().kind == tokName || len(n.names) > 0 && p.accept(",") {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if err := p.expect("="); err != nil {
			return nil, err
		}
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		n.names, n.xs = append(n.names, name), append(n.xs, x)
	}
	var err error
	n.body, err = p.block("endwith")
	return n, err
}

func (p *parser) expr() (expr, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.orExpr()
	if err != nil {
		return nil, err
	}
	for p.isName("if") {
		c := &condExpr{line: p.next().line, x: x}
		if c.cond, err = p.orExpr(); err != nil {
			return nil, err
		}
		if p.acceptName("else") {
			if c.other, err = p.expr(); err != nil {
				return nil, err
			}
		}
		x = c
	}
	return x, nil
}

func (p *parser) orExpr() (expr, error) {
	return p.leftWords(p.andExpr, "or")
}

func (p *parser) andExpr() (expr, error) {
	return p.leftWords(p.notExpr, "and")
}

func (p *parser) leftWords(operand func() (expr, error), word string) (expr, error) {
	x, err := operand()
	for err == nil && p.isName(word) {
		b := &binaryExpr{line: p.next().line, op: word, x: x}
		b.y, err = operand()
		x = b
	}
	return x, err
}

func (p *parser) notExpr() (expr, error) {
	if p.isName("not") {
		if err := p.nest(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		u := &unaryExpr{line: p.next().line, op: "not"}
		var err error
		u.x, err = p.notExpr()
		return u, err
	}
	return p.compare()
}

func (p *parser) compare() (expr, error) {
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &compareExpr{line: p.peek().line, x: x}
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tokOp && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text):
			op = t.text
			p.pos++
		case p.acceptName("in"):
			op = "in"
		case p.isName("not") && p.peekAt(1).kind == tokName && p.peekAt(1).text == "in":
			op = "not in"
			p.pos += 2
		}
		if op == "" {
			break
		}
		y, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.ys = append(c.ops, op), append(c.ys, y)
	}
	if len(c.ops) == 0 {
		return x, nil
	}
	return c, nil
}

func (p *parser) left(operand func() (expr, error), ops ...string) (expr, error) {
	x, err := operand()
	for err == nil && p.peek().kind == tokOp && slices.Contains(ops, p.peek().text) {
		t := p.next()
		b := &binaryExpr{line: t.line, op: t.text, x: x}
		b.y, err = operand()
		x = b
	}
	return x, err
}

func (p *parser) sum() (expr, error)     { return p.left(p.concat, "+", "-") }
func (p *parser) concat() (expr, error)  { return p.left(p.product, "~") }
func (p *parser) product() (expr, error) { return p.left(p.unary, "*", "/", "//", "%") }

// unary parses an operand with its filters and tests, which apply to -x as a whole.
func (p *parser) unary() (expr, error) {
	x, err := p.signed()
	if err != nil {
		return nil, err
	}
	return p.filters(x, false)
}

func (p *parser) signed() (expr, error) {
	if p.isOp("-") || p.isOp("+") {
		if err := p.nest(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		t := p.next()
		x, err := p.signed()
		return &unaryExpr{t.line, t.text, x}, err
	}
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	return p.postfix(x)
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch t.kind {
	case tokString:
		s := t.text
		for p.peek().kind == tokString { // neighbours are one, as in Python
			s += p.next().text
		}
		return &constExpr{s}, nil
	case tokInt:
		i, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return nil, errorf(t.line, "integer %s is too large", t.text)
		}
		return &constExpr{i}, nil
	case tokFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, errorf(t.line, "bad number %s", t.text)
		}
		return &constExpr{f}, nil
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{true}, nil
		case "false", "False":
			return &constExpr{false}, nil
		case "none", "None":
			return &constExpr{nil}, nil
		}
		return &nameExpr{t.line, t.text}, nil
	case tokOp:
		switch t.text {
		case "(":
			xs, comma, err := p.list(")")
			if err != nil {
				return nil, err
			}
			if len(xs) == 1 && !comma {
				return xs[0], nil
			}
			return &listExpr{t.line, xs}, nil
		case "[":
			xs, _, err := p.list("]")
			return &listExpr{t.line, xs}, err
		case "{":
			return p.dict(t.line)
		}
	}
	return nil, errorf(t.line, "expected an expression, found %s", t.describe())
}

func (p *parser) list(end string) (xs []expr, comma bool, err error) {
	for !p.accept(end) {
		if len(xs) > 0 && !comma {
			return nil, false, errorf(p.peek().line, "expected %q, found %s", end, p.peek().describe())
		}
		x, err := p.expr()
		if err != nil {
			return nil, false, err
		}
		xs = append(xs, x)
		comma = p.accept(",")
	}
	return xs, comma, nil
}

func (p *parser) dict(line int) (expr, error) {
	d := &dictExpr{line: line}
	for !p.accept("}") {
		if len(d.keys) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
			if p.accept("}") {
				break
			}
		}
		k, err := p.expr()
		if err != nil {
			return nil, err
		}
		if err := p.expect(":"); err != nil {
			return nil, err
		}
		v, err := p.expr()
		if err != nil {
			return nil, err
		}
		d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	}
	return d, nil
}

func (p *parser) postfix(x expr) (expr, error) {
	for n := 0; ; n++ {
		t := p.peek()
		if n > maxNesting {
			return nil, errorf(t.line, "more than %d calls and subscripts in a row", maxNesting)
		}
		switch {
		case p.accept("."):
			name := p.next()
			switch name.kind {
			case tokName:
				x = &attrExpr{t.line, x, name.text}
			case tokInt:
				i, err := strconv.ParseInt(name.text, 10, 64)
				if err != nil {
					return nil, errorf(t.line, "integer %s is too large", name.text)
				}
				x = &indexExpr{t.line, x, &constExpr{i}}
			default:
				return nil, errorf(t.line, "expected a name, found %s", name.describe())
			}
		case p.accept("["):
			var err error
			if x, err = p.subscript(t.line, x); err != nil {
				return nil, err
			}
		case p.accept("("):
			a, err := p.args()
			if err != nil {
				return nil, err
			}
			x = &callExpr{t.line, x, a}
		default:
			return x, nil
		}
	}
}

func (p *parser) subscript(line int, x expr) (expr, error) {
	var parts [3]expr
	n := 0
	for {
		if p.isOp(":") {
			if n++; n > 2 {
				return nil, errorf(line, "slice with more than two colons")
			}
			p.pos++
			continue
		}
		if p.accept("]") {
			break
		}
		if parts[n] != nil {
			return nil, errorf(line, "expected \"]\", found %s", p.peek().describe())
		}
		var err error
		if parts[n], err = p.expr(); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		if parts[0] == nil {
			return nil, errorf(line, "empty subscript")
		}
		return &indexExpr{line, x, parts[0]}, nil
	}
	return &sliceExpr{line, x, parts[0], parts[1], parts[2]}, nil
}

func (p *parser) args() (args, error) {
	var a args
	for n := 0; !p.accept(")"); n++ {
		if n > 0 {
			if err := p.expect(","); err != nil {
				return a, err
			}
			if p.accept(")") {
				break
			}
		}
		if t := p.peek(); t.kind == tokName && p.peekAt(1).kind == tokOp && p.peekAt(1).text == "=" {
			p.pos += 2
			x, err := p.expr()
			if err != nil {
				return a, err
			}
			a.names, a.named = append(a.names, t.text), append(a.named, x)
			continue
		}
		x, err := p.expr()
		if err != nil {
			return a, err
		}
		if len(a.names) > 0 {
			return a, errorf(p.peek().line, "argument without a name after one with a name")
		}
		a.pos = append(a.pos, x)
	}
	return a, nil
}

// filters parses |filter and is-tests after x; with first, the name of a
// filter comes at once.
func (p *parser) filters(x expr, first bool) (expr, error) {
	for n := 0; ; n++ {
		t := p.peek()
		if n > maxNesting {
			return nil, errorf(t.line, "more than %d filters in a row", maxNesting)
		}
		switch {
		case first || p.accept("|"):
			first = false
			name, err := p.name()
			if err != nil {
				return nil, err
			}
			f := &filterExpr{line: t.line, x: x, name: name}
			if p.accept("(") {
				if f.args, err = p.args(); err != nil {
					return nil, err
				}
			}
			x = f
		case p.acceptName("is"):
			f := &testExpr{line: t.line, x: x, not: p.acceptName("not")}
			var err error
			if f.name, err = p.name(); err != nil {
				return nil, err
			}
			switch q := p.peek(); {
			case p.accept("("):
				if f.args, err = p.args(); err != nil {
					return nil, err
				}
			case q.kind == tokString || q.kind == tokInt || q.kind == tokFloat,
				q.kind == tokName && !slices.Contains([]string{"and", "or", "not", "if", "else", "is", "in", "recursive"}, q.text),
				q.kind == tokOp && q.text == "[":
				a, err := p.primary()
				if err != nil {
					return nil, err
				}
				if a, err = p.postfix(a); err != nil {
					return nil, err
				}
				f.args.pos = []expr{a}
			}
			x = f
		default:
			return x, nil
		}
	}
}
