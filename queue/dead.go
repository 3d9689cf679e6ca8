package queue

import (
	"fmt"
	"time"
)

// Reason says how the last delivery of an item ended.
type Reason uint8

// The reasons.
const (
	LeaseExpired Reason = 1 // its lease ended
	Nacked       Reason = 2 // its consumer nacked it
)

// String returns the reason's name.
func (r Reason) String() string {
	switch r {
	case LeaseExpired:
		return "lapsed"
	case Nacked:
		return "nacked"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Dead is a dead letter: an item that was delivered as often as it may be, and never acked.
type Dead[T any] struct {
	Token    Token // for Revive and Discard
	ID       string
	Attempts int
	Priority int
	Reason   Reason
	Time     time.Time // when it became a dead letter
	Value    T
}

// deadItem is the entry of a dead letter.
type deadItem[T any] struct {
	*entry[T]
	why Reason
	at  time.Time
}

// addDead makes an entry, which is in no heap, a dead letter. It returns false if there is
// no room for it.
func (q *Queue[T]) addDead(now time.Time, e *entry[T], why Reason) bool {
	if q.dead.len() >= q.cfg.Dead {
		if q.cfg.DeadPolicy != DropOldest {
			return false
		}
		q.count.DeadDropped++
		q.endDead(now, q.dead.firstKey())
	}
	delete(q.held, e.seq)
	q.dead.add(e.seq, &deadItem[T]{e, why, now})
	q.count.DeadLettered++
	return true
}

// endDead removes a dead letter; its item is done.
func (q *Queue[T]) endDead(now time.Time, seq uint64) {
	g := q.dead.get(seq)
	q.dead.remove(seq)
	q.end(now, g.entry)
}

// DeadLetters returns up to n dead letters, the oldest first. They stay in the queue.
func (q *Queue[T]) DeadLetters(n int) []Dead[T] {
	var all []Dead[T]
	for seq, g := range q.dead.all() {
		if len(all) == n {
			break
		}
		all = append(all, Dead[T]{Token: Token{q.salt, seq, g.lease}, ID: q.idOf(g.entry), Attempts: g.attempt, Priority: g.Priority,
			Reason: g.why, Time: g.at, Value: g.Value})
	}
	return all
}

func (q *Queue[T]) deadItem(t Token) (*deadItem[T], error) {
	switch g := q.dead.get(t.Item); {
	case t.Queue != q.salt || t.Item == 0 || t.Item > q.seq:
		return nil, ErrForeign
	case g == nil || g.lease != t.Lease:
		return nil, ErrDone
	default:
		return g, nil
	}
}

// Revive makes a dead letter an item that can be taken again, the last one of its priority.
// Its attempts count from 0 again. Errors: ErrDone if it is not a dead letter any more,
// ErrForeign, ErrFull.
func (q *Queue[T]) Revive(now time.Time, t Token) error {
	g, err := q.deadItem(t)
	if err != nil {
		return err
	}
	if len(q.held) >= q.cfg.Capacity {
		return ErrFull
	}
	q.dead.remove(t.Item)
	g.attempt, g.since = 0, now
	q.held[g.seq] = g.entry
	q.enqueue(g.entry)
	return nil
}

// Discard removes a dead letter; its item is done. Errors: ErrDone, ErrForeign.
func (q *Queue[T]) Discard(now time.Time, t Token) error {
	if _, err := q.deadItem(t); err != nil {
		return err
	}
	q.endDead(now, t.Item)
	return nil
}
