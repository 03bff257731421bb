package kernels

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Which instructions the kernels use. Set once at start; tests change them
// through Use.
var (
	useAVX512 bool // AVX-512 F, BW, VL, DQ and VNNI
	useVNNI   bool // AVX-VNNI: VPDPBUSD for registers of 256 bits
	useAVX2   bool // AVX2, FMA, F16C

	useI8MM    bool // FEAT_I8MM
	useDotProd bool // FEAT_DotProd
	useNEON    bool // Armv8.0
)

// Environment variables that users and CI set.
const (
	EnvPath    = "COORDBENCH_KERNELS" // force this path
	EnvRequire = "COORDBENCH_REQUIRE" // fail unless all of these can run here
)

// A path is a set of instructions that all kernels of a process use.
type path struct {
	name string
	have bool
	set  func()
}

func paths() []path {
	return []path{
		{"avx512-vnni", haveAVX512, func() { useAVX512, useVNNI, useAVX2 = true, false, true }},
		{"avx-vnni", haveVNNI, func() { useAVX512, useVNNI, useAVX2 = false, true, true }},
		{"avx2", haveAVX2, func() { useAVX512, useVNNI, useAVX2 = false, false, true }},
		{"i8mm", haveI8MM, func() { useI8MM, useDotProd, useNEON = true, true, true }},
		{"dotprod", haveDotProd, func() { useI8MM, useDotProd, useNEON = false, true, true }},
		{"neon", haveNEON, func() { useI8MM, useDotProd, useNEON = false, false, true }},
		{"generic", true, func() {
			useAVX512, useVNNI, useAVX2 = false, false, false
			useI8MM, useDotProd, useNEON = false, false, false
		}},
	}
}

var current string

func init() {
	name := os.Getenv(EnvPath)
	if name == "" {
		name = Paths()[0]
	}
	if err := Use(name); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", EnvPath, err)
		os.Exit(2)
	}
}

// Path is the set of instructions in use; it goes into records.
func Path() string { return current }

// Paths lists those that this CPU can run, best first.
func Paths() []string {
	var names []string
	for _, p := range paths() {
		if p.have {
			names = append(names, p.name)
		}
	}
	return names
}

// Use switches to a path. Matrices made under another path must not be used
// afterwards. It is for tests and for $COORDBENCH_KERNELS.
func Use(name string) error {
	for _, p := range paths() {
		if p.name == name {
			if !p.have {
				return fmt.Errorf("kernels: this CPU cannot run path %q; it can run %s", name, strings.Join(Paths(), ", "))
			}
			p.set()
			current = name
			return nil
		}
	}
	return fmt.Errorf("kernels: no path %q; this CPU can run %s", name, strings.Join(Paths(), ", "))
}

// requirable maps the words of $COORDBENCH_REQUIRE to what must be in use.
func requirable() map[string]bool {
	return map[string]bool{
		"vnni": useAVX512 || useVNNI, "avx512-vnni": useAVX512, "avx-vnni": useVNNI, "avx2": useAVX2,
		"i8mm": useI8MM, "dotprod": useDotProd, "neon": useNEON,
		"generic": current == "generic",
	}
}

// Require fails when $COORDBENCH_REQUIRE, a list with commas, names something
// that is not in use: a silent fallback to slower kernels becomes an error.
func Require() error {
	return require(os.Getenv(EnvRequire))
}

func require(list string) error {
	known := requirable()
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		ok, exists := known[word]
		if !exists {
			var names []string
			for n := range known {
				names = append(names, n)
			}
			slices.Sort(names)
			return fmt.Errorf("%s: unknown word %q; known: %s", EnvRequire, word, strings.Join(names, ", "))
		}
		if !ok {
			return fmt.Errorf("%s: %q is required, but the kernels use path %q", EnvRequire, word, current)
		}
	}
	return nil
}

// unreachable is what the kernels of other CPUs are here.
func unreachable() { panic("internal error: kernels: a path that this CPU does not have") }
