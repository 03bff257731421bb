// Command coordbench measures how much faster and cheaper ways of decoding
// generate the same tokens.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/internal/yamlspec"
)

// Exit statuses, as the help gives them.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitRegression = 3
	exitDifferent  = 4
	exitInvalid    = 5
)

const exitHelp = `Exit status: 0 ok, 1 failed, 2 usage, 3 regression found,
4 output not identical, 5 measurement not valid.`

// version is set by the linker.
var version = "unknown"

// An environment is the world as a command sees it.
type environment struct {
	stdin  io.Reader
	stdout io.Writer // the result and nothing else
	stderr io.Writer // progress and errors
	getenv func(string) string
}

// An exitError carries the exit status of an error; silent ones have been
// reported already.
type exitError struct {
	code   int
	err    error
	silent bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usagef is an error of whoever typed the command.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second interrupt ends the program at once.
	context.AfterFunc(ctx, stop)
	out := &checkedWriter{w: os.Stdout}
	env := &environment{stdin: os.Stdin, stdout: out, stderr: os.Stderr, getenv: os.Getenv}
	code := execute(ctx, env, os.Args[1:])
	if out.err != nil && code == exitOK {
		fmt.Fprintf(os.Stderr, "coordbench: standard output: %v\n", out.err)
		code = exitFailed
	}
	os.Exit(code)
}

// execute runs the program with args and returns its exit status.
func execute(ctx context.Context, env *environment, args []string) int {
	cmd := newRootCommand(env)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var ee *exitError
	code := exitFailed
	if errors.As(err, &ee) {
		code = ee.code
	}
	if ee == nil || !ee.silent {
		fmt.Fprintf(env.stderr, "coordbench: %v\n", err)
	}
	return code
}

func newRootCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "coordbench",
		Short: "Measure how much faster a way of decoding generates the same tokens",
		Long: `coordbench runs language models with different decoding systems, proves that
they generate the same tokens, and says how much faster and cheaper they are.

Start with "coordbench run quickstart": it needs no files and no network.

` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetIn(env.stdin)
	cmd.SetOut(env.stdout)
	cmd.SetErr(env.stderr)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (see %q)", err, c.CommandPath()+" --help")
	})
	cmd.AddCommand(commands(env)...)
	wrapArgs(cmd)
	return cmd
}

// wrapArgs makes every complaint about arguments a usage error.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var ee *exitError
			if err == nil || errors.As(err, &ee) {
				return err
			}
			return usagef("%s: %w (see %q)", c.Name(), err, c.CommandPath()+" --help")
		}
	}
	for _, c := range cmd.Commands() {
		wrapArgs(c)
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if near := yamlspec.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return usagef("unknown command %q (%s)", name, hint)
}

// group is a command that only has subcommands.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(sub...)
	return cmd
}

// A checkedWriter remembers the first error, so that a full disk or a closed
// pipe is not taken for success.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil && c.err == nil {
		c.err = err
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			c.err = pe.Err
		}
	}
	return n, err
}

// toolVersion names the program in records: "coordbench v0.1.0 (1a2b3c4)".
func toolVersion() string {
	s := "coordbench " + version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, kv := range info.Settings {
			if kv.Key == "vcs.revision" && !strings.Contains(version, kv.Value[:min(7, len(kv.Value))]) {
				s += " (" + kv.Value[:min(7, len(kv.Value))] + ")"
			}
		}
	}
	return s
}

func newVersionCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the program's version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(env.stdout, "%s %s %s/%s\n", toolVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
