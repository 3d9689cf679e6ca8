package cli

import (
	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/actor"
)

// lists is a command that asks each node the same, and shows the answers as one table.
func lists[M actor.Question[R], R any](a *app, use, short string, m M, head []string, rows func(t *table, node string, r R)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		all, err := each(c.Context(), a, m)
		if err != nil {
			return err
		}
		return a.show(replies(all), func(t *table) {
			t.head = head
			for _, r := range all {
				rows(t, r.Node, r.Reply)
			}
		})
	}}
}
