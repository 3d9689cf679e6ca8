package actor_test

// What becomes of reliable messages that are refused or wait too long, and what they may cost.

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// The bounds: in number and bytes, in all and for one actor, with both policies.
func TestReliableBounds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet, Outbox: outbox.Config{Messages: 4, TargetMessages: 3}, ShutdownWait: time.Second})
		full := sys.Events(t.Context(), actor.OutboxFull)
		write(t, sys, "local", 1, 2, 3)
		wantErr(t, "a fourth to one actor", actor.TellReliably(t.Context(), sys.Ref("k@local"), Entry{4}), rpc.Overloaded, rpc.NotRun)
		other := sys.Ref("other@local")
		if err := actor.TellReliably(t.Context(), other, Entry{1}); err != nil {
			t.Error(err)
		}
		wantErr(t, "a fifth", actor.TellReliably(t.Context(), other, Entry{2}), rpc.Overloaded, rpc.NotRun)
		if st := sys.Stats().Outbox; st.Refused != 2 || len(full) != 1 {
			t.Errorf("%d refused, %d events", st.Refused, len(full))
		}
		b := newBook()
		spawn(t, sys, "k", b.kind())
		time.Sleep(time.Minute)
		b.has(t, 1, 2, 3)
		write(t, sys, "local", 4)
		time.Sleep(time.Second)
		b.has(t, 1, 2, 3, 4)
	})
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet, Outbox: outbox.Config{TargetMessages: 1, Policy: outbox.Wait}})
		write(t, sys, "local", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		wantErr(t, "nobody takes it", actor.TellReliably(ctx, sys.Ref("k@local"), Entry{2}), rpc.Expired, rpc.NotRun)
		cancel()
		done := make(chan error, 1)
		go func() { done <- actor.TellReliably(t.Context(), sys.Ref("k@local"), Entry{3}) }()
		b := newBook()
		spawn(t, sys, "k", b.kind())
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		b.has(t, 1, 3)
	})
}

// What is refused for good becomes a dead letter at once, and does not hold up what is behind it. Messages
// have the access rights of Tell.
func TestReliableRefused(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		book, a := newBook(), c.start("a")
		b := c.start("b")
		if err := b.SetAccess(access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Principals: []string{"*"}, Ops: access.Send}}}); err != nil {
			t.Fatal(err)
		}
		dead := letters(t, a)
		spawn(t, b, "k", book.kind())
		write(t, a, "b", 1)
		if err := actor.TellReliably(t.Context(), a.Ref("k@b"), Deposit{5}); err != nil {
			t.Fatal(err)
		}
		write(t, a, "b", 2)
		time.Sleep(time.Minute)
		book.has(t, 1, 2)
		all := dead()
		if len(all) != 1 || rpc.CodeOf(all[0].Reason) != rpc.Unhandled || rpc.Ran(all[0].Reason) != rpc.NotRun || all[0].To != "k@b" {
			t.Fatalf("dead letters: %v", all)
		}
		if err := b.SetAccess(access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Principals: []string{"*"}, Ops: access.Call}}}); err != nil {
			t.Fatal(err)
		}
		write(t, a, "b", 3)
		time.Sleep(time.Minute)
		book.has(t, 1, 2)
		kept := a.KeptLetters(deadletter.Filter{})
		if len(kept) != 2 || rpc.CodeOf(kept[1].Reason) != rpc.Denied {
			t.Fatalf("kept letters: %v", kept)
		}
		if err := b.SetAccess(access.Rules{}); err != nil {
			t.Fatal(err)
		}
		if err := a.ResendLetter(t.Context(), kept[1].ID, actor.Ref{}); err != nil {
			t.Error(err)
		}
		own := newBook()
		spawn(t, a, "k", own.kind())
		write(t, a, "b", 4)
		time.Sleep(time.Minute)
		book.has(t, 1, 2, 3, 4)
	})
}

// A limit of time: what was not sent was not run, and what was sent may have been handled.
func TestReliableKeepFor(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		book, a, b := newBook(), c.start("a"), c.start("b")
		dead := letters(t, a)
		began := time.Now()
		if err := actor.TellReliably(t.Context(), a.Ref("k@b"), Entry{1}, actor.KeepFor(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		write(t, a, "b", 2)
		for len(dead()) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if d := dead()[0]; time.Since(began) > 11*time.Second || rpc.Ran(d.Reason) != rpc.NotRun || rpc.CodeOf(d.Reason) != rpc.NotFound && rpc.CodeOf(d.Reason) != rpc.Expired {
			t.Errorf("after %v: %v", time.Since(began), d.Reason)
		}
		spawn(t, b, "k", book.kind())
		time.Sleep(time.Minute)
		book.has(t, 2)
		if err := actor.TellReliably(t.Context(), a.Ref("k@b"), Entry{-3}, actor.KeepFor(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		write(t, a, "b", 4)
		time.Sleep(time.Minute)
		if all := dead(); len(all) != 2 || rpc.Ran(all[1].Reason) != rpc.Unknown {
			t.Fatalf("dead letters: %v", all)
		}
		book.has(t, 2, -3)
		close(book.gate)
		time.Sleep(time.Minute)
		book.has(t, 2, -3, 4)
	})
}

// An outbox without messages costs no goroutine, and one that waits costs one for each actor.
func TestReliableIdle(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet, ShutdownWait: time.Second})
		b := newBook()
		spawn(t, sys, "k", b.kind())
		write(t, sys, "local", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		before := runtime.NumGoroutine()
		write(t, sys, "local", upTo(100)...)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
	})
}

// What makes no sense is refused.
func TestReliableMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "k", newBook().kind())
		wantErr(t, "a key", actor.TellReliably(t.Context(), ref, Entry{1}, rpc.Key("x")), rpc.Invalid, rpc.NotRun)
		wantErr(t, "a service", actor.TellReliably(t.Context(), sys.Service("s"), Entry{1}), rpc.Invalid, rpc.NotRun)
		wantErr(t, "a negative time", actor.TellReliably(t.Context(), ref, Entry{1}, actor.KeepFor(-1)), rpc.Invalid, rpc.NotRun)
		wantErr(t, "no ref", actor.TellReliably(t.Context(), actor.Ref{}, Entry{1}), rpc.Invalid, rpc.NotRun)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		wantErr(t, "ctx has ended", actor.TellReliably(canceled, ref, Entry{1}), rpc.Canceled, rpc.NotRun)
		for _, cfg := range []outbox.Config{{Messages: -1}, {KeepFor: -1}, {Policy: 9}, {Durable: true}} {
			if _, err := actor.NewSystem(actor.Config{Outbox: cfg}); !errors.Is(err, outbox.ErrConfig) {
				t.Errorf("%+v: %v", cfg, err)
			}
		}
	})
}
