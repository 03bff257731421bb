package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/engine/gguf"
	"github.com/coordbench/coordbench/experiments"
)

func newModelsCommand(env *environment) *cobra.Command {
	var opts inspectOptions
	inspect := &cobra.Command{
		Use: "inspect FILE", Short: "Show what a model file holds", Args: cobra.ExactArgs(1),
		Long: `Show metadata, tensors and sizes of a GGUF file. FILE may be an embedded model
such as embedded:coordlm-6m. Long values are shortened; --json has them whole.`,
		RunE: func(_ *cobra.Command, args []string) error { return runModelsInspect(env, opts, args[0]) },
	}
	inspect.Flags().BoolVar(&opts.json, "json", false, "one JSON object")
	inspect.Flags().BoolVar(&opts.tensors, "tensors", true, "list the tensors")
	return group("models", "Look into model files, and make some", inspect, newModelsSynthCommand(env))
}

type inspectOptions struct {
	json    bool
	tensors bool
}

func runModelsInspect(env *environment, opts inspectOptions, name string) error {
	file, err := modelFile(name)
	if err != nil {
		return err
	}
	f, err := gguf.Open(file)
	if err != nil {
		return pathError(err)
	}
	defer f.Close()
	digest, err := f.Digest()
	if err != nil {
		return err
	}
	in := inspect(f, digest)
	if name != file && strings.HasPrefix(name, experiments.EmbeddedPrefix) {
		in.File = name
	}
	if opts.json {
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(in)
	}
	return in.write(env.stdout, opts.tensors)
}

// An inspection is what a model file holds, ready for JSON.
type inspection struct {
	Type         string         `json:"type"` // "model"
	File         string         `json:"file"`
	Bytes        int64          `json:"bytes"`
	Digest       string         `json:"digest"`
	GGUF         uint32         `json:"gguf_version"`
	Architecture string         `json:"architecture"`
	Name         string         `json:"name"`
	Parameters   int64          `json:"parameters"`
	Tokenizer    tokenizerFacts `json:"tokenizer"`
	Types        []typeFacts    `json:"types"` // most bytes first
	Metadata     []metadatum    `json:"metadata"`
	Tensors      []tensorFacts  `json:"tensors"`
}

type tokenizerFacts struct {
	Model        string `json:"model"` // "gpt2", "llama"
	Pre          string `json:"pre,omitempty"`
	Vocab        int    `json:"vocab"`
	Merges       int    `json:"merges"`
	ChatTemplate bool   `json:"chat_template"`
}

type typeFacts struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

type metadatum struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

type tensorFacts struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"` // fastest-varying dimension first, as in the file
	Bytes int64  `json:"bytes"`
}

func inspect(f *gguf.File, digest string) *inspection {
	in := &inspection{Type: "model", File: f.Path, Bytes: f.Size(), Digest: digest, GGUF: f.Version}
	in.Architecture, _ = f.StringOr("general.architecture", "")
	in.Name, _ = f.StringOr("general.name", "")
	in.Tokenizer.Model, _ = f.StringOr("tokenizer.ggml.model", "")
	in.Tokenizer.Pre, _ = f.StringOr("tokenizer.ggml.pre", "")
	if v, err := f.Strings("tokenizer.ggml.tokens"); err == nil {
		in.Tokenizer.Vocab = len(v)
	}
	if v, err := f.Strings("tokenizer.ggml.merges"); err == nil {
		in.Tokenizer.Merges = len(v)
	}
	_, err := f.String("tokenizer.chat_template")
	in.Tokenizer.ChatTemplate = err == nil
	for _, k := range f.Keys() {
		in.Metadata = append(in.Metadata, metadatum{k, metadataValue(f, k)})
	}
	byType := map[string]*typeFacts{}
	for _, t := range f.Tensors() {
		n := int64(1)
		shape := make([]int, len(t.Dims))
		for i, d := range t.Dims {
			shape[i] = d
			n *= int64(d)
		}
		in.Parameters += n
		name := fmt.Sprint(t.Type)
		tf := byType[name]
		if tf == nil {
			tf = &typeFacts{Type: name}
			byType[name] = tf
		}
		tf.Tensors++
		tf.Bytes += int64(len(t.Data))
		in.Tensors = append(in.Tensors, tensorFacts{t.Name, name, shape, int64(len(t.Data))})
	}
	for _, tf := range byType {
		in.Types = append(in.Types, *tf)
	}
	slices.SortFunc(in.Types, func(a, b typeFacts) int {
		if a.Bytes != b.Bytes {
			return int(b.Bytes - a.Bytes)
		}
		return strings.Compare(a.Type, b.Type)
	})
	return in
}

func (in *inspection) write(w io.Writer, tensors bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(k, format string, args ...any) { fmt.Fprintf(tw, "%s\t%s\n", k, fmt.Sprintf(format, args...)) }
	row("file", "%s", in.File)
	row("size", "%s, GGUF v%d", bytesText(in.Bytes), in.GGUF)
	row("sha256", "%s", in.Digest)
	row("architecture", "%s", in.Architecture)
	row("name", "%s", in.Name)
	row("parameters", "%s", thousands(in.Parameters))
	tok := in.Tokenizer.Model
	if in.Tokenizer.Pre != "" {
		tok += ", pre-tokenizer " + in.Tokenizer.Pre
	}
	row("tokenizer", "%s, %d tokens, %d merges", tok, in.Tokenizer.Vocab, in.Tokenizer.Merges)
	row("chat template", "%v", in.Tokenizer.ChatTemplate)
	for _, t := range in.Types {
		row("weights", "%s: %d tensors, %s", t.Type, t.Tensors, bytesText(t.Bytes))
	}
	fmt.Fprintln(tw, "\nmetadata\tvalue")
	for _, m := range in.Metadata {
		row(m.Key, "%s", shortValue(m.Value))
	}
	if tensors {
		fmt.Fprintln(tw, "\ntensor\ttype\tshape\tbytes")
		for _, t := range in.Tensors {
			dims := make([]string, len(t.Shape))
			for i, d := range t.Shape {
				dims[i] = strconv.Itoa(d)
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%d\n", t.Name, t.Type, strings.Join(dims, "×"), t.Bytes)
		}
	}
	return tw.Flush()
}

// metadataValue is a value as JSON can hold it: lists of bytes as numbers, and
// numbers that are none as text.
func metadataValue(f *gguf.File, key string) any {
	v, _ := f.Value(key)
	return plainValue(reflect.ValueOf(v.Any))
}

func plainValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plainValue(v.Index(i))
		}
		return out
	case reflect.Struct: // a gguf.Value in a list of lists
		if g, ok := v.Interface().(gguf.Value); ok {
			return plainValue(reflect.ValueOf(g.Any))
		}
	case reflect.Float32, reflect.Float64:
		if x := v.Float(); math.IsNaN(x) || math.IsInf(x, 0) {
			return strconv.FormatFloat(x, 'g', -1, 64)
		}
	case reflect.Invalid:
		return nil
	}
	return v.Interface()
}

// shortValue fits a metadata value into a line.
func shortValue(v any) string {
	s, ok := v.(string)
	if ok {
		s = strconv.Quote(s)
	} else if b, err := json.Marshal(v); err == nil {
		s = string(b)
	}
	if r := []rune(s); len(r) > 80 {
		s = string(r[:70]) + fmt.Sprintf("… (%d characters)", len(r))
	}
	return s
}

func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
