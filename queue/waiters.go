package queue

import "time"

// waiter is a consumer that waits for items.
type waiter struct {
	id    uint64
	max   int
	until time.Time
	index int // in Queue.ends
}

// Served says what a waiter gets. Without items, its wait has ended in vain.
type Served[T any] struct {
	Waiter uint64
	Items  []Delivery[T]
}

// Wait adds a consumer as the last waiter, for up to n items and until that time. The
// caller chooses an id that no other waiter has. Serve returns what the consumer gets. The
// error is ErrCrowded.
func (q *Queue[T]) Wait(id uint64, n int, until time.Time) error {
	if q.waiters.len() >= q.cfg.Waiters {
		return ErrCrowded
	}
	w := &waiter{id: id, max: n, until: until}
	q.waiters.add(id, w)
	q.ends.push(w)
	return nil
}

// Leave removes a waiter, if it is there.
func (q *Queue[T]) Leave(id uint64) {
	if w := q.waiters.get(id); w != nil {
		q.waiters.remove(id)
		q.ends.remove(w.index)
	}
}

// Serve does what is due at now, and deals the items that are ready to the waiters: one
// item to each in turn, beginning with the one that has waited longest, and to none more
// than it asked for. It removes and returns the waiters that got items, and those whose
// wait has ended.
func (q *Queue[T]) Serve(now time.Time) []Served[T] {
	q.Tick(now)
	var served []Served[T]
	var credit []int
	for id, w := range q.waiters.all() {
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

// Credit returns how many items all waiters together would take.
func (q *Queue[T]) Credit() int {
	n := 0
	for _, w := range q.waiters.all() {
		n += w.max
	}
	return n
}
