package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is that of the module, as go install has built it.
func version() string {
	if i, ok := debug.ReadBuildInfo(); ok && i.Main.Version != "" {
		return i.Main.Version
	}
	return "(devel)"
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.say(map[string]string{"Version": version(), "Go": runtime.Version()}, "tandem %s, %s", version(), runtime.Version())
	}}
}
