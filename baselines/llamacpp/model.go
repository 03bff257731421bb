package llamacpp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"github.com/coordbench/coordbench/engine/decode"
)

// Options say how a model is opened and run.
type Options struct {
	Threads   int  // 0 is all cores
	Context   int  // tokens; 0 is what the model was trained for, at most 4096
	GPULayers int  // layers to put on the first device that is not a CPU; 0 is none
	Trees     bool // draft trees; without it a target takes chains only, and one sequence
}

// A Model is a GGUF file opened by llama.cpp.
type Model struct {
	lib    *Library
	ptr    uintptr
	vocab  uintptr
	path   string
	digest string
	desc   string
	size   int
}

// offset of n_gpu_layers in llama_model_params: behind two pointers since the
// device list came in (2024-12).
const offGPULayers = 16

// OpenModel has llama.cpp load the file at path.
func (l *Library) OpenModel(path string, o Options) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	params := l.modelDefaults()
	*(*int32)(unsafe.Add(unsafe.Pointer(&params), offGPULayers)) = int32(o.GPULayers)
	name := cString(path)
	l.takeLog()
	ptr := byValue(l.loadModel, uintptr(unsafe.Pointer(&name[0])), params.w[:])
	runtime.KeepAlive(name)
	if ptr == 0 {
		return nil, fmt.Errorf("llama.cpp refused %q: %s", path, orUnknown(l.takeLog()))
	}
	m := &Model{lib: l, ptr: ptr, path: path, digest: hex.EncodeToString(sum.Sum(nil)), vocab: l.getVocab(ptr)}
	m.size = int(l.vocabSize(m.vocab))
	var buf [256]byte
	if n := l.modelDesc(ptr, &buf[0], uint64(len(buf))); n > 0 {
		m.desc = goString(&buf[0])
	}
	return m, nil
}

func orUnknown(s string) string {
	if s == "" {
		return "it gave no reason"
	}
	return s
}

// Close frees the model. Contexts made from it must be closed before.
func (m *Model) Close() error {
	if m.ptr != 0 {
		m.lib.freeModel(m.ptr)
		m.ptr = 0
	}
	return nil
}

// Desc is llama.cpp's own description: architecture, size, format.
func (m *Model) Desc() string { return m.desc }

// Digest is the sha256 of the file, hexadecimal.
func (m *Model) Digest() string { return m.digest }

// Vocab is the number of tokens.
func (m *Model) Vocab() int { return m.size }

// Encode is llama_tokenize: addSpecial adds what the file asks for (BOS, EOS),
// parseSpecial recognises special tokens in text.
func (m *Model) Encode(text string, addSpecial, parseSpecial bool) ([]decode.Token, error) {
	b := cString(text)
	out := make([]int32, len(text)+8)
	n := m.lib.tokenize(m.vocab, &b[0], int32(len(text)), &out[0], int32(len(out)), addSpecial, parseSpecial)
	if n < 0 {
		out = make([]int32, -n)
		n = m.lib.tokenize(m.vocab, &b[0], int32(len(text)), &out[0], int32(len(out)), addSpecial, parseSpecial)
	}
	if n < 0 {
		return nil, fmt.Errorf("llama.cpp: tokenizing %d bytes failed with %d", len(text), n)
	}
	ids := make([]decode.Token, n)
	for i := range ids {
		ids[i] = decode.Token(out[i])
	}
	return ids, nil
}

// StopTokens are those that llama.cpp counts as the end of a generation.
func (m *Model) StopTokens() []decode.Token {
	var ids []decode.Token
	for i := range m.size {
		if m.lib.vocabIsEOG(m.vocab, int32(i)) {
			ids = append(ids, decode.Token(i))
		}
	}
	return ids
}

// A Device is something ggml can compute on.
type Device struct {
	Name        string `json:"name"` // "CPU", "GPUOpenCL", "HTP0"
	Description string `json:"description"`
	Kind        string `json:"kind"` // "cpu", "gpu", "igpu", "accelerator"
	Free        uint64 `json:"free"` // bytes
	Total       uint64 `json:"total"`
}

// Devices lists what ggml found on this machine.
func (l *Library) Devices() ([]Device, error) {
	if err := l.need("a list of devices", "ggml_backend_dev_count", "ggml_backend_dev_get", "ggml_backend_dev_name",
		"ggml_backend_dev_description", "ggml_backend_dev_type", "ggml_backend_dev_memory"); err != nil {
		return nil, err
	}
	kinds := []string{"cpu", "gpu", "igpu", "accelerator"}
	var ds []Device
	for i := range l.devCount() {
		dev := l.devGet(i)
		d := Device{Name: l.devName(dev), Description: l.devDescription(dev), Kind: "unknown"}
		if k := int(l.devType(dev)); k >= 0 && k < len(kinds) {
			d.Kind = kinds[k]
		}
		l.devMemory(dev, &d.Free, &d.Total)
		ds = append(ds, d)
	}
	return ds, nil
}
