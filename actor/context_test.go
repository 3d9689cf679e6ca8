package actor_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// What a handler finds in its context, and when the context ends.
func TestContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var kept *actor.Context
		var fired bool
		_, err := actor.Call(ctx, ref, run(func(c *actor.Context) (string, error) {
			kept = c
			if at, ok := c.Deadline(); !ok || time.Until(at) != time.Minute {
				t.Errorf("deadline %v, %v", at, ok)
			}
			before := runtime.NumGoroutine()
			for range 10 {
				inner, stop := context.WithTimeout(c, time.Second)
				defer stop()
				_ = inner
			}
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("context.WithTimeout started %d goroutines", n-before)
			}
			c.AfterFunc(func() { fired = true })
			if c.Err() != nil || c.Self() != ref || c.System() != sys || !c.Sender().IsZero() || c.Value("key") != nil {
				t.Error("what the context knows is wrong")
			}
			return "", nil
		}))
		cancel()
		synctest.Wait()
		if err != nil || kept.Err() == nil || !fired {
			t.Errorf("%v; after the handler: %v, AfterFunc ran %v", err, kept.Err(), fired)
		}
		wantErr(t, "reply after the handler", kept.Reply("x"), rpc.Invalid, rpc.HasRun)

		// The caller cancels, before or after the handler first looks at its context.
		for _, late := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			look := make(chan struct{})
			saw := make(chan error, 1)
			f := actor.Ask(ctx, ref, run(func(c *actor.Context) (string, error) {
				if late {
					<-look
				}
				<-c.Done()
				saw <- context.Cause(c)
				return "", nil
			}))
			synctest.Wait()
			cancel()
			_, err := f.Await(t.Context())
			wantErr(t, "given up", err, rpc.Canceled, rpc.Unknown)
			close(look)
			if err := <-saw; rpc.CodeOf(err) != rpc.Canceled {
				t.Errorf("late %v: the handler's context ended with %v", late, err)
			}
		}

		// A cancel before its turn: it never runs.
		unplug := plug(t, ref)
		ctx, cancel = context.WithCancel(t.Context())
		f := actor.Ask(ctx, ref, run(func(*actor.Context) (string, error) { t.Error("ran"); return "", nil }))
		cancel()
		_, err = f.Await(t.Context())
		wantErr(t, "given up before its turn", err, rpc.Canceled, rpc.NotRun)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = actor.Call(ctx, ref, run(func(*actor.Context) (string, error) { t.Error("ran"); return "", nil }))
		wantErr(t, "expired before its turn", err, rpc.Expired, rpc.NotRun)
		unplug()
	})
}

// Other goroutines can use a handler's context, also after the handler has returned.
func TestContextEscapes(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref, other := spawn(t, sys, "x", PuppetKind), spawn(t, sys, "y", PuppetKind)
	var all sync.WaitGroup
	for range 50 {
		f := func(c *actor.Context) {
			for range 4 {
				all.Go(func() {
					_, _ = c.Deadline()
					_ = c.Err()
					_, _ = c.Trace(), c.Sender()
					if err := actor.Tell(context.WithoutCancel(c), other, Note{F: func(*actor.Context) error { return nil }}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		if err := actor.Tell(t.Context(), ref, note(f)); err != nil {
			t.Fatal(err)
		}
		if _, err := actor.Call(t.Context(), ref, run(func(c *actor.Context) (string, error) { f(c); return "", nil })); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
}

// The trace, including a span that a handler has set, and the sender arrive with each
// message.
func TestTraceAndSender(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		type seen struct {
			trace  rpc.Trace
			sender string
		}
		got := make(chan seen, 1)
		echo := actor.Define("test.echo", func() int { return 0 },
			actor.Answer(func(_ int, ctx *actor.Context, m Say) (string, error) {
				got <- seen{rpc.TraceOf(ctx), ctx.Sender().String()}
				return "", nil
			}))
		spawn(t, a, "echo", echo)
		spawn(t, b, "echo", echo)
		x := spawn(t, a, "x", PuppetKind)
		first, span := rpc.Trace{1}, rpc.Trace{2}
		for _, to := range []string{"echo@a", "echo@b"} {
			ref := a.Ref(to)
			outside := rpc.WithTrace(t.Context(), first)
			if _, err := actor.Call(outside, ref, Say{}); err != nil {
				t.Fatal(err)
			}
			if s := <-got; s != (seen{first, ""}) {
				t.Errorf("%s from outside: %v", to, s)
			}
			for _, row := range []struct {
				name string
				from func(context.Context) context.Context
				want rpc.Trace
			}{
				{"from a handler", func(c context.Context) context.Context { return c }, first},
				{"under a time-out", func(c context.Context) context.Context {
					c, cancel := context.WithTimeout(c, time.Minute)
					t.Cleanup(cancel)
					return c
				}, first},
				{"in a span of the handler's", func(c context.Context) context.Context { return rpc.WithTrace(c, span) }, span},
			} {
				if _, err := actor.Call(outside, x, run(func(ctx *actor.Context) (string, error) {
					return actor.Call(row.from(ctx), ref, Say{})
				})); err != nil {
					t.Fatal(err)
				}
				if s := <-got; s != (seen{row.want, "x@a"}) {
					t.Errorf("%s %s: %v", to, row.name, s)
				}
			}
		}
	})
}
