package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
)

// queues are the commands about queues.
func (a *app) queues() *cobra.Command {
	all := lists(a, "queues", "List queues, and manage them", admin.Queues{Limit: admin.MaxPage}, []string{"QUEUE", "ITEMS", "READY", "OLDEST", "DELAYED", "IN HAND", "DEAD", "CONSUMERS", "ACKED", "STATE"},
		func(t *table, node string, i admin.QueuesInfo) {
			for _, q := range i.Queues {
				state := cell{}
				switch {
				case q.Error != "":
					state = cell{q.Error, red}
				case q.Paused:
					state = cell{"paused", yellow}
				}
				t.row(q.Name+"@"+node, q.Item, q.Depth, q.Oldest, q.Delayed, q.InFlight, alarming(q.Dead), q.Waiting, q.Acked, state)
			}
		})
	var dead, content bool
	limit := 0
	items := &cobra.Command{Use: "items QUEUE", Short: "List the first items that wait, or the dead ones", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		name, node, err := a.address(args[0])
		if err != nil {
			return err
		}
		i, err := one(c.Context(), a, node, admin.QueueItems{Queue: name, Dead: dead, Limit: limit, Content: content})
		if err != nil {
			return err
		}
		return a.show(i, func(t *table) {
			t.head = []string{"TOKEN", "ID", "ATTEMPTS", "AGE", "DUE IN", "REASON", "CONTENT"}
			for _, it := range i.Items {
				t.row(it.Token, it.ID, it.Attempts, it.Age, it.Due, it.Reason, string(it.Content))
			}
		})
	}}
	items.Flags().BoolVar(&dead, "dead", false, "the dead ones")
	items.Flags().BoolVar(&content, "content", false, "with what they say, for operators")
	items.Flags().IntVar(&limit, "limit", admin.DefaultPage, "how many")
	all.AddCommand(items)
	for _, what := range []struct{ do, short string }{
		{"pause", "Keep a queue from giving out items"}, {"resume", "End a pause"}, {"purge", "Remove all items that no consumer has"},
		{"revive", "Give dead items another try: those of the tokens, or all with --all"}, {"discard", "Remove dead items: those of the tokens, or all with --all"}, {"cancel", "Remove items that wait: those of the tokens, or all with --all"},
	} {
		all.AddCommand(a.manage(what.do, what.short))
	}
	return all
}

// manage is a command that changes a queue.
func (a *app) manage(do, short string) *cobra.Command {
	ofItems := do == "revive" || do == "discard" || do == "cancel"
	every := false
	c := &cobra.Command{Use: do + " QUEUE", Short: short, Args: cobra.ExactArgs(1)}
	if ofItems {
		c.Use, c.Args = do+" QUEUE [TOKEN ...]", cobra.MinimumNArgs(1)
		c.Flags().BoolVar(&every, "all", false, "all of them")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		name, node, err := a.address(args[0])
		if err != nil {
			return err
		}
		if ofItems && every == (len(args) > 1) {
			return usage("want either tokens, as tandem queues items shows them, or --all")
		}
		if !every {
			done, err := one(c.Context(), a, node, admin.ManageQueue{Queue: name, Do: do, Tokens: args[1:]})
			if err != nil {
				return err
			}
			return a.managed(do, done)
		}
		var sum admin.QueueDone
		for { // a page at a time, until a page brings nothing
			i, err := one(c.Context(), a, node, admin.QueueItems{Queue: name, Dead: do != "cancel", Limit: admin.MaxPage})
			if err != nil {
				return err
			}
			var tokens []string
			for _, it := range i.Items {
				tokens = append(tokens, it.Token)
			}
			if len(tokens) == 0 {
				return a.managed(do, sum)
			}
			done, err := one(c.Context(), a, node, admin.ManageQueue{Queue: name, Do: do, Tokens: tokens})
			if err != nil {
				return err
			}
			sum.Count += done.Count
			if sum.Failed = done.Failed; done.Count == 0 {
				return a.managed(do, sum)
			}
		}
	}
	return c
}

// managed tells what was done. Items for which it failed make the command fail.
func (a *app) managed(do string, done admin.QueueDone) error {
	if err := a.say(done, "%s: %d items", do, done.Count); err != nil {
		return err
	}
	if len(done.Failed) > 0 {
		return fmt.Errorf("failed for %d items: %s", len(done.Failed), clean(strings.Join(done.Failed, "; ")))
	}
	return nil
}
