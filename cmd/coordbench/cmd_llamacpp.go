package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coordbench/coordbench/baselines/llamacpp"
)

func newLlamaCppCommand(env *environment) *cobra.Command {
	var asJSON bool
	install := &cobra.Command{
		Use: "install [FOLDER]", Short: "Put prebuilt llama.cpp libraries in place, from npm", Args: cobra.MaximumNArgs(1),
		Long: `Fetch the npm package that ships llama.cpp's shared libraries for this machine and
put them into FOLDER, by default one in the user's cache where every command
looks. Checksums are printed. Needs npm.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLlamaCppInstall(cmd.Context(), env, args, asJSON)
		},
	}
	install.Flags().BoolVar(&asJSON, "json", false, "one JSON object a file")
	var dir string
	devices := &cobra.Command{
		Use: "devices", Short: "List what ggml can compute on here", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runLlamaCppDevices(env, dir, asJSON) },
	}
	devices.Flags().StringVar(&dir, "llamacpp", "", "`folder` of llama.cpp's libraries")
	devices.Flags().BoolVar(&asJSON, "json", false, "one JSON object a device")
	return group("llamacpp", "The real llama.cpp: install its libraries, list its devices", install, devices)
}

func runLlamaCppInstall(ctx context.Context, env *environment, args []string, asJSON bool) error {
	var dir string
	var err error
	if len(args) > 0 {
		dir = args[0]
	} else if dir, err = llamacpp.InstallDir(); err != nil {
		return err
	}
	files, err := llamacpp.Install(ctx, dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if asJSON {
			if err := json.NewEncoder(env.stdout).Encode(f); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(env.stdout, "%s  %s\n", f.SHA256, f.File)
	}
	fmt.Fprintf(env.stderr, "%d libraries in %s\n", len(files), dir)
	return nil
}

func runLlamaCppDevices(env *environment, dir string, asJSON bool) error {
	lib, err := llamacpp.Load(dir)
	if err != nil {
		return err
	}
	devices, err := lib.Devices()
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, d := range devices {
		if asJSON {
			if err := json.NewEncoder(env.stdout).Encode(d); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.1f GB free of %.1f\n", d.Name, d.Kind, d.Description, float64(d.Free)/1e9, float64(d.Total)/1e9)
	}
	return tw.Flush()
}
