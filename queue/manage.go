package queue

import (
	"slices"
	"time"
)

// Pause prevents items from being taken until Resume. Items can still be pushed, consumers
// can still ack what they have, and items still come back.
func (q *Queue[T]) Pause() { q.paused = true }

// Resume ends a pause.
func (q *Queue[T]) Resume() { q.paused = false }

// takeable reports whether an item can be taken now.
func (q *Queue[T]) takeable() bool { return !q.paused && len(q.ready) > 0 }

// Waiting is an item that no consumer has.
type Waiting[T any] struct {
	Token    Token // for Cancel
	ID       string
	Attempts int // deliveries so far that count as attempts
	Priority int
	Since    time.Time // when it was first ready, or will be
	Due      time.Time // when it can be taken; zero if it can be taken now
	Value    T
}

// Waiting returns the first n items that no consumer has: those that are ready, in the
// order in which they will be taken, and after them the delayed ones in the order of their
// times. They stay in the queue. The cost grows with the number of all items.
func (q *Queue[T]) Waiting(n int) []Waiting[T] {
	var all []Waiting[T]
	for _, l := range q.ready {
		if len(all) >= n {
			break
		}
		all = q.list(all, l.items.s, func(a, b *entry[T]) bool { return a.order < b.order })
	}
	if len(all) < n {
		all = q.list(all, q.due.s, sooner[T])
	}
	return all[:min(len(all), max(0, n))]
}

// list appends those entries of some that no consumer has, in the order of before.
func (q *Queue[T]) list(all []Waiting[T], some []*entry[T], before func(a, b *entry[T]) bool) []Waiting[T] {
	some = slices.DeleteFunc(slices.Clone(some), func(e *entry[T]) bool { return e.state == isLeased })
	slices.SortFunc(some, func(a, b *entry[T]) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	for _, e := range some {
		w := Waiting[T]{Token: Token{q.salt, e.seq, e.lease}, ID: q.idOf(e), Attempts: e.attempt, Priority: e.Priority, Since: e.since, Value: e.Value}
		if e.state == isDelayed {
			w.Due = e.at
		}
		all = append(all, w)
	}
	return all
}

// Cancel removes an item that no consumer has. The item is done, and its id is remembered.
// Errors: ErrTaken if a consumer has it, ErrDone if it is not in the queue any more or is a
// dead letter, ErrForeign.
func (q *Queue[T]) Cancel(now time.Time, t Token) error {
	e := q.held[t.Item]
	switch {
	case t.Queue != q.salt || t.Item == 0 || t.Item > q.seq:
		return ErrForeign
	case e == nil:
		return ErrDone
	case e.state == isLeased:
		return ErrTaken
	}
	q.cancel(now, e)
	return nil
}

// Purge cancels all items that no consumer has, and returns how many they were. Consumers
// keep what they have.
func (q *Queue[T]) Purge(now time.Time) (n int) {
	for len(q.ready) > 0 {
		q.cancel(now, q.ready[0].items.first())
		n++
	}
	for _, e := range slices.Clone(q.due.s) {
		if e.state == isDelayed {
			q.cancel(now, e)
			n++
		}
	}
	return n
}

// cancel ends an entry that no consumer has.
func (q *Queue[T]) cancel(now time.Time, e *entry[T]) {
	if e.state == isReady {
		q.unready(e)
	} else {
		q.unwait(e)
	}
	q.end(now, e)
	q.count.Cancelled++
}
