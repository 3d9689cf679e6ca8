package queue

import "time"

// What follows is for a keeper that has the items elsewhere too, and takes back itself
// what comes back. The queue then decides on leases, and who gets what.

// Restore adds an item that is kept elsewhere too, under its number there and with the
// attempts that it has had. It reports false if the queue holds it already. Neither the
// capacity nor ids are looked at.
func (q *Queue[T]) Restore(now time.Time, number uint64, attempts int, it Item[T]) bool {
	if q.held[number] != nil {
		return false
	}
	q.add(now, number, attempts, it)
	return true
}

// Lapsed returns the deliveries whose leases are over at now, for a keeper of items that
// takes them back itself before Tick does.
func (q *Queue[T]) Lapsed(now time.Time) (all []Delivery[T]) {
	for q.due.len() > 0 && !now.Before(q.due.first().at) {
		e := q.due.first()
		q.unwait(e)
		if e.state == isDelayed {
			q.mature(e)
			continue
		}
		q.count.Lapsed++
		all = append(all, q.delivery(e))
		q.drop(e)
	}
	return all
}

// Surrender takes the item of a delivery out of the queue: a keeper that has it elsewhere
// too takes it back. Errors are those of Ack.
func (q *Queue[T]) Surrender(now time.Time, t Token) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	q.unwait(e)
	q.drop(e)
	q.count.Nacked++
	return nil
}

// Withdraw takes all that is ready out of the queue, and returns the numbers of the
// items: for one that keeps them elsewhere.
func (q *Queue[T]) Withdraw() (numbers []uint64) {
	for len(q.ready) > 0 {
		e := q.ready[0].items.first()
		q.unready(e)
		q.drop(e)
		numbers = append(numbers, e.seq)
	}
	return numbers
}

// Evict takes the item of a number out of the queue, for a keeper that ends it elsewhere.
// Errors: ErrTaken if a consumer has it, ErrDone if it is not in there.
func (q *Queue[T]) Evict(number uint64) error {
	e := q.held[number]
	switch {
	case e == nil:
		return ErrDone
	case e.state == isLeased:
		return ErrTaken
	case e.state == isDelayed:
		q.unwait(e)
	default:
		q.unready(e)
	}
	q.drop(e)
	return nil
}

// Leased reports whether a consumer has the item of a number.
func (q *Queue[T]) Leased(number uint64) bool {
	e := q.held[number]
	return e != nil && e.state == isLeased
}
