package suffix

// The links form a tree over the states, and a new end belongs to all states on
// the way from one of them to the root. As in a link-cut tree (Sleator and
// Tarjan 1983) each state follows at most one child, the one an end was last
// added below, so the tree falls into paths; each path is a splay tree ordered
// by depth. An end then touches amortised O(log n) nodes however long the way.
//
// All states of a path were last written by the same end, so last is kept at
// the path's splay root only. A count is the sum of the count fields from a
// node to its splay root. State 0, the root, stands for no node: every string's
// empty suffix needs no count.
type node struct {
	left, right int32 // children in the splay tree: nearer to the root, farther from it
	up          int32 // parent in the splay tree, or for a splay root the state above the path
	count       int32 // relative to the splay parent
	last        int32 // valid at splay roots
}

// top reports whether x is the root of its splay tree.
func (a *Automaton) top(x int32) bool {
	p := a.states[x].up
	return p == 0 || a.states[p].left != x && a.states[p].right != x
}

func (a *Automaton) rotate(x int32) {
	a.work++
	s := a.states
	y := s[x].up
	z := s[y].up
	if a.top(y) {
		s[x].last = s[y].last
	} else if s[z].left == y {
		s[z].left = x
	} else {
		s[z].right = x
	}
	var b int32
	if s[y].left == x {
		b = s[x].right
		s[y].left, s[x].right = b, y
	} else {
		b = s[x].left
		s[y].right, s[x].left = b, y
	}
	dx := s[x].count
	if b != 0 {
		s[b].up = y
		s[b].count += dx
	}
	s[x].count += s[y].count
	s[y].count = -dx
	s[x].up, s[y].up = z, x
}

// splay makes x the root of its splay tree, where its count and last are exact.
func (a *Automaton) splay(x int32) {
	for !a.top(x) {
		y := a.states[x].up
		if !a.top(y) {
			z := a.states[y].up
			if (a.states[z].left == y) == (a.states[y].left == x) {
				a.rotate(y)
			} else {
				a.rotate(x)
			}
		}
		a.rotate(x)
	}
}

// visit adds end to the ends of v and of every state that its links lead to.
func (a *Automaton) visit(v, end int32) {
	var below int32
	for x := v; x != 0; x = a.states[x].up {
		a.work++
		a.splay(x)
		s := a.states
		if r := s[x].right; r != 0 { // becomes a path of its own
			s[r].count += s[x].count
			s[r].last = s[x].last
		}
		s[x].right = below
		if below != 0 {
			s[below].count -= s[x].count
		}
		below = x
	}
	a.states[below].count++
	a.states[below].last = end
}

// insertAbove puts c, a new state, between q and the state that q linked to,
// with q's ends.
func (a *Automaton) insertAbove(c, q int32) {
	a.splay(q)
	s := a.states
	l := s[q].left
	s[c].left, s[c].up = l, q
	if l != 0 {
		s[l].up = c
	}
	s[q].left = c
}
