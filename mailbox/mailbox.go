// Package mailbox is the queue in front of an actor: many put, one takes, and
// what waits is bounded, with a name for what happens at the bound.
//
//	var box mailbox.Box[Message]
//	box.Init(&mailbox.Config{Capacity: 100})
//
//	put, err := box.Put(ctx, m) // any goroutine
//	if put.Wake {
//		go run(&box) // nobody consumes yet: whoever woke the box starts the consumer
//	}
//
//	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) { // the consumer
//		for _, m := range batch.Messages() { ... }
//	}
//
// The promise: a message whose put returned nil and reported nothing dropped
// comes out of Take or Close, or of Sweep if the sweeper said that it is dead, and
// does so once; one whose put returned an error never does. What comes out is in the
// order of arrival, which includes the line of those who wait for room: a newcomer
// never overtakes it.
//
// A Box is one mutex and a chain of batches, all of which the consumer takes at
// once. It starts no goroutine and reads no clock. An idle box owns no storage,
// so that millions of idle actors cost little.
//
// The limits: the capacity bounds what waits, not what the consumer took and
// works on, so up to twice the capacity may be in memory. Putters that block
// are as many as the callers let be; each holds one message in the line. A message
// that has become pointless keeps its place until somebody calls Sweep.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Errors of a put. After either of them the message is not in the box.
var (
	ErrFull   = errors.New("mailbox: full")
	ErrClosed = errors.New("mailbox: closed")
)

// Box is a bounded FIFO with many producers and one consumer. It is unusable
// before Init and must not be copied after it.
//
// Push, Put, Offer, Park, Sweep, Close and Len may be called by any number of goroutines
// at once. Take belongs to the consumer: there is one from the put that reported
// Wake until the Take that returned nil.
type Box[T any] struct {
	config *Config // shared by all boxes of a kind, never written

	mu      sync.Mutex // guards all below
	room    int32      // how many more may wait; 0 once closed
	busy    bool       // a consumer runs, or was asked for
	closed  bool
	waiting chain[T] // what waits
	line    line[T]  // who waits for room; empty unless there is none
}

// Put is what a successful put did.
type Put[T any] struct {
	Wake       bool // the box went from idle to busy: the caller must start a consumer
	Dropped    T    // what the policy dropped, if HasDropped
	HasDropped bool
}

// Init makes b ready for use. It keeps c, which must be valid (Config.Validate)
// and must not change afterwards; nil means the defaults.
func (b *Box[T]) Init(c *Config) {
	if c == nil {
		c = &defaults
	}
	b.config = c
	b.room = c.capacity()
}

// Push is the short form of Offer for the usual case: it puts v into the box if there
// is room, and does nothing if there is none or the box is closed.
func (b *Box[T]) Push(v T) (wake, ok bool) {
	b.mu.Lock()
	if ok = b.room > 0; ok {
		wake = !b.busy
		b.busy = true
		b.room--
		*b.waiting.open().place() = v
	}
	b.mu.Unlock()
	return wake, ok
}

// PushWith is Push for a message that fill makes in its place, which is zero or holds what
// a consumer left there (Batch.Leave). fill runs under the box's lock, so it must be short
// and must not use the box.
func (b *Box[T]) PushWith(fill func(place *T)) (wake, ok bool) {
	b.mu.Lock()
	if ok = b.room > 0; ok {
		wake = !b.busy
		b.busy = true
		b.room--
		fill(b.waiting.open().place())
	}
	b.mu.Unlock()
	return wake, ok
}

// PushAll is Push for the first of vs, as many as there is room for. It returns how many.
func (b *Box[T]) PushAll(vs []T) (wake bool, n int) {
	b.mu.Lock()
	n = min(len(vs), int(b.room))
	if n > 0 {
		wake = !b.busy
		b.busy = true
		b.room -= int32(n)
	}
	for _, v := range vs[:n] {
		*b.waiting.open().place() = v
	}
	b.mu.Unlock()
	return wake, n
}

// Put puts v into the box. When it is full the policy decides: under Block, Put
// waits in line until there is room, the box is closed (ErrClosed) or ctx ends;
// the error then wraps context.Cause(ctx), and v is not in the box. Where room
// and the end of ctx coincide, v is in and the error nil. A ctx that has ended
// does not keep v from room that is there.
func (b *Box[T]) Put(ctx context.Context, v T) (Put[T], error) {
	b.mu.Lock()
	if b.room > 0 || b.closed || b.config.Policy != Block {
		defer b.mu.Unlock()
		return b.put(v)
	}
	w := &waiter[T]{v: v, done: make(chan struct{})}
	b.line.push(w)
	b.mu.Unlock()

	select {
	case <-w.done:
		return Put[T]{}, w.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.done: // the room, or the close, came first
		return Put[T]{}, w.err
	default:
	}
	b.line.remove(w)
	return Put[T]{}, fmt.Errorf("mailbox: waiting for room: %w", context.Cause(ctx))
}

// Offer is Put for those who must not wait: under Block a full box is ErrFull.
func (b *Box[T]) Offer(v T) (Put[T], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(v)
}

// Park is Put for those who must not wait but cannot turn the message away
// either, such as the reader of a link: under Block a message that finds the
// box full joins the line behind the putters that block, with nobody waiting
// for it. It counts as accepted. When Config.Parked messages are parked, Park
// returns ErrFull. Under the other policies it is Offer.
func (b *Box[T]) Park(v T) (Put[T], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room == 0 && !b.closed && b.config.Policy == Block && int(b.line.parked) < b.config.parked() {
		b.line.push(&waiter[T]{v: v})
		return Put[T]{}, nil
	}
	return b.put(v)
}

// put lets v in if there is room, and decides on it otherwise; it never waits.
func (b *Box[T]) put(v T) (Put[T], error) {
	switch {
	case b.room > 0:
		wake := !b.busy
		b.busy = true
		b.room--
		*b.waiting.open().place() = v
		return Put[T]{Wake: wake}, nil
	case b.closed:
		return Put[T]{}, ErrClosed
	case b.config.Policy == DropNewest:
		return Put[T]{Dropped: v, HasDropped: true}, nil
	case b.config.Policy == DropOldest:
		oldest := b.waiting.shift()
		*b.waiting.open().place() = v
		return Put[T]{Dropped: oldest, HasDropped: true}, nil
	}
	return Put[T]{}, ErrFull
}

// Take takes all that waits, lets in those who stand in line, as far as the freed
// room goes, and returns the oldest batch of what it took. Given that back as done, it
// returns the next one. When nothing is left and nothing waits it returns nil and the
// box is idle: the consumer must end, and the next put asks for a new one. After Close
// it returns what it took before, then nil.
//
// done is what Take returned last, nil at first. The box clears it, unless Leave was
// called, and has its storage for what comes next, so that a put allocates nothing.
func (b *Box[T]) Take(done *Batch[T]) *Batch[T] {
	if done != nil {
		done.empty()
		if next := done.next; next != nil {
			done.free()
			return next
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	capacity := b.config.capacity()
	if b.closed || b.room == capacity {
		b.busy = b.closed // a closed box never wakes again
		b.waiting.drain() // of the batch that it was given before
		if done != nil {
			done.free()
		}
		return nil
	}
	taken := b.waiting.first
	b.waiting = chain[T]{done, done}
	b.room = capacity
	b.letIn()
	return taken
}

// letIn lets in those who stand in line, as far as the room goes.
func (b *Box[T]) letIn() {
	for b.line.first != nil && b.room > 0 {
		w := b.line.first
		b.line.remove(w)
		b.room--
		*b.waiting.open().place() = w.v
		w.settle(nil)
	}
}

// Close refuses all further puts with ErrClosed, those that wait in line
// included, and returns what was accepted and not taken, parked messages
// included, oldest first. A batch that the consumer holds stays the consumer's.
// busy reports that there is a consumer, whose next Take returns nil; it is
// likewise reported by another Close, which returns no rest.
func (b *Box[T]) Close() (rest []T, busy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, b.busy
	}
	b.closed = true
	b.room = 0
	rest = b.waiting.drain()
	for w := b.line.first; w != nil; w = b.line.first {
		b.line.remove(w)
		if w.done == nil {
			rest = append(rest, w.v)
		}
		w.settle(ErrClosed)
	}
	return rest, b.busy
}

// Len returns how many messages are accepted and not taken, parked ones
// included. A putter that blocks is not counted.
func (b *Box[T]) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0
	}
	return int(b.config.capacity()-b.room) + int(b.line.parked)
}

// Blocks reports whether a put into the full box waits for room.
func (b *Box[T]) Blocks() bool { return b.config.Policy == Block }

// DropsNewest reports whether a put into the full box drops the message itself.
func (b *Box[T]) DropsNewest() bool { return b.config.Policy == DropNewest }
