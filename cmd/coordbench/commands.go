package main

import "github.com/spf13/cobra"

// commands lists the verbs in the order of the help.
func commands(env *environment) []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(env),
		newPlanCommand(env),
		newReportCommand(env),
		newGenerateCommand(env),
		newBenchCommand(env),
		newModelsCommand(env),
		newLlamaCppCommand(env),
		newWorkloadsCommand(env),
		newSystemsCommand(env),
		newSchemaCommand(env),
		newVersionCommand(env),
	}
}
