// Package llamacpp binds the real llama.cpp, loaded at run time from its shared
// libraries: as a baseline and as a target for every drafter. It needs no cgo.
//
// llama.cpp changes its parameter structs from release to release. This binding
// takes the library's own defaults as opaque blocks, writes only fields that
// have kept their offset since the struct exists (or that it finds by their
// default values), and uses setters for the rest. Source: include/llama.h and
// ggml/include/ggml-backend.h of ggml-org/llama.cpp.
package llamacpp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// EnvDir names the folder with the libraries when no flag does.
const EnvDir = "COORDBENCH_LLAMACPP"

// ErrNoLibrary says that no llama.cpp was found.
var ErrNoLibrary = errors.New("llama.cpp: no library found")

// block is a parameter struct as the library fills it in: larger than any
// version's, so that what the library copies out of it is always ours. It is
// also the most that one call can pass by value on amd64 (26 stack words).
type block struct{ w [blockWords]uint64 }

const blockWords = 26

// cBatch is llama_batch, whose layout has not changed since 2024.
type cBatch struct {
	n      int32
	_      int32
	token  *int32
	embd   *float32
	pos    *int32
	nSeq   *int32
	seq    **int32
	logits *int8
}

// A Library is a loaded llama.cpp. There is one for the life of the process:
// ggml registers its backends globally.
type Library struct {
	Dir     string // folder, or "" when the system's loader found it
	Version string // llama_version where the library has it, else "unknown"

	handle, ggml uintptr
	missing      map[string]bool // optional symbols that this version lacks

	logMu sync.Mutex
	log   []string // error lines since the last takeLog

	modelDefaults   func() block
	contextDefaults func() block
	loadModel       uintptr // (path, llama_model_params by value)
	initContext     uintptr // (model, llama_context_params by value)
	decode          uintptr // (ctx, llama_batch by value)
	batchInit       func(tokens, embd, seqs int32) cBatch
	freeModel       func(model uintptr)
	freeContext     func(ctx uintptr)
	getVocab        func(model uintptr) uintptr
	vocabSize       func(vocab uintptr) int32
	vocabIsEOG      func(vocab uintptr, tok int32) bool
	tokenize        func(vocab uintptr, text *byte, n int32, out *int32, max int32, special, parse bool) int32
	tokenToPiece    func(vocab uintptr, tok int32, buf *byte, n, lstrip int32, special bool) int32
	maxSequences    func() uint64
	nCtx            func(ctx uintptr) uint32
	nBatch          func(ctx uintptr) uint32
	setThreads      func(ctx uintptr, n, batch int32)
	synchronize     func(ctx uintptr)
	logitsIth       func(ctx uintptr, i int32) *float32
	getMemory       func(ctx uintptr) uintptr
	seqRm           func(mem uintptr, seq, p0, p1 int32) bool
	seqCp           func(mem uintptr, from, to, p0, p1 int32)
	modelDesc       func(model uintptr, buf *byte, n uint64) int32
	modelCtxTrain   func(model uintptr) int32
	chainParams     func() byte
	chainInit       func(params byte) uintptr
	chainAdd        func(chain, sampler uintptr)
	samplerGreedy   func() uintptr
	samplerTopK     func(k int32) uintptr
	samplerTopP     func(p float32, keep uint64) uintptr
	samplerMinP     func(p float32, keep uint64) uintptr
	samplerTemp     func(t float32) uintptr
	samplerDist     func(seed uint32) uintptr
	samplerSample   func(chain, ctx uintptr, i int32) int32
	samplerReset    func(chain uintptr)
	samplerFree     func(chain uintptr)
	devCount        func() uint64
	devGet          func(i uint64) uintptr
	devName         func(dev uintptr) string
	devDescription  func(dev uintptr) string
	devType         func(dev uintptr) int32
	devMemory       func(dev uintptr, free, total *uint64)
}

var (
	loadOnce sync.Mutex
	loaded   *Library
)

// Load opens the libraries in dir, or where dir is empty in $COORDBENCH_LLAMACPP,
// in InstallDir, or on the system's paths. The first successful call decides for the process;
// a later one with another folder is an error.
func Load(dir string) (*Library, error) {
	loadOnce.Lock()
	defer loadOnce.Unlock()
	if dir == "" {
		dir = os.Getenv(EnvDir)
	}
	if dir == "" {
		if d, err := InstallDir(); err == nil {
			if _, err := os.Stat(filepath.Join(d, "libllama.so")); err == nil {
				dir = d
			}
		}
	}
	if loaded != nil {
		if dir != "" && dir != loaded.Dir {
			return nil, fmt.Errorf("llama.cpp: %q is already loaded; one process cannot hold %q too", loaded.Dir, dir)
		}
		return loaded, nil
	}
	l, err := open(dir)
	if err != nil {
		return nil, err
	}
	loaded = l
	return l, nil
}

// dlopen resolves name in dir, or on the system's paths where dir is empty.
// Symbols are global: libllama finds ggml's there.
func dlopen(dir, name string) (uintptr, error) {
	h, err := purego.Dlopen(filepath.Join(dir, name), purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return 0, errors.New(strings.TrimSpace(err.Error()))
	}
	return h, nil
}

func open(dir string) (*Library, error) {
	ext := ".so"
	if runtime.GOOS == "darwin" {
		ext = ".dylib"
	}
	const hint = "\n  hint: `coordbench llamacpp install` puts a prebuilt one in place; --llamacpp FOLDER or $" + EnvDir + " names another"
	if dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "libllama"+ext)); err != nil {
			if _, derr := os.Stat(dir); derr != nil {
				return nil, fmt.Errorf("%w: %q: no such folder%s", ErrNoLibrary, dir, hint)
			}
			return nil, fmt.Errorf("%w: %q holds no libllama%s%s", ErrNoLibrary, dir, ext, hint)
		}
	}
	l := &Library{Dir: dir, missing: map[string]bool{}}
	// The parts first: a half-installed folder then names what it lacks.
	if _, err := dlopen(dir, "libggml-base"+ext); err != nil && dir != "" {
		return nil, fmt.Errorf("llama.cpp: %q is incomplete or for another machine: %w", dir, err)
	}
	g, err := dlopen(dir, "libggml"+ext)
	if err != nil && dir != "" {
		return nil, fmt.Errorf("llama.cpp: %q is incomplete or for another machine: %w", dir, err)
	}
	l.ggml = g
	h, err := dlopen(dir, "libllama"+ext)
	if err != nil {
		if dir == "" {
			return nil, fmt.Errorf("%w on the system's paths%s", ErrNoLibrary, hint)
		}
		return nil, fmt.Errorf("llama.cpp: %q is incomplete or for another machine: %w", dir, err)
	}
	l.handle = h
	if err := l.bind(); err != nil {
		return nil, err
	}
	return l, nil
}

// symbol is a function and where its binding goes: a *func, or a *uintptr for
// calls that pass a struct by value.
type symbol struct {
	name string
	into any
}

func (l *Library) bind() error {
	required := []symbol{
		{"llama_model_default_params", &l.modelDefaults},
		{"llama_context_default_params", &l.contextDefaults},
		{"llama_model_load_from_file", &l.loadModel},
		{"llama_init_from_model", &l.initContext},
		{"llama_decode", &l.decode},
		{"llama_batch_init", &l.batchInit},
		{"llama_model_free", &l.freeModel},
		{"llama_free", &l.freeContext},
		{"llama_model_get_vocab", &l.getVocab},
		{"llama_vocab_n_tokens", &l.vocabSize},
		{"llama_vocab_is_eog", &l.vocabIsEOG},
		{"llama_tokenize", &l.tokenize},
		{"llama_token_to_piece", &l.tokenToPiece},
		{"llama_max_parallel_sequences", &l.maxSequences},
		{"llama_n_ctx", &l.nCtx},
		{"llama_n_batch", &l.nBatch},
		{"llama_set_n_threads", &l.setThreads},
		{"llama_synchronize", &l.synchronize},
		{"llama_get_logits_ith", &l.logitsIth},
		{"llama_get_memory", &l.getMemory},
		{"llama_memory_seq_rm", &l.seqRm},
		{"llama_memory_seq_cp", &l.seqCp},
		{"llama_model_desc", &l.modelDesc},
		{"llama_model_n_ctx_train", &l.modelCtxTrain},
	}
	optional := []symbol{
		{"llama_sampler_chain_default_params", &l.chainParams},
		{"llama_sampler_chain_init", &l.chainInit},
		{"llama_sampler_chain_add", &l.chainAdd},
		{"llama_sampler_init_greedy", &l.samplerGreedy},
		{"llama_sampler_init_top_k", &l.samplerTopK},
		{"llama_sampler_init_top_p", &l.samplerTopP},
		{"llama_sampler_init_min_p", &l.samplerMinP},
		{"llama_sampler_init_temp", &l.samplerTemp},
		{"llama_sampler_init_dist", &l.samplerDist},
		{"llama_sampler_sample", &l.samplerSample},
		{"llama_sampler_reset", &l.samplerReset},
		{"llama_sampler_free", &l.samplerFree},
		{"ggml_backend_dev_count", &l.devCount},
		{"ggml_backend_dev_get", &l.devGet},
		{"ggml_backend_dev_name", &l.devName},
		{"ggml_backend_dev_description", &l.devDescription},
		{"ggml_backend_dev_type", &l.devType},
		{"ggml_backend_dev_memory", &l.devMemory},
	}
	for _, s := range required {
		if !l.bindOne(s) {
			return fmt.Errorf("llama.cpp: %q has no %s: this llama.cpp is too old (2025 or later is needed) or not llama.cpp", l.Dir, s.name)
		}
	}
	for _, s := range optional {
		if !l.bindOne(s) {
			l.missing[s.name] = true
		}
	}
	l.Version = "unknown"
	if addr, err := l.find("llama_version"); err == nil {
		var f func() string
		purego.RegisterFunc(&f, addr)
		l.Version = f()
	}
	if addr, err := l.find("llama_log_set"); err == nil {
		purego.SyscallN(addr, purego.NewCallback(l.onLog), 0)
	}
	// Distributions ship one CPU backend per instruction set; ggml picks the best
	// of those it is shown. A statically linked library has its own already.
	if addr, err := l.find("ggml_backend_load_all_from_path"); err == nil && l.Dir != "" {
		path := cString(l.Dir)
		purego.SyscallN(addr, uintptr(unsafe.Pointer(&path[0])))
		runtime.KeepAlive(path)
	} else if addr, err := l.find("ggml_backend_load_all"); err == nil {
		purego.SyscallN(addr)
	}
	if addr, err := l.find("llama_backend_init"); err == nil {
		purego.SyscallN(addr)
	}
	if l.devCount != nil && l.devCount() == 0 {
		return fmt.Errorf("llama.cpp: %q holds no ggml backend for this machine (libggml-cpu*%s)", l.Dir, ".so")
	}
	return nil
}

func (l *Library) find(name string) (uintptr, error) {
	if addr, err := purego.Dlsym(l.handle, name); err == nil {
		return addr, nil
	}
	if l.ggml == 0 {
		return 0, fmt.Errorf("llama.cpp: no symbol %s", name)
	}
	return purego.Dlsym(l.ggml, name)
}

func (l *Library) bindOne(s symbol) bool {
	addr, err := l.find(s.name)
	if err != nil {
		return false
	}
	if p, ok := s.into.(*uintptr); ok {
		*p = addr
	} else {
		purego.RegisterFunc(s.into, addr)
	}
	return true
}

// need says which of the optional functions that a feature calls are missing.
func (l *Library) need(feature string, names ...string) error {
	for _, n := range names {
		if l.missing[n] {
			return fmt.Errorf("llama.cpp %s in %q has no %s, which %s needs", l.Version, l.Dir, n, feature)
		}
	}
	return nil
}

const logError = 4 // GGML_LOG_LEVEL_ERROR

// onLog keeps error lines, so that a refused model can say why.
func (l *Library) onLog(level int32, text *byte, _ uintptr) {
	if level != logError {
		return
	}
	l.logMu.Lock()
	defer l.logMu.Unlock()
	if line := strings.TrimSpace(goString(text)); line != "" && len(l.log) < 20 {
		l.log = append(l.log, line)
	}
}

func (l *Library) takeLog() string {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	s := strings.Join(l.log, "; ")
	l.log = nil
	return s
}

// byValue calls fn(first, *b) with b passed by value. In the System V ABI of
// amd64 a struct of this size travels on the stack, which SyscallN fills from
// its seventh argument on; in the AAPCS64 it travels as a pointer to a copy.
func byValue(fn, first uintptr, words []uint64) uintptr {
	if runtime.GOARCH == "arm64" {
		r, _, _ := purego.SyscallN(fn, first, uintptr(unsafe.Pointer(&words[0])))
		runtime.KeepAlive(words)
		return r
	}
	var a [6 + blockWords]uintptr
	a[0] = first
	for i, w := range words {
		a[6+i] = uintptr(w)
	}
	r, _, _ := purego.SyscallN(fn, a[:6+len(words)]...)
	return r
}

func cString(s string) []byte { return append([]byte(s), 0) }

func goString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
