package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/workloads"
)

func newWorkloadsCommand(env *environment) *cobra.Command {
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the embedded prompt sets", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runWorkloadsList(env, asJSON) },
	}
	list.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")

	var prompt string
	show := &cobra.Command{
		Use: "show NAME|FILE", Short: "Show a prompt set, or one of its prompts", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runWorkloadsShow(env, args[0], prompt, asJSON) },
	}
	show.Flags().BoolVar(&asJSON, "json", false, "the set as one JSON object")
	show.Flags().StringVar(&prompt, "prompt", "", "only the prompt with this id")

	var opt workloads.ImportOptions
	var out string
	imp := &cobra.Command{
		Use: "import FILE.jsonl", Short: "Convert Spec-Bench questions or JSON lines with messages", Args: cobra.ExactArgs(1),
		Long: `Convert a file of JSON lines to a workload in YAML.

Two forms are read: Spec-Bench's question.jsonl (question_id, category, turns),
of which each question becomes one prompt, its first turn, with its category as
the group; and objects with "messages" and optionally "id", "group",
"max_tokens" and "reference". Later turns of Spec-Bench are left out: they need
the model's own answer to the first turn, so models would get different prompts.`,
		RunE: func(_ *cobra.Command, args []string) error { return runWorkloadsImport(env, args[0], out, opt) },
	}
	imp.Flags().StringVar(&opt.Category, "category", "", "keep only this category or group")
	imp.Flags().StringVar(&opt.Name, "name", "", "name of the set (the file's by default)")
	imp.Flags().IntVar(&opt.MaxTokens, "max-tokens", 0, "length of answers where the file gives none (128; 1024 for Spec-Bench)")
	imp.Flags().StringVarP(&out, "out", "o", "", "write to this new file instead of standard output")

	return group("workloads", "List, show and import prompt sets", list, show, imp)
}

func runWorkloadsList(env *environment, asJSON bool) error {
	tw := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(tw, "name\tprompts\tgroups\tlicence\tsha256\tdescription")
	}
	for _, n := range workloads.Names() {
		s, err := workloads.Open(n)
		if err != nil {
			return err
		}
		if asJSON {
			err = json.NewEncoder(env.stdout).Encode(map[string]any{
				"type": "workload", "name": s.Name, "prompts": len(s.Prompts), "groups": s.Groups(),
				"licence": s.Licence, "digest": s.Digest(), "description": s.Description,
			})
			if err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%s\t%s\n", s.Name, len(s.Prompts), s.Groups(), s.Licence, s.Digest()[:12], s.Description)
	}
	return tw.Flush()
}

func runWorkloadsShow(env *environment, name, prompt string, asJSON bool) error {
	s, err := workloads.Open(name)
	if err != nil {
		return err
	}
	if prompt != "" {
		for _, p := range s.Prompts {
			if p.ID == prompt {
				s.Prompts = []workloads.Prompt{p}
				prompt = ""
				break
			}
		}
		if prompt != "" {
			return fmt.Errorf("workload %q: no prompt %q", s.Name, prompt)
		}
	}
	if asJSON {
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(struct {
			Type   string `json:"type"`
			Digest string `json:"digest"`
			*workloads.Set
		}{"workload", s.Digest(), s})
	}
	return s.Write(env.stdout)
}

func runWorkloadsImport(env *environment, file, out string, opt workloads.ImportOptions) error {
	if opt.MaxTokens < 0 {
		return usagef("--max-tokens: is %d; want at least 1", opt.MaxTokens)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return pathError(err)
	}
	s, err := workloads.Import(file, text, opt)
	if err != nil {
		return err
	}
	if out == "" {
		return s.Write(env.stdout)
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return pathError(err)
	}
	if err := errors.Join(s.Write(f), f.Close()); err != nil {
		os.Remove(out)
		return fmt.Errorf("%s: %w", out, err)
	}
	fmt.Fprintf(env.stderr, "%s: %d prompts\n", out, len(s.Prompts))
	return nil
}

// pathError writes a PathError as "path: what".
func pathError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}
