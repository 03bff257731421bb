package llamacpp

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/coordbench/coordbench/engine/decode"
)

// A Target is a llama.cpp context as a decode.Target. Committed tokens are
// sequence 0; while a tree is being verified, each of its branches is a
// sequence of its own that shares the cells of the context.
type Target struct {
	m     *Model
	ctx   uintptr
	mem   uintptr
	n     int // committed tokens
	size  int // context length
	batch cBatch
	cap   int // rows of batch
	seqs  int // branches that the context was made for, besides sequence 0
	trees bool

	tree   *decode.Tree // last verified, or nil
	leaf   []int32      // leaf[i]: a branch sequence through node i; 0 for a chain
	draft  bool         // draft cells lie behind the context
	used   int          // branch sequences in use, 1 … used
	best   []decode.Token
	top    []decode.Candidate
	logits []float32
	heap   []decode.Candidate
}

var _ decode.Target = (*Target)(nil)

const (
	maxBranches = decode.MaxNodes - 1 // most leaves of a draft tree
	batchRows   = 512                 // n_batch, n_ubatch: llama.cpp's own default ubatch
)

// Offsets in llama_context_params, unchanged since the struct exists.
const (
	offCtx    = 0
	offBatch  = 4
	offUBatch = 8
	offSeqMax = 12
)

// unifiedFlags are the defaults of embeddings, offload_kqv, no_perf, op_offload,
// swa_full and kv_unified, six bools in a row. Trees need kv_unified, whose
// offset moves with every field put before it; the run of bools is found by its
// values instead.
var unifiedFlags = []byte{0, 1, 1, 1, 1, 0}

// NewTarget makes a context. Threads and context length come from o.
func (m *Model) NewTarget(o Options) (*Target, error) {
	l := m.lib
	p := l.contextDefaults()
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&p)), unsafe.Sizeof(p))
	u32 := func(off int) *uint32 { return (*uint32)(unsafe.Pointer(&raw[off])) }
	size := o.Context
	if size == 0 {
		size = min(int(l.modelCtxTrain(m.ptr)), 4096)
	}
	// Draft rows lie behind the context until they are committed or dropped.
	*u32(offCtx) = uint32(size + decode.MaxNodes)
	*u32(offBatch), *u32(offUBatch) = batchRows, batchRows
	t := &Target{m: m, size: size, trees: o.Trees}
	if o.Trees {
		t.seqs = min(maxBranches, int(l.maxSequences())-1)
		*u32(offSeqMax) = uint32(1 + t.seqs)
		const firstFlag = 64 // behind the integers and floats at the front
		at := bytes.Index(raw[firstFlag:], unifiedFlags)
		if at < 0 || bytes.Contains(raw[firstFlag+at+1:], unifiedFlags) {
			return nil, fmt.Errorf("llama.cpp %s: its context parameters are laid out in a way this program does not know, so draft trees cannot run\n  hint: set trees: false", l.Version)
		}
		raw[firstFlag+at+len(unifiedFlags)-1] = 1
	}
	l.takeLog()
	t.ctx = byValue(l.initContext, m.ptr, p.w[:])
	if t.ctx == 0 {
		return nil, fmt.Errorf("llama.cpp: making a context of %d tokens for %q failed: %s", size, m.path, orUnknown(l.takeLog()))
	}
	if got := int(l.nCtx(t.ctx)); got < size+decode.MaxNodes {
		t.Close()
		return nil, fmt.Errorf("llama.cpp: asked for a context of %d tokens, got %d", size+decode.MaxNodes, got)
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.NumCPU()
	}
	l.setThreads(t.ctx, int32(threads), int32(threads))
	t.mem = l.getMemory(t.ctx)
	t.cap = batchRows
	t.batch = l.batchInit(int32(t.cap), 0, int32(1+t.seqs))
	return t, nil
}

// Info describes the target. It is never exact: llama.cpp chooses its matrix
// kernels by the number of rows.
func (t *Target) Info() decode.Info {
	name := filepath.Base(t.m.path)
	return decode.Info{
		Model:       strings.TrimSuffix(name, filepath.Ext(name)),
		ModelDigest: t.m.digest,
		Vocab:       t.m.size,
		Context:     t.size,
		MaxNodes:    decode.MaxNodes,
		Backend:     "llama.cpp/" + t.m.lib.Version,
	}
}

// Len is the number of committed tokens.
func (t *Target) Len() int { return t.n }

// Close frees the context. The batch stays: its size is a few kilobytes, and
// llama_batch_free takes a struct by value for no gain.
func (t *Target) Close() error {
	if t.ctx != 0 {
		t.m.lib.freeContext(t.ctx)
		t.ctx = 0
	}
	return nil
}

// put writes row i of the batch.
func (t *Target) put(i int, tok decode.Token, pos int, logits bool, seqs ...int32) {
	at := func(p *int32) *int32 { return (*int32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }
	*at(t.batch.token) = int32(tok)
	*at(t.batch.pos) = int32(pos)
	*at(t.batch.nSeq) = int32(len(seqs))
	row := *(**int32)(unsafe.Add(unsafe.Pointer(t.batch.seq), int(unsafe.Sizeof(uintptr(0)))*i))
	copy(unsafe.Slice(row, len(seqs)), seqs)
	var l int8
	if logits {
		l = 1
	}
	*(*int8)(unsafe.Add(unsafe.Pointer(t.batch.logits), i)) = l
}

// run decodes the first n rows of the batch.
func (t *Target) run(n int) error {
	b := t.batch
	b.n = int32(n)
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&b)), unsafe.Sizeof(b)/8)
	l := t.m.lib
	switch r := int32(byValue(l.decode, t.ctx, words)); r {
	case 0:
	case 1:
		return fmt.Errorf("llama.cpp: no room for %d rows after %d tokens: %w", n, t.n, decode.ErrContextFull)
	default:
		return fmt.Errorf("llama.cpp: llama_decode of %d rows returned %d: %s", n, r, orUnknown(l.takeLog()))
	}
	l.synchronize(t.ctx)
	return nil
}

// dropDraft removes the cells of a tree that was verified and not committed.
func (t *Target) dropDraft() {
	if t.draft {
		l := t.m.lib
		l.seqRm(t.mem, 0, int32(t.n), -1)
		for s := 1; s <= t.used; s++ {
			l.seqRm(t.mem, int32(s), -1, -1)
		}
	}
	t.draft, t.used, t.tree = false, 0, nil
}

func (t *Target) checkTokens(what string, toks []decode.Token) error {
	for i, tok := range toks {
		if tok < 0 || int(tok) >= t.m.size {
			return fmt.Errorf("%s: token %d at %d is outside the vocabulary of %d", what, tok, i, t.m.size)
		}
	}
	return nil
}

// Prefill is decode.Target's. llama.cpp computes in batches of 512 rows.
func (t *Target) Prefill(ctx context.Context, prompt []decode.Token, w decode.Want, topK int) (decode.PrefillResult, error) {
	if len(prompt) == 0 {
		return decode.PrefillResult{}, fmt.Errorf("prefill: no tokens")
	}
	if err := t.checkTokens("prefill", prompt); err != nil {
		return decode.PrefillResult{}, err
	}
	if t.n+len(prompt) > t.size {
		return decode.PrefillResult{}, fmt.Errorf("prefill: %d tokens after %d do not fit a context of %d: %w", len(prompt), t.n, t.size, decode.ErrContextFull)
	}
	t.dropDraft()
	start := t.n
	topK = min(topK, t.m.size)
	res := decode.PrefillResult{K: topK}
	if topK > 0 {
		res.Top = make([]decode.Candidate, 0, len(prompt)*topK)
	}
	for done := 0; done < len(prompt); {
		if err := ctx.Err(); err != nil {
			t.Truncate(start)
			return decode.PrefillResult{}, err
		}
		n := min(t.cap, len(prompt)-done)
		for i := range n {
			t.put(i, prompt[done+i], start+done+i, topK > 0 || done+i == len(prompt)-1, 0)
		}
		if err := t.run(n); err != nil {
			t.n = start + done + n
			t.Truncate(start)
			return decode.PrefillResult{}, err
		}
		t.n = start + done + n
		if topK > 0 {
			for i := range n {
				res.Top = t.appendTop(res.Top, t.row(i), topK)
			}
		}
		if done += n; done == len(prompt) {
			res.Last = t.scores(1, func(int) int { return n - 1 }, w)
		}
	}
	return res, nil
}

// Verify is decode.Target's. A node belongs to the sequences of all leaves
// below it, as in llama.cpp's examples/speculative.
func (t *Target) Verify(ctx context.Context, tree *decode.Tree, w decode.Want) (decode.Scores, error) {
	if err := ctx.Err(); err != nil {
		return decode.Scores{}, err
	}
	if err := tree.Validate(t.m.size); err != nil {
		return decode.Scores{}, err
	}
	if need := t.n + tree.MaxDepth() + 1; need > t.size {
		return decode.Scores{}, fmt.Errorf("verify: a branch of %d tokens after %d does not fit a context of %d: %w", tree.MaxDepth()+1, t.n, t.size, decode.ErrContextFull)
	}
	t.dropDraft()
	n := tree.Len()
	branches := t.branches(tree)
	if branches > 1 && !t.trees {
		return decode.Scores{}, fmt.Errorf("verify: a tree of %d branches, but this llama.cpp context was opened for chains (trees: false)", branches)
	}
	if branches > max(t.seqs, 1) {
		return decode.Scores{}, fmt.Errorf("verify: a tree of %d branches; at most %d", branches, t.seqs)
	}
	l := t.m.lib
	if branches == 1 {
		for i := range n {
			t.put(i, tree.Tokens[i], t.n+tree.Depths[i], true, 0)
			t.leaf[i] = 0
		}
	} else {
		t.used = branches
		for s := 1; s <= branches; s++ {
			l.seqCp(t.mem, 0, int32(s), -1, -1)
		}
		var seqs [maxBranches]int32
		for i := range n {
			k := 0
			for j := i; j < n; j++ {
				if t.leaf[j] > 0 && tree.Ancestors[j]&(1<<uint(i)) != 0 {
					seqs[k] = t.leaf[j]
					k++
				}
			}
			t.put(i, tree.Tokens[i], t.n+tree.Depths[i], true, seqs[:k]...)
		}
	}
	t.draft = true
	if err := t.run(n); err != nil {
		t.dropDraft()
		return decode.Scores{}, err
	}
	t.tree = tree
	return t.scores(n, func(i int) int { return i }, w), nil
}

// branches numbers the leaves of tree from 1 in t.leaf, 0 at inner nodes.
func (t *Target) branches(tree *decode.Tree) int {
	n := tree.Len()
	t.leaf = slices.Grow(t.leaf[:0], n)[:n]
	for i := range t.leaf {
		t.leaf[i] = -1
	}
	for i := 1; i < n; i++ {
		t.leaf[tree.Parents[i]] = 0
	}
	k := int32(0)
	for i := range t.leaf {
		if t.leaf[i] < 0 {
			k++
			t.leaf[i] = k
		}
	}
	return int(k)
}

// Commit is decode.Target's: the winning branch's cells join sequence 0, and
// all others lose their last sequence, which frees them.
func (t *Target) Commit(path []int) error {
	if t.tree == nil {
		return fmt.Errorf("commit: no verified tree")
	}
	if err := t.tree.ValidatePath(path); err != nil {
		return err
	}
	l := t.m.lib
	end := t.n + len(path)
	if t.used == 0 {
		l.seqRm(t.mem, 0, int32(end), -1)
	} else {
		last := path[len(path)-1]
		for j := last; j < t.tree.Len(); j++ {
			if t.leaf[j] > 0 && t.tree.Ancestors[j]&(1<<uint(last)) != 0 {
				l.seqCp(t.mem, t.leaf[j], 0, int32(t.n), int32(end))
				break
			}
		}
		for s := 1; s <= t.used; s++ {
			l.seqRm(t.mem, int32(s), -1, -1)
		}
	}
	t.n, t.draft, t.used, t.tree = end, false, 0, nil
	return nil
}

// Truncate is decode.Target's.
func (t *Target) Truncate(n int) error {
	if n < 0 || n > t.n {
		return fmt.Errorf("truncate: %d tokens of a context of %d", n, t.n)
	}
	t.dropDraft()
	t.n = n
	if !t.m.lib.seqRm(t.mem, 0, int32(n), -1) {
		return fmt.Errorf("llama.cpp: this model's memory cannot be cut to %d tokens", n)
	}
	return nil
}

// row is the logits of batch row i, in llama.cpp's memory.
func (t *Target) row(i int) []float32 {
	p := t.m.lib.logitsIth(t.ctx, int32(i))
	if p == nil {
		panic(fmt.Sprintf("internal error: llama.cpp has no logits for row %d", i))
	}
	return unsafe.Slice(p, t.m.size)
}

func (t *Target) scores(n int, at func(int) int, w decode.Want) decode.Scores {
	w.TopK = min(w.TopK, t.m.size)
	s := decode.Scores{K: w.TopK, Vocab: t.m.size}
	t.best, t.top, t.logits = t.best[:0], t.top[:0], t.logits[:0]
	for i := range n {
		row := t.row(at(i))
		t.best = append(t.best, argMax(row))
		if w.TopK > 0 {
			t.top = t.appendTop(t.top, row, w.TopK)
		}
		if w.Logits {
			t.logits = append(t.logits, row...)
		}
	}
	s.Best = t.best
	if w.TopK > 0 {
		s.Top = t.top
	}
	if w.Logits {
		s.Logits = t.logits
	}
	return s
}

func argMax(x []float32) decode.Token {
	b := 0
	for i, v := range x {
		if v > x[b] {
			b = i
		}
	}
	return decode.Token(b)
}

// appendTop appends the k likeliest tokens of row with their log-probabilities,
// likeliest first, lower id first on a tie.
func (t *Target) appendTop(dst []decode.Candidate, row []float32, k int) []decode.Candidate {
	best := t.heap[:0]
	for i, v := range row {
		if len(best) == k && v <= best[k-1].LogProb {
			continue
		}
		at := len(best)
		for at > 0 && best[at-1].LogProb < v {
			at--
		}
		if len(best) < k {
			best = append(best, decode.Candidate{})
		}
		copy(best[at+1:], best[at:])
		best[at] = decode.Candidate{Token: decode.Token(i), LogProb: v}
	}
	t.heap = best
	top := float64(best[0].LogProb)
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - top)
	}
	norm := top + math.Log(sum)
	for _, c := range best {
		dst = append(dst, decode.Candidate{Token: c.Token, LogProb: float32(float64(c.LogProb) - norm)})
	}
	return dst
}
