// Package reference is the forward pass of the llama family in plain loops: no
// cache, no batching, no kernels, the whole sequence at once. It is slow, and it
// is the meaning that the engine's fast forward pass is tested against.
package reference

import (
	"errors"
	"fmt"
	"math"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/gguf"
)

// A Model holds every weight as float32.
type Model struct {
	arch                    string
	width, ff, vocab        int
	heads, kvHeads, headDim int
	eps, theta, scale       float64
	interleaved             bool      // rotate pairs (2i, 2i+1), not (i, i+headDim/2)
	freqFactors             []float32 // (headDim/2) divisors of the rope frequencies, or nil

	embed, norm, head []float32 // (vocab, width), (width), (vocab, width)
	layers            []layer
}

type layer struct {
	attnNorm, ffnNorm []float32 // (width)
	q, k, v, o        []float32 // (heads·headDim, width), (kvHeads·headDim, width) twice, (width, heads·headDim)
	qBias, kBias      []float32 // or nil
	vBias             []float32
	qNorm, kNorm      []float32 // (headDim), or nil
	gate, up, down    []float32 // (ff, width) twice, (width, ff)
}

// Load reads all weights of f. It expects a file that the engine accepts and
// checks nothing beyond presence.
func Load(f *gguf.File) (*Model, error) {
	arch, err := f.String("general.architecture")
	if err != nil {
		return nil, err
	}
	m := &Model{arch: arch, interleaved: arch == "llama"}
	num := func(key string) int {
		v, e := f.Uint(arch + "." + key)
		if e != nil && err == nil {
			err = e
		}
		return int(v)
	}
	blocks := num("block_count")
	m.width, m.ff, m.heads = num("embedding_length"), num("feed_forward_length"), num("attention.head_count")
	if err != nil {
		return nil, err
	}
	kvHeads, e1 := f.UintOr(arch+".attention.head_count_kv", uint64(m.heads))
	headDim, e2 := f.UintOr(arch+".attention.key_length", uint64(m.width/m.heads))
	eps, e3 := f.Float(arch + ".attention.layer_norm_rms_epsilon")
	theta, e4 := f.FloatOr(arch+".rope.freq_base", 10000)
	scaling, e5 := f.StringOr(arch+".rope.scaling.type", "none")
	factor, e6 := f.FloatOr(arch+".rope.scaling.factor", 1)
	if err := errors.Join(e1, e2, e3, e4, e5, e6); err != nil {
		return nil, err
	}
	m.kvHeads, m.headDim, m.eps, m.theta, m.scale = int(kvHeads), int(headDim), eps, theta, 1
	if scaling == "linear" {
		m.scale = 1 / factor
	}

	get := func(name string) []float32 {
		t, e := f.Tensor(name)
		var w []float32
		if e == nil {
			w, e = t.Float32s()
		}
		if err == nil {
			err = e
		}
		return w
	}
	maybe := func(name string) []float32 {
		if _, absent := f.Tensor(name); absent != nil {
			return nil
		}
		return get(name)
	}
	m.embed, m.norm = get("token_embd.weight"), get("output_norm.weight")
	if m.head = maybe("output.weight"); m.head == nil {
		m.head = m.embed
	}
	m.freqFactors = maybe("rope_freqs.weight")
	for i := range blocks {
		at := func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
		m.layers = append(m.layers, layer{
			attnNorm: get(at("attn_norm.weight")), ffnNorm: get(at("ffn_norm.weight")),
			q: get(at("attn_q.weight")), k: get(at("attn_k.weight")), v: get(at("attn_v.weight")), o: get(at("attn_output.weight")),
			qBias: maybe(at("attn_q.bias")), kBias: maybe(at("attn_k.bias")), vBias: maybe(at("attn_v.bias")),
			qNorm: maybe(at("attn_q_norm.weight")), kNorm: maybe(at("attn_k_norm.weight")),
			gate: get(at("ffn_gate.weight")), up: get(at("ffn_up.weight")), down: get(at("ffn_down.weight")),
		})
	}
	if err != nil {
		return nil, err
	}
	m.vocab = len(m.embed) / m.width
	return m, nil
}

// Vocab is the length of a row of logits.
func (m *Model) Vocab() int { return m.vocab }

// Sequence returns the logits (len(tokens), Vocab) of a plain sequence.
func (m *Model) Sequence(tokens []decode.Token) []float32 {
	pos := make([]int, len(tokens))
	for i := range pos {
		pos[i] = i
	}
	return m.Forward(tokens, pos, func(row, column int) bool { return column <= row })
}

// Tree returns the logits (t.Len(), Vocab) of a draft tree after context.
func (m *Model) Tree(context []decode.Token, t *decode.Tree) []float32 {
	base := len(context)
	tokens := append(append([]decode.Token(nil), context...), t.Tokens...)
	pos := make([]int, len(tokens))
	for i := range pos {
		pos[i] = i
		if i >= base {
			pos[i] = base + t.Depths[i-base]
		}
	}
	all := m.Forward(tokens, pos, func(row, column int) bool {
		if column < base || row < base {
			return column <= row
		}
		return t.Ancestors[row-base]>>uint(column-base)&1 == 1
	})
	return all[base*m.vocab:]
}

// Forward returns the logits (n, Vocab) of n tokens at the given positions.
// visible says whether row's token attends to column's; every row sees itself.
func (m *Model) Forward(tokens []decode.Token, pos []int, visible func(row, column int) bool) []float32 {
	n := len(tokens)
	x := make([]float32, 0, n*m.width)
	for _, t := range tokens {
		x = append(x, m.embed[int(t)*m.width:][:m.width]...)
	}
	for i := range m.layers {
		l := &m.layers[i]
		h := m.rmsNorm(x, l.attnNorm)
		q, k, v := linear(h, l.q, l.qBias, m.width), linear(h, l.k, l.kBias, m.width), linear(h, l.v, l.vBias, m.width)
		if l.qNorm != nil {
			q = m.rmsNorm(q, l.qNorm)
		}
		if l.kNorm != nil {
			k = m.rmsNorm(k, l.kNorm)
		}
		m.rope(q, m.heads, pos)
		m.rope(k, m.kvHeads, pos)
		add(x, linear(m.attend(q, k, v, n, visible), l.o, nil, m.heads*m.headDim))

		h = m.rmsNorm(x, l.ffnNorm)
		g, u := linear(h, l.gate, nil, m.width), linear(h, l.up, nil, m.width)
		for j := range g {
			g[j] *= float32(1/(1+math.Exp(-float64(g[j])))) * u[j]
		}
		add(x, linear(g, l.down, nil, m.ff))
	}
	return linear(m.rmsNorm(x, m.norm), m.head, nil, m.width)
}

// attend returns softmax(q·kᵀ/√headDim)·v for each query head, (n, heads·headDim).
func (m *Model) attend(q, k, v []float32, n int, visible func(row, column int) bool) []float32 {
	d := m.headDim
	out := make([]float32, n*m.heads*d)
	score := make([]float64, n)
	for row := range n {
		for h := range m.heads {
			kv := h / (m.heads / m.kvHeads)
			qr := q[(row*m.heads+h)*d:][:d]
			top := math.Inf(-1)
			for c := range n {
				if !visible(row, c) {
					continue
				}
				s := 0.0
				for i, b := range k[(c*m.kvHeads+kv)*d:][:d] {
					s += float64(qr[i]) * float64(b)
				}
				score[c] = s / math.Sqrt(float64(d))
				top = max(top, score[c])
			}
			sum := 0.0
			acc := make([]float64, d)
			for c := range n {
				if !visible(row, c) {
					continue
				}
				p := math.Exp(score[c] - top)
				sum += p
				for i, b := range v[(c*m.kvHeads+kv)*d:][:d] {
					acc[i] += p * float64(b)
				}
			}
			for i, a := range acc {
				out[(row*m.heads+h)*d+i] = float32(a / sum)
			}
		}
	}
	return out
}

// rope rotates each head of x (n, heads, headDim) by its row's position.
// RoFormer, arXiv 2104.09864, eq. 34; pairs as in ggml's ROPE_TYPE_NORM (llama)
// and ROPE_TYPE_NEOX (qwen).
func (m *Model) rope(x []float32, heads int, pos []int) {
	d, half := m.headDim, m.headDim/2
	for row, p := range pos {
		for i := range half {
			f := math.Pow(m.theta, -2*float64(i)/float64(d)) * m.scale
			if m.freqFactors != nil {
				f /= float64(m.freqFactors[i])
			}
			sin, cos := math.Sincos(float64(p) * f)
			for h := range heads {
				r := x[(row*heads+h)*d:][:d]
				a, b := i, i+half
				if m.interleaved {
					a, b = 2*i, 2*i+1
				}
				va, vb := float64(r[a]), float64(r[b])
				r[a], r[b] = float32(va*cos-vb*sin), float32(va*sin+vb*cos)
			}
		}
	}
}

// rmsNorm returns x/rms(x)·w for each run of len(w) values of x.
func (m *Model) rmsNorm(x, w []float32) []float32 {
	y := make([]float32, len(x))
	for i := 0; i < len(x); i += len(w) {
		sum := 0.0
		for _, v := range x[i : i+len(w)] {
			sum += float64(v) * float64(v)
		}
		r := 1 / math.Sqrt(sum/float64(len(w))+m.eps)
		for j, v := range w {
			y[i+j] = float32(float64(x[i+j]) * r * float64(v))
		}
	}
	return y
}

// linear returns x·wᵀ + bias for each run of cols values of x; w is (rows, cols).
func linear(x, w, bias []float32, cols int) []float32 {
	n, rows := len(x)/cols, len(w)/cols
	y := make([]float32, n*rows)
	for i := range n {
		xi := x[i*cols:][:cols]
		for r := range rows {
			s := 0.0
			for j, v := range w[r*cols:][:cols] {
				s += float64(v) * float64(xi[j])
			}
			if bias != nil {
				s += float64(bias[r])
			}
			y[i*rows+r] = float32(s)
		}
	}
	return y
}

func add(x, y []float32) {
	for i, v := range y {
		x[i] += v
	}
}
