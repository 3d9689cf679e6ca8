package actor_test

// Requests under a key, to plain and to durable actors.

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
)

// Requests to one actor under one key run once and have one answer, whoever sends them and
// whenever.
func TestKeyIsOneExecution(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b, other := c.start("a"), c.start("b"), c.start("c")
		spawn(t, b, "w", s.workers("b1"))
		spawn(t, b, "v", s.workers("v1"))
		first, second := ask(a, "slow", rpc.Key("k")), ask(other, "slow", rpc.Key("k"))
		third := ask(a, "slow", rpc.Key("k"))
		time.Sleep(moment)
		close(s.gate)
		for _, f := range []*rpc.Future[string]{first, second, third, ask(other, "slow", rpc.Key("k")), ask(a, "slow", rpc.Key("k"))} {
			want(t, f, "slow by b1")
		}
		s.ran(t, "slow", 1)
		wantFailed(t, "another message", ask(other, "other", rpc.Key("k")), rpc.IDReused, rpc.HasRun)
		s.ran(t, "other", 0)
		want(t, ask(a, "slow", rpc.Key("k2")), "slow by b1")
		want(t, ask(a, "slow"), "slow by b1")
		want(t, actor.Ask(t.Context(), a.Ref("v@b"), Job{Name: "slow"}, rpc.Key("k")), "slow by v1")
		s.ran(t, "slow", 4)
	})
}

// A key outlives its client and, if the kind is durable, its server.
func TestKeyAcrossRestarts(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")
		c.kill(a, nil)
		a = c.start("a")
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")

		c.mute(b)
		y := ask(a, "y", rpc.Key("k2"))
		time.Sleep(moment)
		slow := ask(a, "slow", rpc.Key("k3"))
		time.Sleep(moment)
		c.kill(b, d)
		close(s.gate)
		spawn(t, c.start("b", d.config), "w", s.workers("b2").With(actor.Durable()))
		want(t, y, "y by b1")
		wantFailed(t, "started", slow, rpc.OutcomeUnknown, rpc.Unknown)
		other := c.start("c")
		want(t, ask(other, "x", rpc.Key("k")), "x by b1")
		want(t, ask(other, "y", rpc.Key("k2")), "y by b1")
		wantFailed(t, "another message", ask(other, "z", rpc.Key("k2")), rpc.IDReused, rpc.HasRun)
		wantFailed(t, "started before", ask(other, "slow", rpc.Key("k3")), rpc.OutcomeUnknown, rpc.Unknown)
		for name, n := range map[string]int{"x": 1, "y": 1, "z": 0, "slow": 1} {
			s.ran(t, name, n)
		}
	})
}

// If an attempt is refused, its key can be used again.
func TestKeyAfterRefusal(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		wantFailed(t, "nobody is there", ask(a, "x", rpc.Key("k")), rpc.NotFound, rpc.NotRun)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()), small(1, mailbox.Refuse))
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")

		slow := ask(a, "slow")
		time.Sleep(moment)
		queued := ask(a, "queued")
		time.Sleep(moment)
		wantFailed(t, "the mailbox is full", ask(a, "y", rpc.Key("k2"), once), rpc.Overloaded, rpc.NotRun)
		close(s.gate)
		want(t, slow, "slow by b1")
		want(t, queued, "queued by b1")
		want(t, ask(a, "z", rpc.Key("k2")), "z by b1") // the key can even be used for another message
		s.ran(t, "y", 0)
		for range 2 { // refused after the mailbox, by the actor itself
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := actor.Call(ctx, a.Ref("w@b"), Count{}, rpc.Key("k3"))
			cancel()
			wantErr(t, "no such message", err, rpc.Unhandled, rpc.NotRun)
		}
		want(t, ask(a, "x", rpc.Key("k3")), "x by b1")
	})
}

// Two requests share a key. The one that is queued is cancelled by its caller, and the other
// one takes its place.
func TestKeyOwnerGivesUpInTheMailbox(t *testing.T) {
	for _, durable := range []bool{false, true} {
		onEachRoad(t, func(t *testing.T, c *cluster) {
			s, d := newShop(), new(disk)
			a, b, other := c.start("a"), c.start("b", d.config), c.start("c")
			kind := s.workers("b1")
			if durable {
				kind = kind.With(actor.Durable())
			}
			spawn(t, b, "w", kind)
			slow := ask(a, "slow")
			time.Sleep(moment)
			ctx, cancel := context.WithCancel(t.Context())
			owner := actor.Ask(ctx, a.Ref("w@b"), Job{Name: "x"}, rpc.Key("k"))
			time.Sleep(moment)
			waiting, resigned := ask(other, "x", rpc.Key("k")), ask(other, "x", rpc.Key("k"), once)
			time.Sleep(moment)
			cancel()
			_, err := owner.Await(t.Context())
			wantErr(t, "the owner", err, rpc.Canceled, rpc.Unknown)
			time.Sleep(moment)
			close(s.gate)
			want(t, slow, "slow by b1")
			want(t, waiting, "x by b1")
			wantFailed(t, "without a retry", resigned, rpc.Unavailable, rpc.NotRun)
			s.ran(t, "x", 1)
			if other.Stats().RPC.Retries != 1 {
				t.Errorf("%d retries", other.Stats().RPC.Retries)
			}
		})
	}
}

// A request under a key is cancelled while its handler runs. The handler's context ends only
// if nobody else waits for the outcome.
func TestKeyOwnerGivesUpWhileItRuns(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b, other := c.start("a"), c.start("b"), c.start("c")
		spawn(t, b, "w", s.workers("b1"))
		for _, shared := range []bool{true, false} {
			name := fmt.Sprint("slow ", shared)
			ctx, cancel := context.WithCancel(t.Context())
			owner := actor.Ask(ctx, a.Ref("w@b"), Job{Name: name}, rpc.Key(name))
			time.Sleep(moment)
			var waiting *rpc.Future[string]
			if shared {
				waiting = ask(other, name, rpc.Key(name))
				time.Sleep(moment)
			}
			cancel()
			_, err := owner.Await(t.Context())
			wantErr(t, "the owner", err, rpc.Canceled, rpc.Unknown)
			time.Sleep(moment)
			if s.wasCanceled(name) == shared {
				t.Errorf("others wait: %v, the handler's context has ended: %v", shared, s.wasCanceled(name))
			}
			if shared {
				close(s.gate)
				want(t, waiting, name+" by b1")
				want(t, ask(a, name, rpc.Key(name)), name+" by b1")
				s.gate = make(chan struct{})
			}
			s.ran(t, name, 1)
		}
	})
}

// The deadline of the attempt that runs passes, while another attempt waits for its outcome
// until later. The handler's context ends at the later deadline.
func TestKeyHasTheLatestDeadline(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b, other := c.start("a"), c.start("b"), c.start("c")
		spawn(t, b, "w", s.workers("b1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		owner := actor.Ask(ctx, a.Ref("w@b"), Job{Name: "slow"}, rpc.Key("k"))
		time.Sleep(moment)
		waiting := ask(other, "slow", rpc.Key("k"))
		_, err := owner.Await(t.Context())
		wantErr(t, "the owner", err, rpc.Expired, rpc.Unknown)
		time.Sleep(2 * time.Second)
		if s.wasCanceled("slow") {
			t.Error("the handler's context ended though another attempt waits until later")
		}
		time.Sleep(10 * actor.DefaultTimeout)
		if !s.wasCanceled("slow") {
			t.Error("the handler's context outlived the latest deadline")
		}
		if _, err := waiting.Await(t.Context()); err == nil {
			t.Error("an answer from nowhere")
		}
	})
}

// Callers of one system share a key with each other. They share it with callers of other
// nodes, too, if those have the same principal.
func TestKeyOfLocalCallers(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		for _, one := range []bool{false, true} {
			s := newShop()
			a := c.start("a")
			b := c.start("b", func(cfg *actor.Config) {
				if !one {
					cfg.Principals = func(road string, _ transport.Peer) string { return road }
				}
			})
			spawn(t, b, "w", s.workers("b1"))
			first, second := ask(b, "slow", rpc.Key("k")), ask(b, "slow", rpc.Key("k"))
			far := ask(a, "slow", rpc.Key("k"))
			time.Sleep(moment)
			close(s.gate)
			for _, f := range []*rpc.Future[string]{first, second, far, ask(b, "slow", rpc.Key("k"))} {
				want(t, f, "slow by b1")
			}
			runs := 2
			if one {
				runs = 1
			}
			s.ran(t, "slow", runs)
			c.kill(a, nil)
			c.kill(b, nil)
		}
	})
	bubble.Test(t, func(t *testing.T) { // a system without peers
		s := newShop()
		b := newSystem(t, actor.Config{Name: "b"})
		spawn(t, b, "w", s.workers("b1"))
		for range 3 {
			want(t, ask(b, "x", rpc.Key("k")), "x by b1")
		}
		s.ran(t, "x", 1)
		wantFailed(t, "another message", ask(b, "y", rpc.Key("k")), rpc.IDReused, rpc.HasRun)
		if got, err := actor.Call(t.Context(), b.Ref("w@b"), Job{Name: "x"}, rpc.Key("k")); got != "x by b1" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_, err := actor.Call(t.Context(), b.Ref("nobody@b"), Job{Name: "x"}, rpc.Key("k"))
		wantErr(t, "nobody", err, rpc.NotFound, rpc.NotRun)
	})
}

// A key has 1 to 255 bytes and is used with one actor. A one-way message can have a key only
// if it is Acked.
func TestInvalidKeys(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b := c.start("a"), c.start("b")
		w := spawn(t, b, "w", s.workers("b1"), actor.Expose("workers"))
		time.Sleep(moment)
		for _, sys := range []*actor.System{a, b} {
			for what, opt := range map[string]rpc.Option{"no bytes": rpc.Key(""), "too many bytes": rpc.Key(strings.Repeat("k", 256))} {
				wantFailed(t, what, ask(sys, "x", opt), rpc.Invalid, rpc.NotRun)
				wantErr(t, what, actor.Tell(t.Context(), sys.Ref("w@b"), Errand{"x"}, opt, rpc.Acked()), rpc.Invalid, rpc.NotRun)
			}
			_, err := actor.Call(t.Context(), sys.Service("workers"), Job{Name: "x"}, rpc.Key("k"))
			wantErr(t, "at a service", err, rpc.Invalid, rpc.NotRun)
			wantErr(t, "one-way", actor.Tell(t.Context(), sys.Ref("w@b"), Errand{"x"}, rpc.Key("k")), rpc.Invalid, rpc.NotRun)
			want(t, ask(sys, "y", rpc.Key(strings.Repeat("k", 255))), "y by b1")
		}
		s.ran(t, "x", 0)
		for range 3 {
			if err := actor.Tell(t.Context(), a.Ref("w@b"), Errand{"x"}, rpc.Key("k"), rpc.Acked()); err != nil {
				t.Error(err)
			}
		}
		if _, err := actor.Call(t.Context(), w, Job{Name: "z"}); err != nil { // after this, the one-way messages have been handled
			t.Error(err)
		}
		s.ran(t, "x", 1)
	})
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b", new(disk).config)
		spawn(t, b, "w", newShop().workers("b1").With(actor.Durable()))
		err := actor.Tell(t.Context(), a.Ref("w@b"), Errand{"x"}, rpc.Key("k"), rpc.Acked())
		wantErr(t, "not recorded", err, rpc.Invalid, rpc.NotRun)
	})
}

// A key is forgotten after KeyLife, also by the store.
func TestKeyLife(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		short := func(cfg *actor.Config) { cfg.RPC.KeyLife = time.Hour }
		a, b := c.start("a"), c.start("b", d.config, short)
		spawn(t, b, "w", s.workers("b1"))
		spawn(t, b, "d", s.workers("b1").With(actor.Durable()))
		for i, wait := range []time.Duration{0, 59 * time.Minute, 5 * time.Minute} {
			time.Sleep(wait)
			for _, addr := range []string{"w@b", "d@b"} {
				want(t, actor.Ask(t.Context(), a.Ref(addr), Job{Name: addr}, rpc.Key("k")), addr+" by b1")
				s.ran(t, addr, 1+i/2)
			}
		}
	})
}
