package actor_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

type ownKey struct{} // the key of a context value of the test

// If a handler calls Shutdown with its own context, the shutdown begins and does not wait for
// that handler.
func TestShutdownInAHandler(t *testing.T) {
	for name, of := range map[string]func(*actor.Context) context.Context{
		"its context": func(c *actor.Context) context.Context { return c },
		"derived":     func(c *actor.Context) context.Context { return context.WithValue(c, ownKey{}, "v") },
		"detached":    (*actor.Context).Detached,
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				sys, err := actor.NewSystem(actor.Config{Logger: quiet})
				if err != nil {
					t.Fatal(err)
				}
				x, began := spawn(t, sys, "x", PuppetKind), time.Now()
				got, err := actor.Call(t.Context(), x, run(func(ctx *actor.Context) (string, error) {
					return "answered", ctx.System().Shutdown(of(ctx))
				}))
				if got != "answered" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				<-sys.Done()
				if d := time.Since(began); d > time.Second || sys.Err() != nil {
					t.Errorf("it took %v: %v", d, sys.Err())
				}
			})
		})
	}
}

// Without a deadline, Shutdown waits at most Config.ShutdownWait for handlers that do not
// end.
func TestShutdownHasALimit(t *testing.T) {
	for name, hold := range map[string]func(*actor.Context) (string, error){
		"Shutdown with another context": func(ctx *actor.Context) (string, error) {
			return "", ctx.System().Shutdown(context.Background())
		},
		"Pipe": func(ctx *actor.Context) (string, error) {
			never := new(promise.Promise[int])
			actor.Pipe(ctx, (*rpc.Future[int])(never), func(int, error) Note { return Note{} })
			go func() { <-ctx.System().Done(); never.Resolve(0, nil) }()
			return "", nil
		},
		"Defer": func(ctx *actor.Context) (string, error) {
			later := actor.Defer[string](ctx)
			go func() { <-ctx.System().Done(); _ = later.Answer("late") }()
			return "", nil
		},
	} {
		for _, limit := range []time.Duration{0, 3 * time.Second} {
			t.Run(fmt.Sprint(name, limit), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					sys, err := actor.NewSystem(actor.Config{Logger: quiet, ShutdownWait: limit})
					if err != nil {
						t.Fatal(err)
					}
					if limit == 0 {
						limit = actor.DefaultShutdown
					}
					x := spawn(t, sys, "x", PuppetKind)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					_ = actor.Ask(ctx, x, run(hold))
					synctest.Wait()
					began := time.Now()
					err = sys.Shutdown(context.Background())
					if d := time.Since(began); rpc.CodeOf(err) != rpc.Expired || d != limit {
						t.Errorf("after %v: %v", d, err)
					}
					synctest.Wait()
				})
			})
		}
	}
}

// A shutdown waits until the actors that do not send to themselves are idle. After that, an
// actor that sends messages to itself without end gets an error, which says that the system
// is leaving, so it ends too.
func TestShutdownEndsWhoTellsItself(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem(actor.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		var told, refused, others atomic.Int64
		var again func(ctx *actor.Context)
		again = func(ctx *actor.Context) {
			time.Sleep(time.Millisecond)
			told.Add(1)
			if err := actor.Tell(ctx, ctx.Self(), note(again)); rpc.CodeOf(err) == rpc.Leaving && rpc.Ran(err) == rpc.NotRun {
				refused.Add(1)
			} else if err != nil {
				t.Errorf("refused otherwise: %v", err)
			}
		}
		for _, name := range []string{"x", "y"} {
			if err := actor.Tell(t.Context(), spawn(t, sys, name, PuppetKind), note(again)); err != nil {
				t.Fatal(err)
			}
		}
		slow := spawn(t, sys, "slow", PuppetKind)
		for range 5 {
			if err := actor.Tell(t.Context(), slow, note(func(*actor.Context) { time.Sleep(time.Second); others.Add(1) })); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		began := time.Now()
		if err := sys.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d < 4*time.Second || d > 6*time.Second || others.Load() != 5 || refused.Load() != 2 || told.Load() < 2000 {
			t.Errorf("after %v; the others handled %d of 5; %d told themselves, %d refused", d, others.Load(), told.Load(), refused.Load())
		}
	})
}

// If Spawn and Shutdown are called at the same time, Spawn is refused or its actor is
// stopped: no actor remains.
func TestSpawnRacesWithShutdown(t *testing.T) {
	for range 1000 {
		sys, err := actor.NewSystem(actor.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		const spawners = 4
		begun := make(chan struct{}, spawners)
		over := make(chan error, spawners)
		for i := range spawners {
			go func() {
				for n := 0; ; n++ {
					if _, err := sys.Spawn(fmt.Sprint(i, "/", n), PuppetKind); err != nil {
						over <- err
						return
					}
					if n == 0 {
						begun <- struct{}{}
					}
					runtime.Gosched() // else thousands of actors are there before the shutdown gets a processor
				}
			}()
		}
		for range spawners {
			<-begun
		}
		if err := sys.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		for range spawners {
			wantErr(t, "Spawn", <-over, rpc.Unavailable, rpc.NotRun)
		}
		if n := sys.Stats().Actors; n != 0 {
			t.Fatalf("%d actors live after Shutdown", n)
		}
	}
}

// A shutdown accepts nothing new from outside. It waits for the messages that were accepted,
// and for the messages that these cause.
func TestShutdownDrains(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		events := sys.Events(t.Context())
		x, y := spawn(t, sys, "x", PuppetKind), spawn(t, sys, "y", PuppetKind)
		unplug := plug(t, x)
		done := 0
		f := actor.Ask(t.Context(), x, run(func(ctx *actor.Context) (string, error) { // causes more work
			return "caused", actor.Tell(ctx, y, note(func(*actor.Context) { done++ }))
		}))
		ended := make(chan error, 2)
		for range 2 {
			go func() { ended <- sys.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		wantErr(t, "tell from outside", actor.Tell(t.Context(), x, note(func(*actor.Context) {})), rpc.Unavailable, rpc.NotRun)
		_, err := actor.Call(t.Context(), x, Count{})
		wantErr(t, "call from outside", err, rpc.Unavailable, rpc.NotRun)
		_, err = sys.Spawn("z", PuppetKind)
		wantErr(t, "spawn", err, rpc.Unavailable, rpc.NotRun)
		unplug()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("shutdown: %v", err)
			}
		}
		if v, err := f.Await(t.Context()); v != "caused" || err != nil || done != 1 {
			t.Errorf("accepted work: %q, %v; what it caused ran %d times", v, err, done)
		}
		for range events { // closed by the shutdown
		}
	})
}

// When the context of a shutdown ends, messages that have not started are handed back, and
// the contexts of handlers that run end.
func TestShutdownRunsOutOfTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem(actor.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		x := spawn(t, sys, "x", PuppetKind)
		running := actor.Ask(t.Context(), x, run(func(ctx *actor.Context) (string, error) { <-ctx.Done(); return "", context.Cause(ctx) }))
		synctest.Wait()
		waiting := actor.Ask(t.Context(), x, Count{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := sys.Shutdown(ctx); rpc.CodeOf(err) != rpc.Expired || time.Since(began) != time.Second {
			t.Errorf("shutdown: %v after %v", err, time.Since(began))
		}
		_, err = waiting.Await(t.Context())
		wantErr(t, "what never started", err, rpc.Unavailable, rpc.NotRun)
		_, err = running.Await(t.Context())
		wantErr(t, "what ran", err, rpc.Failed, rpc.HasRun)
	})
}
