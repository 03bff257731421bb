// Package draft proposes continuations of a token stream: sources that look
// them up, and the trie that merges what they propose into one draft tree.
package draft

import "github.com/coordbench/coordbench/engine/decode"

// A Source proposes continuations of the committed stream: a prompt and the
// tokens emitted after it. It is used by one goroutine at a time. Given the same
// calls since Begin, and the same history, it proposes the same branches in the
// same order.
type Source interface {
	// Begin starts a new request and forgets the one before. prompt and p are valid
	// only during the call: a source copies what it needs of them.
	Begin(prompt []decode.Token, p decode.PrefillResult)

	// Observe is given each committed token exactly once, in order: after Begin the
	// one that the prefill emitted, with a nil verdict, and then what each
	// verification emitted: the accepted nodes' tokens and the token picked after
	// them, or fewer where the request ended among them. The arguments are valid
	// only during the call.
	Observe(committed []decode.Token, v *Verdict)

	// Propose adds branches to b, whose root is the last committed token. The
	// builder refuses what does not fit.
	Propose(b *Builder)
}

// A Verdict is what a verification said about a draft.
type Verdict struct {
	Tree *decode.Tree
	// Picked holds, for each node, the token that the target puts after it: the
	// arg-max, or on the accepted path of a sampled generation the token drawn.
	Picked []decode.Token
	Path   []int // the accepted nodes, root first

	// Top holds the K likeliest tokens after each node, likeliest first, where live
	// calibration asked for them; (nodes, K).
	K   int
	Top []decode.Candidate
}

// TopOf returns the candidates after node i, or none.
func (v *Verdict) TopOf(i int) []decode.Candidate {
	if v.K == 0 || len(v.Top) == 0 {
		return nil
	}
	return v.Top[i*v.K : (i+1)*v.K]
}

// Combine returns one source of several, in the order of their priority: what an
// earlier one proposes is there for the later ones to merge with, and they use
// the slots it leaves. As long as no source proposes less for what others added,
// one more source at the end makes each draft a superset of what it was, so no
// verification accepts fewer tokens for it.
func Combine(sources ...Source) Source { return combined(sources) }

type combined []Source

func (c combined) Begin(prompt []decode.Token, p decode.PrefillResult) {
	for _, s := range c {
		s.Begin(prompt, p)
	}
}

func (c combined) Observe(committed []decode.Token, v *Verdict) {
	for _, s := range c {
		s.Observe(committed, v)
	}
}

func (c combined) Propose(b *Builder) {
	for _, s := range c {
		s.Propose(b)
	}
}

// Upto returns s held to drafts of at most nodes nodes below the root, its own
// and those of the sources before it. Slots kept from an early source serve the
// later ones; drafts are then no supersets of the early source's own any more.
func Upto(s Source, nodes int) Source { return upto{s, nodes} }

type upto struct {
	Source
	nodes int
}

func (u upto) Propose(b *Builder) {
	before := b.limit
	b.limit = min(b.limit, 1+max(0, u.nodes))
	u.Source.Propose(b)
	b.limit = before
}
