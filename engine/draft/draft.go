// Package draft proposes continuations of a token stream: sources that look
// them up, and the trie that merges what they propose into a draft tree.
package draft

import "github.com/coordbench/coordbench/engine/decode"

// A Source proposes continuations of the committed stream. It is used by one
// goroutine at a time, and given the same calls it proposes the same branches.
type Source interface {
	// Begin starts a new request. prompt and p are valid only during the call. Begin
	// forgets what belongs to the request before.
	Begin(prompt []decode.Token, p decode.PrefillResult)

	// Observe is given each committed token exactly once, in order: after Begin the
	// one that the prefill emitted, with a nil verdict, and then what each
	// verification emitted. The arguments are valid only during the call.
	Observe(committed []decode.Token, v *Verdict)

	// Propose adds branches to b, whose root is the last committed token.
	Propose(b *Builder)
}

// A Verdict is what a verification said about a draft.
type Verdict struct {
	Tree   *decode.Tree
	Picked []decode.Token // for each node, the token that the target puts after it
	Path   []int          // the accepted nodes, root first
	// Top holds the K likeliest tokens after each node, where live calibration asked for them.
	K   int
	Top []decode.Candidate
}

// A Builder merges proposals into one trie below the root. The first source to
// propose a node owns it; later sources use what is left of the budget.
type Builder struct {
	nodes []node
	vocab int
	stop  []decode.Token
	width int // most nodes, root included
	limit int // likewise, for the source that proposes now
	depth int // longest branch
}

type node struct {
	tok    decode.Token
	origin decode.Origin
	parent int
	depth  int
	child  int // first, or 0
	next   int // next sibling, or 0
	final  bool
}

// NewBuilder returns a builder for a vocabulary of this size.
func NewBuilder(vocab int) *Builder { return &Builder{vocab: vocab} }

// Reset begins a draft below root: at most width nodes with the root, branches
// of at most depth tokens, none going on after a token of stop.
func (b *Builder) Reset(root decode.Token, width, depth int, stop []decode.Token) {
	b.nodes = append(b.nodes[:0], node{tok: root, parent: -1})
	b.width = min(width, decode.MaxNodes)
	b.limit, b.depth, b.stop = b.width, depth, stop
}

// Len is the number of nodes, root included.
func (b *Builder) Len() int { return len(b.nodes) }

// Width is the most nodes that the draft may have, root included.
func (b *Builder) Width() int { return b.width }

// Free is the number of nodes that the current source may still add.
func (b *Builder) Free() int { return max(0, b.limit-len(b.nodes)) }

// Depth is the distance of node u from the root.
func (b *Builder) Depth(u int) int { return b.nodes[u].depth }

// Token is what node u holds.
func (b *Builder) Token(u int) decode.Token { return b.nodes[u].tok }

// Root is the last committed token.
func (b *Builder) Root() decode.Token { return b.nodes[0].tok }

// Child returns the child of u that holds tok, or -1.
func (b *Builder) Child(u int, tok decode.Token) int {
	for c := b.nodes[u].child; c != 0; c = b.nodes[c].next {
		if b.nodes[c].tok == tok {
			return c
		}
	}
	return -1
}

// Add returns the child of u that holds tok and whether it is new. It returns -1
// if there is none and none can be added: the budget is spent, the branch as long
// as it may be, u ends the output, or tok is no token.
func (b *Builder) Add(u int, tok decode.Token, from decode.Origin) (child int, isNew bool) {
	if c := b.Child(u, tok); c >= 0 {
		return c, false
	}
	if b.Free() == 0 || b.nodes[u].depth >= b.depth || b.nodes[u].final || tok < 0 || int(tok) >= b.vocab {
		return -1, false
	}
	n := node{tok: tok, origin: from, parent: u, depth: b.nodes[u].depth + 1}
	for _, s := range b.stop {
		n.final = n.final || s == tok
	}
	c := len(b.nodes)
	b.nodes = append(b.nodes, n)
	if last := b.nodes[u].child; last == 0 {
		b.nodes[u].child = c
	} else {
		for b.nodes[last].next != 0 {
			last = b.nodes[last].next
		}
		b.nodes[last].next = c
	}
	return c, true
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
	for ; u > 0; u = b.nodes[u].parent {
		dst = append(dst, b.nodes[u].tok)
	}
	for i, j := at, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	return dst
}

// Layout writes the draft to t, depth first and older children first: the spine,
// what the first source thinks likeliest, comes first, so that committing it
// moves no keys or values.
func (b *Builder) Layout(t *decode.Tree) {
	t.Reset(b.nodes[0].tok)
	b.lay(t, 0, 0)
}

func (b *Builder) lay(t *decode.Tree, u, at int) {
	for c := b.nodes[u].child; c != 0; c = b.nodes[c].next {
		b.lay(t, c, t.Add(at, b.nodes[c].tok, b.nodes[c].origin))
	}
}

// Upto returns s held to drafts of at most nodes nodes below the root, its own
// and those of the sources before it.
func Upto(s Source, nodes int) Source { return capped{s, nodes} }

type capped struct {
	Source
	nodes int
}

func (c capped) Propose(b *Builder) {
	before := b.limit
	b.limit = min(b.width, 1+c.nodes)
	c.Source.Propose(b)
	b.limit = before
}
