package actor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// refusing returns an actor on b whose mailbox is full, so that it refuses requests until
// unplug is called.
func refusing(t *testing.T, a, b *actor.System) (to actor.Ref, unplug func()) {
	t.Helper()
	ref := spawn(t, b, "x", PuppetKind, small(1, mailbox.Refuse))
	unplug = plug(t, ref)
	if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) {})); err != nil {
		t.Fatal(err)
	}
	return a.Ref("x@b"), unplug
}

// A request that an actor refuses because it is overloaded is retried, and runs once the
// overload has passed.
func TestRetryAfterOverload(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		to, unplug := refusing(t, a, b)
		f := actor.Ask(t.Context(), to, Count{})
		synctest.Wait()
		unplug()
		synctest.Wait()
		if n, err := f.Await(t.Context()); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if s := a.Stats().RPC; s.Retries == 0 || s.Outstanding != 0 {
			t.Errorf("%d retries, %d outstanding", s.Retries, s.Outstanding)
		}
	})
}

// Retries end after as many attempts as the policy says. The error says what is known of all
// of them.
func TestRetriesEnd(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		to, unplug := refusing(t, a, b)
		defer unplug()
		for _, attempts := range []int{1, 3} {
			before := a.Stats().RPC
			_, err := actor.Call(t.Context(), to, Count{}, rpc.WithRetry(rpc.Retry{Attempts: attempts}))
			wantErr(t, "refused each time", err, rpc.Overloaded, rpc.NotRun)
			after := a.Stats().RPC
			if got := int(after.Retries - before.Retries); got != attempts-1 {
				t.Errorf("%d retries, want %d", got, attempts-1)
			}
		}
	})
}

// A cancel or a deadline takes effect at any moment, also in the pause between two attempts.
func TestGiveUpBetweenAttempts(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		to, unplug := refusing(t, a, b)
		defer unplug()
		slow := rpc.WithRetry(rpc.Retry{MinPause: time.Hour, MaxPause: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		f := actor.Ask(ctx, to, Count{}, slow)
		synctest.Wait()
		began := time.Now()
		cancel()
		_, err := f.Await(t.Context())
		wantErr(t, "given up in a pause", err, rpc.Canceled, rpc.NotRun)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// A request whose handler ran is never retried, whatever the handler's error says.
func TestNoRetryOfWhatRan(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		runs := 0
		kind := actor.Define("test.failing", func() int { return 0 }, actor.Answer(func(int, *actor.Context, Say) (string, error) {
			runs++
			return "", rpc.Errorf(rpc.Overloaded, rpc.NotRun, "somebody else is overloaded")
		}))
		spawn(t, b, "x", kind)
		_, err := actor.Call(t.Context(), a.Ref("x@b"), Say{}, rpc.Idempotent())
		if runs != 1 || rpc.Ran(err) != rpc.HasRun || a.Stats().RPC.Retries != 0 {
			t.Errorf("ran %d times: %v", runs, err)
		}
	})
}

// A request to a service that one instance refuses is retried at another instance.
func TestRetryAtAnotherInstance(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{net.Transport("bus", false)}})
		}
		a, b, c := start("a"), start("b"), start("c")
		full := spawn(t, b, "full", PuppetKind, small(1, mailbox.Refuse), actor.Expose("counters"))
		unplug := plug(t, full)
		defer unplug()
		if err := actor.Tell(t.Context(), full, note(func(*actor.Context) {})); err != nil {
			t.Fatal(err)
		}
		spawn(t, c, "free", PuppetKind, actor.Expose("counters"))
		synctest.Wait()
		for range 6 {
			if n, err := actor.Call(t.Context(), a.Service("counters"), Count{}); n != 0 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if a.Stats().RPC.Retries == 0 {
			t.Error("nothing was refused")
		}
	})
}

// If the first road is slow, a hedged request is answered over the second one. It runs once,
// however late its first copy arrives.
func TestHedge(t *testing.T) {
	for _, slow := range []string{"direct", "bus"} {
		world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
			spawn(t, b, "x", AccountKind)
			to := a.Ref("x@b")
			if err := actor.Tell(t.Context(), to, Deposit{100}, rpc.Acked()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // both roads are open, and the direct one is taken
			net.Hold(slow, "a", "b")
			began := time.Now()
			n, err := actor.Call(t.Context(), to, Withdraw{Amount: 1}, rpc.Hedge(100*time.Millisecond))
			took := time.Since(began)
			if n != 99 || err != nil || took > time.Second || slow == "direct" && took < 100*time.Millisecond {
				t.Errorf("%s is slow: %d, %v after %v", slow, n, err, took)
			}
			want := uint64(0)
			if slow == "direct" {
				want = 1
			}
			if got := a.Stats().RPC.Hedged; got != want {
				t.Errorf("%s is slow: %d hedged", slow, got)
			}
			net.Release(slow, "a", "b")
			time.Sleep(time.Second)
			if n, err := actor.Call(t.Context(), to, Balance{}); n != 99 || err != nil {
				t.Errorf("after the first copy came: %d, %v", n, err)
			}
		})
	}
}

// The retry policy of a kind takes precedence over that of the system, and the policy of a
// request takes precedence over both.
func TestRetriesOfAKind(t *testing.T) {
	world(t, []string{"bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		to, unplug := refusing(t, a, b)
		defer unplug()
		careful := PuppetKind.With(actor.Retries(rpc.Retry{Attempts: 2}))
		for _, c := range []struct {
			kind *actor.Kind
			opts []rpc.Option
			want uint64
		}{
			{PuppetKind, nil, 3}, // of the 4 attempts that are the default of rpc.Retry
			{careful, nil, 1},
			{careful, []rpc.Option{rpc.WithRetry(rpc.Retry{Attempts: 3})}, 2},
			{PuppetKind.With(actor.Retries(rpc.Retry{Attempts: 1})), nil, 0},
		} {
			before := a.Stats().RPC.Retries
			_, err := actor.Call(t.Context(), spawn(t, a, "", c.kind), run(func(ctx *actor.Context) (string, error) {
				_, err := actor.Call(ctx, to, Count{}, c.opts...)
				wantErr(t, "refused each time", err, rpc.Overloaded, rpc.NotRun)
				return "", nil
			}))
			if got := a.Stats().RPC.Retries - before; got != c.want || err != nil {
				t.Errorf("%d retries, want %d; %v", got, c.want, err)
			}
		}
	})
}
