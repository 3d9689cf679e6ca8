package mailbox

import "sync"

// batchSize is how many messages a batch holds: so many that what is done once for
// each batch costs little, and so few that one message does not hold much storage.
const batchSize = 64

// Batch is messages that a consumer took from a box, oldest first. It is the
// consumer's until that gives it back to Take.
type Batch[T any] struct {
	next     *Batch[T]
	from, to int  // where in messages the batch is
	left     bool // they are not to be cleared when they come back
	messages [batchSize]T
}

// Messages returns the messages, one at least.
func (b *Batch[T]) Messages() []T { return b.messages[b.from:b.to] }

// IsLast reports whether Take must look into the box for the next batch.
func (b *Batch[T]) IsLast() bool { return b.next == nil }

// Leave has Take leave the messages in their places when it gets the batch back: for
// PushWith, which finds them there. The consumer must have cleared all in them that is not
// to be retained.
func (b *Batch[T]) Leave() { b.left = true }

// empty empties a batch that comes back from the consumer.
func (b *Batch[T]) empty() {
	if !b.left {
		b.clear()
	}
	b.from, b.to, b.left = 0, 0, false
}

// place returns where the next message goes; there is room.
func (b *Batch[T]) place() *T {
	b.to++
	return &b.messages[b.to-1]
}

// clear empties the batch. It retains nothing then.
func (b *Batch[T]) clear() {
	clear(b.messages[b.from:b.to])
	b.from, b.to = 0, 0
}

// spare holds batches that are empty and nobody's. In one program they are all of one
// type, if they are not a test's.
var spare sync.Pool

func newBatch[T any]() *Batch[T] {
	if b, ok := spare.Get().(*Batch[T]); ok {
		return b
	}
	return new(Batch[T])
}

// free gives up an empty batch.
func (b *Batch[T]) free() {
	b.next = nil
	spare.Put(b)
}

// chain is a FIFO made of batches. It does no locking; the box's mutex guards it.
type chain[T any] struct{ first, last *Batch[T] }

// open returns the last batch, which has room. It is short so that it can be inlined.
func (c *chain[T]) open() *Batch[T] {
	if c.last == nil || c.last.to == batchSize {
		c.grow()
	}
	return c.last
}

func (c *chain[T]) grow() {
	b := newBatch[T]()
	if c.last == nil {
		c.first = b
	} else {
		c.last.next = b
	}
	c.last = b
}

// shift takes out the oldest message; there is one.
func (c *chain[T]) shift() T {
	b := c.first
	v := b.messages[b.from]
	clear(b.messages[b.from : b.from+1])
	b.from++
	if b.from == b.to {
		b.clear()
		if b.next != nil {
			c.first = b.next
			b.free()
		}
	}
	return v
}

// drain takes out all.
func (c *chain[T]) drain() (all []T) {
	for b := c.first; b != nil; {
		next := b.next
		all = append(all, b.Messages()...)
		b.clear()
		b.free()
		b = next
	}
	*c = chain[T]{}
	return all
}
