package actor_test

// Reliable one-way messages: each of these tests is a row, and most run over each road.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
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

// Entry is a line for a book.
type Entry struct{ N int }

// book is what actors of all starts have been told, in order.
type book struct {
	mu   sync.Mutex // guards what follows
	got  []int
	gate chan struct{} // an entry below 0 waits for it
}

func newBook() *book { return &book{gate: make(chan struct{})} }

func (b *book) entry(ctx *actor.Context, m Entry) error {
	b.mu.Lock()
	b.got = append(b.got, m.N)
	b.mu.Unlock()
	switch {
	case m.N < 0:
		<-b.gate
	case m.N == 13:
		panic("thirteen")
	case m.N == 14:
		return errFunds
	}
	return nil
}

func (b *book) kind(opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.book", func() *book { return b }, actor.Handle((*book).entry)).With(opts...)
}

// on configures a system that keeps its records on d and hosts durable books.
func (b *book) on(d *disk) func(*actor.Config) {
	return func(cfg *actor.Config) {
		d.config(cfg)
		cfg.Kinds = append(cfg.Kinds, b.kind(actor.Durable()))
	}
}

func (b *book) entries() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// has checks the entries until now.
func (b *book) has(t *testing.T, want ...int) {
	t.Helper()
	if got := b.entries(); !slices.Equal(got, want) {
		t.Errorf("the book has %v, want %v", got, want)
	}
}

// write sends entries to the book "k" on a node.
func write(t *testing.T, sys *actor.System, node string, entries ...int) {
	t.Helper()
	for _, n := range entries {
		if err := actor.TellReliably(t.Context(), sys.Ref("k@"+node), Entry{n}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantOutbox checks the numbers of an outbox.
func wantOutbox(t *testing.T, sys *actor.System, waiting int, handled, givenUp uint64) {
	t.Helper()
	if st := sys.Stats().Outbox; st.Waiting != waiting || st.Handled != handled || st.GivenUp != givenUp || waiting == 0 && st.Bytes+st.Targets != 0 {
		t.Errorf("outbox: %+v; want %d waiting, %d handled, %d given up", st, waiting, handled, givenUp)
	}
}

// Messages arrive once and in order, wherever the actor is.
func TestReliableInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, at *actor.System, bind func(actor.Ref) actor.Ref) {
		b := newBook()
		ref, err := at.Spawn("k", b.kind())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range upTo(100) {
			if err := actor.TellReliably(t.Context(), bind(ref), Entry{n}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		b.has(t, upTo(100)...)
	})
}

// An actor that does not exist yet, a node that does not exist yet: the messages wait.
func TestReliableBeforeTheReceiver(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		b, a := newBook(), c.start("a")
		write(t, a, "b", 1, 2)
		write(t, a, "a", 1, 2)
		time.Sleep(time.Hour)
		sys := c.start("b")
		write(t, a, "b", 3)
		time.Sleep(time.Minute)
		wantOutbox(t, a, 5, 0, 0)
		spawn(t, sys, "k", b.kind())
		time.Sleep(time.Minute)
		b.has(t, 1, 2, 3)
		wantOutbox(t, a, 2, 3, 0)
		own := newBook()
		spawn(t, a, "k", own.kind())
		time.Sleep(time.Minute)
		own.has(t, 1, 2)
		wantOutbox(t, a, 0, 5, 0)
	})
}

// An error or a panic of the handler is the receiver's affair, and nothing comes again.
func TestReliableHandlerFails(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		book, a, b := newBook(), c.start("a"), c.start("b")
		spawn(t, b, "k", book.kind())
		write(t, a, "b", 12, 13, 14, 15)
		time.Sleep(time.Minute)
		book.has(t, 12, 13, 14, 15)
		wantOutbox(t, a, 0, 4, 0)
		if st := b.Stats(); st.Failed != 1 || st.Panics != 1 {
			t.Errorf("%d handlers failed and %d panicked, want one each", st.Failed, st.Panics)
		}
	})
}

// All roads are lost while a message is being handled, and for longer than any deadline.
func TestReliableRoadsAreLost(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		book, a, b := newBook(), c.start("a"), c.start("b")
		spawn(t, b, "k", book.kind())
		write(t, a, "b", 1, -2, 3)
		time.Sleep(moment)
		c.net.Partition("", "a", "b")
		c.net.Reset("", "a", "b")
		write(t, a, "b", 4)
		time.Sleep(moment)
		close(book.gate)
		time.Sleep(3 * time.Minute) // longer than the lease of the session
		c.net.Heal("", "a", "b")
		time.Sleep(2 * time.Minute)
		book.has(t, 1, -2, 3, 4)
		wantOutbox(t, a, 0, 4, 0)
	})
}

// The answer is lost, again and again: the message is recognised.
func TestReliableAnswersAreLost(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		book, a, b := newBook(), c.start("a"), c.start("b")
		spawn(t, b, "k", book.kind())
		for n := range 5 {
			write(t, a, "b", n)
			time.Sleep(moment)
			c.net.Hold("", "b", "a")
			write(t, a, "b", 100+n)
			time.Sleep(moment)
			c.net.Reset("", "a", "b")
			c.net.Release("", "b", "a")
			time.Sleep(time.Minute)
		}
		book.has(t, 0, 100, 1, 101, 2, 102, 3, 103, 4, 104)
		wantOutbox(t, a, 0, 10, 0)
	})
}

// The receiver's node is killed. A kind with records knows what it has handled; one without does not, and
// what was there is given up as unknown, but nothing behind it.
func TestReliableReceiverRestarts(t *testing.T) {
	for name, row := range map[string]struct {
		opts   []actor.KindOption
		before []int // handled by the first start
		after  []int // by the second one
		lost   int
	}{
		"durable": {[]actor.KindOption{actor.Durable()}, []int{1, 2}, []int{3, 4}, 0},
		"plain":   {nil, []int{1, 2}, []int{3, 4}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			onEachRoad(t, func(t *testing.T, c *cluster) {
				first, second, d := newBook(), newBook(), new(disk)
				a, b := c.start("a"), c.start("b", first.on(d))
				given := a.Events(t.Context(), actor.MessageGivenUp)
				spawn(t, b, "k", first.kind(row.opts...))
				write(t, a, "b", 1)
				time.Sleep(moment)
				c.mute(b)
				write(t, a, "b", 2, 3, 4)
				time.Sleep(moment)
				c.kill(b, d)
				time.Sleep(time.Minute)
				b = c.start("b", second.on(d))
				time.Sleep(time.Minute)
				spawn(t, b, "k", second.kind(row.opts...))
				time.Sleep(time.Minute)
				first.has(t, row.before...)
				second.has(t, row.after...)
				wantOutbox(t, a, 0, uint64(4-row.lost), uint64(row.lost))
				if len(given) != row.lost {
					t.Fatalf("%d events, want %d", len(given), row.lost)
				}
				if row.lost > 0 {
					if e := <-given; rpc.Ran(e.Err) != rpc.Unknown || e.Actor != "k@b" {
						t.Errorf("event %+v", e)
					}
				}
			})
		})
	}
}

// A durable actor was at work on a message when its node was lost: nobody knows what became of it.
func TestReliableReceiverDiesAtWork(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		first, second, d := newBook(), newBook(), new(disk)
		a, b := c.start("a"), c.start("b", first.on(d))
		spawn(t, b, "k", first.kind(actor.Durable()))
		write(t, a, "b", 1, -2, 3)
		time.Sleep(moment)
		c.kill(b, d)
		close(first.gate)
		spawn(t, c.start("b", second.on(d)), "k", second.kind(actor.Durable()))
		time.Sleep(time.Minute)
		first.has(t, 1, -2)
		second.has(t, 3)
		wantOutbox(t, a, 0, 2, 1)
	})
}

// A node has been started again while its earlier start lives, and a message goes to that one over a link
// that is still open. Then that one dies. Its successor has never had the message, and cannot know that it was handled.
func TestReliableTwoStarts(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		first, second := newBook(), newBook()
		a, b := c.start("a"), c.start("b")
		spawn(t, b, "k", first.kind())
		write(t, a, "b", 1)
		time.Sleep(moment)
		spawn(t, c.start("b"), "k", second.kind())
		time.Sleep(moment)
		write(t, a, "b", -2, 3)
		time.Sleep(moment)
		c.kill(b, nil)
		close(first.gate)
		close(second.gate)
		time.Sleep(time.Minute)
		got := append(first.entries(), second.entries()...)
		if want := []int{1, -2, 3}; !slices.Equal(got, want) {
			t.Errorf("the books have %v, want %v", got, want)
		}
	})
}

// The sender's process is killed. With a durable outbox its next start goes on, in order, and what was
// handled is recognised; without one, what waited is gone.
func TestReliableSenderRestarts(t *testing.T) {
	for _, durable := range []bool{true, false} {
		t.Run(fmt.Sprint("durable ", durable), func(t *testing.T) {
			onEachRoad(t, func(t *testing.T, c *cluster) {
				book, d := newBook(), new(disk)
				config := func(cfg *actor.Config) { d.config(cfg); cfg.Outbox.Durable = durable }
				a, b := c.start("a", config), c.start("b")
				spawn(t, b, "k", book.kind())
				write(t, a, "b", 1, 2)
				time.Sleep(moment)
				c.mute(b) // 3 is handled, and a does not hear of it
				write(t, a, "b", 3, 4, 5)
				time.Sleep(moment)
				c.kill(a, d)
				c.net.Release("", "b", "")
				time.Sleep(time.Minute)
				a = c.start("a", config)
				write(t, a, "b", 6)
				time.Sleep(time.Minute)
				if durable {
					book.has(t, upTo(6)...)
					wantOutbox(t, a, 0, 4, 0)
				} else {
					book.has(t, 1, 2, 3, 6)
					wantOutbox(t, a, 0, 1, 0)
				}
			})
		})
	}
}

// Both sides are killed, several times; both keep records.
func TestReliableBothRestart(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		var all []int
		da, db := new(disk), new(disk)
		config := func(cfg *actor.Config) { da.config(cfg); cfg.Outbox.Durable = true }
		n := 0
		for range 4 {
			book := newBook()
			a, b := c.start("a", config), c.start("b", book.on(db))
			spawn(t, b, "k", book.kind(actor.Durable()))
			time.Sleep(time.Minute)
			for range 5 {
				n++
				write(t, a, "b", n)
			}
			time.Sleep(moment)
			c.mute(b)
			n += 3
			write(t, a, "b", n-2, n-1, n)
			time.Sleep(moment)
			c.kill(b, db)
			c.kill(a, da)
			c.net.Release("", "b", "")
			all = append(all, book.entries()...)
		}
		book := newBook()
		a, b := c.start("a", config), c.start("b", book.on(db))
		spawn(t, b, "k", book.kind(actor.Durable()))
		time.Sleep(time.Minute)
		if all = append(all, book.entries()...); !slices.Equal(all, upTo(n)) {
			t.Errorf("handled %v, want 1 to %d", all, n)
		}
		wantOutbox(t, a, 0, uint64(len(book.entries()))+1, 0)
	})
}

// What a killed sender had stored reaches a plain actor that was there all the time, also what was never
// sent; but not one whose node has been restarted since.
func TestReliableSenderRestartsAndPlainReceiver(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		kept, fresh, d := newBook(), newBook(), new(disk)
		config := func(cfg *actor.Config) { d.config(cfg); cfg.Outbox.Durable = true }
		a, b, e := c.start("a", config), c.start("b"), c.start("c")
		time.Sleep(moment)
		c.net.Partition("", "a", "")
		write(t, a, "b", 1, 2)
		write(t, a, "c", 1, 2)
		time.Sleep(moment)
		c.kill(a, d)
		spawn(t, b, "k", kept.kind())
		c.kill(e, nil)
		spawn(t, c.start("c"), "k", fresh.kind())
		a = c.start("a", config)
		time.Sleep(time.Minute)
		kept.has(t, 1, 2)
		fresh.has(t)
		wantOutbox(t, a, 0, 2, 2)
	})
}

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

// Shutdown sends what it can, and makes dead letters of the rest; a durable outbox keeps it.
func TestReliableShutdown(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		book, a, b := newBook(), c.start("a"), c.start("b")
		ch := a.DeadLetters(t.Context())
		spawn(t, b, "k", book.kind())
		write(t, a, "b", upTo(50)...)
		if err := actor.TellReliably(t.Context(), a.Ref("nobody@b"), Entry{1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		book.has(t, upTo(50)...)
		var dead []actor.DeadLetter
		for d := range ch {
			dead = append(dead, d)
		}
		if len(dead) != 1 || dead[0].To != "nobody@b" || rpc.Ran(dead[0].Reason) != rpc.NotRun {
			t.Errorf("dead letters: %v", dead)
		}
		wantErr(t, "after the end", actor.TellReliably(t.Context(), a.Ref("k@b"), Entry{1}), rpc.Unavailable, rpc.NotRun)

		d := new(disk)
		config := func(cfg *actor.Config) { d.config(cfg); cfg.Outbox.Durable = true }
		e := c.start("e", config)
		write(t, e, "later", 1, 2)
		if err := e.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		e = c.start("e", config)
		wantOutbox(t, e, 2, 0, 0)
		late := newBook()
		spawn(t, c.start("later"), "k", late.kind())
		time.Sleep(time.Minute)
		late.has(t) // it was started after the messages were stored, by a process that has ended: they may have been handled
		wantOutbox(t, e, 0, 0, 2)
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
