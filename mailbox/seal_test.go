package mailbox

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/test/bubble"
)

// What a sealed box has accepted comes out, the backlog included, and nothing else goes in.
func TestSeal(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 2})
		offer(t, b, 1, 2)
		blocked := make(chan error, 1)
		go func() { _, err := b.Put(t.Context(), 9); blocked <- err }()
		synctest.Wait()
		b.Enqueue(3)
		for range 2 {
			b.Seal()
		}
		if err := <-blocked; err != ErrClosed {
			t.Errorf("who waited for room: %v", err)
		}
		if wake, ok := b.Push(4); wake || ok {
			t.Error("a push into a sealed box")
		}
		if _, err := b.Enqueue(4); err != ErrClosed || b.Len() != 3 {
			t.Errorf("%v, %d wait", err, b.Len())
		}
		wantTake(t, b, 1, 2, 3)
		wantTake(t, b)
		if b.Len() != 0 || !b.Wake() || b.Wake() {
			t.Error("a box that is sealed and empty")
		}
	})
}

// Close takes out what a sealed box still has, and leaves what the consumer has taken.
func TestCloseAfterSeal(t *testing.T) {
	b := newBox(Config{Capacity: 200})
	offer(t, b, 1, 100)
	taken := b.Take(nil)
	offer(t, b, 101, 110)
	b.Seal()
	if rest, busy := b.Close(); !slices.Equal(rest, numbers(101, 110)) || !busy {
		t.Errorf("Close = %v, %v", rest, busy)
	}
	n := 0
	for ; taken != nil; taken = b.Take(taken) {
		n += len(taken.Messages())
	}
	if n != 100 {
		t.Errorf("took %d", n)
	}
}

// However pushes, wakes, a seal and a close meet, there is never more than one consumer, and
// every message that was accepted comes out once.
func TestOneConsumerAtATime(t *testing.T) {
	for round := range 200 {
		b := newBox(Config{})
		var consumers, out, in atomic.Int64
		var all sync.WaitGroup
		run := func(wake bool) {
			if !wake {
				return
			}
			all.Go(func() {
				for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
					if consumers.Add(1) > 1 {
						t.Error("two consumers")
					}
					out.Add(int64(len(batch.Messages())))
					consumers.Add(-1)
				}
			})
		}
		for range 4 {
			all.Go(func() {
				for v := range 50 {
					if wake, ok := b.Push(v); ok {
						in.Add(1)
						run(wake)
					}
					if v%10 == 0 {
						run(b.Wake())
					}
				}
			})
		}
		all.Go(func() {
			if round%2 == 0 {
				b.Seal()
				run(b.Wake())
				return
			}
			rest, _ := b.Close()
			out.Add(int64(len(rest)))
		})
		all.Wait()
		run(b.Wake())
		all.Wait()
		if in.Load() != out.Load() {
			t.Fatalf("round %d: %d went in, %d came out", round, in.Load(), out.Load())
		}
	}
}

func always() bool { return true }

// CloseIfIdle closes only a box without a consumer, and its caller becomes the consumer.
func TestCloseIfIdle(t *testing.T) {
	b := newBox(Config{Capacity: 2})
	offer(t, b, 1, 1)
	if b.CloseIfIdle(always) {
		t.Error("a box with a message was closed")
	}
	wantTake(t, b, 1)
	if b.CloseIfIdle(always) {
		t.Error("a box with a consumer was closed")
	}
	wantTake(t, b)
	if b.CloseIfIdle(func() bool { return false }) {
		t.Error("a box that must not be closed was closed")
	}
	if !b.CloseIfIdle(always) || b.CloseIfIdle(always) || b.Wake() {
		t.Error("an idle box was not closed, or not only once, or has no consumer")
	}
	if _, err := b.Offer(2); err != ErrClosed {
		t.Errorf("a put into a closed box: %v", err)
	}
	wantTake(t, b)
}
