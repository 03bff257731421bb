package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/coordbench/coordbench/engine/quant"
)

const (
	magic      = "GGUF"
	headBytes  = 4 + 4 + 8 + 8         // magic, version, tensor count, metadata count
	minKV      = 8 + 1 + 4 + 1         // key of one byte, a uint8
	minTensor  = 8 + 1 + 4 + 8 + 4 + 8 // name of one byte, one dimension
	maxKey     = 65535                 // docs/gguf.md
	maxDims    = 4                     // GGML_MAX_DIMS
	maxAlign   = 1 << 20               // of tensor data, bytes; files have 32
	maxNesting = 8                     // of arrays in arrays; deeper ones only exist to exhaust a stack
)

// Parse reads the GGUF file in data, which it keeps and slices; name stands
// for the path in errors. Memory allocated is at most a small multiple of
// len(data): every count is checked against the bytes left before it is
// believed.
func Parse(name string, data []byte) (*File, error) {
	p := &parser{path: name, data: data}
	f, err := p.file()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// parser walks the header. Every read checks the bytes left.
type parser struct {
	path string
	data []byte
	off  int
}

func (p *parser) errorf(off int, format string, args ...any) error {
	return &FormatError{Path: p.path, Offset: int64(off), Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) left() int { return len(p.data) - p.off }

// take returns the next n bytes; what names them in the error.
func (p *parser) take(n int, what string) ([]byte, error) {
	if n > p.left() {
		return nil, p.errorf(p.off, "truncated: %s needs %d bytes, the file has %d left of %d", what, n, p.left(), len(p.data))
	}
	b := p.data[p.off : p.off+n]
	p.off += n
	return b, nil
}

func (p *parser) u32(what string) (uint32, error) {
	b, err := p.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (p *parser) u64(what string) (uint64, error) {
	b, err := p.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// count reads a number of items of at least size bytes each and checks that
// the rest of the file can hold them.
func (p *parser) count(size int, what string) (int, error) {
	at := p.off
	n, err := p.u64("the number of " + what)
	if err != nil {
		return 0, err
	}
	if n > uint64(p.left()/size) {
		return 0, p.errorf(at, "%d %s cannot fit in the %d bytes left", n, what, p.left())
	}
	return int(n), nil
}

func (p *parser) str(what string, limit int) (string, error) {
	at := p.off
	n, err := p.u64("the length of " + what)
	if err != nil {
		return "", err
	}
	if n > uint64(p.left()) {
		return "", p.errorf(at, "%s of %d bytes runs past the end of the file (%d bytes left)", what, n, p.left())
	}
	if n > uint64(limit) {
		return "", p.errorf(at, "%s of %d bytes; the limit is %d", what, n, limit)
	}
	b, err := p.take(int(n), what)
	return string(b), err
}

func (p *parser) file() (*File, error) {
	if len(p.data) == 0 {
		return nil, p.errorf(0, "empty file")
	}
	m, err := p.take(4, "the magic")
	if err != nil {
		return nil, err
	}
	if string(m) != magic {
		return nil, p.errorf(0, "not a GGUF file: magic %q, want %q", m, magic)
	}
	f := &File{Path: p.path, data: p.data, Alignment: DefaultAlignment, values: map[string]Value{}, byName: map[string]*Tensor{}}
	if f.Version, err = p.u32("the version"); err != nil {
		return nil, err
	}
	switch swapped := bits.ReverseBytes32(f.Version); {
	case f.Version == 2 || f.Version == 3:
	case swapped >= 1 && swapped <= 3:
		return nil, p.errorf(4, "big-endian GGUF file (version %d); only little-endian files are supported", swapped)
	default:
		return nil, p.errorf(4, "GGUF version %d; versions 2 and 3 are supported", f.Version)
	}
	at := p.off
	tensors, err := p.u64("the number of tensors")
	if err != nil {
		return nil, err
	}
	keys, err := p.count(minKV, "metadata entries")
	if err != nil {
		return nil, err
	}
	// Together: two counts that each fit alone may still not fit both.
	if space := p.left() - keys*minKV; tensors > uint64(space/minTensor) {
		return nil, p.errorf(at, "%d tensors and %d metadata entries cannot fit in the %d bytes left", tensors, keys, p.left())
	}
	for range keys {
		if err := p.metadata(f); err != nil {
			return nil, err
		}
	}
	// Again: the metadata may have taken more than its least.
	if tensors > uint64(p.left()/minTensor) {
		return nil, p.errorf(at, "%d tensors cannot fit in the %d bytes after the metadata", tensors, p.left())
	}
	infos := make([]tensorInfo, 0, tensors)
	for range tensors {
		ti, err := p.tensorInfo(f)
		if err != nil {
			return nil, err
		}
		infos = append(infos, ti)
	}
	f.DataStart = int64(alignUp(p.off, f.Alignment))
	for i := range infos {
		if err := p.place(f, &infos[i]); err != nil {
			return nil, err
		}
	}
	return f, p.overlap(infos)
}

func alignUp(n, align int) int { return (n + align - 1) &^ (align - 1) }

func (p *parser) metadata(f *File) error {
	at := p.off
	key, err := p.str("a metadata key", maxKey)
	if err != nil {
		return err
	}
	if key == "" {
		return p.errorf(at, "empty metadata key")
	}
	if _, ok := f.values[key]; ok {
		return p.errorf(at, "duplicate metadata key %q", key)
	}
	t, err := p.u32(fmt.Sprintf("the type of %q", key))
	if err != nil {
		return err
	}
	v, err := p.value(ValueType(t), key, 0)
	if err != nil {
		return err
	}
	f.keys = append(f.keys, key)
	f.values[key] = v
	if key == AlignmentKey {
		return p.alignment(f, at)
	}
	return nil
}

// scalarBytes is the size of a value of fixed size, 0 for the other types.
func scalarBytes(t ValueType) int {
	switch t {
	case Uint8, Int8, Bool:
		return 1
	case Uint16, Int16:
		return 2
	case Uint32, Int32, Float32:
		return 4
	case Uint64, Int64, Float64:
		return 8
	}
	return 0
}

func (p *parser) value(t ValueType, key string, depth int) (Value, error) {
	switch t {
	case String:
		s, err := p.str(fmt.Sprintf("the value of %q", key), math.MaxInt)
		return Value{Type: t, Any: s}, err
	case Array:
		return p.array(key, depth)
	}
	size := scalarBytes(t)
	if size == 0 {
		return Value{}, p.errorf(p.off-4, "metadata %q has unknown type %d", key, uint32(t))
	}
	at := p.off
	b, err := p.take(size, fmt.Sprintf("the value of %q", key))
	if err != nil {
		return Value{}, err
	}
	v := Value{Type: t}
	le := binary.LittleEndian
	switch t {
	case Uint8:
		v.Any = b[0]
	case Int8:
		v.Any = int8(b[0])
	case Uint16:
		v.Any = le.Uint16(b)
	case Int16:
		v.Any = int16(le.Uint16(b))
	case Uint32:
		v.Any = le.Uint32(b)
	case Int32:
		v.Any = int32(le.Uint32(b))
	case Float32:
		v.Any = math.Float32frombits(le.Uint32(b))
	case Bool:
		if b[0] > 1 {
			return Value{}, p.errorf(at, "metadata %q: bool with value %d", key, b[0])
		}
		v.Any = b[0] == 1
	case Uint64:
		v.Any = le.Uint64(b)
	case Int64:
		v.Any = int64(le.Uint64(b))
	case Float64:
		v.Any = math.Float64frombits(le.Uint64(b))
	}
	return v, nil
}

func (p *parser) array(key string, depth int) (Value, error) {
	at := p.off
	if depth == maxNesting {
		return Value{}, p.errorf(at, "metadata %q: arrays nested more than %d deep", key, maxNesting)
	}
	e, err := p.u32(fmt.Sprintf("the element type of %q", key))
	if err != nil {
		return Value{}, err
	}
	elem := ValueType(e)
	v := Value{Type: Array, Elem: elem}
	what := fmt.Sprintf("members (%v) of metadata %q", elem, key)
	switch elem {
	case String:
		n, err := p.count(8, what)
		if err != nil {
			return v, err
		}
		v.Any, err = p.stringArray(n, key)
		return v, err
	case Array:
		n, err := p.count(4+8, what)
		if err != nil {
			return v, err
		}
		members := make([]Value, 0, n)
		for range n {
			m, err := p.array(key, depth+1)
			if err != nil {
				return v, err
			}
			members = append(members, m)
		}
		v.Any = members
		return v, nil
	}
	size := scalarBytes(elem)
	if size == 0 {
		return v, p.errorf(at, "metadata %q: array of unknown type %d", key, e)
	}
	n, err := p.count(size, what)
	if err != nil {
		return v, err
	}
	at = p.off
	b, err := p.take(n*size, what)
	if err != nil {
		return v, err
	}
	le := binary.LittleEndian
	switch elem {
	case Uint8:
		v.Any = append(make([]uint8, 0, n), b...)
	case Int8:
		v.Any = decodeArray(b, 1, func(b []byte) int8 { return int8(b[0]) })
	case Uint16:
		v.Any = decodeArray(b, 2, le.Uint16)
	case Int16:
		v.Any = decodeArray(b, 2, func(b []byte) int16 { return int16(le.Uint16(b)) })
	case Uint32:
		v.Any = decodeArray(b, 4, le.Uint32)
	case Int32:
		v.Any = decodeArray(b, 4, func(b []byte) int32 { return int32(le.Uint32(b)) })
	case Float32:
		v.Any = decodeArray(b, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case Uint64:
		v.Any = decodeArray(b, 8, le.Uint64)
	case Int64:
		v.Any = decodeArray(b, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case Float64:
		v.Any = decodeArray(b, 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	case Bool:
		if i := slices.IndexFunc(b, func(c byte) bool { return c > 1 }); i >= 0 {
			return v, p.errorf(at+i, "metadata %q: bool with value %d", key, b[i])
		}
		v.Any = decodeArray(b, 1, func(b []byte) bool { return b[0] == 1 })
	}
	return v, nil
}

func decodeArray[T any](b []byte, size int, get func([]byte) T) []T {
	out := make([]T, len(b)/size)
	for i := range out {
		out[i] = get(b[i*size:])
	}
	return out
}

// stringArray makes one copy of the bytes of all n strings and slices it: a
// vocabulary has 150,000 of them.
func (p *parser) stringArray(n int, key string) ([]string, error) {
	start := p.off
	for range n {
		at := p.off
		size, err := p.u64(fmt.Sprintf("a string of %q", key))
		if err != nil {
			return nil, err
		}
		if size > uint64(p.left()) {
			return nil, p.errorf(at, "a string of %q of %d bytes runs past the end of the file (%d bytes left)", key, size, p.left())
		}
		p.off += int(size)
	}
	all := string(p.data[start:p.off])
	out := make([]string, n)
	off := 0
	for i := range out {
		size := int(binary.LittleEndian.Uint64(p.data[start+off:]))
		out[i] = all[off+8 : off+8+size]
		off += 8 + size
	}
	return out, nil
}

// alignment checks the value of AlignmentKey, read at at, and keeps it.
func (p *parser) alignment(f *File, at int) error {
	n, err := f.Uint(AlignmentKey)
	if err != nil {
		return p.errorf(at, "%s", strings.TrimPrefix(err.Error(), f.Path+": "))
	}
	if n == 0 || n&(n-1) != 0 || n > maxAlign {
		return p.errorf(at, "%s is %d, want a power of two up to %d", AlignmentKey, n, maxAlign)
	}
	f.Alignment = int(n)
	return nil
}

// tensorInfo is a tensor whose data has not been placed.
type tensorInfo struct {
	*Tensor
	at     int    // of the entry in the header
	offset uint64 // from the start of the data section
	bytes  int
}

func (p *parser) tensorInfo(f *File) (tensorInfo, error) {
	ti := tensorInfo{Tensor: &Tensor{path: p.path}, at: p.off}
	var err error
	if ti.Name, err = p.str("a tensor name", maxKey); err != nil {
		return ti, err
	}
	if ti.Name == "" {
		return ti, p.errorf(ti.at, "tensor without a name")
	}
	if f.byName[ti.Name] != nil {
		return ti, p.errorf(ti.at, "duplicate tensor %q", ti.Name)
	}
	what := fmt.Sprintf("tensor %q", ti.Name)
	dims, err := p.u32(what)
	if err != nil {
		return ti, err
	}
	if dims < 1 || dims > maxDims {
		return ti, p.errorf(ti.at, "%s has %d dimensions, want 1 to %d", what, dims, maxDims)
	}
	ti.Dims = make([]int, dims)
	rows := 1
	for i := range ti.Dims {
		n, err := p.u64(what)
		if err != nil {
			return ti, err
		}
		if n == 0 || n > math.MaxInt32*1024 {
			return ti, p.errorf(ti.at, "%s: dimension %d is %d", what, i, n)
		}
		ti.Dims[i] = int(n)
		if i > 0 {
			hi, lo := bits.Mul64(uint64(rows), n)
			if hi != 0 || lo > math.MaxInt64 {
				return ti, p.errorf(ti.at, "%s: the product of dimensions %v overflows", what, ti.Dims)
			}
			rows = int(lo)
		}
	}
	t, err := p.u32(what)
	if err != nil {
		return ti, err
	}
	ti.Type = quant.Type(t)
	if ti.Type.BlockSize() == 0 {
		return ti, p.errorf(ti.at, "%s has type %d (%v); supported are %s", what, t, ti.Type, supported())
	}
	rowBytes, err := ti.Type.RowBytes(ti.Dims[0])
	if err != nil {
		return ti, p.errorf(ti.at, "%s: %v rows need a multiple of %d values, not %d", what, ti.Type, ti.Type.BlockSize(), ti.Dims[0])
	}
	hi, lo := bits.Mul64(uint64(rowBytes), uint64(rows))
	if hi != 0 || lo > math.MaxInt64 {
		return ti, p.errorf(ti.at, "%s: the product of dimensions %v overflows", what, ti.Dims)
	}
	ti.bytes = int(lo)
	if ti.offset, err = p.u64(what); err != nil {
		return ti, err
	}
	if ti.offset%uint64(f.Alignment) != 0 {
		return ti, p.errorf(ti.at, "%s: data offset %d is not a multiple of the alignment %d", what, ti.offset, f.Alignment)
	}
	f.tensors = append(f.tensors, ti.Tensor)
	f.byName[ti.Name] = ti.Tensor
	return ti, nil
}

func supported() string {
	var s []string
	for _, t := range quant.Types() {
		s = append(s, fmt.Sprintf("%v (%d)", t, uint32(t)))
	}
	return strings.Join(s, ", ")
}

// place slices the tensor's data once the start of the data section is known.
func (p *parser) place(f *File, ti *tensorInfo) error {
	size := uint64(len(p.data))
	start := uint64(f.DataStart) + ti.offset // both below 2⁶³ once the first comparison has passed
	if ti.offset > size || start > size || uint64(ti.bytes) > size-start {
		return p.errorf(ti.at, "tensor %q: %d bytes at %#x of the data section run past the end of the file (%d bytes, data from %#x)",
			ti.Name, ti.bytes, ti.offset, size, f.DataStart)
	}
	ti.Tensor.Offset = int64(start)
	ti.Data = p.data[start : start+uint64(ti.bytes) : start+uint64(ti.bytes)]
	return nil
}

// overlap rejects files in which two tensors share bytes: no writer makes
// them, so one of the two offsets is damaged.
func (p *parser) overlap(infos []tensorInfo) error {
	slices.SortFunc(infos, func(a, b tensorInfo) int { return int(a.Offset - b.Offset) })
	for i := 1; i < len(infos); i++ {
		a, b := infos[i-1], infos[i]
		if a.Offset+int64(a.bytes) > b.Offset {
			return p.errorf(b.at, "tensor %q at %#x overlaps tensor %q (%d bytes at %#x)", b.Name, b.Offset, a.Name, a.bytes, a.Offset)
		}
	}
	return nil
}
