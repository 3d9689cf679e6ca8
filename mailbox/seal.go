package mailbox

// Seal makes all further puts fail with ErrClosed, including those that wait for room. What was
// accepted before, the backlog included, stays in the box for the consumer. A box that is sealed
// or closed stays as it is.
func (b *Box[T]) Seal() {
	b.lock()
	defer b.mu.Unlock()
	b.seal()
}

// seal is Seal. b.mu is held.
func (b *Box[T]) seal() {
	b.is(isClosed, true)
	b.room = 0
	if b.order != nil {
		b.order.seal()
	}
	for w := b.waiters.first; w != nil; w = b.waiters.first {
		b.waiters.remove(w)
		if w.done == nil {
			*b.waiting.tail().slot() = w.v
		}
		w.end(ErrClosed)
	}
}

// Wake makes the caller start a consumer although nothing was put: it returns true if there was
// no consumer, also in a box that is closed. A consumer that finds work of another kind after
// Take has returned nil calls Wake before it goes on, because another goroutine may have started
// a consumer meanwhile.
func (b *Box[T]) Wake() bool {
	b.lock()
	defer b.mu.Unlock()
	return b.wakes()
}

// CloseIfIdle is Close of a box that has no consumer, and in which so nothing waits. It makes the
// caller start a consumer, as Wake does. It returns false, and does nothing, if the box has
// a consumer or is closed, or if may returns false: that is called under the box's lock, so
// no consumer starts before CloseIfIdle is done. It must be short and must not use the box.
func (b *Box[T]) CloseIfIdle(may func() bool) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.has(isBusy|isClosed) || !may() {
		return false
	}
	b.seal()
	return b.wakes()
}
