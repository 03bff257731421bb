// Package decode holds the contracts between the parts that generate text:
// requests, steps and results, the Target that scores drafts and the System
// that a trial measures. It computes nothing.
package decode

import (
	"context"
	"errors"
	"time"
)

// A Token is an index into a vocabulary.
type Token int32

// Separator stands between documents in token streams that are searched. It is
// no vocabulary entry, so no match crosses it and no draft contains it.
const Separator Token = -1

// ErrContextFull says that a forward pass does not fit the target's context.
var ErrContextFull = errors.New("context is full")

// A System continues prompts. The engine and every baseline are Systems. A
// System is used by one goroutine at a time.
type System interface {
	Identity() Identity // fixed for life

	// Decode continues req until a stop token, MaxTokens or the end of the
	// context ends it, or ctx is cancelled. It calls onStep once per commitment,
	// in order; Step.Tokens and Step.Accepted are valid only during the call.
	// onStep may be nil.
	Decode(ctx context.Context, req Request, onStep func(Step)) (Result, error)

	Close() error
}

// A Rememberer is a System that learns from its earlier answers.
type Rememberer interface {
	// Remember has the system behave as if it had answered a request of this
	// group with output. A resumed trial replays what its journal holds.
	Remember(group string, output []Token)

	// Forget empties the history. Every repeat starts with it: a repeat must
	// never find its own earlier answers.
	Forget()
}

// Clocked is a System or Target whose time is not the wall clock, such as a
// simulated phone.
type Clocked interface {
	Now() time.Duration // since an arbitrary start
}

// Identity says which program produced an output.
type Identity struct {
	Name        string            `json:"name"`                   // "coordgen"
	Model       string            `json:"model"`                  // "coordlm-6m"
	ModelDigest string            `json:"model_digest"`           // sha256 of the file, hexadecimal
	Draft       string            `json:"draft,omitempty"`        // draft model, where one is used
	DraftDigest string            `json:"draft_digest,omitempty"` // sha256 of the draft model's file
	Backend     string            `json:"backend"`                // "coordbench/avx2": who computes, and on which path
	Options     map[string]string `json:"options,omitempty"`      // every option in force, defaults included
	// Exact says that a row of the target has the same bits in any batch, so
	// that speculative output must equal autoregressive output.
	Exact bool `json:"exact"`
}

// A Request is one prompt to continue.
type Request struct {
	Prompt    []Token
	MaxTokens int     // at most this many output tokens; at least 1
	Stop      []Token // output ends with the first of these, which is part of it
	Sampling  Sampling
	Group     string // task group: requests of one group share history
}

// Sampling says how a token is picked. The zero value is greedy.
type Sampling struct {
	Temperature float64 `json:"temperature"`     // 0 is greedy: the arg-max, lowest id on a tie
	TopK        int     `json:"top_k,omitempty"` // keep the k likeliest; 0 keeps all
	TopP        float64 `json:"top_p,omitempty"` // keep the smallest set with this mass; 0 and 1 keep all
	MinP        float64 `json:"min_p,omitempty"` // keep tokens with at least this share of the likeliest one's probability
	Seed        uint64  `json:"seed,omitempty"`  // the token at output position i depends on (Seed, i) and the logits alone
}

// Greedy reports whether s picks the arg-max.
func (s Sampling) Greedy() bool { return s.Temperature == 0 }

// A Phase says what kind of forward pass a Step followed.
type Phase uint8

const (
	Prefill Phase = iota // the prompt; emits the first token
	Verify               // a draft tree, or the root alone
)

// A Step is one commitment: the tokens that a forward pass settled.
type Step struct {
	Phase  Phase
	Tokens []Token // emitted by this step, at least one; valid only during the call

	// Width is the number of rows that the forward pass computed: the prompt's
	// length, or the draft tree's with its root (and padding, on static graphs).
	Width int
	// Depth is the length of the longest branch drafted, 0 when only the root was verified.
	Depth int
	// Drafted counts the nodes below the root by their origin.
	Drafted [NumOrigins]uint8
	// Accepted holds the origin of each accepted node, root to leaf; valid only during the call.
	Accepted []Origin
}

// DraftedTotal is the number of nodes below the root.
func (s Step) DraftedTotal() int {
	n := 0
	for _, d := range s.Drafted {
		n += int(d)
	}
	return n
}

// A StopReason says why a result ended.
type StopReason string

const (
	StopToken   StopReason = "stop"    // a stop token, the last of Tokens
	StopLength  StopReason = "length"  // MaxTokens
	StopContext StopReason = "context" // the target's context is full
)

// A Result is a finished continuation.
type Result struct {
	Tokens []Token // the stop token included, when one ended it
	Reason StopReason
}

// An Origin says where a draft node came from.
type Origin uint8

const (
	FromRoot       Origin = iota // node 0: emitted, not drafted
	FromLookup                   // n-gram lookup in prompt and output
	FromDynamic                  // suffix automaton over prompt and output
	FromHistory                  // suffix automaton over earlier answers of the task group
	FromCalibrated               // calibrated tree: the target's own prefill distribution
	FromReuse                    // rejected segment of an earlier draft
	FromModel                    // draft model
	FromNgram                    // one of llama.cpp's n-gram drafters
	FromRandom                   // a test's random drafter
	NumOrigins
)

var originNames = [NumOrigins]string{"root", "lookup", "dynamic", "history", "calibrated", "reuse", "model", "ngram", "random"}

// String is the name that records and reports use.
func (o Origin) String() string {
	if o >= NumOrigins {
		return "unknown"
	}
	return originNames[o]
}
