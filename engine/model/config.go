package model

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/coordbench/coordbench/engine/gguf"
)

// An architecture is what tells the members of the llama family apart.
type architecture struct {
	interleaved bool // rope rotates pairs (2i, 2i+1), not (i, i+HeadDim/2)
	qkNorm      bool // queries and keys are RMS-normalised per head before rope
	qkvBias     bool // the projections have biases; elsewhere they may
}

// llama.cpp: llama_model_rope_type, and load_tensors per LLM_ARCH.
var architectures = map[string]architecture{
	"llama": {interleaved: true},
	"qwen2": {qkvBias: true},
	"qwen3": {qkNorm: true},
}

// Architectures lists the values of general.architecture that Load takes.
func Architectures() []string {
	var names []string
	for name := range architectures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Config is the shape of a model.
type Config struct {
	Name         string // general.name, or the architecture where the file has none
	Architecture string // "llama", "qwen2", "qwen3"
	Layers       int
	Width        int // numbers in a token's embedding
	Heads        int // query heads
	KVHeads      int // key/value heads; Heads is a multiple
	HeadDim      int // numbers in a query, key or value of one head
	FF           int // numbers between the two halves of the feed-forward part
	Vocab        int
	TrainContext int     // positions that the model was trained on
	Epsilon      float32 // added to the mean square under the root of RMSNorm
	RopeBase     float64
	RopeScale    float64 // multiplies positions: 1, or 1/factor for linear scaling
	TiedHead     bool    // the output projection is the embedding table
}

// Most that a hyper-parameter may be: far above any model, and low enough that
// products of two cannot overflow.
const (
	maxLayers  = 1 << 12
	maxExtent  = 1 << 24 // width, ff, heads·headDim, vocabulary, context
	maxHeadDim = 1 << 12
)

// header reads hyper-parameters and keeps the first error.
type header struct {
	f    *gguf.File
	arch string
	err  error
}

func (h *header) fail(err error) {
	if h.err == nil && err != nil {
		h.err = err
	}
}

// fault names the file before what is wrong with it. The errors of package gguf
// name it already.
func fault(f *gguf.File, format string, args ...any) error {
	return fmt.Errorf("%s: %w", f.Path, fmt.Errorf(format, args...))
}

func (h *header) faultf(format string, args ...any) { h.fail(fault(h.f, format, args...)) }

// integer reads a key that may be absent, which means 0.
func (h *header) integer(key string) uint64 {
	v, err := h.f.UintOr(h.arch+"."+key, 0)
	h.fail(err)
	return v
}

// text reads a key that may be absent, which means or.
func (h *header) text(key, or string) string {
	v, err := h.f.StringOr(key, or)
	h.fail(err)
	return v
}

// count reads an integer in 1 … most. A key that is absent is or, unless or is 0.
func (h *header) count(key string, or, most int) int {
	key = h.arch + "." + key
	if _, ok := h.f.Value(key); !ok && or > 0 {
		return or
	}
	v, err := h.f.Uint(key)
	if err != nil {
		h.fail(err)
		return 1
	}
	if v < 1 || v > uint64(most) {
		h.faultf("%s is %d; expected 1 to %d", key, v, most)
		return 1
	}
	return int(v)
}

// float reads a number in (0, most]. A key that is absent is or, unless or is 0.
func (h *header) float(key string, or, most float64) float64 {
	key = h.arch + "." + key
	if _, ok := h.f.Value(key); !ok && or > 0 {
		return or
	}
	v, err := h.f.Float(key)
	if err != nil {
		h.fail(err)
		return 1
	}
	if !(v > 0 && v <= most) {
		h.faultf("%s is %g; expected more than 0 and at most %g", key, v, most)
		return 1
	}
	return v
}

// readConfig checks every hyper-parameter that the forward pass uses, except the
// vocabulary's size, which is that of the embedding table.
func readConfig(f *gguf.File) (Config, architecture, error) {
	name, err := f.String("general.architecture")
	if err != nil {
		return Config{}, architecture{}, err
	}
	arch, ok := architectures[name]
	if !ok {
		return Config{}, architecture{}, fault(f, "unknown architecture %q; supported: %s", name, strings.Join(Architectures(), ", "))
	}
	h := &header{f: f, arch: name}
	c := Config{
		Name:         h.text("general.name", name),
		Architecture: name,
		Layers:       h.count("block_count", 0, maxLayers),
		Width:        h.count("embedding_length", 0, maxExtent),
		FF:           h.count("feed_forward_length", 0, maxExtent),
		Heads:        h.count("attention.head_count", 0, maxExtent),
		TrainContext: h.count("context_length", 0, 1<<30),
		Epsilon:      float32(h.float("attention.layer_norm_rms_epsilon", 0, 1)),
		RopeBase:     h.float("rope.freq_base", 10000, math.MaxFloat32),
		RopeScale:    1,
	}
	c.KVHeads = h.count("attention.head_count_kv", c.Heads, maxExtent)
	if c.Heads%c.KVHeads != 0 {
		h.faultf("%s.attention.head_count is %d, which is no multiple of the %d key/value heads", name, c.Heads, c.KVHeads)
	}
	c.HeadDim = h.count("attention.key_length", max(1, c.Width/c.Heads), maxHeadDim)
	if v := h.count("attention.value_length", c.HeadDim, maxHeadDim); v != c.HeadDim {
		h.faultf("%s.attention.value_length is %d, but key_length is %d; expected the same", name, v, c.HeadDim)
	}
	if c.HeadDim%2 != 0 {
		h.faultf("a head of %d numbers cannot be rotated in pairs; expected an even number", c.HeadDim)
	}
	if v := h.count("rope.dimension_count", c.HeadDim, maxHeadDim); v != c.HeadDim {
		h.faultf("%s.rope.dimension_count is %d, but a head has %d numbers; partial rotation is not supported", name, v, c.HeadDim)
	}
	if n := c.Heads * c.HeadDim; n > maxExtent {
		h.faultf("%d heads of %d numbers; expected at most %d numbers", c.Heads, c.HeadDim, maxExtent)
	}
	switch kind := h.text(name+".rope.scaling.type", "none"); kind {
	case "none", "":
	case "linear":
		c.RopeScale = 1 / h.float("rope.scaling.factor", 0, 1<<20)
	default:
		h.faultf("%s.rope.scaling.type %q is not supported; supported: none, linear, and factors in the tensor rope_freqs.weight", name, kind)
	}
	if v := h.integer("expert_count"); v != 0 {
		h.faultf("%s.expert_count is %d; mixtures of experts are not supported", name, v)
	}
	if v := h.integer("attention.sliding_window"); v != 0 && v < uint64(c.TrainContext) {
		h.faultf("%s.attention.sliding_window is %d in a context of %d; windowed attention is not supported", name, v, c.TrainContext)
	}
	return c, arch, h.err
}

func (c Config) group() int  { return c.Heads / c.KVHeads }
func (c Config) qDim() int   { return c.Heads * c.HeadDim }
func (c Config) kvDim() int  { return c.KVHeads * c.HeadDim }
func (c Config) qkvDim() int { return c.qDim() + 2*c.kvDim() }
