package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coordbench/coordbench/engine/gguf"
)

// TestModels: the embedded files are the models that README.md describes, and
// the draft can draft for the model: they have one vocabulary.
func TestModels(t *testing.T) {
	var tokens [][]string
	for _, c := range []struct {
		name                              string
		data                              []byte
		layers, width, heads, kvHeads, ff uint64
		params                            int
	}{
		{Name, Model(), 6, 256, 4, 2, 768, 5773568},
		{DraftName, Draft(), 2, 128, 2, 1, 384, 918656},
	} {
		f, err := gguf.Parse(c.name, c.data)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]uint64{"qwen2.block_count": c.layers, "qwen2.embedding_length": c.width, "qwen2.attention.head_count": c.heads,
			"qwen2.attention.head_count_kv": c.kvHeads, "qwen2.feed_forward_length": c.ff, "qwen2.context_length": 1024} {
			if got, err := f.Uint(key); err != nil || got != want {
				t.Errorf("%s: %s = %d (%v), want %d", c.name, key, got, err, want)
			}
		}
		for key, want := range map[string]string{"general.name": c.name, "general.license": "cc0-1.0", "tokenizer.ggml.pre": "qwen2"} {
			if got, err := f.String(key); err != nil || got != want {
				t.Errorf("%s: %s = %q (%v), want %q", c.name, key, got, err, want)
			}
		}
		n := 0
		for _, x := range f.Tensors() {
			n += x.Rows() * x.Cols()
		}
		if n != c.params {
			t.Errorf("%s: %d parameters, want %d", c.name, n, c.params)
		}
		v, err := f.Strings("tokenizer.ggml.tokens")
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, v)
	}
	if len(tokens[0]) != 4096 || strings.Join(tokens[0], "\n") != strings.Join(tokens[1], "\n") {
		t.Errorf("vocabularies of %d and %d tokens differ", len(tokens[0]), len(tokens[1]))
	}
}

func TestExtract(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	model, draft, err := Extract(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{model: Model(), draft: Draft()} {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v; want %d", path, len(got), err, len(want))
		}
		sum := sha256.Sum256(want)
		if !strings.Contains(filepath.Base(path), hex.EncodeToString(sum[:])[:12]) {
			t.Errorf("%s does not carry its digest %x", path, sum)
		}
	}

	// A good file is left alone, damaged ones (same size, or cut) are replaced.
	before, err := os.Stat(model)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(Draft())
	bad[len(bad)/2] ^= 1
	for _, damaged := range [][]byte{bad, bad[:1000], {}} {
		if err := os.WriteFile(draft, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		m, d, err := Extract(dir)
		if err != nil || m != model || d != draft {
			t.Fatalf("Extract = %s, %s, %v", m, d, err)
		}
		if got, err := os.ReadFile(draft); err != nil || !bytes.Equal(got, Draft()) {
			t.Errorf("a damaged file of %d bytes is still there (%v)", len(damaged), err)
		}
	}
	if after, err := os.Stat(model); err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
		t.Errorf("the good file was written again (%v)", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.part")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestExtractConcurrently(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, path, err := Extract(dir)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, Draft()) {
				t.Errorf("%d bytes of the draft (%v)", len(got), err)
			}
		})
	}
	wg.Wait()
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		t.Errorf("%d files in the directory, want 2 (%v)", len(names), err)
	}
}

func TestExtractErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Extract(filepath.Join(file, "sub")); err == nil || !strings.HasPrefix(err.Error(), "demo: ") {
		t.Errorf("a directory below a file: %v", err)
	}
	dir := t.TempDir()
	model, _, err := Extract(dir)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(model)
	if err := os.Mkdir(model, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Extract(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory in the way: %v", err)
	}
}
