package actor_test

// Reliable one-way messages: each of these tests is a row, and most run over each road.

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
)

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
