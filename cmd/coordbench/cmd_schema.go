package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/experiments"
	"github.com/coordbench/coordbench/workloads"
)

func newSchemaCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "schema [experiment|workload]", Short: "Print the JSON Schema of a file format, for editors",
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"experiment", "workload"},
		RunE: func(_ *cobra.Command, args []string) error {
			schema := experiments.JSONSchema(catalog())
			if len(args) > 0 && args[0] == "workload" {
				schema = workloads.JSONSchema()
			}
			enc := json.NewEncoder(env.stdout)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(schema)
		},
	}
}
