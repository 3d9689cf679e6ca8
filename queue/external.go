package queue

import "time"

// The methods in this file are for a caller that keeps the items in an external store. The
// queue then only decides who gets which item, and for how long; an item that comes back
// goes back into the store.

// Restore adds an item from an external store, with its number there and the attempts that
// it has had. It returns false if the queue has the item already. It checks neither the
// capacity nor ids.
func (q *Queue[T]) Restore(now time.Time, number uint64, attempts int, it Item[T]) bool {
	if q.held[number] != nil {
		return false
	}
	q.add(now, number, attempts, it)
	return true
}

// Expire removes the items whose leases have ended at now, so that they can go back into an
// external store, and returns their deliveries. It must be called before Tick, which would
// make these items ready again.
func (q *Queue[T]) Expire(now time.Time) (all []Delivery[T]) {
	for q.due.len() > 0 && !now.Before(q.due.first().at) {
		e := q.due.first()
		q.unwait(e)
		if e.state == isDelayed {
			q.mature(e)
			continue
		}
		q.count.Expired++
		all = append(all, q.delivery(e))
		q.drop(e)
	}
	return all
}

// Surrender removes the item of a delivery, so that it can go back into an external store.
// The errors are those of Ack.
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

// Withdraw removes all items that are ready, so that they can go back into an external
// store, and returns their numbers.
func (q *Queue[T]) Withdraw() (numbers []uint64) {
	for len(q.ready) > 0 {
		e := q.ready[0].items.first()
		q.unready(e)
		q.drop(e)
		numbers = append(numbers, e.seq)
	}
	return numbers
}

// Evict removes the item with that number, which ends in an external store. Errors:
// ErrTaken if a consumer has it, ErrDone if it is not in the queue.
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

// Leased reports whether a consumer has the item with that number.
func (q *Queue[T]) Leased(number uint64) bool {
	e := q.held[number]
	return e != nil && e.state == isLeased
}
