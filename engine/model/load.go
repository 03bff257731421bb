package model

import (
	"fmt"
	"slices"

	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/engine/kernels"
)

// Options for Load.
type Options struct {
	Threads int           // workers of the model's own pool; 0 is one for each processor
	Pool    *kernels.Pool // run here instead; Close leaves it open
}

// A Model is a set of weights, ready to run. Its contexts share them, and its
// pool, so that one context runs at a time.
type Model struct {
	config Config
	arch   architecture
	file   *gguf.File
	pool   *kernels.Pool
	own    bool // the pool is ours to close

	embed  *kernels.Matrix // (Vocab, Width)
	head   *kernels.Matrix // (Vocab, Width); embed itself if tied
	norm   []float32       // (Width)
	freqs  []float64       // (HeadDim/2) radians that a pair turns per position
	layers []layer
}

type layer struct {
	attnNorm, ffnNorm []float32          // (Width)
	qkv               [3]*kernels.Matrix // (qDim, Width), (kvDim, Width), (kvDim, Width)
	bias              [3][]float32       // of their rows, or nil
	qNorm, kNorm      []float32          // (HeadDim), or nil
	o                 *kernels.Matrix    // (Width, qDim)
	gate, up          *kernels.Matrix    // (FF, Width)
	down              *kernels.Matrix    // (Width, FF)
}

// Load checks that f is a model this package can run, copies its weights into
// the layout that the kernels want, and gives the mapped pages back. f must stay
// open while the model is in use.
//
// An error names the file and the key or tensor that is missing or does not fit;
// nothing of the weights' size is allocated before all of them are known to fit.
func Load(f *gguf.File, o Options) (*Model, error) {
	c, arch, err := readConfig(f)
	if err != nil {
		return nil, err
	}
	embed, err := f.Tensor("token_embd.weight")
	if err != nil {
		return nil, err
	}
	if len(embed.Dims) != 2 || embed.Dims[1] < 1 || embed.Dims[1] > maxExtent {
		return nil, fault(f, "tensor %q has dimensions %v; expected [%d, vocabulary]", embed.Name, embed.Dims, c.Width)
	}
	c.Vocab = embed.Dims[1]
	if v, err := f.UintOr(c.Architecture+".vocab_size", uint64(c.Vocab)); err != nil {
		return nil, err
	} else if v != uint64(c.Vocab) {
		return nil, fault(f, "%s.vocab_size is %d, but tensor %q has %d rows", c.Architecture, v, embed.Name, c.Vocab)
	}
	_, err = f.Tensor("output.weight")
	c.TiedHead = err != nil

	m := &Model{config: c, arch: arch, file: f, pool: o.Pool}
	var factors []float32
	slots := m.slots(&factors)
	if err := check(f, slots); err != nil {
		return nil, err
	}
	if m.pool == nil {
		m.pool, m.own = kernels.NewPool(o.Threads), true
	}
	if err := m.fill(slots); err != nil {
		m.Close()
		return nil, err
	}
	if m.head == nil {
		m.head = m.embed
	}
	if m.freqs, err = frequencies(c, factors); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// A slot is a place in the model that one tensor fills.
type slot struct {
	name       string
	rows, cols int // rows is 0 for a vector
	vector     *[]float32
	matrix     **kernels.Matrix
	optional   bool
	tensor     *gguf.Tensor // set by check; nil if optional and absent
}

// slots lists every tensor that a model of this shape has.
func (m *Model) slots(ropeFactors *[]float32) []slot {
	c := m.config
	list := []slot{
		{name: "token_embd.weight", rows: c.Vocab, cols: c.Width, matrix: &m.embed},
		{name: "output_norm.weight", cols: c.Width, vector: &m.norm},
		{name: "output.weight", rows: c.Vocab, cols: c.Width, matrix: &m.head, optional: true},
		{name: "rope_freqs.weight", cols: c.HeadDim / 2, vector: ropeFactors, optional: true},
	}
	m.layers = make([]layer, c.Layers)
	for i := range m.layers {
		l := &m.layers[i]
		vector := func(name string, n int, to *[]float32, optional bool) {
			list = append(list, slot{name: fmt.Sprintf("blk.%d.%s", i, name), cols: n, vector: to, optional: optional})
		}
		matrix := func(name string, rows, cols int, to **kernels.Matrix) {
			list = append(list, slot{name: fmt.Sprintf("blk.%d.%s", i, name), rows: rows, cols: cols, matrix: to})
		}
		vector("attn_norm.weight", c.Width, &l.attnNorm, false)
		for j, s := range []struct {
			name string
			rows int
		}{{"attn_q", c.qDim()}, {"attn_k", c.kvDim()}, {"attn_v", c.kvDim()}} {
			matrix(s.name+".weight", s.rows, c.Width, &l.qkv[j])
			vector(s.name+".bias", s.rows, &l.bias[j], !m.arch.qkvBias)
		}
		if m.arch.qkNorm {
			vector("attn_q_norm.weight", c.HeadDim, &l.qNorm, false)
			vector("attn_k_norm.weight", c.HeadDim, &l.kNorm, false)
		}
		matrix("attn_output.weight", c.Width, c.qDim(), &l.o)
		vector("ffn_norm.weight", c.Width, &l.ffnNorm, false)
		matrix("ffn_gate.weight", c.FF, c.Width, &l.gate)
		matrix("ffn_up.weight", c.FF, c.Width, &l.up)
		matrix("ffn_down.weight", c.Width, c.FF, &l.down)
	}
	return list
}

// check finds each slot's tensor and compares its dimensions. A tensor that no
// slot takes would change what the model computes, so it is an error too.
func check(f *gguf.File, slots []slot) error {
	taken := map[string]bool{}
	for i := range slots {
		s := &slots[i]
		taken[s.name] = true
		t, err := f.Tensor(s.name)
		if err != nil && s.optional {
			continue
		}
		if err != nil {
			return err
		}
		want := []int{s.cols}
		if s.matrix != nil {
			want = append(want, s.rows)
		}
		if !slices.Equal(t.Dims, want) {
			return fault(f, "tensor %q has dimensions %v; expected %v", t.Name, t.Dims, want)
		}
		s.tensor = t
	}
	for _, t := range f.Tensors() {
		if !taken[t.Name] {
			return fault(f, "tensor %q has no place in a model of this architecture", t.Name)
		}
	}
	return nil
}

// fill converts the tensors, one at a time, and gives each one's pages back.
func (m *Model) fill(slots []slot) error {
	for _, s := range slots {
		if s.tensor == nil {
			continue
		}
		if s.vector != nil {
			v, err := s.tensor.Float32s()
			if err != nil {
				return err
			}
			*s.vector = v
			continue
		}
		w, err := kernels.NewMatrix(m.pool, s.tensor.Type, s.rows, s.cols, s.tensor.Data)
		if err != nil {
			return fault(m.file, "tensor %q: %w", s.name, err)
		}
		*s.matrix = w
		m.file.DropPages(s.tensor)
	}
	return nil
}

// Config is the model's shape.
func (m *Model) Config() Config { return m.config }

// Pool is where the model runs.
func (m *Model) Pool() *kernels.Pool { return m.pool }

// Close stops the model's pool, unless the caller lent it. The file is the
// caller's to close.
func (m *Model) Close() error {
	if m.own {
		m.pool.Close()
	}
	return nil
}
