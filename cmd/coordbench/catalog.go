package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/coordbench/coordbench/baselines"
	"github.com/coordbench/coordbench/devices"
	"github.com/coordbench/coordbench/engine/demo"
	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/workloads"
)

// catalog is what experiments may name.
func catalog() experiments.Catalog {
	return experiments.Catalog{
		Systems: baselines.Names(), Workloads: workloads.Names(), Models: []string{demo.Name, demo.DraftName},
		CheckOptions: baselines.Check,
		Parts: func(system string) []experiments.Part {
			var parts []experiments.Part
			for _, p := range baselines.Parts(system) {
				parts = append(parts, experiments.Part(p))
			}
			return parts
		},
	}
}

func isHost(f devices.Facts) bool { return f.OS == runtime.GOOS && f.Arch == runtime.GOARCH }

// modelFile turns a model's name in an experiment into a local file: embedded
// models are unpacked into the user's cache.
func modelFile(name string) (string, error) {
	m, ok := strings.CutPrefix(name, experiments.EmbeddedPrefix)
	if !ok {
		return name, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil { // no home, as in a bare container
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "coordbench")
	model, draft, err := demo.Extract(dir)
	if err != nil {
		return "", fmt.Errorf("unpacking the embedded model: %w", err)
	}
	switch m {
	case demo.Name:
		return model, nil
	case demo.DraftName:
		return draft, nil
	}
	return "", fmt.Errorf("no embedded model %q", m)
}

// modelSize is the size of a model's file in bytes.
func modelSize(name string) (int64, error) {
	switch name {
	case experiments.EmbeddedPrefix + demo.Name:
		return int64(len(demo.Model())), nil
	case experiments.EmbeddedPrefix + demo.DraftName:
		return int64(len(demo.Draft())), nil
	}
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
