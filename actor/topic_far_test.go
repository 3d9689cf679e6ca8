package actor_test

// Topics between nodes.

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Over each road a message arrives at the subscribers of each node, once, in order, with its sender,
// headers and principal.
func TestPublishToOtherNodes(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		l := new(heardLog)
		near, far1, far2 := l.listen(t, a, "near", prices), l.listen(t, b, "far1", prices), l.listen(t, b, "far2", euro)
		settle()
		var want []string
		for i := range 500 {
			publish(t, a, euro, i)
			want = append(want, fmt.Sprint("p", i))
		}
		for _, r := range []actor.Ref{near, far1, far2} {
			l.want(t, r, want...)
		}
		inside(t, far1, func(ctx *actor.Context) error { ctx.Unsubscribe(prices); return nil })
		publish(t, a, euro, 1)
		l.want(t, far1)
		l.want(t, far2, "p1")
		inside(t, far2, func(ctx *actor.Context) error { ctx.Unsubscribe(euro); return nil })
		settle()
		sent := a.Stats()
		publish(t, a, euro, 2)
		l.want(t, far2)
		if now := a.Stats(); now.RPC != sent.RPC {
			t.Error("a node without subscribers was sent a message")
		}
	})
}

func TestPublishSaysWhoPublished(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		who := make(chan string, 2)
		kind := actor.Define("test.who", func() *whoHeard { return &whoHeard{who} }, actor.Handle((*whoHeard).OnPrice), actor.Answer((*whoHeard).Run))
		r := spawn(t, b, "r", kind)
		inside(t, r, func(ctx *actor.Context) error { return ctx.Subscribe(prices) })
		settle()
		from := spawn(t, a, "from", PuppetKind)
		inside(t, from, func(ctx *actor.Context) error {
			return actor.Publish(ctx, euro, Price{}, rpc.WithHeader("h", "v"))
		})
		if got := <-who; got != "from@a v a node:a" && got != "from@a v a anonymous" {
			t.Error(got)
		}
		publish(t, a, euro, 1)
		if got := <-who; !strings.HasPrefix(got, "  a ") {
			t.Error(got)
		}
	})
}

type whoHeard struct{ to chan string }

// Who may publish is decided by the topic. A refused message is a dead letter, and not decoded.
func TestAccessToTopics(t *testing.T) {
	rules := access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Topics: []string{"prices.eur*"}, Messages: []string{"github.com/tandem-go/tandem/actor_test.*"}}}}
	world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		l, log := new(heardLog), letters(t, b)
		r := l.listen(t, b, "r", prices)
		settle()
		for i := range 600 { // more than a peer may send without a receipt
			publish(t, a, euro, i)
		}
		if got := l.take(r); len(got) != 600 {
			t.Errorf("%d arrived", len(got))
		}
		publish(t, a, prices.At("prices.usd"), 2)
		l.want(t, r)
		if got := log(); len(got) != 1 || rpc.CodeOf(got[0].Reason) != rpc.Denied || got[0].To != "prices.usd@b" {
			t.Errorf("%+v", got)
		}
		publish(t, b, prices.At("prices.usd"), 3) // its own node asks nobody
		l.want(t, r, "p3")
	}, func(c *actor.Config) { c.Access = rules })
}

// A LocalOnly actor gets what its own node publishes.
func TestLocalOnlySubscriber(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		l := new(heardLog)
		hides, other := spawn(t, b, "hides", l.kind(), actor.LocalOnly()), l.listen(t, b, "other", prices)
		inside(t, hides, func(ctx *actor.Context) error { return ctx.Subscribe(prices) })
		settle()
		publish(t, a, euro, 1)
		l.want(t, hides)
		l.want(t, other, "p1")
		publish(t, b, euro, 2)
		l.want(t, hides, "p2")
		l.want(t, other, "p2")
	})
}

// Many subscriptions at once are few writes of the record, and what does not fit into it is refused.
func TestSubscriptionsInTheRecord(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		l := new(heardLog)
		r := l.listen(t, b, "r", euro)
		settle()
		changes := watchRegistry(t, b)
		var refused error
		made := 0
		inside(t, r, func(ctx *actor.Context) error {
			for i := range 10_000 {
				if err := ctx.Subscribe(prices.At(fmt.Sprintf("prices.p%d", i))); err != nil {
					refused = err
					break
				}
				made++
			}
			return nil
		})
		if rpc.CodeOf(refused) != rpc.Overloaded || made < 1000 {
			t.Fatalf("%d made: %v", made, refused)
		}
		settle()
		if n := changes(); n != 1 {
			t.Errorf("%d writes for %d subscriptions", n, made)
		}
		publish(t, a, prices.At(fmt.Sprintf("prices.p%d", made-1)), 1)
		l.want(t, r, "p1")
		inside(t, r, func(ctx *actor.Context) error {
			ctx.Unsubscribe(prices.At("prices.p0"))
			return ctx.Subscribe(prices.At("prices.last"))
		})
		if err := b.Stop(t.Context(), r); err != nil {
			t.Error(err)
		}
		settle()
		if n := changes(); n != 1 {
			t.Errorf("%d writes for the end of all", n)
		}
	})
}

// A node that leaves takes its subscriptions with it.
func TestNodeLeavesWithItsSubscriptions(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		l := new(heardLog)
		near := l.listen(t, a, "near", prices, topic.Group("g"))
		l.listen(t, b, "far", prices, topic.Group("g"))
		settle()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		l.take(near)
		var want []string
		for i := range 20 {
			publish(t, a, euro, i)
			want = append(want, fmt.Sprint("p", i))
		}
		l.want(t, near, want...)
	})
}
