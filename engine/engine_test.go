package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coordbench/coordbench/engine/decode"
	"github.com/coordbench/coordbench/engine/demo"
)

func open(t *testing.T, path string, o Options) *Model {
	t.Helper()
	m, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// The demonstration model answers a prompt of its own kind, and its draft model,
// on the same workers, fits it.
func TestDemo(t *testing.T) {
	main, small, err := demo.Extract(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, main, Options{Threads: 1})
	d := open(t, small, Options{Lender: m})
	sum := sha256.Sum256(demo.Model())
	if m.Name() != demo.Name || m.Digest() != hex.EncodeToString(sum[:]) || m.Threads() != 1 || m.TrainContext() != 1024 {
		t.Errorf("name %q, digest %s, %d threads, trained on %d", m.Name(), m.Digest(), m.Threads(), m.TrainContext())
	}
	if err := m.Compatible(d); err != nil {
		t.Error(err)
	}
	ids, err := m.Chat([]Message{
		{Role: "system", Content: "Rewrite the draft so that it sounds like the user."},
		{Role: "user", Content: `Past posts:
- Hiya... $797,500 raised for the chess evening, thank you all. So there. Over and out #WildDays
- Hiya... The book swap in Nashmore is now Saturday at 6:00 am, more soon. So there. Over and out #WildDays
- Hiya... Who wants to walk to Port Zelness on Saturday at 7:00 am? it was freezing. So there. Over and out #WildDays

Draft: I would appreciate it if visitors did not park in front of the corner shop before 3:45 am.

Write the draft as this user would post it.`},
	})
	if err != nil {
		t.Fatal(err)
	}
	target, err := m.NewTarget(TargetOptions{Context: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	res, err := target.Prefill(t.Context(), ids, decode.Want{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	stops := m.Tokenizer().StopTokens()
	var out []decode.Token
	for next := res.Last.Best[0]; next != stops[0] && len(out) < 64; {
		out = append(out, next)
		var tree decode.Tree
		tree.Reset(next)
		s, err := target.Verify(t.Context(), &tree, decode.Want{})
		if err != nil {
			t.Fatal(err)
		}
		next = s.Best[0]
		if err := target.Commit([]int{0}); err != nil {
			t.Fatal(err)
		}
	}
	if text := strings.TrimSpace(m.Tokenizer().Decode(out, false)); !strings.Contains(text, "the corner shop before 3:45 am") || !strings.HasSuffix(text, "#WildDays") {
		t.Errorf("answer %q: want the draft's facts in the user's style", text)
	}
	if raw := m.Encode("<|im_end|>"); len(raw) < 2 {
		t.Errorf("Encode takes text for a control token: %v", raw)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "text": "this is no model", "cut": string(demo.Model()[:5000])} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, Options{})
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want one line that names the file", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

func TestFits(t *testing.T) {
	if err := Fits("p", 9, 10); err != nil {
		t.Error(err)
	}
	err := Fits("p", 10, 10)
	if want := `prompt "p" has 10 tokens; the context holds 10, and an answer needs at least one more`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
