//go:build !(linux || darwin)

package gguf

import (
	"io"
	"os"
)

// mapFile reads the file where mapping it is not supported.
func mapFile(f *os.File, size int) (data []byte, mapped bool, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, false, err
}

func unmapFile([]byte) error { return nil }

func dropPages([]byte) {}
