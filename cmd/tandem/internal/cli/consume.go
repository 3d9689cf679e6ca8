package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
)

// The commands of producers and consumers.

func (a *app) push() *cobra.Command {
	var m admin.PushItem
	c := &cobra.Command{Use: "push QUEUE JSON", Short: "Add an item to a queue", Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
		name, node, err := a.address(args[0])
		if err != nil {
			return err
		}
		m.Queue = name
		if m.Item, err = a.body(args[1:]); err != nil {
			return err
		}
		p, err := one(c.Context(), a, node, m)
		if err != nil {
			return err
		}
		if p.Duplicate {
			return a.say(p, "the queue knew the id: nothing was added")
		}
		return a.say(p, "added")
	}}
	c.Flags().StringVar(&m.ID, "id", "", "name the item: of several with one id the queue keeps one")
	c.Flags().IntVar(&m.Priority, "priority", 0, "items of a higher priority come first")
	c.Flags().DurationVar(&m.Delay, "delay", 0, "before it can be taken")
	return c
}

func (a *app) pull() *cobra.Command {
	var m admin.PullItems
	c := &cobra.Command{Use: "pull QUEUE", Short: "Take items from a queue, under a lease", Long: `Take items from a queue, under a lease: tandem ack, nack or release answers them by their tokens, or they are delivered again when the lease ends.`,
		Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			name, node, err := a.address(args[0])
			if err != nil {
				return err
			}
			m.Queue, m.Wait = name, min(m.Wait, max(a.timeout-time.Second, 0))
			p, err := one(c.Context(), a, node, m)
			if err != nil {
				return err
			}
			return a.show(p, func(t *table) {
				t.head = []string{"TOKEN", "ID", "ATTEMPT", "LEASE", "ITEM"}
				for _, i := range p.Items {
					t.row(i.Token, i.ID, i.Attempt, i.Lease, string(i.Item))
				}
			})
		}}
	c.Flags().IntVar(&m.Max, "max", 1, "how many at most")
	c.Flags().DurationVar(&m.Wait, "wait", 0, "how long to wait for one, up to a second less than --timeout")
	return c
}

func (a *app) answer(do, short string) *cobra.Command {
	var delay time.Duration
	c := &cobra.Command{Use: do + " QUEUE TOKEN ...", Short: short, Args: cobra.MinimumNArgs(2), RunE: func(c *cobra.Command, args []string) error {
		name, node, err := a.address(args[0])
		if err != nil {
			return err
		}
		done, err := one(c.Context(), a, node, admin.AnswerItems{Queue: name, Do: do, Tokens: args[1:], Delay: delay})
		if err != nil {
			return err
		}
		return a.managed(do, done)
	}}
	if do != "ack" {
		c.Flags().DurationVar(&delay, "delay", 0, "before the next attempt")
	}
	return c
}

func (a *app) publish() *cobra.Command {
	return &cobra.Command{Use: "publish TOPIC MESSAGE [JSON]", Short: "Publish a message on a topic", Long: `Publish a message on a topic that is not durable. MESSAGE is the message's name on the wire. The node that is asked has to have an actor that has
subscribed to such messages: tandem topics shows which ones have.`, Args: cobra.RangeArgs(2, 3), RunE: func(c *cobra.Command, args []string) error {
		m := admin.PublishMessage{Topic: args[0], Type: args[1]}
		var err error
		if m.Body, err = a.body(args[2:]); err != nil {
			return err
		}
		done, err := one(c.Context(), a, a.node, m)
		if err != nil {
			return err
		}
		return a.say(done, "published")
	}}
}
