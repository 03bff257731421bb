package experiments

import (
	"embed"
	"path"
	"strings"
)

// builtin holds the experiments that are part of the program.
//
//go:embed quickstart.yaml identity.yaml
var builtin embed.FS

// Builtin returns the text of an experiment that is part of the program, by its
// name without ".yaml".
func Builtin(name string) ([]byte, bool) {
	text, err := builtin.ReadFile(path.Clean(name) + ".yaml")
	return text, err == nil
}

// BuiltinNames lists what Builtin knows.
func BuiltinNames() []string {
	var names []string
	files, err := builtin.ReadDir(".")
	if err != nil {
		panic("internal error: embedded experiments: " + err.Error())
	}
	for _, f := range files {
		if n, ok := strings.CutSuffix(f.Name(), ".yaml"); ok {
			names = append(names, n)
		}
	}
	return names
}
