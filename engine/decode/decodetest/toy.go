package decodetest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coordbench/coordbench/engine/decode"
)

// ToyOptions shape a toy language model. The zero value of a field is its default.
type ToyOptions struct {
	Name    string // "toy"
	Vocab   int    // 64 tokens; at least 16
	Context int    // 512 tokens
	Nodes   int    // largest tree; decode.MaxNodes
	Seed    uint64 // two toys of one seed are one model
	// Repetitive is the share of contexts, 0 to 1, in which the likeliest next
	// token is the one that followed the last two or three tokens before. Less
	// than zero is none; 0 is 0.8.
	Repetitive float64
	// Noise is the share of contexts in which this toy puts another token above
	// the model's own: a draft model for the toy of the same seed without noise.
	Noise float64
}

// A Toy is a decode.Target without arithmetic: a hash of the last two tokens
// gives five likely next tokens, exact ties at the top among them; the context's
// own repetitions give one more; and in one context of 32 the likeliest token is
// a hash of everything before it, so that a lost or misplaced token far back
// shows in the output. All other tokens share one logit, 0.
//
// It is strict where a real target may be lenient: a tree that changed between
// Verify and Commit is an error, a tree needs room for all its nodes, and
// Scores are overwritten with nonsense by the next call.
type Toy struct {
	o      ToyOptions
	seq    []decode.Token // the context, and behind it scratch for a path
	n      int            // length of the context
	prefix []uint64       // prefix[i] is a hash of seq[:i]
	tree   *decode.Tree   // last verified, or nil
	copied decode.Tree    // what it looked like
	closed bool

	likely []decode.Candidate // of one row; LogProb holds the logit
	best   []decode.Token
	top    []decode.Candidate
	logits []float32
	prompt []decode.Candidate
}

var _ decode.Target = (*Toy)(nil)

const (
	copyWindow = 512 // tokens that a repetition is searched in
	copyLogit  = 7
	longLogit  = 8
	noiseLogit = 9
)

// NewToy returns a toy with an empty context. Options that no toy can have are
// a test's mistake and panic.
func NewToy(o ToyOptions) *Toy {
	if o.Name == "" {
		o.Name = "toy"
	}
	if o.Vocab == 0 {
		o.Vocab = 64
	}
	if o.Context == 0 {
		o.Context = 512
	}
	if o.Nodes == 0 {
		o.Nodes = decode.MaxNodes
	}
	if o.Repetitive == 0 {
		o.Repetitive = 0.8
	}
	if o.Vocab < 16 || o.Context < 1 || o.Nodes < 1 || o.Nodes > decode.MaxNodes || o.Repetitive > 1 || o.Noise < 0 || o.Noise > 1 {
		panic(fmt.Sprintf("internal error: decodetest: a toy of %+v", o))
	}
	return &Toy{o: o, seq: make([]decode.Token, o.Context+decode.MaxNodes), prefix: make([]uint64, o.Context+decode.MaxNodes+1)}
}

// Info describes the toy.
func (t *Toy) Info() decode.Info {
	return decode.Info{
		Model: t.o.Name, ModelDigest: fmt.Sprintf("%064x", mix(t.o.Seed, uint64(t.o.Vocab), 0)), Vocab: t.o.Vocab,
		Context: t.o.Context, MaxNodes: t.o.Nodes, Backend: "decodetest/toy", Exact: true,
	}
}

// Len is the number of tokens in the context.
func (t *Toy) Len() int { return t.n }

// Context returns a copy of the committed tokens.
func (t *Toy) Context() []decode.Token { return slices.Clone(t.seq[:t.n]) }

// Close has every later pass fail.
func (t *Toy) Close() error {
	t.spoil()
	t.closed = true
	return nil
}

// mix is a hash of three words (the finaliser of splitmix64, Steele et al. 2014).
func mix(a, b, c uint64) uint64 {
	x := a*0x9E3779B97F4A7C15 ^ (b+0x632BE59BD9B4E019)*0xBF58476D1CE4E5B9 ^ (c+0x85157AF5)*0x94D049BB133111EB
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func share(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// put writes tok at position i of the sequence.
func (t *Toy) put(i int, tok decode.Token) {
	t.seq[i] = tok
	t.prefix[i+1] = mix(t.prefix[i], uint64(tok), 7)
}

// offer raises tok's logit to at least l.
func (t *Toy) offer(tok decode.Token, l float32) {
	for i := range t.likely {
		if t.likely[i].Token == tok {
			t.likely[i].LogProb = max(t.likely[i].LogProb, l)
			return
		}
	}
	t.likely = append(t.likely, decode.Candidate{Token: tok, LogProb: l})
}

// row fills t.likely with the tokens whose logit after seq[:n] is above 0,
// likeliest first.
func (t *Toy) row(n int) {
	t.likely = t.likely[:0]
	vocab := uint64(t.o.Vocab)
	last, before := uint64(t.seq[n-1]), uint64(1<<32)
	if n > 1 {
		before = uint64(t.seq[n-2])
	}
	h := mix(t.o.Seed, last, before)
	for j := range uint64(5) {
		r := mix(h, j, 1)
		tok := decode.Token(r % vocab)
		switch r >> 58 { // the first and the last token more often than others
		case 0:
			tok = 0
		case 1:
			tok = decode.Token(vocab - 1)
		}
		l := float32(5 - j)
		if j == 1 && r>>32&3 == 0 {
			l = 5
		}
		t.offer(tok, l)
	}
	if share(mix(h, 0, 2)) < t.o.Repetitive {
		if tok, ok := t.repeated(n); ok {
			t.offer(tok, copyLogit)
		}
	}
	if mix(h, 0, 3)%32 == 0 {
		t.offer(decode.Token(t.prefix[n]%vocab), longLogit)
	}
	if t.o.Noise > 0 && share(mix(h, 0, 4)) < t.o.Noise {
		t.offer(decode.Token(mix(h, 1, 4)%vocab), noiseLogit)
	}
	slices.SortFunc(t.likely, func(a, b decode.Candidate) int {
		if a.LogProb != b.LogProb {
			if a.LogProb > b.LogProb {
				return -1
			}
			return 1
		}
		return int(a.Token) - int(b.Token)
	})
}

// repeated returns what followed the latest earlier occurrence of the last three
// tokens, else of the last two.
func (t *Toy) repeated(n int) (decode.Token, bool) {
	if n < 3 {
		return 0, false
	}
	a, b := t.seq[n-2], t.seq[n-1]
	found := -1
	for i := n - 2; i >= max(1, n-copyWindow); i-- {
		if t.seq[i] != b || t.seq[i-1] != a {
			continue
		}
		if i > 1 && t.seq[i-2] == t.seq[n-3] {
			return t.seq[i+1], true
		}
		if found < 0 {
			found = i
		}
	}
	if found < 0 {
		return 0, false
	}
	return t.seq[found+1], true
}

// candidates appends the k likeliest tokens of the row in t.likely.
func (t *Toy) candidates(dst []decode.Candidate, k int) []decode.Candidate {
	high := float64(t.likely[0].LogProb)
	sum := float64(t.o.Vocab-len(t.likely)) * math.Exp(-high)
	for _, c := range t.likely {
		sum += math.Exp(float64(c.LogProb) - high)
	}
	norm := high + math.Log(sum)
	n := 0
	for ; n < k && n < len(t.likely); n++ {
		c := t.likely[n]
		dst = append(dst, decode.Candidate{Token: c.Token, LogProb: float32(float64(c.LogProb) - norm)})
	}
	for tok := decode.Token(0); n < k; tok++ {
		if !slices.ContainsFunc(t.likely, func(c decode.Candidate) bool { return c.Token == tok }) {
			dst = append(dst, decode.Candidate{Token: tok, LogProb: float32(-norm)})
			n++
		}
	}
	return dst
}

// score appends the row in t.likely to the scores.
func (t *Toy) score(k int, logits bool) {
	t.best = append(t.best, t.likely[0].Token)
	t.top = t.candidates(t.top, k)
	if logits {
		at := len(t.logits)
		t.logits = slices.Grow(t.logits, t.o.Vocab)[:at+t.o.Vocab]
		clear(t.logits[at:])
		for _, c := range t.likely {
			t.logits[at+int(c.Token)] = c.LogProb
		}
	}
}

func (t *Toy) scores(k int, logits bool) decode.Scores {
	s := decode.Scores{Best: t.best, K: k, Top: t.top, Vocab: t.o.Vocab}
	if logits {
		s.Logits = t.logits
	}
	return s
}

// spoil makes what earlier calls left unusable.
func (t *Toy) spoil() {
	for i := range t.best {
		t.best[i] = -99
	}
	nan := float32(math.NaN())
	for i := range t.top {
		t.top[i] = decode.Candidate{Token: -99, LogProb: nan}
	}
	for i := range t.prompt {
		t.prompt[i] = decode.Candidate{Token: -99, LogProb: nan}
	}
	for i := range t.logits {
		t.logits[i] = nan
	}
	t.best, t.top, t.logits, t.prompt = t.best[:0], t.top[:0], t.logits[:0], t.prompt[:0]
}

func (t *Toy) ready(ctx context.Context) error {
	if t.closed {
		return fmt.Errorf("%s: closed", t.o.Name)
	}
	return ctx.Err()
}

// Prefill is decode.Target's.
func (t *Toy) Prefill(ctx context.Context, prompt []decode.Token, w decode.Want, topK int) (decode.PrefillResult, error) {
	if err := t.ready(ctx); err != nil {
		return decode.PrefillResult{}, err
	}
	if len(prompt) == 0 {
		return decode.PrefillResult{}, fmt.Errorf("%s: empty prompt", t.o.Name)
	}
	if t.n+len(prompt) > t.o.Context {
		return decode.PrefillResult{}, fmt.Errorf("%s: prompt of %d tokens after %d in a context of %d: %w", t.o.Name, len(prompt), t.n, t.o.Context, decode.ErrContextFull)
	}
	for i, tok := range prompt {
		if tok < 0 || int(tok) >= t.o.Vocab {
			return decode.PrefillResult{}, fmt.Errorf("%s: token %d at position %d is outside the vocabulary of %d", t.o.Name, tok, i, t.o.Vocab)
		}
	}
	t.spoil()
	t.tree = nil
	k := min(max(topK, 0), t.o.Vocab)
	for i, tok := range prompt {
		t.put(t.n, tok)
		t.n++
		if k > 0 || i == len(prompt)-1 {
			t.row(t.n)
		}
		t.prompt = t.promptTop(t.prompt, k)
	}
	last := min(max(w.TopK, 0), t.o.Vocab)
	t.score(last, w.Logits)
	r := decode.PrefillResult{Last: t.scores(last, w.Logits), K: k}
	if k > 0 {
		r.Top = t.prompt
	}
	return r, nil
}

// promptTop is candidates, or nothing for k = 0, when t.likely may be unset.
func (t *Toy) promptTop(dst []decode.Candidate, k int) []decode.Candidate {
	if k == 0 {
		return dst
	}
	return t.candidates(dst, k)
}

// Verify is decode.Target's.
func (t *Toy) Verify(ctx context.Context, tree *decode.Tree, w decode.Want) (decode.Scores, error) {
	if err := t.ready(ctx); err != nil {
		return decode.Scores{}, err
	}
	if n := tree.Len(); n > t.o.Nodes {
		return decode.Scores{}, fmt.Errorf("%s: draft tree of %d nodes; at most %d", t.o.Name, n, t.o.Nodes)
	}
	if err := tree.Validate(t.o.Vocab); err != nil {
		return decode.Scores{}, fmt.Errorf("%s: %w", t.o.Name, err)
	}
	if t.n+tree.Len() > t.o.Context {
		return decode.Scores{}, fmt.Errorf("%s: draft tree of %d nodes after %d tokens in a context of %d: %w", t.o.Name, tree.Len(), t.n, t.o.Context, decode.ErrContextFull)
	}
	t.spoil()
	k := min(max(w.TopK, 0), t.o.Vocab)
	for i := range tree.Len() {
		t.lay(tree, i)
		t.row(t.n + tree.Depths[i] + 1)
		t.score(k, w.Logits)
	}
	t.tree = tree
	t.copied = decode.Tree{Tokens: append(t.copied.Tokens[:0], tree.Tokens...), Parents: append(t.copied.Parents[:0], tree.Parents...)}
	return t.scores(k, w.Logits), nil
}

// lay writes the path from tree's root to node i behind the context.
func (t *Toy) lay(tree *decode.Tree, i int) {
	var path [decode.MaxNodes]int
	for d := tree.Depths[i]; d >= 0; d-- {
		path[d] = i
		i = tree.Parents[i]
	}
	for d, u := range path {
		if d > 0 && u == 0 {
			break
		}
		t.put(t.n+d, tree.Tokens[u])
	}
}

// Commit is decode.Target's.
func (t *Toy) Commit(path []int) error {
	if t.tree == nil {
		return fmt.Errorf("%s: commit without a verified tree", t.o.Name)
	}
	if err := t.tree.ValidatePath(path); err != nil {
		return fmt.Errorf("%s: %w", t.o.Name, err)
	}
	if !slices.Equal(t.tree.Tokens, t.copied.Tokens) || !slices.Equal(t.tree.Parents, t.copied.Parents) {
		return fmt.Errorf("%s: commit: the draft tree changed after it was verified", t.o.Name)
	}
	t.spoil()
	for _, u := range path {
		t.put(t.n, t.tree.Tokens[u])
		t.n++
	}
	t.tree = nil
	return nil
}

// Truncate is decode.Target's.
func (t *Toy) Truncate(n int) error {
	if n < 0 || n > t.n {
		return fmt.Errorf("%s: truncating a context of %d tokens to %d", t.o.Name, t.n, n)
	}
	t.spoil()
	t.n, t.tree = n, nil
	return nil
}
