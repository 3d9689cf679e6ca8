package actor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
)

// The first reply wins, and the other workers are cancelled.
func TestFirstOf(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := newDesk()
		ref := bind(spawn(t, b, "desk", d.clerks(), actor.Pool(4, route.FirstOf(3))))
		f := actor.Ask(t.Context(), ref, Linger{})
		for range 3 {
			<-d.arrived
		}
		d.leave <- struct{}{}
		who, err := f.Await(t.Context())
		if err != nil || who == "" {
			t.Errorf("%q, %v", who, err)
		}
		time.Sleep(time.Second)
		if got := d.counts(); len(got) != 2 || got[who] != 0 {
			t.Errorf("%s has won; cancelled: %v", who, got)
		}
		if len(d.arrived) > 0 {
			t.Error("a fourth worker got it")
		}
	})
}

// A race is lost only if all fail. The verdict is Ran if one ran. A caller who gives up cancels all.
func TestFirstOfFails(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := newDesk()
		local := spawn(t, b, "desk", d.clerks(), actor.Pool(2, route.FirstOf(2), small(1, mailbox.Block)))
		ref := bind(local)
		_, err := actor.Call(t.Context(), ref, Blunder{})
		wantErr(t, "both fail", err, rpc.Panicked, rpc.HasRun)
		time.Sleep(time.Minute)

		ctx, cancel := context.WithCancel(t.Context())
		f := actor.Ask(ctx, ref, Linger{})
		for range 2 {
			select {
			case <-d.arrived:
			case <-time.After(time.Second):
				t.Fatal("a worker has not got the request")
			}
		}
		cancel()
		_, err = f.Await(t.Context())
		wantErr(t, "cancelled", err, rpc.Canceled, rpc.Unknown)
		time.Sleep(time.Minute)
		if got := d.counts(); got["1"] != 1 || got["2"] != 1 {
			t.Errorf("cancelled: %v", got)
		}

		// With one worker busy, the other one alone decides.
		unplug := plug(t, b.Ref("desk/1"))
		if who := askWho(t, ref, ""); who != "2" {
			t.Errorf("worker %s has answered", who)
		}
		_, err = actor.Call(context.WithoutCancel(t.Context()), ref, Blunder{})
		if err == nil {
			t.Error("no error")
		}
		unplug()
		time.Sleep(time.Minute)

		// While all are busy, requests expire.
		one, two := plug(t, b.Ref("desk/1")), plug(t, b.Ref("desk/2"))
		before := d.whoms.Load()
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = actor.Call(ctx, ref, Whom{})
			cancel()
			if rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) == rpc.HasRun {
				t.Errorf("all are busy: %v", err)
			}
		}
		one()
		two()
		time.Sleep(time.Minute)
		if n := d.whoms.Load(); n != before {
			t.Errorf("%d of the requests that had expired ran", n-before)
		}
		askWho(t, ref, "")

		// The pool stops: what waits in workers did not run.
		one, two = plug(t, b.Ref("desk/1")), plug(t, b.Ref("desk/2"))
		var waiting []*rpc.Future[string]
		for range 4 {
			waiting = append(waiting, actor.Ask(t.Context(), ref, Whom{}))
		}
		time.Sleep(time.Millisecond)
		actor.Halt(b, local)
		synctest.Wait()
		one()
		two()
		for _, f := range waiting {
			_, err = f.Await(t.Context())
			if rpc.Ran(err) != rpc.NotRun {
				t.Errorf("the pool has stopped: %v, %v", err, rpc.Ran(err))
			}
		}
	})
}

// One worker refuses, and the other one has failed after it ran: it ran.
func TestFirstOfVerdict(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		no := errors.New("no")
		kind := actor.Define("test.refuses", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Whom) (string, error) {
			if m.Customer == "" || number(ctx) == m.Customer {
				return "", actor.Defer[string](ctx).Refuse(rpc.Failed, no)
			}
			return "", no
		}))
		ref := bind(spawn(t, b, "desk", kind, actor.Pool(2, route.FirstOf(2))))
		for _, who := range []string{"1", "2"} {
			_, err := actor.Call(t.Context(), ref, Whom{Customer: who})
			wantErr(t, who+" refuses", err, rpc.Failed, rpc.HasRun)
		}
		_, err := actor.Call(t.Context(), ref, Whom{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		wantErr(t, "both refuse", err, rpc.Failed, rpc.NotRun)
	})
}

// Deferred answers, and many races at once. Each worker knows where the request comes from.
func TestFirstOfMany(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind := actor.Define("test.later", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Whom) (string, error) {
			later, answer := actor.Defer[string](ctx), number(ctx)+ctx.Node()
			go func() { _ = later.Answer(answer) }()
			return "", nil
		}))
		ref := bind(spawn(t, b, "desk", kind, actor.Pool(3, route.FirstOf(2), small(4, mailbox.Block))))
		node := "b"
		if bindsAfar(ref) {
			node = "a"
		}
		var all []*rpc.Future[string]
		for range 200 {
			all = append(all, actor.Ask(t.Context(), ref, Whom{}))
		}
		for i, f := range all {
			if v, err := f.Await(t.Context()); err != nil || len(v) < 2 || v[1:] != node {
				t.Errorf("%d: %q, %v", i, v, err)
			}
		}
		synctest.Wait()
	})
}
