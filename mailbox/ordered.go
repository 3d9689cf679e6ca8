package mailbox

import "sync"

// InitOrdered is Init for a box whose messages come out in another order than that of their
// arrival: by classes, and with Config.Fair in turn for each sender. place says where a message
// belongs. It is called under the box's lock, possibly more than once for a message, so it must be
// short, must not use the box, and must always say the same.
//
// What is said of a Box holds for an ordered one, too, but for this:
//
//   - Messages of one class come out in the order of their arrival; with Config.Fair those of one
//     class and one sender do.
//   - What is next is decided by each Take, which returns one message, so the capacity bounds all
//     messages that are accepted and not handled, but one.
//   - Room goes to the messages of the highest class that wait for it, and in a class to each
//     sender in turn.
//   - Under DropOldest, and by Displace, the oldest message of the lowest class is dropped: that is
//     the message that is put, if all others are of higher classes. A sender that has as many
//     messages in the box as it may loses the oldest one of its own.
//   - PushRow puts nothing.
func (b *Box[T]) InitOrdered(c *Config, place func(*T) Place) {
	b.Init(c)
	b.room = 0 // as if the box was full, so that the usual way of a put need not look at the order
	b.order = newOrder(b.config, place)
}

// entries holds entries without an owner. As of spare, all of them are of one type in a program
// outside of tests.
var entries sync.Pool

func newEntry[T any]() *entry[T] {
	if e, ok := entries.Get().(*entry[T]); ok {
		return e
	}
	return new(entry[T])
}

// free gives an entry back to entries. What is left of its message stays in it, for PushWith.
func (e *entry[T]) free() {
	*e = entry[T]{v: e.v}
	entries.Put(e)
}

// take frees an entry, and returns its message.
func (e *entry[T]) take() T {
	v := e.v
	e.v = *new(T)
	e.free()
	return v
}

// entryOf returns an entry for v.
func entryOf[T any](v T) *entry[T] {
	e := newEntry[T]()
	e.v = v
	return e
}

// pushOrdered is Push, and pushWithOrdered is PushWith.
func (b *Box[T]) pushOrdered(v T) (wake, ok bool) { return b.enter(entryOf(v)) }

func (b *Box[T]) pushWithOrdered(fill func(*T)) (wake, ok bool) {
	e := newEntry[T]()
	fill(&e.v)
	return b.enter(e)
}

// enter adds a message if there is room for it.
func (b *Box[T]) enter(e *entry[T]) (wake, ok bool) {
	s := b.order.spotOf(&e.v)
	if b.has(isClosed) || !b.order.hasRoom(s) {
		e.take()
		return false, false
	}
	b.order.add(s, e)
	return b.wakes(), true
}

// putOrdered is put into an ordered box that is not closed. With displaces it drops what DropOldest
// would drop.
func (b *Box[T]) putOrdered(v T, policy Policy) (Put[T], error) {
	o, e := b.order, entryOf(v)
	s := o.spotOf(&e.v)
	if o.hasRoom(s) {
		o.add(s, e)
		return Put[T]{Wake: b.wakes()}, nil
	}
	switch policy {
	case DropOldest:
		old := o.victim(s)
		if old == nil {
			break
		}
		o.remove(old)
		o.add(o.spotOf(&e.v), e) // the lane may have gone with the old one
		o.admit()
		return Put[T]{Dropped: old.take(), HasDropped: true}, nil
	case DropNewest:
	default:
		e.take()
		return Put[T]{}, ErrFull
	}
	return Put[T]{Dropped: e.take(), HasDropped: true, Own: true}, nil
}

// pushAllOrdered is PushAll.
func (b *Box[T]) pushAllOrdered(vs []T) (wake bool, n int) {
	for _, v := range vs {
		w, ok := b.pushOrdered(v)
		if !ok {
			break
		}
		wake = wake || w
		n++
	}
	return wake, n
}

// enqueueOrdered is Enqueue into an ordered box that is not closed.
func (b *Box[T]) enqueueOrdered(v T) (Put[T], error) {
	o := b.order
	if b.config.Policy != Block || o.fits(v) || o.backlog >= b.config.backlog() {
		return b.putOrdered(v, b.config.Policy)
	}
	b.line(v, nil)
	return Put[T]{}, nil
}

// line adds a message that waits for room. w is its producer, or nil.
func (b *Box[T]) line(v T, w *waiter[T]) *entry[T] {
	e := entryOf(v)
	e.blocked = w
	b.order.add(b.order.spotOf(&e.v), e)
	return e
}

// takeOrdered is Take. done was emptied.
func (b *Box[T]) takeOrdered(done *Batch[T]) *Batch[T] {
	o := b.order
	if o.count == 0 {
		b.is(isBusy, false)
		if done != nil {
			done.free()
		}
		return nil
	}
	if done == nil {
		done = newBatch[T]()
	}
	e, place := o.next(), done.slot()
	*place, e.v = e.v, *place // what a consumer has left there is for the next message
	e.free()
	done.more = o.count > 0
	return done
}

// seal ends the waits of those who wait for room.
func (o *order[T]) seal() {
	for _, e := range o.takeAll(func(e *entry[T]) bool { return e.blocked != nil }) {
		e.release(ErrClosed)
		e.take()
	}
}

// drain removes all messages and returns them, oldest first.
func (o *order[T]) drain() []T { return messages(o.takeAll(func(*entry[T]) bool { return true })) }

// sweep is Sweep. It returns how many messages it has looked at.
func (o *order[T]) sweep(dead func(*T) bool) (gone []T, looked int) {
	looked = o.count
	gone = messages(o.takeAll(func(e *entry[T]) bool { return e.blocked == nil && dead(&e.v) }))
	o.admit()
	return gone, looked
}

// messages frees entries and returns their messages.
func messages[T any](all []*entry[T]) (vs []T) {
	for _, e := range all {
		vs = append(vs, e.take())
	}
	return vs
}
