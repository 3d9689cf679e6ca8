package queue

import "time"

// Memory counts the memory of an item. The methods of the queue call its methods, which
// must not call the queue.
type Memory interface {
	Done() // the queue has removed the item, and still remembers its ID: see Config.Remember
	Gone() // the queue has forgotten the ID too, or has removed an item without an ID
}

// past is what the queue remembers of an item that is done.
type past struct {
	at     time.Time
	memory Memory
}

// drop removes an entry, and its id, without the item being done.
func (q *Queue[T]) drop(e *entry[T]) {
	q.remove(e)
	if e.Memory != nil {
		e.Memory.Gone()
	}
}

// Knows reports whether a push with that id would be a duplicate.
func (q *Queue[T]) Knows(now time.Time, id string) bool {
	q.forget(now)
	return id != "" && q.knows(id)
}

// knows reports whether a push with that id is a duplicate.
func (q *Queue[T]) knows(id string) bool {
	_, known := q.known[id]
	return known || q.ended.has(id)
}

// end removes an entry that is done and in no heap any more, and remembers its id.
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

// forget forgets the ids that were remembered for long enough.
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
