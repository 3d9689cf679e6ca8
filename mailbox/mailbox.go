// Package mailbox is the bounded queue in front of an actor, with many producers and one
// consumer. A policy says what happens when it is full.
//
//	var box mailbox.Box[Message]
//	box.Init(&mailbox.Config{Capacity: 100})
//
//	put, err := box.Put(ctx, m) // any goroutine
//	if put.Wake {
//		go run(&box) // there was no consumer: the put that woke the box starts one
//	}
//
//	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) { // the consumer
//		for _, m := range batch.Messages() { ... }
//	}
//
// The promise: a message whose put returned nil and reported nothing dropped comes out of
// Take, Close or Sweep, and comes out once. A message whose put returned an error never
// comes out. Messages come out in the order of their arrival. Those that wait for room
// count as arrived: a later message never overtakes them. A box with another order, by priority
// classes or with senders in turn, is made with Box.InitOrdered.
//
// A Box is one mutex and a list of batches, all of which the consumer takes at once. While
// several producers wait for room, those that find the mutex locked yield rather than wait
// for it. A Box starts no goroutine and reads no clock. An idle box owns no storage, so millions of idle
// actors cost little.
//
// The limits: the capacity bounds the messages that wait, not those that the consumer has
// taken and works on, so up to twice the capacity may be in memory. The number of
// producers that block is not bounded here; each of them holds one message. A message
// that nobody wants any more keeps its place until somebody calls Sweep.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Errors of a put. After either of them the message is not in the box.
var (
	ErrFull   = errors.New("mailbox: full")
	ErrClosed = errors.New("mailbox: closed")
)

// Box is a bounded FIFO with many producers and one consumer. It is unusable
// before Init and must not be copied after it.
//
// All methods but Take may be called by any number of goroutines at once. Only the consumer
// may call Take. There is a consumer from the put that reported Wake, or the Wake that returned
// true, until the Take that returned nil.
type Box[T any] struct {
	config *Config // shared by all boxes of a kind, never written

	mu      sync.Mutex    // guards what follows
	room    int32         // how many more may wait; below 0 if a row takes places of the backlog; 0 once closed
	state   atomic.Uint32 // see crowd.go; written under mu, also read without it
	waiting chain[T]      // the messages that wait
	waiters waitQueue[T]  // messages that wait for room; empty while there is room
	order   *order[T]     // of an ordered box, whose room is 0 and waiting and waiters are empty; else nil
}

// Put is the result of a successful put.
type Put[T any] struct {
	Wake       bool // the box went from idle to busy: the caller must start a consumer
	Dropped    T    // what the policy dropped, if HasDropped
	HasDropped bool
	Own        bool // what was dropped is the message that was put
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
	if b.state.Load() < crowd || !b.lockInCrowd() {
		b.mu.Lock()
	}
	if ok = b.room > 0; ok {
		wake = b.wakes()
		b.room--
		*b.waiting.tail().slot() = v
	} else if b.order != nil {
		wake, ok = b.pushOrdered(v)
	}
	b.mu.Unlock()
	return wake, ok
}

// PushWith is Push for a message that fill writes into its place in the box. The place is
// zero, or holds what a consumer left there (Batch.Leave). fill runs under the box's lock,
// so it must be short and must not use the box.
func (b *Box[T]) PushWith(fill func(place *T)) (wake, ok bool) {
	if b.state.Load() < crowd || !b.lockInCrowd() {
		b.mu.Lock()
	}
	if ok = b.room > 0; ok {
		wake = b.wakes()
		b.room--
		fill(b.waiting.tail().slot())
	} else if b.order != nil {
		wake, ok = b.pushWithOrdered(fill)
	}
	b.mu.Unlock()
	return wake, ok
}

// PushAll is Push for the first of vs, as many as there is room for. It returns how many.
func (b *Box[T]) PushAll(vs []T) (wake bool, n int) {
	b.mu.Lock()
	if b.order != nil {
		defer b.mu.Unlock()
		return b.pushAllOrdered(vs)
	}
	n = min(len(vs), max(int(b.room), 0))
	if n > 0 {
		wake = b.wakes()
		b.room -= int32(n)
	}
	for _, v := range vs[:n] {
		*b.waiting.tail().slot() = v
	}
	b.mu.Unlock()
	return wake, n
}

// PushRow is Push for a v that stands for n messages and takes as many places. It comes out of
// Take and Close as one. put is how many were put, 0 or 1. Under Block, v may take places of the
// backlog as well, if there is room for a part of it. A box that drops its oldest message takes no
// v of several, because it could not drop a part of it. Sweep must not find such a v dead.
func (b *Box[T]) PushRow(v T, n int) (wake bool, put int) {
	b.mu.Lock()
	if beyond := n - int(b.room); b.room > 0 && b.config.Policy != DropOldest && (beyond <= 0 || b.config.Policy == Block && beyond <= b.config.backlog()) {
		wake, put = b.wakes(), 1
		b.room -= int32(n)
		*b.waiting.tail().slot() = v
	}
	b.mu.Unlock()
	return wake, put
}

// Put puts v into the box. When the box is full, the policy decides. Under Block, Put waits
// until there is room, the box is closed (ErrClosed), or ctx ends; the error then wraps
// context.Cause(ctx), and v is not in the box. If room and the end of ctx coincide, v is in
// the box and the error is nil. While there is room, a ctx that has ended does not matter.
func (b *Box[T]) Put(ctx context.Context, v T) (Put[T], error) {
	b.lock()
	if b.room > 0 || b.has(isClosed) || b.config.Policy != Block || b.order != nil && b.order.fits(v) {
		defer b.mu.Unlock()
		return b.put(v)
	}
	w := &waiter[T]{v: v, done: make(chan struct{})}
	var e *entry[T]
	if b.order == nil {
		b.waiters.push(w)
	} else {
		e = b.line(v, w)
	}
	b.mu.Unlock()

	select {
	case <-w.done:
		return Put[T]{}, w.err
	case <-ctx.Done():
	}
	b.lock()
	defer b.mu.Unlock()
	select {
	case <-w.done: // the room, or the close, came first
		return Put[T]{}, w.err
	default:
	}
	if e == nil {
		b.waiters.remove(w)
	} else {
		b.order.remove(e)
		e.take()
	}
	return Put[T]{}, fmt.Errorf("mailbox: waiting for room: %w", context.Cause(ctx))
}

// Offer is Put without waiting: under Block, a full box is ErrFull.
func (b *Box[T]) Offer(v T) (Put[T], error) {
	b.lock()
	defer b.mu.Unlock()
	return b.put(v)
}

// Displace is Offer, but into a full box it puts v in the place of the message that has waited
// longest, whatever the policy is.
func (b *Box[T]) Displace(v T) (Put[T], error) {
	b.lock()
	defer b.mu.Unlock()
	if b.order != nil && !b.has(isClosed) {
		return b.putOrdered(v, DropOldest)
	}
	if b.room > 0 || b.has(isClosed) || b.waiting.empty() {
		return b.put(v)
	}
	oldest := b.waiting.shift()
	*b.waiting.tail().slot() = v
	return Put[T]{Dropped: oldest, HasDropped: true}, nil
}

// Enqueue is Put for callers that must not wait and cannot refuse the message either, such
// as the reader of a link. Under Block, a message that finds the box full goes to the
// backlog: it waits for room behind the producers that block, and its caller goes on. It
// counts as accepted. When the backlog holds Config.Backlog messages, Enqueue returns
// ErrFull. Under the other policies it is Offer.
func (b *Box[T]) Enqueue(v T) (Put[T], error) {
	b.lock()
	defer b.mu.Unlock()
	if b.order != nil && !b.has(isClosed) {
		return b.enqueueOrdered(v)
	}
	if b.room <= 0 && !b.has(isClosed) && b.config.Policy == Block && int(b.waiters.backlog-b.room) < b.config.backlog() {
		b.waiters.push(&waiter[T]{v: v})
		return Put[T]{}, nil
	}
	return b.put(v)
}

// put adds v if there is room, and applies the policy otherwise. It never waits.
func (b *Box[T]) put(v T) (Put[T], error) {
	switch {
	case b.room > 0:
		wake := b.wakes()
		b.room--
		*b.waiting.tail().slot() = v
		return Put[T]{Wake: wake}, nil
	case b.has(isClosed):
		return Put[T]{}, ErrClosed
	case b.order != nil:
		return b.putOrdered(v, b.config.Policy)
	case b.config.Policy == DropNewest:
		return Put[T]{Dropped: v, HasDropped: true, Own: true}, nil
	case b.config.Policy == DropOldest:
		oldest := b.waiting.shift()
		*b.waiting.tail().slot() = v
		return Put[T]{Dropped: oldest, HasDropped: true}, nil
	}
	return Put[T]{}, ErrFull
}

// Take takes all messages that wait, admits as many of those that wait for room as fit,
// and returns the oldest batch of what it took. When that batch is given back as done, Take
// returns the next one. In an ordered box Take takes one message only. When nothing is left, Take returns nil and the box is idle: the
// consumer must end, and the next put asks for a new one. After Close, Take returns what it
// took before, and then nil; after Seal also what was accepted before that.
//
// done is what Take returned last, and nil at first. The box clears it, unless Leave was
// called, and uses its storage for the next messages, so that a put does not allocate.
func (b *Box[T]) Take(done *Batch[T]) *Batch[T] {
	if done != nil {
		done.empty()
		if next := done.next; next != nil {
			done.free()
			return next
		}
	}
	b.lock()
	defer b.mu.Unlock()
	if b.order != nil {
		return b.takeOrdered(done)
	}
	capacity := b.config.capacity()
	if b.room == capacity || b.has(isClosed) && b.waiting.empty() {
		b.is(isBusy, false)
		b.waiting.drain() // it may hold an empty batch that was given back
		if done != nil {
			done.free()
		}
		return nil
	}
	taken := b.waiting.first
	b.waiting = chain[T]{done, done}
	if !b.has(isClosed) {
		b.room = capacity
		b.note(b.admit())
	}
	return taken
}

// admit moves messages that wait for room into the box, as many as fit. It returns how many
// producers are released by that.
func (b *Box[T]) admit() (producers int) {
	for b.waiters.first != nil && b.room > 0 {
		w := b.waiters.first
		if w.done != nil {
			producers++
		}
		b.waiters.remove(w)
		b.room--
		*b.waiting.tail().slot() = w.v
		w.end(nil)
	}
	return producers
}

// Close makes all further puts fail with ErrClosed, including those that wait for room. It
// returns the messages that were accepted and not taken, the backlog included, oldest
// first. A batch that the consumer holds stays with the consumer. busy reports whether
// there is a consumer, whose next Take returns nil. A second Close returns no messages.
func (b *Box[T]) Close() (rest []T, busy bool) {
	b.lock()
	defer b.mu.Unlock()
	b.seal()
	if b.order != nil {
		return b.order.drain(), b.has(isBusy)
	}
	return b.waiting.drain(), b.has(isBusy)
}

// Len returns how many messages were accepted and not taken, the backlog included. A
// message whose producer blocks is not counted.
func (b *Box[T]) Len() int {
	b.lock()
	defer b.mu.Unlock()
	switch {
	case b.order != nil:
		return b.order.count - b.order.blocked
	case b.has(isClosed):
		return b.waiting.len()
	}
	return int(b.config.capacity()-b.room) + int(b.waiters.backlog)
}

// Blocks reports whether a put into a full box waits for room.
func (b *Box[T]) Blocks() bool { return b.config.Policy == Block }
