package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/engine/synth"
)

type synthOptions struct {
	like   string
	format string
	out    string
	seed   uint64
	vocab  bool
	force  bool
}

func newModelsSynthCommand(env *environment) *cobra.Command {
	var o synthOptions
	var shapes, formats []string
	for _, s := range synth.Shapes() {
		shapes = append(shapes, s.Name)
	}
	for _, f := range synth.Formats() {
		formats = append(formats, string(f))
	}
	cmd := &cobra.Command{
		Use: "synth --like SHAPE --format FORMAT -o FILE", Short: "Write random weights in the shape of a published model", Args: cobra.NoArgs,
		Long: `Write a GGUF file with random weights in the shape of a published model. Speed and
energy do not depend on the weights' values, so a device can be measured without
a download. What such a model says is noise: acceptance of drafts means nothing.

shapes:  ` + strings.Join(shapes, " ") + `
formats: ` + strings.Join(formats, " "),
		RunE: func(*cobra.Command, []string) error { return runModelsSynth(env, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.like, "like", "qwen2.5-0.5b", "shape")
	f.StringVar(&o.format, "format", "q8_0", "format of the weights")
	f.StringVarP(&o.out, "out", "o", "", "file to write (SHAPE-FORMAT.gguf)")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the weights")
	f.BoolVar(&o.vocab, "vocab", true, "include a small tokenizer")
	f.BoolVar(&o.force, "force", false, "replace an existing file")
	return cmd
}

func runModelsSynth(env *environment, o synthOptions) (err error) {
	shape, err := synth.FindShape(o.like)
	if err != nil {
		return usagef("%w", err)
	}
	format, err := synth.ParseFormat(o.format)
	if err != nil {
		return usagef("%w", err)
	}
	if o.out == "" {
		o.out = o.like + "-" + o.format + ".gguf"
	}
	if _, err := os.Stat(o.out); err == nil && !o.force {
		return fmt.Errorf("%s: exists already\n  hint: --force replaces it", o.out)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Beside its name and renamed: a full disk leaves no half model.
	f, err := os.CreateTemp(filepath.Dir(o.out), filepath.Base(o.out)+".part-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriterSize(f, 1<<20)
	err = synth.Write(w, shape, format, o.seed, o.vocab)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	size, serr := f.Seek(0, 1)
	if cerr := f.Close(); err == nil {
		err = errors.Join(serr, cerr)
	}
	if err == nil {
		err = os.Rename(f.Name(), o.out)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.out, err)
	}
	fmt.Fprintf(env.stderr, "%s: %s\n", o.out, bytesText(size))
	return nil
}
