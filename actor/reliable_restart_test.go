package actor_test

// Reliable messages whose sender's or receiver's process is killed or shut down.

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

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
