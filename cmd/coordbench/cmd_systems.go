package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/baselines"
)

func newSystemsCommand(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "systems [NAME]", Short: "List decoding systems and their options", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			names := baselines.Names()
			if len(args) > 0 {
				names = args
			}
			return runSystems(env, names, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func runSystems(env *environment, names []string, asJSON bool) error {
	tw := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for i, n := range names {
		info, err := baselines.Describe(n)
		if err != nil {
			return usagef("systems: %w", err)
		}
		if asJSON {
			if err := writeSystemJSON(env, info); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(tw)
		}
		doc := info.Doc
		if info.NeedsDraft {
			doc += " (needs a draft model)"
		}
		fmt.Fprintf(tw, "%s: %s\n", info.Name, doc)
		for _, o := range info.Options {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", o.Name, o.Default, o.Allowed, o.Doc)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func writeSystemJSON(env *environment, info baselines.Info) error {
	type option struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		Default string `json:"default"`
		Allowed string `json:"allowed"`
		Doc     string `json:"doc"`
	}
	out := struct {
		Type       string   `json:"type"`
		Name       string   `json:"name"`
		Doc        string   `json:"doc"`
		NeedsDraft bool     `json:"needs_draft"`
		Parts      []string `json:"parts"`
		Options    []option `json:"options"`
	}{Type: "system", Name: info.Name, Doc: info.Doc, NeedsDraft: info.NeedsDraft, Parts: []string{}, Options: []option{}}
	for _, p := range info.Parts {
		out.Parts = append(out.Parts, p.Name)
	}
	for _, o := range info.Options {
		out.Options = append(out.Options, option{o.Name, string(o.Type), o.Default, o.Allowed, o.Doc})
	}
	enc := json.NewEncoder(env.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}
