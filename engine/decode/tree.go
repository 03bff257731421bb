package decode

import "fmt"

// MaxNodes bounds a draft tree, root included: an ancestor set is one word.
const MaxNodes = 64

// A Tree holds candidate continuations of the root, node 0, which is the newest
// emitted token. Parents precede their children; siblings have different tokens.
// Node i stands at context position base + Depth[i], where base is the length
// of the context.
type Tree struct {
	Tokens  []Token
	Parents []int // Parents[0] is -1
	Depths  []int
	// Ancestors[i] has bit j set if j is i or an ancestor of i. It is the
	// attention mask on the draft columns; the context is visible to every node.
	Ancestors []uint64
	Origins   []Origin
}

// Reset makes t the tree of a root alone.
func (t *Tree) Reset(root Token) {
	t.Tokens = append(t.Tokens[:0], root)
	t.Parents = append(t.Parents[:0], -1)
	t.Depths = append(t.Depths[:0], 0)
	t.Ancestors = append(t.Ancestors[:0], 1)
	t.Origins = append(t.Origins[:0], FromRoot)
}

// Len is the number of nodes, root included.
func (t *Tree) Len() int { return len(t.Tokens) }

// Child returns the child of node u that holds tok, or -1.
func (t *Tree) Child(u int, tok Token) int {
	for i := u + 1; i < len(t.Tokens); i++ {
		if t.Parents[i] == u && t.Tokens[i] == tok {
			return i
		}
	}
	return -1
}

// Add appends a child of node u and returns its index. The caller knows that u
// has no child with this token and that Len() < MaxNodes.
func (t *Tree) Add(u int, tok Token, from Origin) int {
	i := len(t.Tokens)
	t.Tokens = append(t.Tokens, tok)
	t.Parents = append(t.Parents, u)
	t.Depths = append(t.Depths, t.Depths[u]+1)
	t.Ancestors = append(t.Ancestors, t.Ancestors[u]|1<<uint(i))
	t.Origins = append(t.Origins, from)
	return i
}

// MaxDepth is the length of the longest branch, 0 for a root alone.
func (t *Tree) MaxDepth() int {
	d := 0
	for _, x := range t.Depths {
		d = max(d, x)
	}
	return d
}

// Validate says what breaks t's invariants for a vocabulary of the given size.
func (t *Tree) Validate(vocab int) error {
	n := len(t.Tokens)
	if n == 0 {
		return fmt.Errorf("draft tree: no root")
	}
	if n > MaxNodes {
		return fmt.Errorf("draft tree: %d nodes; at most %d", n, MaxNodes)
	}
	if len(t.Parents) != n || len(t.Depths) != n || len(t.Ancestors) != n || len(t.Origins) != n {
		return fmt.Errorf("draft tree: %d tokens, %d parents, %d depths, %d ancestor sets, %d origins",
			n, len(t.Parents), len(t.Depths), len(t.Ancestors), len(t.Origins))
	}
	for i := range n {
		if tok := t.Tokens[i]; tok < 0 || int(tok) >= vocab {
			return fmt.Errorf("draft tree: node %d: token %d is outside the vocabulary of %d", i, tok, vocab)
		}
		p := t.Parents[i]
		if i == 0 {
			if p != -1 || t.Depths[0] != 0 || t.Ancestors[0] != 1 {
				return fmt.Errorf("draft tree: node 0 is not a root: parent %d, depth %d, ancestors %#x", p, t.Depths[0], t.Ancestors[0])
			}
			continue
		}
		if p < 0 || p >= i {
			return fmt.Errorf("draft tree: node %d: parent %d does not precede it", i, p)
		}
		if t.Depths[i] != t.Depths[p]+1 {
			return fmt.Errorf("draft tree: node %d: depth %d below a parent of depth %d", i, t.Depths[i], t.Depths[p])
		}
		if want := t.Ancestors[p] | 1<<uint(i); t.Ancestors[i] != want {
			return fmt.Errorf("draft tree: node %d: ancestors %#x, want %#x", i, t.Ancestors[i], want)
		}
		if c := t.Child(p, t.Tokens[i]); c != i {
			return fmt.Errorf("draft tree: nodes %d and %d are siblings with token %d", c, i, t.Tokens[i])
		}
	}
	return nil
}

// ValidatePath says what keeps path from being a walk from t's root.
func (t *Tree) ValidatePath(path []int) error {
	if len(path) == 0 || path[0] != 0 {
		return fmt.Errorf("commit path %v does not start at the root", path)
	}
	for i := 1; i < len(path); i++ {
		if n := path[i]; n <= 0 || n >= t.Len() || t.Parents[n] != path[i-1] {
			return fmt.Errorf("commit path %v: node %d is no child of node %d in a tree of %d", path, n, path[i-1], t.Len())
		}
	}
	return nil
}
