package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/rpc"
)

// letters are the commands about dead letters.
func (a *app) letters() *cobra.Command {
	all := &cobra.Command{Use: "dead-letters", Aliases: []string{"letters"}, Short: "List one-way messages that reached nobody, send them again, discard them", Args: cobra.NoArgs}
	var f admin.LetterFilter
	var since time.Duration
	filters := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&f.Actor, "to", "", "only to this actor")
		c.Flags().StringVar(&f.Type, "type", "", "only of this message")
		c.Flags().StringVar(&f.Code, "code", "", "only with this code")
		c.Flags().DurationVar(&since, "since", 0, "only from so long ago on")
		return c
	}
	filter := func() admin.LetterFilter {
		if since > 0 {
			f.Since = time.Now().Add(-since)
		}
		return f
	}
	limit := 0
	list := filters(&cobra.Command{Use: "list", Short: "List them, the latest first", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		answers, err := each(c.Context(), a, admin.Letters{LetterFilter: filter(), NewestFirst: true, Limit: limit})
		if err != nil {
			return err
		}
		return a.show(replies(answers), func(t *table) {
			t.head = []string{"TIME", "NODE", "ID", "TO", "FROM", "MESSAGE", "CODE", "STATE"}
			type line struct {
				node string
				admin.Letter
			}
			var lines []line
			for _, r := range answers {
				for _, l := range r.Reply.Letters {
					lines = append(lines, line{r.Node, l})
				}
			}
			slices.SortStableFunc(lines, func(x, y line) int { return y.Time.Compare(x.Time) })
			for _, l := range lines {
				t.row(l.Time, l.node, l.ID, l.To, l.From, l.Type, l.Code, l.State)
			}
		})
	}})
	list.Flags().IntVar(&limit, "limit", admin.DefaultPage, "how many of each node")

	show := &cobra.Command{Use: "show ID", Short: "Show one", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		answers, err := each(c.Context(), a, admin.Letters{LetterFilter: admin.LetterFilter{ID: args[0]}})
		if err != nil {
			return err
		}
		for _, r := range answers {
			for _, l := range r.Reply.Letters {
				return a.show(at[admin.Letter]{r.Node, l}, func(t *table) {
					t.head = []string{"WHAT", "IS"}
					t.row("node", r.Node)
					t.row("id", l.ID)
					t.row("time", l.Time)
					t.row("to", l.To)
					t.row("from", l.From)
					t.row("message", l.Type)
					t.row("reason", l.Reason)
					t.row("bytes", l.Size)
					t.row("state", l.State)
				})
			}
		}
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node keeps the dead letter %q", args[0])
	}}

	var to string
	everything := false
	which := func(args []string) error {
		switch {
		case len(args) == 1 && !everything && f == (admin.LetterFilter{}) && since == 0:
			f.ID = args[0]
		case len(args) == 0 && (everything || f != (admin.LetterFilter{}) || since > 0):
		default:
			return usage("want one ID, or a filter, or --all")
		}
		return nil
	}
	resend := filters(&cobra.Command{Use: "resend [ID]", Short: "Send them again: one, all that match, or --all", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if err := which(args); err != nil {
			return err
		}
		answers, err := each(c.Context(), a, admin.ResendLetters{LetterFilter: filter(), To: to})
		if err != nil {
			return err
		}
		sent, failed, more := 0, 0, false
		for _, r := range answers {
			sent, failed, more = sent+r.Reply.Sent, failed+len(r.Reply.Failed), more || r.Reply.More
			for _, l := range r.Reply.Failed {
				fmt.Fprintf(a.err, "tandem: %s at %s: %s\n", l.ID, r.Node, clean(l.Error))
			}
		}
		if err := a.say(replies(answers), "%d sent, %d failed", sent, failed); err != nil {
			return err
		}
		switch {
		case failed > 0:
			return errSaid
		case f.ID != "" && sent == 0:
			return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node keeps the dead letter %q", f.ID)
		case more:
			return fmt.Errorf("there are more that match: run it again")
		}
		return nil
	}})
	resend.Flags().StringVar(&to, "redirect", "", "to this address, in place of their own")
	discard := filters(&cobra.Command{Use: "discard [ID]", Short: "Remove them: one, all that match, or --all", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if err := which(args); err != nil {
			return err
		}
		answers, err := each(c.Context(), a, admin.DiscardLetters{LetterFilter: filter()})
		if err != nil {
			return err
		}
		n := 0
		for _, r := range answers {
			n += r.Reply.Count
		}
		return a.say(replies(answers), "%d discarded", n)
	}})
	for _, c := range []*cobra.Command{resend, discard} {
		c.Flags().BoolVar(&everything, "all", false, "all of them")
	}
	all.AddCommand(list, show, resend, discard)
	return all
}
