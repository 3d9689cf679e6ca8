package mailbox

import "time"

// A sweep looks at every message that waits, so not every put that finds the box full may
// cause one: the cost of each put would grow with the size of the box, and the consumer
// would be held up. To count puts would leave dead messages in place while puts are few.
// So time must pass between sweeps: about a hundred times what the look at the messages
// takes.
const (
	sweepPace  = 10 // microseconds for each message
	sweepPause = 1_000_000
)

// Sweep removes dead messages from a full box, the backlog included, and returns them,
// oldest first. The room goes to messages that wait for it. The others keep their order. In
// a box that has room or is closed, Sweep does nothing.
//
// dead reports whether nobody wants a message handled any more. Once true, it must stay
// true. It runs under the box's lock, so it must be short and must not use the box.
//
// now is the time by a monotonic clock, the same for all sweeps of a box. After a sweep that
// looked at n messages, calls within n times 10 µs, or a second if that is less, do nothing.
func (b *Box[T]) Sweep(now time.Duration, dead func(*T) bool) []T {
	tick := uint32(now / time.Microsecond) // it wraps around: once in 71 minutes a call may do nothing although it could
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.room <= 0 && (b.order == nil || b.order.isTight())
	if early := b.waiters.nextSweep - tick; !full || b.has(isClosed) || 0 < early && early <= sweepPause {
		return nil
	}
	gone, looked := b.sweep(dead)
	b.waiters.nextSweep = tick + uint32(min(looked*sweepPace, sweepPause))
	return gone
}

// Remove removes the messages that which picks, in the backlog too, and returns them, oldest first. The
// room goes to messages that wait for it. The others keep their order. It looks at every message
// that waits. which runs under the box's lock, so it must be short and must not use the box.
func (b *Box[T]) Remove(which func(*T) bool) []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone, _ := b.sweep(which)
	return gone
}

// sweep removes dead messages, and returns how many messages it has looked at. b.mu is held.
func (b *Box[T]) sweep(dead func(*T) bool) (gone []T, looked int) {
	if b.order != nil {
		return b.order.sweep(dead)
	}
	looked = int(b.config.capacity())
	if b.waiting.first != nil {
		gone = b.waiting.sweep(dead)
	}
	b.room += int32(len(gone))
	if b.waiters.backlog > 0 {
		var n int
		gone, n = b.waiters.sweep(dead, gone)
		looked += n
	}
	b.admit()
	return gone, looked
}

// sweep removes dead messages and closes the gaps: all batches but the last stay full.
func (c *chain[T]) sweep(dead func(*T) bool) (gone []T) {
	to, at := c.first, c.first.from // the place of the next message that stays
	for b := c.first; b != nil; b = b.next {
		for i := b.from; i < b.to; i++ {
			m := &b.messages[i]
			if dead(m) {
				gone = append(gone, *m)
				clear(b.messages[i : i+1])
				continue
			}
			if at == batchSize {
				to, at = to.next, 0
			}
			if to != b || at != i {
				to.messages[at] = *m
				clear(b.messages[i : i+1]) // else PushWith would give the same storage to two messages
			}
			at++
		}
	}
	for b := to.next; b != nil; {
		next := b.next
		b.from, b.to = 0, 0
		b.free()
		b = next
	}
	c.last, to.next = to, nil
	if to.to = at; to.from == at {
		to.from, to.to = 0, 0
	}
	return gone
}

// sweep removes dead messages of the backlog, and appends them to gone. A producer that
// blocks leaves by itself. It returns how many messages it has looked at.
func (q *waitQueue[T]) sweep(dead func(*T) bool, gone []T) ([]T, int) {
	looked := 0
	for w := q.first; w != nil; looked++ {
		next := w.next
		if w.done == nil && dead(&w.v) {
			q.remove(w)
			gone = append(gone, w.v)
		}
		w = next
	}
	return gone, looked
}
