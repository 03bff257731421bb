package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coordbench/coordbench/engine/quant"
)

// everyType is one value of each kind that metadata can have.
var everyType = map[string]any{
	"u8": uint8(200), "i8": int8(-100), "u16": uint16(60000), "i16": int16(-30000), "u32": uint32(4e9), "i32": int32(-2e9),
	"u64": uint64(1) << 63, "i64": int64(-1) << 62, "f32": float32(-1.5), "f64": 1e300, "yes": true, "no": false, "s": "Ġtext\x00\xff", "empty": "",
	"u8s": []uint8{1, 2}, "i8s": []int8{-1}, "u16s": []uint16{65535}, "i16s": []int16{-2, 3}, "u32s": []uint32{1 << 31}, "i32s": []int32{-5},
	"u64s": []uint64{1 << 63}, "i64s": []int64{-9}, "f32s": []float32{0.5, 2}, "f64s": []float64{0.25}, "bools": []bool{true, false, true},
	"strings": []string{"a", "", "ccc"}, "none": []string{}, "nothing": []float64{}, "nobools": []bool{},
	"nested": []Value{
		{Array, Int32, []int32{1, 2}},
		{Array, String, []string{}},
		{Array, Array, []Value{{Array, Bool, []bool{true}}, {Array, Array, []Value{}}}},
	},
	"nonested": []Value{},
}

// keyOrder is the order in which sample writes everyType.
var keyOrder = slices.Sorted(maps.Keys(everyType))

func build(t testing.TB, add func(w *Writer)) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf)
	add(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func sample(t testing.TB) []byte {
	return build(t, func(w *Writer) {
		for _, k := range keyOrder {
			w.Add(k, everyType[k])
		}
		w.AddTensor("vector", quant.F32, []int{3}, []byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64})
		w.AddTensorReader("matrix", quant.Q8_0, []int{64, 3}, bytes.NewReader(bytes.Repeat([]byte{0, 60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 2*2*3)))
		w.AddTensorFunc("cube", quant.F16, []int{2, 2, 2}, func(w io.Writer) error { _, err := w.Write(make([]byte, 16)); return err })
	})
}

func writeFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	data := sample(t)
	mapped, err := Open(writeFile(t, data))
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.Close()
	parsed, err := Parse("memory", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*File{mapped, parsed} {
		if f.Version != 3 || f.Alignment != 32 || f.Size() != int64(len(data)) {
			t.Errorf("version %d, alignment %d, size %d", f.Version, f.Alignment, f.Size())
		}
		if d := cmp.Diff(append(slices.Clone(keyOrder), AlignmentKey), f.Keys()); d != "" {
			t.Errorf("keys (-want +got):\n%s", d)
		}
		for k, want := range everyType {
			got, ok := f.Value(k)
			if d := cmp.Diff(want, got.Any); !ok || d != "" {
				t.Errorf("%s: %v (-want +got):\n%s", k, ok, d)
			}
			if w, err := ValueOf(want); err != nil || w.Type != got.Type || w.Elem != got.Elem {
				t.Errorf("%s: %s, want %s (%v)", k, got.describe(), w.describe(), err)
			}
		}
		var got []string
		for _, x := range f.Tensors() {
			got = append(got, fmt.Sprintf("%s %v %v: %d rows, %d cols, %d bytes, offset %%32 = %d", x.Name, x.Type, x.Dims, x.Rows(), x.Cols(), len(x.Data), x.Offset%32))
		}
		if d := cmp.Diff([]string{
			"vector F32 [3]: 1 rows, 3 cols, 12 bytes, offset %32 = 0",
			"matrix Q8_0 [64 3]: 3 rows, 64 cols, 204 bytes, offset %32 = 0",
			"cube F16 [2 2 2]: 4 rows, 2 cols, 16 bytes, offset %32 = 0",
		}, got); d != "" {
			t.Errorf("tensors (-want +got):\n%s", d)
		}
		v, err := f.Tensor("vector")
		if err != nil {
			t.Fatal(err)
		}
		if x, err := v.Float32s(); err != nil || !cmp.Equal(x, []float32{1, 2, 3}) {
			t.Errorf("vector: %v %v", x, err)
		}
		if _, err := f.Tensor("absent"); err == nil || !strings.HasSuffix(err.Error(), `: no tensor "absent" (the file has 3 tensors)`) {
			t.Errorf("absent tensor: %v", err)
		}
	}
	a, err := mapped.Digest()
	b, err2 := parsed.Digest()
	if err != nil || err2 != nil || a != b || len(a) != 64 {
		t.Errorf("digests %s (%v), %s (%v)", a, err, b, err2)
	}
}

// TestDropPages drops a tensor of many whole pages and reads it again, then
// closes the file.
func TestDropPages(t *testing.T) {
	want := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	data := build(t, func(w *Writer) {
		w.AddTensor("a", quant.F32, []int{5}, make([]byte, 20))
		w.AddTensor("b", quant.F16, []int{1 << 19}, want)
	})
	f, err := Open(writeFile(t, data))
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Tensor("b")
	if err != nil {
		t.Fatal(err)
	}
	f.DropPages(b)
	if !bytes.Equal(b.Data, want) {
		t.Error("data changed")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := b.Float32s(); err == nil {
		t.Error("Float32s of a closed file succeeds")
	}
	if _, err := f.Digest(); err == nil {
		t.Error("Digest of a closed file succeeds")
	}
	f.DropPages(b) // must not touch the mapping that is gone
}

// TestRandomRoundTrip writes random metadata and tensors and reads them back,
// labelled as version 2 every second time: its layout is the same.
func TestRandomRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var array func(depth int) Value
	array = func(depth int) Value {
		n := rng.IntN(4)
		if depth < 4 && rng.IntN(2) == 0 {
			members := make([]Value, n)
			for i := range members {
				members[i] = array(depth + 1)
			}
			return Value{Array, Array, members}
		}
		s := make([]string, n)
		for i := range s {
			s[i] = strings.Repeat("x", rng.IntN(5))
		}
		choices := []any{s, make([]int16, n), make([]float64, n), make([]bool, n), make([]uint64, n)}
		v, err := ValueOf(choices[rng.IntN(len(choices))])
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for round := range 200 {
		want := map[string]Value{}
		tensors := map[string][]byte{}
		align := uint32(1) << rng.IntN(10)
		data := build(t, func(w *Writer) {
			w.Add(AlignmentKey, align)
			for i := range rng.IntN(6) {
				k := fmt.Sprintf("key.%d", i)
				want[k] = array(0)
				w.Add(k, want[k])
			}
			for i := range rng.IntN(5) {
				typ := quant.Types()[rng.IntN(len(quant.Types()))]
				dims := []int{typ.BlockSize() * (1 + rng.IntN(3)), 1 + rng.IntN(3)}
				n, err := typ.RowBytes(dims[0])
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, n*dims[1])
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				name := fmt.Sprintf("t%d", i)
				tensors[name] = b
				w.AddTensor(name, typ, dims, b)
			}
		})
		binary.LittleEndian.PutUint32(data[4:], uint32(2+round%2))
		f, err := Parse("x", data)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if len(f.Keys()) != len(want)+1 || len(f.Tensors()) != len(tensors) || f.Alignment != int(align) {
			t.Fatalf("round %d: %d keys, %d tensors, alignment %d; want %d, %d, %d", round, len(f.Keys()), len(f.Tensors()), f.Alignment, len(want)+1, len(tensors), align)
		}
		for k, w := range want {
			if got, _ := f.Value(k); !cmp.Equal(w, got) {
				t.Fatalf("round %d: %s: %s", round, k, cmp.Diff(w, got))
			}
		}
		for _, x := range f.Tensors() {
			if !bytes.Equal(x.Data, tensors[x.Name]) || x.Offset%int64(align) != 0 {
				t.Fatalf("round %d: tensor %s differs or is misaligned (offset %d, alignment %d)", round, x.Name, x.Offset, align)
			}
		}
	}
}

func TestGetters(t *testing.T) {
	f, err := Parse("m.gguf", sample(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	show := func(v any, err error) {
		if err != nil {
			v = err
		}
		got = append(got, fmt.Sprint(v))
	}
	var want []string
	expect := func(s string) { want = append(want, s) }
	show(f.String("s"))
	expect("Ġtext\x00\xff")
	show(f.String("u8"))
	expect(`m.gguf: metadata "u8" is uint8, want string`)
	show(f.Uint("u64"))
	expect("9223372036854775808")
	show(f.Uint("u8"))
	expect("200")
	show(f.Uint("i16"))
	expect(`m.gguf: metadata "i16" is -30000, want an integer that is not negative`)
	show(f.Uint("u8s"))
	expect(`m.gguf: metadata "u8s" is array of uint8, want an integer`)
	show(f.Float("f32"))
	expect("-1.5")
	show(f.Float("i32"))
	expect(`m.gguf: metadata "i32" is int32, want a floating-point number`)
	show(f.Bool("no"))
	expect("false")
	show(f.Bool("s"))
	expect(`m.gguf: metadata "s" is string, want bool`)
	show(f.Strings("strings"))
	expect("[a  ccc]")
	show(f.Strings("nested"))
	expect(`m.gguf: metadata "nested" is array of array, want an array of strings`)
	show(f.Ints("i16s"))
	expect("[-2 3]")
	show(f.Ints("u64s"))
	expect(`m.gguf: metadata "u64s": member 0 is 9223372036854775808, above the int64 range`)
	show(f.Floats("f32s"))
	expect("[0.5 2]")
	show(f.Floats("i64s"))
	expect(`m.gguf: metadata "i64s" is array of int64, want an array of floating-point numbers`)
	show(f.String("?"))
	expect(`m.gguf: no metadata key "?"`)
	show(f.UintOr("?", 7))
	expect("7")
	show(f.UintOr("u8", 7))
	expect("200")
	show(f.UintOr("s", 7))
	expect(`m.gguf: metadata "s" is string, want an integer`)
	show(f.StringOr("?", "d"))
	expect("d")
	show(f.FloatOr("?", 2))
	expect("2")
	show(f.BoolOr("yes", false))
	expect("true")
	show(f.StringsOr("?", []string{"x"}))
	expect("[x]")
	show(f.IntsOr("s", nil))
	expect(`m.gguf: metadata "s" is string, want an array of integers`)
	show(f.FloatsOr("?", []float64{1}))
	expect("[1]")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i, get := range []func(string) error{
		func(k string) error { _, err := f.String(k); return err },
		func(k string) error { _, err := f.Uint(k); return err },
		func(k string) error { _, err := f.Float(k); return err },
		func(k string) error { _, err := f.Bool(k); return err },
		func(k string) error { _, err := f.Strings(k); return err },
		func(k string) error { _, err := f.Ints(k); return err },
		func(k string) error { _, err := f.Floats(k); return err },
	} {
		if err := get("?"); !errors.Is(err, ErrNoKey) {
			t.Errorf("getter %d: %v is not ErrNoKey", i, err)
		}
		if err := get("nested"); err == nil || errors.Is(err, ErrNoKey) {
			t.Errorf("getter %d: %v for a value of the wrong type", i, err)
		}
	}
	if _, ok := f.Value("?"); ok {
		t.Error("Value finds a key that is not there")
	}
}

func TestWriterErrors(t *testing.T) {
	one := make([]byte, 4)
	for _, c := range []struct {
		want string
		do   func(w *Writer) error
	}{
		{`gguf: duplicate metadata key "a"`, func(w *Writer) error { w.Add("a", true); return w.Add("a", true) }},
		{`gguf: metadata "a": gguf: metadata cannot hold a int`, func(w *Writer) error { return w.Add("a", 1) }},
		{"gguf: metadata key of 0 bytes, want 1 to 65535", func(w *Writer) error { return w.Add("", true) }},
		{`gguf: metadata "a": uint8 holds a string`, func(w *Writer) error { return w.Add("a", Value{Uint8, 0, "x"}) }},
		{`gguf: metadata "a": array of bool holds a []int8`, func(w *Writer) error { return w.Add("a", Value{Array, Bool, []int8{}}) }},
		{`gguf: metadata "a": gguf: member 0 of an array of arrays is uint8`, func(w *Writer) error { return w.Add("a", []Value{{Uint8, 0, uint8(1)}}) }},
		{`gguf: metadata "a": arrays nested more than 8 deep`, func(w *Writer) error { return w.Add("a", nest(9)) }},
		{"gguf: general.alignment is 24 (uint32), want a uint32 that is a power of two up to 1048576", func(w *Writer) error { return w.Add(AlignmentKey, uint32(24)) }},
		{`gguf: duplicate tensor "t"`, func(w *Writer) error {
			w.AddTensor("t", quant.F32, []int{1}, one)
			return w.AddTensor("t", quant.F32, []int{1}, one)
		}},
		{`gguf: tensor "t": quant: a row of 31 values is not a multiple of the Q8_0 block of 32`, func(w *Writer) error { return w.AddTensor("t", quant.Q8_0, []int{31}, nil) }},
		{`gguf: tensor "t" has 5 dimensions, want 1 to 4`, func(w *Writer) error { return w.AddTensor("t", quant.F32, []int{1, 1, 1, 1, 1}, nil) }},
		{`gguf: tensor "t": dimension 1 is 0`, func(w *Writer) error { return w.AddTensor("t", quant.F32, []int{1, 0}, nil) }},
		{`gguf: tensor "t": the product of dimensions [1048576 1048576 1048576 4] overflows`, func(w *Writer) error {
			return w.AddTensor("t", quant.F32, []int{1 << 20, 1 << 20, 1 << 20, 4}, nil)
		}},
	} {
		w := NewWriter(io.Discard)
		if err := c.do(w); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
		if err := w.Flush(); err == nil || err.Error() != c.want {
			t.Errorf("Flush: got %v, want %s", err, c.want)
		}
	}
	w := NewWriter(io.Discard)
	w.AddTensor("t", quant.F32, []int{2}, one)
	if err := w.Flush(); err == nil || err.Error() != `gguf: tensor "t": 4 bytes written, F32 [2] needs 8` {
		t.Errorf("short data: %v", err)
	}
	if err := w.Flush(); err == nil {
		t.Error("a second Flush succeeds")
	}
	full := errors.New("disk full")
	w = NewWriter(failing{full})
	w.AddTensor("t", quant.F32, []int{1 << 20}, make([]byte, 4<<20))
	if err := w.Flush(); !errors.Is(err, full) {
		t.Errorf("failing destination: %v", err)
	}
}

// nest returns an array in an array, depth levels of them.
func nest(depth int) Value {
	if depth == 1 {
		return Value{Array, Bool, []bool{true}}
	}
	return Value{Array, Array, []Value{nest(depth - 1)}}
}

// TestDeepest: what the writer accepts at the limit of nesting the reader does too.
func TestDeepest(t *testing.T) {
	f, err := Parse("x", build(t, func(w *Writer) { w.Add("a", nest(8)) }))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.Value("a"); !cmp.Equal(v, nest(8)) {
		t.Errorf("%v", v)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
