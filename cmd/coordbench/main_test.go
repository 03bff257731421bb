package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coordbench/coordbench/experiments/trial"
	"github.com/coordbench/coordbench/internal/session"
)

// The scripts in testdata run this test binary as coordbench and as its agent.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"coordbench": main,
		"coordbench-agent": func() {
			os.Exit(trial.Agent(context.Background(), os.Stdin, os.Stdout, os.Args[1], os.Args[2], session.Subject))
		},
	})
}

func TestScripts(t *testing.T) {
	agent, err := exec.LookPath("coordbench-agent")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir() // the embedded model is unpacked once for all scripts
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("COORDBENCH_AGENT", agent)
			env.Setenv("XDG_CACHE_HOME", cache)
			env.Setenv("HOME", cache)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
			"lines":  lines,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// status CODE COMMAND ARGS… runs a command and wants that exit status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND [ARGS]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		ee, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = strings.TrimPrefix(ee.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// lines N FILE wants a file of N lines; stdout and stderr are those of the last command.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines N FILE")
	}
	if n := strings.Count(ts.ReadFile(args[1]), "\n"); args[0] != strconv.Itoa(n) {
		ts.Fatalf("%s has %d lines, want %s", filepath.Base(args[1]), n, args[0])
	}
}
