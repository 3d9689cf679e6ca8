package mailbox

import "time"

// A sweep looks at everything that waits, so it must not follow each put that finds the
// box full: a flood of them would have each cost as much as the box is large, and hold up
// the consumer. Counting puts would leave the dead where they are while few come, so it
// is time that must pass: so much for each message looked at, about a hundred times what
// the look takes.
const (
	sweepPace  = 10 // microseconds
	sweepPause = 1_000_000
)

// Sweep takes what is dead out of a full box and returns it, oldest first: what waits, and
// what is parked. The room goes to those who stand in line. What lives keeps its order.
// A box that has room, or is closed, is left alone: there is no need.
//
// dead says of a message that nobody wants it handled any more, and must not change its
// mind. It runs under the box's lock, so it must be short and must not use the box.
//
// now is the time by a clock that does not go back, the same for all sweeps of a box. After
// a sweep that has looked at n messages, calls within n times 10 µs, a second at most, do
// nothing.
func (b *Box[T]) Sweep(now time.Duration, dead func(*T) bool) (gone []T) {
	tick := uint32(now / time.Microsecond) // which goes round: once in 71 minutes a call may come too early in vain
	b.mu.Lock()
	defer b.mu.Unlock()
	if early := b.line.due - tick; b.room > 0 || b.closed || 0 < early && early <= sweepPause {
		return nil
	}
	looked := int(b.config.capacity())
	gone = b.waiting.sweep(dead)
	b.room = int32(len(gone))
	if b.line.parked > 0 {
		var n int
		gone, n = b.line.sweep(dead, gone)
		looked += n
	}
	b.letIn()
	b.line.due = tick + uint32(min(looked*sweepPace, sweepPause))
	return gone
}

// sweep takes out what is dead, and closes the gaps: all batches but the last stay full.
func (c *chain[T]) sweep(dead func(*T) bool) (gone []T) {
	to, at := c.first, c.first.from // where the next one that lives goes
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
				clear(b.messages[i : i+1]) // or one storage would serve two messages, see PushWith
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

// sweep takes out what is parked and dead, and adds it to gone. A putter that blocks leaves
// by itself. It returns how many it has looked at.
func (l *line[T]) sweep(dead func(*T) bool, gone []T) ([]T, int) {
	looked := 0
	for w := l.first; w != nil; looked++ {
		next := w.next
		if w.done == nil && dead(&w.v) {
			l.remove(w)
			gone = append(gone, w.v)
		}
		w = next
	}
	return gone, looked
}
