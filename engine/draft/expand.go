package draft

import (
	"unsafe"

	"github.com/coordbench/coordbench/engine/decode"
)

// A leaf is a node of the calibrated tree, whether or not it is in the draft.
// Node 0 is the root.
type leaf struct {
	tok           decode.Token
	parent        int32
	depth         int32
	logProb       float64 // of the path
	used, usedEnd int32   // the positions that its children come from, in Calibrated.used
	kids, kidsEnd int32   // its children, likeliest first; kids is -1 until it is expanded
	node          int32   // in the builder, -1 while it has none
}

// An entry of the heap is a node to place: likelier first, then inserted earlier.
type entry struct {
	logProb float64
	leaf    int32
	seq     int32
}

func (e entry) less(f entry) bool {
	return e.logProb > f.logProb || e.logProb == f.logProb && e.seq < f.seq
}

// Propose is Source's.
func (c *Calibrated) Propose(b *Builder) {
	c.tree = append(c.tree[:0], leaf{tok: b.Root(), parent: -1, kids: -1})
	c.used = c.used[:0]
	if len(c.at) == 0 {
		return
	}
	if c.o.Eager {
		c.build()
	}
	reserve := int(c.o.Reserve * float64(b.Width()-1))
	if c.o.Order == DepthFirst {
		c.descend(b, 0, reserve)
	} else {
		c.bestFirst(b, reserve)
	}
}

// build expands every node there is within the bounds. The draft is then taken
// from what is built; lazily, a node is expanded when its turn comes.
func (c *Calibrated) build() {
	for u := int32(0); int(u) < len(c.tree); u++ {
		c.expand(u)
	}
}

// Bytes is the memory that the last draft's calibrated tree took.
func (c *Calibrated) Bytes() int { return len(c.tree)*int(unsafe.Sizeof(leaf{})) + len(c.used)*4 }

// expand appends u's children to the tree, once.
func (c *Calibrated) expand(u int32) {
	if c.tree[u].kids >= 0 {
		return
	}
	at := int32(len(c.tree))
	c.tree[u].kids, c.tree[u].kidsEnd = at, at
	x := c.tree[u]
	if int(x.depth) >= c.o.Depth || len(c.o.Breadth) == 0 {
		return
	}
	c.successors(u, c.o.Breadth[min(int(x.depth), len(c.o.Breadth)-1)])
	for _, s := range c.next {
		if p := x.logProb + s.logProb; p >= c.logPath {
			c.tree = append(c.tree, leaf{tok: s.tok, parent: u, depth: x.depth + 1, logProb: p, kids: -1, node: -1})
		}
	}
	c.tree[u].kidsEnd = int32(len(c.tree))
}

// place puts node u, whose parent is in the draft, into it. more is false once
// the slots up to the reserve are spent.
func (c *Calibrated) place(b *Builder, u int32, reserve int) (placed, more bool) {
	above := int(c.tree[c.tree[u].parent].node)
	v := b.Child(above, c.tree[u].tok)
	if v < 0 {
		if b.Free() <= reserve {
			return false, false
		}
		v, _ = b.Add(above, c.tree[u].tok, decode.FromCalibrated)
	}
	c.tree[u].node = int32(v)
	return v >= 0, true
}

// bestFirst places nodes by path probability: as a node is never likelier than its
// parent, those that are placed are the likeliest there are.
func (c *Calibrated) bestFirst(b *Builder, reserve int) {
	c.heap = c.heap[:0]
	seq := int32(0)
	for u := int32(0); ; {
		c.expand(u)
		for k := c.tree[u].kids; k < c.tree[u].kidsEnd; k++ {
			c.push(entry{c.tree[k].logProb, k, seq})
			seq++
		}
		for placed := false; !placed; {
			if len(c.heap) == 0 {
				return
			}
			more := true
			u = c.pop().leaf
			if placed, more = c.place(b, u, reserve); !more {
				return
			}
		}
	}
}

// descend places u's children, each with all that is below it before the next.
func (c *Calibrated) descend(b *Builder, u int32, reserve int) (more bool) {
	c.expand(u)
	for k := c.tree[u].kids; k < c.tree[u].kidsEnd; k++ {
		placed, more := c.place(b, k, reserve)
		if !more || placed && !c.descend(b, k, reserve) {
			return false
		}
	}
	return true
}

func (c *Calibrated) push(e entry) {
	c.heap = append(c.heap, e)
	for i := len(c.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !c.heap[i].less(c.heap[up]) {
			return
		}
		c.heap[i], c.heap[up] = c.heap[up], c.heap[i]
		i = up
	}
}

func (c *Calibrated) pop() entry {
	top := c.heap[0]
	last := len(c.heap) - 1
	c.heap[0] = c.heap[last]
	c.heap = c.heap[:last]
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= last {
			return top
		}
		if kid+1 < last && c.heap[kid+1].less(c.heap[kid]) {
			kid++
		}
		if !c.heap[kid].less(c.heap[i]) {
			return top
		}
		c.heap[i], c.heap[kid] = c.heap[kid], c.heap[i]
		i = kid
	}
}
