package mailbox

// waitQueue is the FIFO of messages that wait for room in a full box: those of producers
// that block, and the backlog, for which no producer waits. The box's mutex guards it. It
// is a linked list because a producer whose ctx ends leaves from the middle. The prev of the
// first one is the last one: so a Box has room for all its fields in one cache line.
type waitQueue[T any] struct {
	first     *waiter[T]
	backlog   int32  // messages of the backlog
	nextSweep uint32 // when the box may be swept again; it is here because this fills a gap in the struct
}

// waiter is one message that waits for room.
type waiter[T any] struct {
	prev, next *waiter[T]
	v          T
	done       chan struct{} // closed when the wait is over; nil for the backlog
	err        error         // the result; set before done is closed
}

// end ends the wait of w, which has left the queue. A nil err says that w is in the box.
func (w *waiter[T]) end(err error) {
	if w.done != nil {
		w.err = err
		close(w.done)
	}
}

func (q *waitQueue[T]) push(w *waiter[T]) {
	if q.first == nil {
		q.first, w.prev = w, w
	} else {
		last := q.first.prev
		last.next, w.prev, q.first.prev = w, last, w
	}
	if w.done == nil {
		q.backlog++
	}
}

// remove takes w out of the queue. It must be in there.
func (q *waitQueue[T]) remove(w *waiter[T]) {
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.first.prev = w.prev
	}
	if w == q.first {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	w.prev, w.next = nil, nil
	if w.done == nil {
		q.backlog--
	}
}
