package queue

import "time"

// Memory is what counts the memory of an item. Its methods are called by those of the
// queue, which they must not call.
type Memory interface {
	Done() // the queue has let go of the item, but keeps its ID in mind: see Config.Remember
	Gone() // of that too, or of an item without an ID
}

// past is of an item that is done.
type past struct {
	at     time.Time
	memory Memory
}

// drop forgets an entry that is not done here, and its id.
func (q *Queue[T]) drop(e *entry[T]) {
	q.remove(e)
	if e.Memory != nil {
		e.Memory.Gone()
	}
}

// Knows reports whether a push of that id would be a duplicate.
func (q *Queue[T]) Knows(now time.Time, id string) bool {
	q.forget(now)
	return id != "" && q.knows(id)
}

// knows reports whether a push of that id is a duplicate.
func (q *Queue[T]) knows(id string) bool {
	_, known := q.known[id]
	return known || q.ended.has(id)
}

// end forgets an entry that is done, in no heap any more, and keeps its id in mind.
func (q *Queue[T]) end(now time.Time, e *entry[T]) {
	if e.ID == "" {
		q.drop(e)
		return
	}
	q.remove(e)
	if e.Memory != nil {
		e.Memory.Done()
	}
	q.ended.add(e.ID, past{now, e.Memory})
	q.forget(now)
	if q.ended.len() > q.cfg.Remembered {
		q.forgetFirst()
		q.count.Forgotten++
	}
}

// forget drops the ids that were remembered for long enough.
func (q *Queue[T]) forget(now time.Time) {
	for q.ended.len() > 0 && now.Sub(q.ended.first().at) >= q.cfg.Remember {
		q.forgetFirst()
	}
}

func (q *Queue[T]) forgetFirst() {
	m := q.ended.first().memory
	q.ended.remove(q.ended.firstKey())
	if m != nil {
		m.Gone()
	}
}
