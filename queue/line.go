package queue

import "time"

// waiter is a consumer in line.
type waiter struct {
	id    uint64
	max   int
	until time.Time
	index int // in ends
}

// Served is what a waiter gets; no items if its wait has ended without any.
type Served[T any] struct {
	Waiter uint64
	Items  []Delivery[T]
}

// Wait puts a consumer at the end of the line, for up to n items and until that time.
// id is the caller's to choose, and unused. Serve says when it is served. The error is
// ErrCrowded.
func (q *Queue[T]) Wait(id uint64, n int, until time.Time) error {
	if q.line.len() >= q.cfg.Waiters {
		return ErrCrowded
	}
	w := &waiter{id: id, max: n, until: until}
	q.line.add(id, w)
	q.ends.push(w)
	return nil
}

// Leave takes a consumer out of the line, if it is in there.
func (q *Queue[T]) Leave(id uint64) {
	if w := q.line.get(id); w != nil {
		q.line.remove(id)
		q.ends.remove(w.index)
	}
}

// Serve does what is due, and deals what is ready to those who wait: one item each in
// turn, beginning with who has waited longest, none more than it asked for. Who got
// something leaves the line, and so does who has waited long enough.
func (q *Queue[T]) Serve(now time.Time) []Served[T] {
	q.Tick(now)
	var served []Served[T]
	var credit []int
	for id, w := range q.line.all() {
		if !q.takeable() || len(served) == q.count.Depth {
			break
		}
		served = append(served, Served[T]{Waiter: id})
		credit = append(credit, w.max)
	}
	for dealt := true; dealt; {
		dealt = false
		for i := range served {
			if credit[i] > 0 && q.takeable() {
				served[i].Items = append(served[i].Items, q.take(now))
				credit[i]--
				dealt = true
			}
		}
	}
	for _, s := range served {
		q.Leave(s.Waiter)
	}
	for q.ends.len() > 0 && !now.Before(q.ends.first().until) {
		w := q.ends.first()
		q.Leave(w.id)
		served = append(served, Served[T]{Waiter: w.id})
	}
	return served
}

// Credit is how many items those in line would take.
func (q *Queue[T]) Credit() int {
	n := 0
	for _, w := range q.line.all() {
		n += w.max
	}
	return n
}
