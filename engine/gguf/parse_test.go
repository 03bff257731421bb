package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/quant"
)

// raw builds files that Writer refuses to.
type raw struct{ b []byte }

func (r *raw) u32(v ...uint32) *raw {
	for _, x := range v {
		r.b = binary.LittleEndian.AppendUint32(r.b, x)
	}
	return r
}

func (r *raw) u64(v ...uint64) *raw {
	for _, x := range v {
		r.b = binary.LittleEndian.AppendUint64(r.b, x)
	}
	return r
}

func (r *raw) str(s string) *raw {
	r.u64(uint64(len(s)))
	r.b = append(r.b, s...)
	return r
}

func (r *raw) zeros(n int) *raw {
	r.b = append(r.b, make([]byte, n)...)
	return r
}

func head(tensors, keys uint64) *raw {
	return (&raw{[]byte(magic)}).u32(3).u64(tensors, keys)
}

// tensorEntry appends a header entry.
func (r *raw) tensor(name string, typ uint32, offset uint64, dims ...uint64) *raw {
	return r.str(name).u32(uint32(len(dims))).u64(dims...).u32(typ).u64(offset)
}

// badFiles maps what is wrong to a file and to the error it must give.
func badFiles(t testing.TB) map[string]struct {
	data []byte
	want string
} {
	type bad = struct {
		data []byte
		want string
	}
	ok := sample(t)
	version := func(v uint32) []byte {
		b := bytes.Clone(ok)
		binary.LittleEndian.PutUint32(b[4:], v)
		return b
	}
	deep := head(0, 1).str("k").u32(9)
	for range 20 {
		deep.u32(9).u64(1)
	}
	deep.u32(0).u64(0)
	return map[string]bad{
		"empty":             {nil, "empty file (at byte 0)"},
		"three bytes":       {ok[:3], "truncated: the magic needs 4 bytes, the file has 3 left of 3 (at byte 0)"},
		"magic only":        {ok[:4], "truncated: the version needs 4 bytes, the file has 0 left of 4 (at byte 4)"},
		"other magic":       {[]byte("GGML____________________________"), `not a GGUF file: magic "GGML", want "GGUF" (at byte 0)`},
		"version 0":         {version(0), "GGUF version 0; versions 2 and 3 are supported (at byte 4)"},
		"version 1":         {version(1), "GGUF version 1; versions 2 and 3 are supported (at byte 4)"},
		"version 4":         {version(4), "GGUF version 4; versions 2 and 3 are supported (at byte 4)"},
		"big-endian":        {version(3 << 24), "big-endian GGUF file (version 3); only little-endian files are supported (at byte 4)"},
		"cut in the counts": {ok[:20], "truncated: the number of metadata entries needs 8 bytes, the file has 4 left of 20 (at byte 16)"},
		"absurd keys":       {head(0, 1<<60).b, "1152921504606846976 metadata entries cannot fit in the 0 bytes left (at byte 16)"},
		"absurd tensors":    {head(math.MaxUint64, 0).zeros(100).b, "18446744073709551615 tensors and 0 metadata entries cannot fit in the 100 bytes left (at byte 8)"},
		"keys and tensors":  {head(2, 6).zeros(100).b, "2 tensors and 6 metadata entries cannot fit in the 100 bytes left (at byte 8)"},
		"tensors after long metadata": {head(2, 1).str("k").u32(8).str(strings.Repeat("x", 90)).b,
			"2 tensors cannot fit in the 0 bytes after the metadata (at byte 8)"},
		"long key":           {head(0, 1).u64(1 << 40).zeros(20).b, "a metadata key of 1099511627776 bytes runs past the end of the file (20 bytes left) (at byte 24)"},
		"key over the limit": {head(0, 1).str(strings.Repeat("k", 65536)).u32(0).zeros(1).b, "a metadata key of 65536 bytes; the limit is 65535 (at byte 24)"},
		"empty key":          {head(0, 1).str("").u32(4).u32(1).b, "empty metadata key (at byte 24)"},
		"duplicate key":      {head(0, 2).str("k").u32(4).u32(1).str("k").u32(4).u32(1).b, `duplicate metadata key "k" (at byte 41)`},
		"unknown type":       {head(0, 1).str("k").u32(13).u64(0).b, `metadata "k" has unknown type 13 (at byte 33)`},
		"unknown array type": {head(0, 1).str("k").u32(9).u32(77).u64(0).b, `metadata "k": array of unknown type 77 (at byte 37)`},
		"cut value":          {head(0, 1).str("k").u32(10).u32(0).b, `truncated: the value of "k" needs 8 bytes, the file has 4 left of 41 (at byte 37)`},
		"bad bool":           {append(head(0, 1).str("k").u32(7).b, 2), `metadata "k": bool with value 2 (at byte 37)`},
		"bad bool in array":  {append(head(0, 1).str("k").u32(9).u32(7).u64(3).b, 0, 1, 9), `metadata "k": bool with value 9 (at byte 51)`},
		"absurd array":       {head(0, 1).str("k").u32(9).u32(12).u64(1 << 61).zeros(64).b, `2305843009213693952 members (float64) of metadata "k" cannot fit in the 64 bytes left (at byte 41)`},
		"absurd string array": {head(0, 1).str("k").u32(9).u32(8).u64(9).zeros(64).b,
			`9 members (string) of metadata "k" cannot fit in the 64 bytes left (at byte 41)`},
		"long string in array": {head(0, 1).str("k").u32(9).u32(8).u64(1).u64(math.MaxUint64).b,
			`a string of "k" of 18446744073709551615 bytes runs past the end of the file (0 bytes left) (at byte 49)`},
		"deep arrays":           {deep.b, `metadata "k": arrays nested more than 8 deep (at byte 133)`},
		"alignment not a power": {head(0, 1).str(AlignmentKey).u32(4).u32(24).b, "general.alignment is 24, want a power of two up to 1048576 (at byte 24)"},
		"alignment a string":    {head(0, 1).str(AlignmentKey).u32(8).str("32").b, `metadata "general.alignment" is string, want an integer (at byte 24)`},
		"tensor without name":   {head(1, 0).tensor("", 0, 0, 4, 4).zeros(99).b, "tensor without a name (at byte 24)"},
		"duplicate tensor":      {head(2, 0).tensor("t", 0, 0, 4).tensor("t", 0, 32, 4).zeros(99).b, `duplicate tensor "t" (at byte 57)`},
		"no dimensions":         {head(1, 0).tensor("t", 0, 0).zeros(99).b, `tensor "t" has 0 dimensions, want 1 to 4 (at byte 24)`},
		"absurd dimensions":     {head(1, 0).str("t").u32(math.MaxUint32).zeros(99).b, `tensor "t" has 4294967295 dimensions, want 1 to 4 (at byte 24)`},
		"zero dimension":        {head(1, 0).tensor("t", 0, 0, 4, 0).zeros(99).b, `tensor "t": dimension 1 is 0 (at byte 24)`},
		"huge dimension":        {head(1, 0).tensor("t", 0, 0, math.MaxUint64).zeros(99).b, `tensor "t": dimension 0 is 18446744073709551615 (at byte 24)`},
		"product overflows":     {head(1, 0).tensor("t", 0, 0, 1<<32, 1<<32, 1<<32).zeros(99).b, `tensor "t": the product of dimensions [4294967296 4294967296 4294967296] overflows (at byte 24)`},
		"bytes overflow":        {head(1, 0).tensor("t", 0, 0, 1<<31, 1<<31).zeros(99).b, `tensor "t": the product of dimensions [2147483648 2147483648] overflows (at byte 24)`},
		"unknown tensor type": {head(1, 0).tensor("blk.0.attn_q.weight", 23, 0, 256).zeros(999).b,
			`tensor "blk.0.attn_q.weight" has type 23 (IQ4_XS); supported are F32 (0), F16 (1), Q4_0 (2), Q8_0 (8), Q4_K (12), Q5_K (13), Q6_K (14), BF16 (30) (at byte 24)`},
		"part of a block": {head(1, 0).tensor("t", uint32(quant.Q8_0), 0, 33).zeros(99).b, `tensor "t": Q8_0 rows need a multiple of 32 values, not 33 (at byte 24)`},
		"misaligned":      {head(1, 0).tensor("t", 0, 8, 4).zeros(99).b, `tensor "t": data offset 8 is not a multiple of the alignment 32 (at byte 24)`},
		"data past the end": {head(1, 0).tensor("t", 0, 0, 64).zeros(100).b,
			`tensor "t": 256 bytes at 0x0 of the data section run past the end of the file (157 bytes, data from 0x40) (at byte 24)`},
		"offset past the end": {head(1, 0).tensor("t", 0, 1<<62, 1).zeros(100).b,
			`tensor "t": 4 bytes at 0x4000000000000000 of the data section run past the end of the file (157 bytes, data from 0x40) (at byte 24)`},
		"offset wraps": {head(1, 0).tensor("t", 0, math.MaxUint64-31, 1).zeros(100).b,
			`tensor "t": 4 bytes at 0xffffffffffffffe0 of the data section run past the end of the file (157 bytes, data from 0x40) (at byte 24)`},
		"overlap": {head(2, 0).tensor("a", 0, 0, 16).tensor("b", 0, 32, 4).zeros(200).b,
			`tensor "b" at 0x80 overlaps tensor "a" (64 bytes at 0x60) (at byte 57)`},
	}
}

func TestBadFiles(t *testing.T) {
	for name, bad := range badFiles(t) {
		_, err := Parse("x.gguf", bad.data)
		var format *FormatError
		if !errors.As(err, &format) || err.Error() != "x.gguf: "+bad.want {
			t.Errorf("%s:\n got %v\nwant x.gguf: %s", name, err, bad.want)
		}
	}
}

// TestTruncation cuts a good file at every length: each must be refused,
// except where only padding is lost.
func TestTruncation(t *testing.T) {
	data := sample(t)
	f, err := Parse("x", data)
	if err != nil {
		t.Fatal(err)
	}
	var end int64
	for _, x := range f.Tensors() {
		end = max(end, x.Offset+int64(len(x.Data)))
	}
	for n := range data {
		_, err := Parse("x", data[:n])
		if int64(n) < end && err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(data))
		}
		if int64(n) >= end && err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.gguf")
	text := filepath.Join(dir, "text.gguf")
	os.WriteFile(empty, nil, 0o644)
	os.WriteFile(text, []byte("hello, world"), 0o644)
	for path, want := range map[string]string{
		empty:                        empty + ": empty file (at byte 0)",
		text:                         text + `: not a GGUF file: magic "hell", want "GGUF" (at byte 0)`,
		dir:                          dir + ": not a regular file (d---------)",
		filepath.Join(dir, "x.gguf"): "no such file or directory",
	} {
		if f, err := Open(path); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Open(%s) = %v, %v; want %s", path, f, err, want)
		}
	}
}

// FuzzParse: any input gives a file or a *FormatError, in memory proportional
// to the input, and what is accepted can be read in full.
func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	for _, bad := range badFiles(f) {
		f.Add(bad.data)
	}
	f.Add(build(f, func(w *Writer) {
		w.Add(AlignmentKey, uint32(1))
		w.AddTensor("t", quant.Q6_K, []int{256}, make([]byte, 210))
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		file, err := Parse("fuzz", data)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10+40*uint64(len(data)) {
			t.Errorf("parsing %d bytes allocated %d", len(data), grown)
		}
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) || format.Offset < 0 || format.Offset > int64(len(data)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, k := range file.Keys() {
			if v, ok := file.Value(k); !ok || v.Any == nil {
				t.Errorf("key %q: %v %v", k, v, ok)
			}
		}
		for _, x := range file.Tensors() {
			if v, err := x.Float32s(); err != nil || len(v) != x.Rows()*x.Cols() {
				t.Errorf("tensor %q: %d values, %v", x.Name, len(v), err)
			}
		}
	})
}
