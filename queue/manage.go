package queue

import (
	"slices"
	"time"
)

// Pause has nothing taken until Resume. Items are pushed, and come back, as always, and
// what consumers have they may ack.
func (q *Queue[T]) Pause() { q.paused = true }

// Resume ends a pause.
func (q *Queue[T]) Resume() { q.paused = false }

// takeable reports whether there is something that may be taken now.
func (q *Queue[T]) takeable() bool { return !q.paused && len(q.ready) > 0 }

// Waiting is an item that no consumer has.
type Waiting[T any] struct {
	Token    Token // for Cancel
	ID       string
	Attempts int // deliveries so far that count
	Priority int
	Since    time.Time // when it was first ready, or will be
	Due      time.Time // when it can be taken; zero if it can be now
	Value    T
}

// Waiting returns the first n items that wait, in the order in which they will be taken,
// and behind them the delayed ones by their time. They stay where they are. It looks at
// all items.
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

// list appends those of some entries that no consumer has.
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

// Cancel takes out an item that waits; it is done, and its id is remembered as such.
// Errors: ErrTaken if a consumer has it, ErrDone if it is not in the queue any more or a
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

// Purge cancels all that waits, and returns how many items that was. What consumers have
// stays theirs.
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
