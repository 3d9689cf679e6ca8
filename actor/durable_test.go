package actor_test

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// A node is killed and restarted. A request that was done is replayed, one that had started
// is OutcomeUnknown, and one that had not started is NotRun and, by default, retried.
func TestDurableKind(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		want(t, ask(a, "warm up"), "warm up by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		slow := ask(a, "slow")
		time.Sleep(moment)
		queued, anew := ask(a, "queued", once), ask(a, "anew")
		time.Sleep(moment)
		c.kill(b, d)
		close(s.gate)
		spawn(t, c.start("b", d.config), "w", s.workers("b2").With(actor.Durable()))
		want(t, done, "done by b1")
		wantFailed(t, "started", slow, rpc.OutcomeUnknown, rpc.Unknown)
		wantFailed(t, "queued", queued, rpc.Unavailable, rpc.NotRun)
		want(t, anew, "anew by b2")
		for name, n := range map[string]int{"done": 1, "slow": 1, "queued": 0, "anew": 1} {
			s.ran(t, name, n)
		}
	})
}

// Requests to an actor that is not durable are not recorded, even if other actors of the node
// are durable.
func TestPlainActorBesideDurableOnes(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1"))
		want(t, ask(a, "warm up"), "warm up by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		c.kill(b, d)
		spawn(t, c.start("b", d.config), "w", s.workers("b2"))
		wantFailed(t, "not recorded", done, rpc.OutcomeUnknown, rpc.Unknown)
		s.ran(t, "done", 1)
	})
}

// Requests that wait for the same actor share writes.
func TestDurableBatches(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		slow := ask(a, "slow")
		time.Sleep(moment)
		before := d.written()
		var all []*rpc.Future[string]
		for range 200 {
			all = append(all, ask(a, "queued"))
		}
		time.Sleep(moment)
		close(s.gate)
		want(t, slow, "slow by b1")
		for _, f := range all {
			want(t, f, "queued by b1")
		}
		if n := d.written() - before; n > 20 {
			t.Errorf("200 requests took %d writes", n)
		}
		s.ran(t, "queued", 200)
	})
}
