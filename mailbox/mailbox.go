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
//	var spare []Message // the consumer
//	for batch := box.Take(&spare); batch != nil; batch = box.Take(&spare) {
//		for _, m := range batch { ... }
//		clear(batch)
//		spare = batch
//	}
//
// The promise: a message whose put returned nil and reported nothing dropped
// comes out of Take or Close, and does so once; one whose put returned an error
// never does. What comes out is in the order of arrival, which includes the
// line of those who wait for room: a newcomer never overtakes it.
//
// A Box is one mutex and two slices that are swapped per batch. It starts no
// goroutine and reads no clock. An idle box owns next to no storage, so that
// millions of idle actors cost little.
//
// The limits: the capacity bounds what waits, not the batch that the consumer
// took and works on, so up to twice the capacity may be in memory. Putters that
// block are as many as the callers let be; each holds one message in the line.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Errors of a put. After either of them the message is not in the box.
var (
	ErrFull   = errors.New("mailbox: full")
	ErrClosed = errors.New("mailbox: closed")
)

// keepIdle is the largest storage, in messages, that an idle box holds on to:
// enough for an actor that is asked one thing at a time.
const keepIdle = 4

// Box is a bounded FIFO with many producers and one consumer. It is unusable
// before Init and must not be copied after it.
//
// Put, Offer, Park, Close and Len may be called by any number of goroutines at
// once. Take belongs to the consumer: there is one from the put that reported
// Wake until the Take that returned nil.
type Box[T any] struct {
	config *Config // shared by all boxes of a kind, never written

	mu      sync.Mutex // guards all below
	waiting []T        // what waits: a FIFO from head on, wrapping around
	head    int        // index of the oldest; other than 0 only in a full box under DropOldest
	line    line[T]    // who waits for room; empty unless waiting is full
	busy    bool       // a consumer runs, or was asked for
	closed  bool
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
}

// Put puts v into the box. When it is full the policy decides: under Block, Put
// waits in line until there is room, the box is closed (ErrClosed) or ctx ends;
// the error then wraps context.Cause(ctx), and v is not in the box. Where room
// and the end of ctx coincide, v is in and the error nil. A ctx that has ended
// does not keep v from room that is there.
func (b *Box[T]) Put(ctx context.Context, v T) (Put[T], error) {
	b.mu.Lock()
	if !b.closed && len(b.waiting) < b.config.capacity() {
		wake := b.append(v)
		b.mu.Unlock()
		return Put[T]{Wake: wake}, nil
	}
	if b.closed || b.config.Policy != Block {
		defer b.mu.Unlock()
		return b.overflow(v)
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
	if !b.closed && len(b.waiting) < b.config.capacity() {
		wake := b.append(v)
		b.mu.Unlock()
		return Put[T]{Wake: wake}, nil
	}
	defer b.mu.Unlock()
	return b.overflow(v)
}

// Park is Put for those who must not wait but cannot turn the message away
// either, such as the reader of a link: under Block a message that finds the
// box full joins the line behind the putters that block, with nobody waiting
// for it. It counts as accepted. When Config.Parked messages are parked, Park
// returns ErrFull. Under the other policies it is Offer.
func (b *Box[T]) Park(v T) (Put[T], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && len(b.waiting) < b.config.capacity() {
		return Put[T]{Wake: b.append(v)}, nil
	}
	if !b.closed && b.config.Policy == Block && b.line.parked < b.config.parked() {
		b.line.push(&waiter[T]{v: v})
		return Put[T]{}, nil
	}
	return b.overflow(v)
}

// append lets v in, where there is room, and reports whether it woke the box.
func (b *Box[T]) append(v T) (wake bool) {
	b.waiting = append(b.waiting, v)
	wake = !b.busy
	b.busy = true
	return wake
}

// overflow decides on v, which found the box closed or full and does not wait.
func (b *Box[T]) overflow(v T) (Put[T], error) {
	switch {
	case b.closed:
		return Put[T]{}, ErrClosed
	case b.config.Policy == DropNewest:
		return Put[T]{Dropped: v, HasDropped: true}, nil
	case b.config.Policy == DropOldest:
		oldest := b.waiting[b.head]
		b.waiting[b.head] = v
		b.head = (b.head + 1) % len(b.waiting)
		return Put[T]{Dropped: oldest, HasDropped: true}, nil
	}
	return Put[T]{}, ErrFull
}

// Take takes all that waits, oldest first, lets in those who stand in line, as
// far as the freed room goes, and returns what it took. When nothing waits it
// returns nil and the box is idle: the consumer must end, and the next put asks
// for a new one. After Close it returns nil.
//
// *spare is storage for what comes next: a batch that was taken before, cleared so
// that it retains nothing. The box takes it; when it turns idle it leaves there
// what it does not keep, for the consumer's next box. So the two slices go round
// and a put allocates nothing. spare may be nil.
func (b *Box[T]) Take(spare *[]T) (batch []T) {
	var next []T
	if spare != nil {
		next, *spare = (*spare)[:0], nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	if len(b.waiting) == 0 {
		b.busy = false
		b.waiting, next = idleStorage(b.waiting, next)
		if spare != nil {
			*spare = next
		}
		return nil
	}
	batch = b.unwrap()
	b.waiting = next
	for room := b.config.capacity(); b.line.first != nil && room > 0; room-- {
		w := b.line.first
		b.line.remove(w)
		b.waiting = append(b.waiting, w.v)
		w.settle(nil)
	}
	return batch
}

// idleStorage divides the two slices of a box that turns idle: it keeps the larger
// one that is small enough, and gives the other back.
func idleStorage[T any](a, b []T) (keep, rest []T) {
	if cap(a) < cap(b) {
		a, b = b, a
	}
	switch {
	case cap(a) <= keepIdle:
		return a[:0], nil
	case cap(b) <= keepIdle:
		return b[:0], a[:0]
	}
	return nil, a[:0]
}

// unwrap returns what waits, rotated in place so that the oldest comes first.
func (b *Box[T]) unwrap() []T {
	if b.head != 0 {
		slices.Reverse(b.waiting[:b.head])
		slices.Reverse(b.waiting[b.head:])
		slices.Reverse(b.waiting)
		b.head = 0
	}
	return b.waiting
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
	rest = b.unwrap()
	b.waiting = nil
	for w := b.line.first; w != nil; w = b.line.first {
		b.line.remove(w)
		if w.done == nil {
			rest = append(rest, w.v)
		}
		w.settle(ErrClosed)
	}
	if len(rest) == 0 {
		return nil, b.busy
	}
	return rest, b.busy
}

// Len returns how many messages are accepted and not taken, parked ones
// included. A putter that blocks is not counted.
func (b *Box[T]) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) + b.line.parked
}

// Blocks reports whether a put into the full box waits for room.
func (b *Box[T]) Blocks() bool { return b.config.Policy == Block }

// DropsNewest reports whether a put into the full box drops the message itself.
func (b *Box[T]) DropsNewest() bool { return b.config.Policy == DropNewest }
