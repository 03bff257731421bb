// Package demo holds the demonstration model and its draft model, so that
// every command works without a download.
//
// README.md says what they are and how far they can be trusted; recipe/ has
// the programs they were made with.
package demo

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of the two models. They share one vocabulary.
const (
	Name      = "coordlm-6m"
	DraftName = "coordlm-draft-1m"
)

//go:embed coordlm-6m-q8_0.gguf
var model []byte

//go:embed coordlm-draft-1m-q8_0.gguf
var draft []byte

// Model returns the GGUF file of the demonstration model, Q8_0. Callers must not change it.
func Model() []byte { return model }

// Draft returns the GGUF file of the draft model, Q8_0. Callers must not change it.
func Draft() []byte { return draft }

// Extract writes both files into dir, which is created if needed, and returns
// their paths. The names contain the first 12 digits of the SHA-256, so
// versions do not overwrite each other. A file that is already there with the
// right content is left alone; any other is replaced. Several processes may
// extract into one directory at once: a file appears whole or not at all.
func Extract(dir string) (modelPath, draftPath string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("demo: %w", err)
	}
	if modelPath, err = extract(dir, Name, model); err != nil {
		return "", "", err
	}
	if draftPath, err = extract(dir, DraftName, draft); err != nil {
		return "", "", err
	}
	return modelPath, draftPath, nil
}

func extract(dir, name string, data []byte) (string, error) {
	sum := sha256.Sum256(data)
	path := filepath.Join(dir, fmt.Sprintf("%s-q8_0-%s.gguf", name, hex.EncodeToString(sum[:6])))
	if same, err := holds(path, data); err != nil || same {
		return path, err
	}
	f, err := os.CreateTemp(dir, name+"-*.part")
	if err != nil {
		return "", fmt.Errorf("demo: extracting %s: %w", name, err)
	}
	_, err = f.Write(data)
	if e := f.Chmod(0o644); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("demo: extracting %s: %w", name, err)
	}
	return path, nil
}

// holds reports whether the file at path is data. The size is looked at first:
// most wrong files have another one.
func holds(path string, data []byte) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("demo: %w", err)
	}
	if !st.Mode().IsRegular() {
		return false, fmt.Errorf("demo: %s: in the way of the demonstration model, not a regular file (%s)", path, st.Mode().Type())
	}
	if st.Size() != int64(len(data)) {
		return false, nil
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("demo: %w", err)
	}
	return bytes.Equal(got, data), nil
}
