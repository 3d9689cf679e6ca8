package queue

import (
	"fmt"
	"time"
)

// Reason says how the last delivery of a dead letter ended.
type Reason uint8

// The reasons.
const (
	Lapsed Reason = 1 // its lease ran out
	Nacked Reason = 2 // it was given back
)

// String returns the reason's name.
func (r Reason) String() string {
	switch r {
	case Lapsed:
		return "lapsed"
	case Nacked:
		return "nacked"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Dead is an item that was delivered as often as it may be, and never acked.
type Dead[T any] struct {
	Token    Token // for Revive and Discard
	ID       string
	Attempts int
	Priority int
	Reason   Reason
	Time     time.Time // since when it is dead
	Value    T
}

// grave is where a dead letter lies.
type grave[T any] struct {
	*entry[T]
	why Reason
	at  time.Time
}

// bury makes a dead letter of an entry, which is in no heap; false if there is no room.
func (q *Queue[T]) bury(now time.Time, e *entry[T], why Reason) bool {
	if q.dead.len() >= q.cfg.Dead {
		if q.cfg.DeadPolicy != DropOldest {
			return false
		}
		q.count.DeadDropped++
		q.dig(now, q.dead.firstKey())
	}
	delete(q.held, e.seq)
	q.dead.add(e.seq, &grave[T]{e, why, now})
	q.count.Buried++
	return true
}

// dig takes a dead letter out; its item is done.
func (q *Queue[T]) dig(now time.Time, seq uint64) {
	g := q.dead.get(seq)
	q.dead.remove(seq)
	q.end(now, g.entry)
}

// DeadLetters returns up to n dead letters, the oldest first. They stay where they are.
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

func (q *Queue[T]) grave(t Token) (*grave[T], error) {
	switch g := q.dead.get(t.Item); {
	case t.Queue != q.salt || t.Item == 0 || t.Item > q.seq:
		return nil, ErrForeign
	case g == nil || g.lease != t.Lease:
		return nil, ErrDone
	default:
		return g, nil
	}
}

// Revive puts a dead letter back at the end of its priority, with all its attempts
// before it. Errors: ErrDone if it is no dead letter any more, ErrForeign, ErrFull.
func (q *Queue[T]) Revive(now time.Time, t Token) error {
	g, err := q.grave(t)
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

// Discard ends a dead letter. Errors: ErrDone, ErrForeign.
func (q *Queue[T]) Discard(now time.Time, t Token) error {
	if _, err := q.grave(t); err != nil {
		return err
	}
	q.dig(now, t.Item)
	return nil
}
