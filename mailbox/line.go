package mailbox

// line is the FIFO of those who wait for room in a full box: putters that
// block, and parked messages that nobody waits for. It does no locking; the
// box's mutex guards it. It is a linked list because a putter whose ctx ends
// leaves from the middle.
type line[T any] struct {
	first, last *waiter[T]
	parked      int32  // how many of them are parked
	due         uint32 // until when the box is not swept again; here because a Box is no larger for it
}

// waiter is one message in line.
type waiter[T any] struct {
	prev, next *waiter[T]
	v          T
	done       chan struct{} // closed when the wait is over; nil: parked
	err        error         // how it ended; set before done is closed
}

// settle ends the wait of w, which has left the line: nil says it is in the box.
func (w *waiter[T]) settle(err error) {
	if w.done != nil {
		w.err = err
		close(w.done)
	}
}

func (l *line[T]) push(w *waiter[T]) {
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	if w.done == nil {
		l.parked++
	}
}

// remove takes w, which must be in line, out of it.
func (l *line[T]) remove(w *waiter[T]) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	if w.done == nil {
		l.parked--
	}
}
