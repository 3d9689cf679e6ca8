package actor_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// A verb whose context has ended sends nothing, and its error says so.
func TestVerbsWithAnEndedContext(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		var ran atomic.Int64
		kind := actor.Define("test.left", func() int { return 0 },
			actor.Answer(func(int, *actor.Context, Hours) (int, error) { return int(ran.Add(1)), nil }),
			actor.Handle(func(int, *actor.Context, Nudge) error { ran.Add(1); return nil }))
		ref := bind(spawn(t, b, "it", kind))
		if _, err := actor.Call(t.Context(), ref, Hours{}); err != nil { // now there is a link
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for code, ctx := range map[rpc.Code]context.Context{rpc.Canceled: gone, rpc.Expired: late} {
			for range 100 {
				_, called := actor.Call(ctx, ref, Hours{})
				_, asked := actor.Ask(ctx, ref, Hours{}).Await(t.Context())
				_, submitted := actor.Submit(ctx, ref, Hours{})
				for what, err := range map[string]error{"Call": called, "Ask": asked, "Submit": submitted,
					"Tell": actor.Tell(ctx, ref, Nudge{}), "acked Tell": actor.Tell(ctx, ref, Nudge{}, rpc.Acked())} {
					if rpc.CodeOf(err) != code || rpc.Ran(err) != rpc.NotRun {
						t.Fatalf("%s of who has left: %v", what, err)
					}
				}
			}
		}
		synctest.Wait()
		if n := ran.Load(); n != 1 {
			t.Errorf("%d messages of who had left ran", n-1)
		}
	})
}

// Nudge is a one-way message.
type Nudge struct{}

func (Nudge) WireName() string { return "test.Nudge" }

// A goroutine that has outlived its handler no longer counts as the handler: it may call the
// handler's own actor, and it may wait for room in a mailbox as long as any other caller.
func TestGoroutinesThatOutliveTheirHandlers(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		results := make(chan error, 8)
		release := make(chan struct{})
		full := spawn(t, b, "full", actor.Define("test.full", func() int { return 0 },
			actor.Handle(func(int, *actor.Context, Nudge) error { <-release; return nil })), actor.Mailbox(mailbox.Config{Capacity: 1}))
		for range 2 {
			if err := actor.Tell(t.Context(), full, Nudge{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		outlive := func(ctx *actor.Context, returned <-chan struct{}) {
			detached := ctx.Detached()
			go func() {
				<-returned
				_, err := actor.Call(detached, ctx.Self(), Hours{N: 1})
				results <- err
				results <- actor.Tell(detached, full, Nudge{})
			}()
		}
		returned := make(chan struct{})
		kind := actor.Define("test.outlived", func() int { return 0 },
			actor.Answer(func(_ int, ctx *actor.Context, m Hours) (int, error) {
				if m.N == 0 {
					outlive(ctx, returned)
				}
				return m.N, nil
			}),
			actor.Handle(func(_ int, ctx *actor.Context, _ Nudge) error { outlive(ctx, returned); return nil }))
		ref := bind(spawn(t, b, "it", kind))
		if _, err := actor.Call(t.Context(), ref, Hours{}); err != nil {
			t.Fatal(err)
		}
		if err := actor.Tell(t.Context(), ref, Nudge{}, rpc.Acked()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(returned)
		time.Sleep(20 * time.Second) // longer than a handler may wait, shorter than other callers may
		close(release)
		for range 4 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// If the context has ended before the verb is called, the handler never runs, however often
// this is tried.
func TestEndedContextSendsNothing(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	var ran atomic.Int64
	ref := spawn(t, sys, "one", PuppetKind)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := run(func(*actor.Context) (string, error) { ran.Add(1); return "", nil })
	for range 100 {
		_, err := actor.Call(ctx, ref, m)
		wantErr(t, "Call", err, rpc.Canceled, rpc.NotRun)
		_, err = actor.Ask(ctx, ref, m).Await(t.Context())
		wantErr(t, "Ask", err, rpc.Canceled, rpc.NotRun)
		wantErr(t, "Tell", actor.Tell(ctx, ref, note(func(*actor.Context) { ran.Add(1) })), rpc.Canceled, rpc.NotRun)
	}
	if _, err := actor.Call(t.Context(), ref, run(func(*actor.Context) (string, error) { return "", nil })); err != nil {
		t.Fatal(err)
	}
	if n := ran.Load(); n != 0 {
		t.Errorf("%d handlers ran", n)
	}
}

// A goroutine that outlives its handler may call the handler's actor with Context.Detached.
func TestDetachedGoroutineCallsItsActor(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	ref := spawn(t, sys, "one", PuppetKind)
	var wg sync.WaitGroup
	after := func(ctx *actor.Context, over <-chan struct{}) {
		d := ctx.Detached()
		wg.Go(func() {
			<-over
			if _, err := actor.Call(d, ref, run(func(*actor.Context) (string, error) { return "", nil })); err != nil {
				t.Error(err)
			}
		})
	}
	over := make(chan struct{})
	if _, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { after(ctx, over); return "", nil })); err != nil {
		t.Fatal(err)
	}
	if err := actor.Tell(t.Context(), ref, note(func(ctx *actor.Context) { after(ctx, over) })); err != nil {
		t.Fatal(err)
	}
	if _, err := actor.Call(t.Context(), ref, run(func(*actor.Context) (string, error) { return "", nil })); err != nil {
		t.Fatal(err)
	}
	close(over)
	wg.Wait()
}
