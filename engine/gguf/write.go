package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/coordbench/coordbench/engine/quant"
)

// Writer writes one GGUF file of version 3: metadata and tensors are
// announced with Add and AddTensor in the order they shall have in the file,
// then Flush writes everything, asking for the data of one tensor at a time.
type Writer struct {
	w       io.Writer
	align   int
	keys    []string
	values  map[string]Value
	tensors []pendingTensor
	names   map[string]bool
	err     error // the first one; reported by Flush
}

type pendingTensor struct {
	name  string
	typ   quant.Type
	dims  []int
	bytes int64
	write func(io.Writer) error
}

// NewWriter returns a Writer to w with data alignment DefaultAlignment.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, align: DefaultAlignment, values: map[string]Value{}, names: map[string]bool{}}
}

func (w *Writer) fail(format string, args ...any) error {
	err := fmt.Errorf("gguf: "+format, args...)
	if w.err == nil {
		w.err = err
	}
	return err
}

// Add appends a metadata entry. v is a Go value that ValueOf accepts. A
// general.alignment given here (uint32, a power of two) sets the alignment;
// otherwise Flush adds one. Errors are repeated by Flush, so callers may check
// there alone.
func (w *Writer) Add(key string, v any) error {
	if key == "" || len(key) > maxKey {
		return w.fail("metadata key of %d bytes, want 1 to %d", len(key), maxKey)
	}
	if _, ok := w.values[key]; ok {
		return w.fail("duplicate metadata key %q", key)
	}
	val, err := ValueOf(v)
	if err == nil {
		err = checkValue(val, 0)
	}
	if err != nil {
		return w.fail("metadata %q: %w", key, err)
	}
	if key == AlignmentKey {
		n, ok := val.Any.(uint32)
		if !ok || n == 0 || n&(n-1) != 0 || n > maxAlign {
			return w.fail("%s is %v (%s), want a uint32 that is a power of two up to %d", key, val.Any, val.describe(), maxAlign)
		}
		w.align = int(n)
	}
	w.keys = append(w.keys, key)
	w.values[key] = val
	return nil
}

// checkValue verifies a caller-made Value: its Go value must be that of its type.
func checkValue(v Value, depth int) error {
	if depth >= maxNesting {
		return fmt.Errorf("arrays nested more than %d deep", maxNesting)
	}
	if _, ok := v.Any.(Value); ok {
		return fmt.Errorf("%s holds a gguf.Value", v.describe())
	}
	canon, err := ValueOf(v.Any)
	if err != nil {
		return err
	}
	if canon.Type != v.Type || canon.Elem != v.Elem {
		return fmt.Errorf("%s holds a %T", v.describe(), v.Any)
	}
	if members, ok := v.Any.([]Value); ok {
		for _, m := range members {
			if err := checkValue(m, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// AddTensor appends a tensor whose blocks are data: dims in ggml order, the
// row length first. data is kept until Flush.
func (w *Writer) AddTensor(name string, t quant.Type, dims []int, data []byte) error {
	return w.AddTensorFunc(name, t, dims, func(dst io.Writer) error {
		_, err := dst.Write(data)
		return err
	})
}

// AddTensorReader is AddTensor with the blocks read from r at Flush, to its end.
func (w *Writer) AddTensorReader(name string, t quant.Type, dims []int, r io.Reader) error {
	return w.AddTensorFunc(name, t, dims, func(dst io.Writer) error {
		_, err := io.Copy(dst, r)
		return err
	})
}

// AddTensorFunc is AddTensor with the blocks written by write, which Flush
// calls once. It must write exactly the bytes that t and dims need.
func (w *Writer) AddTensorFunc(name string, t quant.Type, dims []int, write func(io.Writer) error) error {
	if name == "" || len(name) > maxKey {
		return w.fail("tensor name of %d bytes, want 1 to %d", len(name), maxKey)
	}
	if w.names[name] {
		return w.fail("duplicate tensor %q", name)
	}
	if len(dims) < 1 || len(dims) > maxDims {
		return w.fail("tensor %q has %d dimensions, want 1 to %d", name, len(dims), maxDims)
	}
	row, err := t.RowBytes(dims[0])
	if err != nil {
		return w.fail("tensor %q: %w", name, err)
	}
	bytes := int64(row)
	for i, d := range dims {
		if d < 1 {
			return w.fail("tensor %q: dimension %d is %d", name, i, d)
		}
		if i > 0 {
			if bytes > math.MaxInt64/int64(d) {
				return w.fail("tensor %q: the product of dimensions %v overflows", name, dims)
			}
			bytes *= int64(d)
		}
	}
	w.names[name] = true
	w.tensors = append(w.tensors, pendingTensor{name, t, append([]int(nil), dims...), bytes, write})
	return nil
}

// Flush writes the file and returns the first error of any call. The Writer
// is of no use afterwards.
func (w *Writer) Flush() error {
	if _, ok := w.values[AlignmentKey]; !ok && w.err == nil {
		w.Add(AlignmentKey, uint32(w.align))
	}
	if w.err != nil {
		return w.err
	}
	w.err = fmt.Errorf("gguf: the writer has been flushed")
	out := &output{w: bufio.NewWriterSize(w.w, 1<<20)}
	out.Write([]byte(magic))
	out.u32(3)
	out.u64(uint64(len(w.tensors)))
	out.u64(uint64(len(w.keys)))
	for _, k := range w.keys {
		v := w.values[k]
		out.str(k)
		out.u32(uint32(v.Type))
		out.value(v)
	}
	var offset int64
	for _, t := range w.tensors {
		out.str(t.name)
		out.u32(uint32(len(t.dims)))
		for _, d := range t.dims {
			out.u64(uint64(d))
		}
		out.u32(uint32(t.typ))
		out.u64(uint64(offset))
		offset += t.bytes
		offset += -offset & int64(w.align-1)
	}
	out.pad(w.align)
	for _, t := range w.tensors {
		before := out.n
		if err := t.write(out); err != nil {
			return fmt.Errorf("gguf: writing tensor %q: %w", t.name, err)
		}
		if got := out.n - before; out.err == nil && got != t.bytes {
			return fmt.Errorf("gguf: tensor %q: %d bytes written, %v %v needs %d", t.name, got, t.typ, t.dims, t.bytes)
		}
		out.pad(w.align)
	}
	if err := out.w.Flush(); out.err == nil {
		out.err = err
	}
	if out.err != nil {
		return fmt.Errorf("gguf: %w", out.err)
	}
	return nil
}

// output counts bytes and keeps the first error.
type output struct {
	w   *bufio.Writer
	n   int64
	err error
}

func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	o.n += int64(n)
	o.err = err
	return n, err
}

func (o *output) u32(v uint32) { o.Write(binary.LittleEndian.AppendUint32(nil, v)) }
func (o *output) u64(v uint64) { o.Write(binary.LittleEndian.AppendUint64(nil, v)) }

func (o *output) str(s string) {
	o.u64(uint64(len(s)))
	o.Write([]byte(s))
}

func (o *output) pad(align int) {
	if n := int(-o.n & int64(align-1)); n > 0 {
		o.Write(make([]byte, n))
	}
}

func (o *output) value(v Value) {
	switch x := v.Any.(type) {
	case string:
		o.str(x)
	case []string:
		o.array(v.Elem, len(x))
		for _, s := range x {
			o.str(s)
		}
	case []Value:
		o.array(Array, len(x))
		for _, m := range x {
			o.value(m)
		}
	default:
		if v.Type == Array {
			o.array(v.Elem, binary.Size(x)/scalarBytes(v.Elem))
		}
		b, err := binary.Append(nil, binary.LittleEndian, x)
		if err != nil {
			panic("internal error: gguf: " + err.Error())
		}
		o.Write(b)
	}
}

func (o *output) array(elem ValueType, n int) {
	o.u32(uint32(elem))
	o.u64(uint64(n))
}
