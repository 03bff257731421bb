package draft

import (
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Builder merges proposals into one trie below the root. The first source to
// propose a node owns it, and a path that is there already costs nothing. The
// builder alone refuses: a proposal beyond the budget, the depth or a stop token,
// or of something that is no token, is dropped, never an error.
//
// Between calls parents precede their children, siblings hold different tokens,
// and no node is deeper than the limit or lies below a stop token.
type Builder struct {
	nodes [decode.MaxNodes]node
	n     int
	vocab int
	stop  []decode.Token
	width int // most nodes, root included
	limit int // likewise, for the source that proposes now
	depth int // longest branch
}

type node struct {
	tok                             decode.Token
	parent, child, last, next, high int32 // child and last are the first and the last; 0 where there is none
	depth                           int32
	origin                          decode.Origin
	final                           bool // a stop token: nothing goes below
}

// NewBuilder returns a builder for a vocabulary of this size.
func NewBuilder(vocab int) *Builder { return &Builder{vocab: vocab} }

// Reset begins a draft below root: at most width nodes with the root, branches
// of at most depth tokens, none going on after a token of stop. A caller that has
// m tokens left to emit and room for c more in the context passes at most
// min(m, c) - 1 as depth, because every verification emits one token beyond the
// accepted ones. stop is kept until the next Reset.
func (b *Builder) Reset(root decode.Token, width, depth int, stop []decode.Token) {
	b.stop = stop
	b.width = max(1, min(width, decode.MaxNodes))
	b.limit, b.depth = b.width, depth
	b.nodes[0] = node{tok: root, parent: -1, final: slices.Contains(stop, root)}
	b.n = 1
}

// Len is the number of nodes, root included.
func (b *Builder) Len() int { return b.n }

// Width is the most nodes that the draft may have, root included.
func (b *Builder) Width() int { return b.width }

// Free is the number of nodes that the current source may still add.
func (b *Builder) Free() int { return max(0, b.limit-b.n) }

// Root is the last committed token.
func (b *Builder) Root() decode.Token { return b.nodes[0].tok }

// Token is what node u holds.
func (b *Builder) Token(u int) decode.Token { return b.nodes[u].tok }

// Origin is where node u came from.
func (b *Builder) Origin(u int) decode.Origin { return b.nodes[u].origin }

// Parent is the node above u, -1 for the root.
func (b *Builder) Parent(u int) int { return int(b.nodes[u].parent) }

// Depth is the distance of node u from the root.
func (b *Builder) Depth(u int) int { return int(b.nodes[u].depth) }

// Height is the length of the longest branch below u.
func (b *Builder) Height(u int) int { return int(b.nodes[u].high) }

// Child returns the child of u that holds tok, or -1.
func (b *Builder) Child(u int, tok decode.Token) int {
	for c := b.nodes[u].child; c != 0; c = b.nodes[c].next {
		if b.nodes[c].tok == tok {
			return int(c)
		}
	}
	return -1
}

// Add returns the child of u that holds tok and whether it is new. It returns -1
// if there is none and none can be added: the budget is spent, the branch as long
// as it may be, u ends the output, or tok is outside the vocabulary.
func (b *Builder) Add(u int, tok decode.Token, from decode.Origin) (child int, isNew bool) {
	if c := b.Child(u, tok); c >= 0 {
		return c, false
	}
	p := &b.nodes[u]
	if b.n >= b.limit || int(p.depth) >= b.depth || p.final || tok < 0 || int(tok) >= b.vocab {
		return -1, false
	}
	c := int32(b.n)
	b.n++
	b.nodes[c] = node{tok: tok, parent: int32(u), depth: p.depth + 1, origin: from, final: slices.Contains(b.stop, tok)}
	if p.child == 0 {
		p.child = c
	} else {
		b.nodes[p.last].next = c
	}
	p.last = c
	for v, h := int32(u), int32(1); v >= 0 && b.nodes[v].high < h; v, h = b.nodes[v].parent, h+1 {
		b.nodes[v].high = h
	}
	return int(c), true
}

// AddChain adds toks one below the other, starting below u, as far as it can. It
// returns the last node reached and the number of new ones.
func (b *Builder) AddChain(u int, toks []decode.Token, from decode.Origin) (last, added int) {
	for _, tok := range toks {
		c, isNew := b.Add(u, tok, from)
		if c < 0 {
			break
		}
		if isNew {
			added++
		}
		u = c
	}
	return u, added
}

// Path appends the tokens from below the root to node u to dst.
func (b *Builder) Path(dst []decode.Token, u int) []decode.Token {
	at := len(dst)
	for ; u > 0; u = b.Parent(u) {
		dst = append(dst, b.nodes[u].tok)
	}
	slices.Reverse(dst[at:])
	return dst
}

// Layout writes the draft to t, depth first and older siblings first. So nodes 1,
// 2, … are the spine, what the first source thinks likeliest: committing it moves
// no keys or values.
func (b *Builder) Layout(t *decode.Tree) {
	t.Reset(b.nodes[0].tok)
	b.lay(t, 0, 0)
}

func (b *Builder) lay(t *decode.Tree, u int32, at int) {
	for c := b.nodes[u].child; c != 0; c = b.nodes[c].next {
		b.lay(t, c, t.Add(at, b.nodes[c].tok, b.nodes[c].origin))
	}
}
