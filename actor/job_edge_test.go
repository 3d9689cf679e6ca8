package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A job is cancelled while its actor starts it. Either it ran or it is NotRun, never both.
func TestCancelOrRun(t *testing.T) {
	sys := newSystem(t, actor.Config{Tokens: 1 << 20})
	var ran atomic.Int64
	ref := spawn(t, sys, "x", actor.Define("test.quick", func() int { return 0 },
		actor.Answer(func(_ int, _ *actor.Context, _ Render) (string, error) { ran.Add(1); return "", nil })))
	var notRun int64
	const n = 5_000
	for range n {
		tok := submit(t, ref, "")
		if _, err := tok.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := tok.Await(t.Context()); rpc.Ran(err) == rpc.NotRun {
			notRun++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if ran.Load()+notRun != n {
		t.Errorf("of %d jobs %d ran and %d did not", n, ran.Load(), notRun)
	}
}

// Whatever is a request whose result is an interface.
type Whatever struct {
	actor.Returns[any]
	Nothing bool
}

// The result of a message that declares an interface arrives as it does from Call.
func TestJobOfAnInterface(t *testing.T) {
	kind := actor.Define("test.whatever", func() int { return 0 },
		actor.Answer(func(_ int, _ *actor.Context, m Whatever) (any, error) {
			if m.Nothing {
				return nil, nil
			}
			return "something", nil
		}))
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		to := bind(spawn(t, b, "x", kind))
		for _, m := range []Whatever{{}, {Nothing: true}} {
			want, err := actor.Call(t.Context(), to, m)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := actor.Submit(t.Context(), to, m)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := tok.Await(t.Context()); v != want || err != nil {
				t.Errorf("%v, %v; Call gets %v", v, err, want)
			}
		}
	})
}

// When nobody has the token of a job any more, the job and all that waited for it can be
// collected.
func TestJobsAreForgotten(t *testing.T) {
	type result struct{ N [128]int }
	type work struct{ actor.Returns[*result] }
	var forgotten atomic.Int64
	const n = 200
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, _, b *actor.System) {
		step := make(chan struct{})
		ref := spawn(t, b, "x", actor.Define("test.results", func() int { return 0 },
			actor.Answer(func(int, *actor.Context, work) (*result, error) {
				<-step
				r := new(result)
				runtime.AddCleanup(r, func(int) { forgotten.Add(1) }, 0)
				return r, nil
			})))
		for range n {
			tok, err := actor.Submit(t.Context(), ref, work{})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if _, err := tok.Await(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			step <- struct{}{}
			synctest.Wait()
		}
	})
	for end := time.Now().Add(10 * time.Second); forgotten.Load() < n*9/10; { // a worker may still hold the latest ones
		runtime.GC()
		if time.Now().After(end) {
			t.Fatalf("%d of %d results were forgotten", forgotten.Load(), n)
		}
	}
}

// A system that is shut down does not know what became of a job.
func TestAwaitAfterShutdown(t *testing.T) {
	for _, where := range []string{"local", "remote"} {
		world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
			step := make(chan string, 1)
			to, sys := spawn(t, b, "x", renderers(step)), b
			if where == "remote" {
				to, sys = a.Ref("x@b"), a
			}
			step <- "!"
			tok := submit(t, to, "a")
			if _, err := tok.Await(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := tok.Await(t.Context())
			wantErr(t, where+": awaited", err, rpc.Unavailable, rpc.Unknown)
			_, err = tok.Poll(t.Context())
			wantErr(t, where+": polled", err, rpc.Unavailable, rpc.NotRun)
			_, err = tok.Cancel(t.Context())
			wantErr(t, where+": cancelled", err, rpc.Unavailable, rpc.NotRun)
			_, err = submitErr(t, to)
			wantErr(t, where+": submitted", err, rpc.Unavailable, rpc.NotRun)
		})
	}
}

// A job is refused, not accepted, if there is no room for it in the mailbox of its actor.
func TestSubmitToAFullMailbox(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		for _, policy := range []mailbox.Policy{mailbox.Refuse, mailbox.DropNewest} {
			step := make(chan string)
			to := bind(spawn(t, b, policy.String(), renderers(step), small(1, policy)))
			running := submit(t, to, "a")
			synctest.Wait()
			waiting := submit(t, to, "b")
			_, err := actor.Submit(t.Context(), to, Render{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			wantErr(t, policy.String(), err, rpc.Overloaded, rpc.NotRun)
			step <- "!"
			step <- "!"
			for _, tok := range []rpc.Token[string]{running, waiting} {
				if _, err := tok.Await(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// If the reply that carried a large result is lost, the result is fetched again.
func TestLargeResultAcrossReset(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		step := make(chan string)
		spawn(t, b, "x", renderers(step))
		tok := submit(t, a.Ref("x@b"), "")
		result := make(chan string, 1)
		go func() {
			v, err := tok.Await(t.Context())
			result <- fmt.Sprint(len(v), err)
		}()
		time.Sleep(time.Second)
		net.Hold("direct", "b", "a")
		step <- strings.Repeat("x", 500<<10)
		time.Sleep(time.Second)
		net.Reset("direct", "", "")
		net.Heal("", "", "")
		if got := <-result; got != fmt.Sprint(500<<10, nil) {
			t.Error(got)
		}
	})
}

// If a result is too large for any message, the error says that the job ran.
func TestResultTooLargeToSend(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		step := make(chan string, 1)
		spawn(t, b, "x", renderers(step))
		step <- strings.Repeat("x", 500<<10)
		_, err := submit(t, a.Ref("x@b"), "").Await(t.Context())
		wantErr(t, "too large", err, rpc.ReplyDropped, rpc.HasRun)
	}, func(c *actor.Config) { c.RPC.MaxBody = 100 << 10 })
}

// Await continues while the node that has the job has left the registry and comes back.
func TestAwaitAcrossRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net := memnet.New(memnet.Config{Seed: 1})
		c := &cluster{t: t, net: net, nodes: addresses{static.New()}, roads: []string{"bus"}}
		forgets := func(cfg *actor.Config) { cfg.Registry = c.nodes.Registry }
		a, b := c.start("a", forgets), c.start("b", forgets)
		spawn(t, b, "x", renderers(nil))
		tok := submit(t, a.Ref("x@b"), "a")
		result := make(chan error, 1)
		go func() {
			_, err := tok.Await(t.Context())
			result <- err
		}()
		time.Sleep(time.Second)
		c.kill(b, nil)
		if err := c.nodes.Registry.Deregister(t.Context(), "b", b.Epoch(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c.start("b", forgets)
		wantErr(t, "awaited across a restart", <-result, rpc.OutcomeUnknown, rpc.Unknown)
		nobody, _ := actor.Redeem[string](a, "nobody:"+strings.Repeat("A", 26))
		_, err := nobody.Await(t.Context())
		wantErr(t, "awaited at a node that is not there", err, rpc.NotFound, rpc.Unknown)
	})
}

// A handler that awaits a job of its own actor would wait for ever, so it gets an error.
// Another goroutine may await that job.
func TestAwaitOneself(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, _, b *actor.System) {
		ref := spawn(t, b, "x", PuppetKind)
		errs := make(chan error, 2)
		if err := actor.Tell(t.Context(), ref, note(func(ctx *actor.Context) {
			tok, err := actor.Submit(ctx, ctx.Self(), Count{})
			if err != nil {
				errs <- err
				return
			}
			_, err = tok.Await(ctx)
			errs <- err
			go func() {
				_, err = tok.Await(ctx.Detached())
				errs <- err
			}()
		})); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "awaiting itself", <-errs, rpc.Invalid, rpc.Unknown)
		if err := <-errs; err != nil {
			t.Error(err)
		}
	})
}

// If a request was deferred twice and one of its Deferred values is forgotten, the other one
// can still answer it.
func TestDeferTwice(t *testing.T) {
	ch := make(chan *actor.Deferred[string], 1)
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref := spawn(t, sys, "x", actor.Define("test.twice", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, _ Later) (string, error) {
			actor.Defer[string](ctx)
			ch <- actor.Defer[string](ctx)
			return "", nil
		})))
	f := actor.Ask(t.Context(), ref, Later{})
	later := <-ch
	for range 10 { // until the collector has run, and the cleanups
		ran := make(chan struct{})
		runtime.AddCleanup(&struct{ p *int }{new(int)}, func(c chan struct{}) { close(c) }, ran)
		runtime.GC()
		<-ran
	}
	if err := later.Answer("!"); err != nil {
		t.Error(err)
	}
	if v, err := f.Await(t.Context()); v != "!" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// The error of a deferred request says what has ended it.
func TestDeferEndsWith(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		ch := make(chan *actor.Deferred[string], 1)
		spawn(t, b, "x", putOff(ch))
		tok, err := actor.Submit(t.Context(), a.Ref("x@b"), Later{})
		if err != nil {
			t.Fatal(err)
		}
		<-ch
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := actor.Ask(t.Context(), b.Ref("x@b"), Later{})
		<-ch
		if err := b.Shutdown(ctx); rpc.CodeOf(err) != rpc.Expired {
			t.Errorf("the shutdown: %v", err)
		}
		_, err = f.Await(t.Context())
		wantErr(t, "put off at a shutdown", err, rpc.Unavailable, rpc.HasRun)
		await, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = tok.Await(await); rpc.Ran(err) == rpc.NotRun {
			t.Error(err)
		}
	})
}

// A refusal without a code is a refusal nevertheless.
func TestRefuseWithoutCode(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		ch := make(chan *actor.Deferred[string], 1)
		to := bind(spawn(t, b, "x", putOff(ch)))
		tok, err := actor.Submit(t.Context(), to, Later{})
		if err != nil {
			t.Fatal(err)
		}
		(<-ch).Refuse(0, errors.New("no"))
		_, err = tok.Await(t.Context())
		wantErr(t, "a job", err, rpc.Failed, rpc.NotRun)
		f := actor.Ask(t.Context(), to, Later{})
		(<-ch).Refuse(0, errors.New("no"))
		_, err = f.Await(t.Context())
		wantErr(t, "a request", err, rpc.Failed, rpc.NotRun)
	})
}

// A key names a job of one actor. A job of another actor may have the same key. A job of a
// service cannot have one, since a service is many actors.
func TestSubmitKeyIsOneActors(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		step := make(chan string, 3)
		for range 3 {
			step <- "!"
		}
		x, y := bind(spawn(t, b, "x", renderers(step), actor.Expose("renderers"))), bind(spawn(t, b, "y", renderers(step)))
		one, other := submit(t, x, "a", rpc.Key("k")), submit(t, y, "b", rpc.Key("k"))
		if again := submit(t, x, "a", rpc.Key("k")); again.String() != one.String() {
			t.Error("one key of one actor, two tokens")
		}
		for tok, want := range map[rpc.Token[string]]string{one: "a!", other: "b!"} {
			if v, err := tok.Await(t.Context()); v != want || err != nil {
				t.Errorf("%q, %v; want %q", v, err, want)
			}
		}
		_, err := actor.Submit(t.Context(), b.Service("renderers"), Render{}, rpc.Key("k"))
		wantErr(t, "a key at a service", err, rpc.Invalid, rpc.NotRun)
		for _, key := range []string{"", strings.Repeat("k", 1000)} {
			_, err = actor.Submit(t.Context(), x, Render{}, rpc.Key(key))
			wantErr(t, "an impossible key", err, rpc.Invalid, rpc.NotRun)
		}
	})
}
