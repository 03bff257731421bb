package decode

import "context"

// A Target is a model that can score drafts. It is used by one goroutine at a
// time. Its context is the sequence of committed tokens, whose keys and values
// it holds; the newest token of a generation, the root, is emitted but not yet
// part of the context.
type Target interface {
	Info() Info

	// Prefill appends prompt, at least one token, to the context. It leaves w
	// for the prompt's last position and, with topK > 0, the topK likeliest next
	// tokens with their log-probabilities for every prompt position.
	Prefill(ctx context.Context, prompt []Token, w Want, topK int) (PrefillResult, error)

	// Verify scores every node of t in one forward pass and leaves the context
	// unchanged: row i of the scores is the distribution after node i given the
	// context and i's ancestors. t must stay as it is until Commit.
	Verify(ctx context.Context, t *Tree, w Want) (Scores, error)

	// Commit appends the nodes of path, of the tree last verified, to the context
	// and forgets the others. path starts with 0 and each node is the parent of
	// the next.
	Commit(path []int) error

	// Truncate drops all context after the first n tokens.
	Truncate(n int) error

	// Len is the number of tokens in the context.
	Len() int

	Close() error
}

// Info describes a target.
type Info struct {
	Model       string // the model's name
	ModelDigest string // sha256 of the file, hexadecimal
	Vocab       int    // number of tokens; ids are 0 … Vocab-1
	Context     int    // most tokens that the context holds
	MaxNodes    int    // largest tree that Verify takes, root included
	Backend     string // "coordbench/avx2"
	Exact       bool   // see Identity.Exact
}

// Want says what a forward pass leaves behind for a row besides its arg-max.
type Want struct {
	TopK   int  // the k likeliest tokens with log-probabilities
	Logits bool // the whole row, for samplers
}

// A Candidate is a token with its natural log-probability.
type Candidate struct {
	Token   Token
	LogProb float32
}

// Scores holds what a forward pass left for each of its rows. It belongs to the
// target and is valid until the target's next call.
type Scores struct {
	Best   []Token     // (rows) arg-max of the logits, lowest id on a tie
	K      int         // candidates per row
	Top    []Candidate // (rows, K) likeliest first, lower id first on a tie; empty if K is 0
	Vocab  int         // length of a row of Logits
	Logits []float32   // (rows, Vocab), or nil
}

// TopOf returns the K likeliest tokens after row i.
func (s Scores) TopOf(i int) []Candidate { return s.Top[i*s.K : (i+1)*s.K] }

// Row returns the logits of row i, or nil where they were not asked for.
func (s Scores) Row(i int) []float32 {
	if s.Logits == nil {
		return nil
	}
	return s.Logits[i*s.Vocab : (i+1)*s.Vocab]
}

// A PrefillResult is what Prefill leaves. It is valid until the target's next call.
type PrefillResult struct {
	Last Scores      // one row: the distribution after the prompt
	K    int         // candidates per prompt position
	Top  []Candidate // (prompt length, K) as in Scores; nil if K is 0
}
