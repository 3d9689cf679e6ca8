package cli

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
)

// requests are the commands about what became of requests.
func (a *app) requests() []*cobra.Command {
	var q admin.Requests
	all := false
	list := &cobra.Command{Use: "requests", Short: "List requests that had copies, replays or errors, or took long", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		q.Unusual = !all
		answers, err := each(c.Context(), a, q)
		if err != nil {
			return err
		}
		return a.show(replies(answers), func(t *table) {
			t.head = []string{"LAST", "REQUEST", "NODE", "SIDE", "PEER", "TARGET", "MESSAGE", "TOOK", "NOW", "CODE", "RAN", "KEY"}
			var rows []inspect.Request
			for _, r := range answers {
				rows = append(rows, r.Reply.Requests...)
			}
			slices.SortFunc(rows, func(x, y inspect.Request) int { return y.Last.Compare(x.Last) })
			for _, r := range rows {
				t.row(r.Last, r.ID, r.Node, r.Side, r.Peer, r.Target, r.Type, r.Last.Sub(r.First), r.What, r.Code, verdict(r.Ran), r.Key)
			}
		})
	}}
	f := list.Flags()
	f.BoolVar(&all, "all", false, "all that are remembered")
	f.StringVar(&q.Target, "target", "", "only to actors whose names begin so")
	f.StringVar(&q.Type, "type", "", "only of this message")
	f.StringVar(&q.Peer, "peer", "", "only from or to this node")
	f.StringVar(&q.Code, "code", "", "only with this code")
	f.DurationVar(&q.Slower, "slower", 0, "only those that took so long")
	f.IntVar(&q.Limit, "limit", 50, "how many of each node")

	life := func(c *cobra.Command, id string) error {
		l, err := one(c.Context(), a, a.node, admin.Why{ID: id, Whole: true})
		if err != nil {
			return err
		}
		for _, u := range l.Unasked {
			fmt.Fprintf(a.err, "tandem: %s may know more: %s\n", u.Node, clean(u.Reason))
		}
		if len(l.Steps) == 0 && !a.json {
			return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node remembers anything of %q; what was usual is forgotten first", id)
		}
		return a.show(l, func(t *table) { lifeOf(t, l) })
	}
	return []*cobra.Command{list,
		{Use: "why ID", Short: "Tell what became of a request, on all nodes", Long: "ID is a request's id (errors have it, and tandem requests), a key, the token of a job, or a trace id.", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error { return life(c, args[0]) }},
		{Use: "trace ID", Short: "Tell what became of all requests of a trace", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			if id, err := hex.DecodeString(args[0]); err != nil || len(id) != 16 {
				return usage("%q is no trace id: want 32 hexadecimal digits", args[0])
			}
			return life(c, args[0])
		}},
	}
}

func verdict(ran string) cell {
	if ran == "unknown" {
		return cell{ran, red}
	}
	return cell{text: ran}
}

func lifeOf(t *table, l inspect.Life) {
	t.head = []string{"AFTER", "NODE", "SIDE", "WHAT", "ROAD", "PEER", "PRINCIPAL", "CODE", "RAN", "OTHER", "REQUEST"}
	var first time.Time
	for _, s := range l.Steps {
		if first.IsZero() {
			first = s.Time
		}
		after := cell{"", dim}
		if !s.Time.IsZero() {
			after.text = "+" + s.Time.Sub(first).Round(100*time.Microsecond).String()
		}
		what := cell{text: string(s.What)}
		switch s.What {
		case inspect.Replayed, inspect.GotRecorded:
			what.color = green
		case inspect.LinkLost, inspect.SessionGone, inspect.Refused, inspect.GaveUp, inspect.Ended:
			what.color = yellow
		}
		t.row(after, s.Node, s.Side, what, s.Road, s.Peer, s.Principal, s.Code, verdict(s.Ran), s.Other, s.Request)
	}
}
