// Package gguf reads and writes GGUF, the file format of models in the
// llama.cpp world: typed metadata, and tensors by name.
//
// Versions 2 and 3 are read, little-endian only; version 3 is written. Arrays
// of arrays are in the format, though llama.cpp refuses files with them. Open
// maps the file, so tensor data costs memory only where it is touched. Format:
// ggml's docs/gguf.md.
package gguf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/coordbench/coordbench/engine/quant"
)

// DefaultAlignment is the alignment in bytes of tensor data in a file without
// a general.alignment key.
const DefaultAlignment = 32

// AlignmentKey names the metadata key with the alignment of tensor data.
const AlignmentKey = "general.alignment"

// ErrNoKey is wrapped by the error of a getter whose key is not in the file.
var ErrNoKey = errors.New("no metadata key")

// FormatError says what is wrong with a file that is not valid GGUF.
type FormatError struct {
	Path   string
	Offset int64 // byte of the file where the offending item starts
	Msg    string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: %s (at byte %d)", e.Path, e.Msg, e.Offset)
}

// File is an open GGUF file. Its methods may be called concurrently, except Close.
type File struct {
	Path      string
	Version   uint32 // 2 or 3
	Alignment int    // of tensor data, bytes; a power of two
	DataStart int64  // offset of the tensor data section

	data    []byte
	mapped  bool
	keys    []string
	values  map[string]Value
	tensors []*Tensor
	byName  map[string]*Tensor

	digestOnce sync.Once
	digest     string
}

// Tensor is one named array of a file.
type Tensor struct {
	Name   string
	Type   quant.Type
	Dims   []int  // ggml order: ne0, the row length, first; 1 to 4 of them, each ≥ 1
	Offset int64  // of Data in the file
	Data   []byte // the stored blocks, row after row; valid until File.Close, read-only

	path string
}

// Open maps the file at path and checks its whole header: after Open every
// tensor has a supported type and lies inside the file. The error is a
// *FormatError when the content is at fault.
//
// The file must not be truncated by others while it is open: reading a mapped
// page that no longer exists kills the process (SIGBUS).
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file (%s)", path, st.Mode().Type())
	}
	if st.Size() == 0 {
		return nil, &FormatError{Path: path, Msg: "empty file"}
	}
	if int64(int(st.Size())) != st.Size() {
		return nil, fmt.Errorf("%s: %d bytes do not fit this machine's address space", path, st.Size())
	}
	data, mapped, err := mapFile(f, int(st.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: mapping %d bytes: %w", path, st.Size(), err)
	}
	g, err := Parse(path, data)
	if err != nil {
		if mapped {
			unmapFile(data)
		}
		return nil, err
	}
	g.mapped = mapped
	return g, nil
}

// Close unmaps the file. Tensor.Data and what was sliced from it must not be
// touched afterwards; metadata stays valid. A second Close does nothing.
func (f *File) Close() error {
	data, mapped := f.data, f.mapped
	f.data, f.mapped = nil, false
	for _, t := range f.tensors {
		t.Data = nil
	}
	if mapped {
		return unmapFile(data)
	}
	return nil
}

// Size returns the file's size in bytes; 0 after Close.
func (f *File) Size() int64 { return int64(len(f.data)) }

// Digest returns the SHA-256 of the whole file in hex. It is computed at the
// first call, which reads every byte. Digest fails after Close, unless it was
// computed before.
func (f *File) Digest() (string, error) {
	f.digestOnce.Do(func() {
		if f.data != nil {
			// In pieces, each given back: hashing must not make the file resident beside
			// the weights that were repacked from it.
			const piece = 4 << 20
			sum := sha256.New()
			for rest := f.data; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				part := rest[:min(piece, len(rest))]
				sum.Write(part)
				if f.mapped {
					dropPages(part)
				}
			}
			f.digest = hex.EncodeToString(sum.Sum(nil))
		}
	})
	if f.digest == "" {
		return "", fmt.Errorf("%s: digest of a closed file", f.Path)
	}
	return f.digest, nil
}

// Tensors returns the tensors in file order. The slice is the caller's, the tensors are the file's.
func (f *File) Tensors() []*Tensor { return append([]*Tensor(nil), f.tensors...) }

// Tensor returns the tensor called name.
func (f *File) Tensor(name string) (*Tensor, error) {
	if t := f.byName[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%s: no tensor %q (the file has %d tensors)", f.Path, name, len(f.tensors))
}

// DropPages tells the system that the pages which hold only t will not be
// needed soon: after its weights were repacked elsewhere they need not stay in
// memory. Reading t again is allowed and loads them from the file. No-op for
// files that are not mapped.
func (f *File) DropPages(t *Tensor) {
	if !f.mapped || len(t.Data) == 0 {
		return
	}
	page := int64(os.Getpagesize())
	lo := (t.Offset + page - 1) / page * page
	hi := (t.Offset + int64(len(t.Data))) / page * page
	if lo < hi {
		dropPages(f.data[lo:hi])
	}
}

// Cols returns ne0, the values of a row.
func (t *Tensor) Cols() int { return t.Dims[0] }

// Rows returns the number of rows: the product of all dims but the first, 1 for a vector.
func (t *Tensor) Rows() int {
	n := 1
	for _, d := range t.Dims[1:] {
		n *= d
	}
	return n
}

// Float32s returns a dequantised copy, Rows()·Cols() values.
func (t *Tensor) Float32s() ([]float32, error) {
	if t.Data == nil {
		return nil, fmt.Errorf("%s: tensor %q: the file is closed", t.path, t.Name)
	}
	dst := make([]float32, t.Rows()*t.Cols())
	quant.Dequantize(t.Type, dst, t.Data)
	return dst, nil
}
