package actor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Later is answered by whichever goroutine receives the Deferred.
type Later struct {
	actor.Returns[string]
	Text string
}

// putOff is a kind that defers its answers, and passes the Deferred values to the test.
func putOff(ch chan<- *actor.Deferred[string]) *actor.Kind {
	return actor.Define("test.putoff", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Later) (string, error) {
			ch <- actor.Defer[string](ctx)
			switch m.Text {
			case "fails":
				return "", io.EOF
			case "panics":
				panic("oh")
			}
			return "not this", nil
		}))
}

func TestDefer(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		ch := make(chan *actor.Deferred[string], 1)
		to := bind(spawn(t, b, "x", putOff(ch)))
		f := actor.Ask(t.Context(), to, Later{})
		later := <-ch
		other := actor.Ask(t.Context(), to, Later{}) // the actor handles other messages meanwhile
		(<-ch).Answer("other")
		if v, err := other.Await(t.Context()); v != "other" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		time.Sleep(time.Second)
		if err := later.Answer("one"); err != nil {
			t.Error(err)
		}
		if err := later.Answer("two"); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("a second answer: %v", err)
		}
		if err := later.Fail(io.EOF); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("a failure after the answer: %v", err)
		}
		if v, err := f.Await(t.Context()); v != "one" || err != nil {
			t.Errorf("%q, %v", v, err)
		}

		for _, text := range []string{"fails", "panics"} { // these end the request at once
			_, err := actor.Call(t.Context(), to, Later{Text: text})
			if rpc.Ran(err) != rpc.HasRun || rpc.CodeOf(err) == rpc.WrongReply {
				t.Errorf("the handler %s: %v", text, err)
			}
			if err := (<-ch).Answer("late"); rpc.CodeOf(err) != rpc.Invalid {
				t.Errorf("an answer after that: %v", err)
			}
		}

		f = actor.Ask(t.Context(), to, Later{})
		(<-ch).Fail(fmt.Errorf("no: %w", errFunds))
		if _, err := f.Await(t.Context()); !errors.Is(err, errFunds) || rpc.Ran(err) != rpc.HasRun {
			t.Errorf("failed later: %v", err)
		}
	})
}

// A deferred request ends when its caller's deadline passes or its caller cancels it. A
// shutdown waits for it, and ends it if the shutdown runs out of time.
func TestDeferEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		ch := make(chan *actor.Deferred[string], 1)
		to := bind(spawn(t, b, "x", putOff(ch)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := actor.Call(ctx, to, Later{})
		if rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) == rpc.NotRun { // the error may come from either end
			t.Errorf("past its deadline: %v", err)
		}
		time.Sleep(time.Second)
		if err := (<-ch).Answer("late"); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("an answer after the deadline: %v", err)
		}
		f := actor.Ask(t.Context(), to, Later{})
		later := <-ch
		f.Cancel()
		_, err = f.Await(t.Context())
		wantErr(t, "cancelled", err, rpc.Canceled, rpc.Unknown)
		time.Sleep(time.Second)
		if err := later.Answer("late"); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("an answer after the cancel: %v", err)
		}
		f = actor.Ask(t.Context(), to, Later{})
		later = <-ch
		time.AfterFunc(time.Second, func() { later.Answer("in time") })
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if v, err := f.Await(t.Context()); v != "in time" || err != nil {
			t.Errorf("during a shutdown: %q, %v", v, err)
		}
	})
}

// If a Deferred is never answered, the caller gets an error instead of silence.
func TestDeferForgotten(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	kind := actor.Define("test.forgetful", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, _ Later) (string, error) {
			actor.Defer[string](ctx)
			return "", nil
		}))
	ref := spawn(t, sys, "x", kind)
	f := actor.Ask(t.Context(), ref, Later{})
	for {
		runtime.GC()
		select {
		case <-f.Done():
			_, err := f.Await(t.Context())
			wantErr(t, "forgotten", err, rpc.Failed, rpc.HasRun)
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// Order and piped are messages of an actor that asks another one without waiting.
type Order struct{ N int }
type piped struct {
	n     int
	reply string
	err   error
}

// Clerk asks another actor for each order, and keeps the replies.
type Clerk struct {
	desk actor.Ref
	mu   *sync.Mutex
	got  *[]piped
	busy bool
}

func (c *Clerk) Order(ctx *actor.Context, m Order) error {
	c.busy = true
	actor.Pipe(ctx, actor.Ask(ctx.Detached(), c.desk, Later{}), func(s string, err error) piped { return piped{m.N, s, err} })
	c.busy = false
	return nil
}

func (c *Clerk) Piped(_ *actor.Context, m piped) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		m.err = errors.New("a continuation ran beside a handler")
	}
	*c.got = append(*c.got, m)
	return nil
}

func TestPipe(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		ch := make(chan *actor.Deferred[string], 100)
		desk := bind(spawn(t, b, "x", putOff(ch)))
		var mu sync.Mutex
		var got []piped
		kind := actor.Define("test.clerk", func() *Clerk { return &Clerk{desk: desk, mu: &mu, got: &got} },
			actor.Handle((*Clerk).Order), actor.Handle((*Clerk).Piped))
		clerk := spawn(t, b, "clerk", kind, small(1, 0))
		for i := range 20 {
			if err := actor.Tell(t.Context(), clerk, Order{i}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			if i == 7 {
				(<-ch).Fail(errFunds)
			} else {
				(<-ch).Answer(fmt.Sprint(i))
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 20 {
			t.Fatalf("%d of 20 came back", len(got))
		}
		for _, p := range got {
			switch {
			case p.n == 7 && !errors.Is(p.err, errFunds), p.n != 7 && (p.err != nil || p.reply != fmt.Sprint(p.n)):
				t.Errorf("order %d: %q, %v", p.n, p.reply, p.err)
			}
		}
	})
}

// What is piped to an actor that has stopped is a dead letter. A piped function that panics
// does not end the program.
func TestPipeToNobody(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, _, b *actor.System) {
		dead := letters(t, b)
		p := new(promise.Promise[string])
		ref := spawn(t, b, "x", PuppetKind)
		if err := actor.Tell(t.Context(), ref, note(func(ctx *actor.Context) {
			actor.Pipe(ctx, (*rpc.Future[string])(p), func(string, error) Note { panic("oh") })
			actor.Pipe(ctx, (*rpc.Future[string])(p), func(string, error) Note { return note(func(*actor.Context) {}) })
			ctx.Stop()
		})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.Resolve("x", nil)
		if got := dead(); len(got) != 1 || rpc.CodeOf(got[0].Reason) != rpc.NotFound {
			t.Errorf("dead letters: %v", got)
		}
	})
}
