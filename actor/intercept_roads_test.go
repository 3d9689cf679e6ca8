package actor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// seeing returns an interceptor that keeps what it saw of the latest operation after next.
func seeing(last *intercept.Operation) intercept.Func {
	return func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		err := next(ctx)
		*last = *op
		return err
	}
}

// A request whose reply was lost with its link is answered from the record of the server, and one under a
// key that is done from that of the key: the sender's interceptors see it, and the handler runs once.
func TestInterceptorSeesReplay(t *testing.T) {
	var out intercept.Operation
	log := new(notes)
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "tap", tapKind(log))
		to := a.Ref("tap@b")
		call := func(opts ...rpc.Option) {
			t.Helper()
			if _, err := actor.Call(t.Context(), to, Tap{Text: "m"}, opts...); err != nil {
				t.Error(err)
			}
		}
		want := func(what string, replayed bool, handled ...string) {
			t.Helper()
			if out.Replayed != replayed || out.Attempts != 1 || out.Verdict != rpc.HasRun {
				t.Errorf("%s: replayed %v after %d attempts, %v", what, out.Replayed, out.Attempts, out.Verdict)
			}
			log.want(t, what, handled...)
		}
		const handled = `handler m header="" value=""`
		call()
		want("a first request", false, handled)
		net.Hold("direct", "b", "a") // its reply gets stuck
		f := actor.Ask(t.Context(), to, Tap{Text: "m"})
		synctest.Wait()
		net.Partition("direct", "a", "b")
		net.Reset("direct", "a", "b")
		if _, err := f.Await(t.Context()); err != nil {
			t.Error(err)
		}
		want("after a cut", true, handled)
		call(rpc.Key("k"))
		want("a first key", false, handled)
		call(rpc.Key("k"))
		want("a key again", true)
	}, func(cfg *actor.Config) {
		if cfg.Name == "a" {
			cfg.Outgoing = []intercept.Func{seeing(&out)}
		}
	})
}

// The sender's interceptors see how many attempts there were.
func TestInterceptorSeesAttempts(t *testing.T) {
	var out intercept.Operation
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		to, unplug := refusing(t, a, b)
		defer unplug()
		_, err := actor.Call(t.Context(), to, Count{}, rpc.WithRetry(rpc.Retry{Attempts: 3}))
		if rpc.CodeOf(err) != rpc.Overloaded || out.Attempts != 3 || out.Verdict != rpc.NotRun {
			t.Errorf("%v after %d attempts, %v", err, out.Attempts, out.Verdict)
		}
	}, func(cfg *actor.Config) {
		if cfg.Name == "a" {
			cfg.Outgoing = []intercept.Func{seeing(&out)}
		}
	})
}

// Jobs and queues are intercepted, and what Tandem sends for them is not.
func TestInterceptedJobsAndQueues(t *testing.T) {
	out, in := new(notes), new(notes)
	intercepted(t, []intercept.Func{noting(out, "out")}, []intercept.Func{noting(in, "in")}, nil, func(t *testing.T, _ *actor.System, to actor.Ref, log *notes) {
		token, err := actor.Submit(t.Context(), to, Tap{Text: "m"})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := token.Await(t.Context()); err != nil {
			t.Error(s, err)
		}
		of := ` "" of actor_test.`
		out.want(t, "submit", "out submit Tap"+of+"Tap", "out ended: <nil>, ran")
		in.want(t, "submit", "in submit Tap"+of+"Tap", "in ended: <nil>, ran")
		if err := actor.Push(t.Context(), to, Tapped{"m"}); err != nil {
			t.Fatal(err)
		}
		out.want(t, "push", "out push Tapped"+of+"Tapped", "out ended: <nil>, ran")
		in.want(t, "push", "in push Tapped"+of+"Tapped", "in ended: <nil>, ran")
		got, err := actor.Pull[Tapped](t.Context(), to)
		if err != nil || len(got) != 1 || got[0].Ack(t.Context()) != nil {
			t.Fatal(got, err)
		}
		for _, side := range []*notes{out, in} {
			if list := side.take(); len(list) != 4 { // Pull and Ack
				t.Error(list)
			}
		}
	})
}

// Asks whose interceptors take their time after the reply leave in the order of the calls, are not waited
// for.
func TestInterceptedAsks(t *testing.T) {
	slow := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		err := next(ctx)
		time.Sleep(time.Second)
		return err
	}
	intercepted(t, []intercept.Func{slow}, nil, nil, func(t *testing.T, _ *actor.System, to actor.Ref, log *notes) {
		var want []string
		var all []*rpc.Future[string]
		begun := time.Now()
		for i := range 50 {
			all = append(all, actor.Ask(t.Context(), to, Tap{Text: fmt.Sprint(i)}))
			want = append(want, fmt.Sprintf(`handler %d header="" value=""`, i))
		}
		log.want(t, "asks", want...)
		if _, err := rpc.All(all...).Await(t.Context()); err != nil || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// The future of a request with interceptors can be cancelled.
func TestInterceptedAskCancelled(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var out intercept.Operation
		sys := newSystem(t, actor.Config{Logger: quiet, Outgoing: []intercept.Func{seeing(&out)}})
		ref := spawn(t, sys, "x", PuppetKind)
		unplug := plug(t, ref)
		f := actor.Ask(t.Context(), ref, Count{})
		f.Cancel()
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled", err, rpc.Canceled, rpc.NotRun)
		if out.Verdict != rpc.NotRun || out.Attempts != 0 {
			t.Errorf("%v after %d attempts", out.Verdict, out.Attempts)
		}
		unplug()
	})
}

// What an interceptor puts into the context of a one-way message is seen by that message's handler
// only, also by one that keeps its context.
func TestInterceptedContextIsItsOwn(t *testing.T) {
	var n atomic.Int64
	number := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		return next(context.WithValue(ctx, tapKey{}, n.Add(1)))
	}
	var kept []context.Context
	intercepted(t, nil, nil, nil, func(t *testing.T, at *actor.System, _ actor.Ref, _ *notes) {
		n.Store(0)
		kept = nil
		keeper := actor.Define("keeper", func() struct{} { return struct{}{} },
			actor.Handle(func(_ struct{}, ctx *actor.Context, m Tapped) error { kept = append(kept, ctx); return nil }),
		).With(actor.Incoming(number))
		ref := spawn(t, at, "keeper", keeper)
		for range 3 {
			tell(t, ref, Tapped{})
		}
		synctest.Wait()
		for i, ctx := range kept {
			if got := ctx.Value(tapKey{}); got != int64(i+1) {
				t.Errorf("message %d has value %v", i+1, got)
			}
		}
		if len(kept) != 3 {
			t.Errorf("%d messages", len(kept))
		}
	})
}

// Bad configurations are refused when they are made.
func TestInterceptorNil(t *testing.T) {
	for _, cfg := range []actor.Config{{Outgoing: []intercept.Func{nil}}, {Incoming: []intercept.Func{nil}}} {
		if _, err := actor.NewSystem(cfg); err == nil {
			t.Error("a system with an interceptor that is nil")
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a kind with an interceptor that is nil")
		}
	}()
	actor.Incoming(nil)
}

// Whoever has the answer to a request under a key, and sends it again under that key, is told that the
// second answer is the recorded one, however soon that is.
func TestInterceptorSeesReplayOfKeyAtOnce(t *testing.T) {
	var out intercept.Operation
	sys := newSystem(t, actor.Config{Logger: quiet, Outgoing: []intercept.Func{seeing(&out)}})
	to := spawn(t, sys, "tap", tapKind(new(notes)))
	for i := range 5000 {
		for again := range 2 {
			if _, err := actor.Call(t.Context(), to, Tap{Text: "m"}, rpc.Key(fmt.Sprint(i))); err != nil || out.Replayed != (again == 1) {
				t.Fatalf("key %d: replayed %v, %v", i, out.Replayed, err)
			}
		}
	}
}
