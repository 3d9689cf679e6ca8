package mailbox

import "sync"

// batchSize is how many messages a batch holds: enough that the cost of a batch is small
// for each message, and few enough that one message does not keep much storage alive.
const batchSize = 64

// Batch holds messages that a consumer took from a box, oldest first. It belongs to the
// consumer until the consumer gives it back to Take.
type Batch[T any] struct {
	next     *Batch[T]
	from, to int  // the messages are messages[from:to]
	left     bool // they are not cleared when the batch comes back
	more     bool // of an ordered box: other messages wait
	messages [batchSize]T
}

// Messages returns the messages, at least one.
func (b *Batch[T]) Messages() []T { return b.messages[b.from:b.to] }

// IsLast reports whether this is the last batch of what Take took from the box. In an ordered box
// it says whether nothing else waited then.
func (b *Batch[T]) IsLast() bool { return b.next == nil && !b.more }

// Leave makes Take leave the messages in their places when it gets the batch back, so that
// PushWith finds them there. The consumer must have cleared everything in them that must not
// be retained.
func (b *Batch[T]) Leave() { b.left = true }

// empty empties a batch that comes back from the consumer.
func (b *Batch[T]) empty() {
	if !b.left {
		b.clear()
	}
	b.from, b.to, b.left, b.more = 0, 0, false, false
}

// slot returns the place of the next message. The batch must have room.
func (b *Batch[T]) slot() *T {
	b.to++
	return &b.messages[b.to-1]
}

// clear empties the batch, which then retains nothing.
func (b *Batch[T]) clear() {
	clear(b.messages[b.from:b.to])
	b.from, b.to = 0, 0
}

// spare holds empty batches without an owner. Outside of tests, all of them are of one type
// in a program.
var spare sync.Pool

func newBatch[T any]() *Batch[T] {
	if b, ok := spare.Get().(*Batch[T]); ok {
		return b
	}
	return new(Batch[T])
}

// free gives an empty batch back to spare.
func (b *Batch[T]) free() {
	b.next = nil
	spare.Put(b)
}

// chain is a FIFO made of batches. The box's mutex guards it.
type chain[T any] struct{ first, last *Batch[T] }

// tail returns the last batch, which has room. It is short so that it can be inlined.
func (c *chain[T]) tail() *Batch[T] {
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

// shift removes the oldest message. There must be one.
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

// empty reports whether there are no messages.
func (c *chain[T]) empty() bool {
	return c.first == nil || c.first.from == c.first.to && c.first.next == nil
}

// len returns how many messages there are.
func (c *chain[T]) len() (n int) {
	for b := c.first; b != nil; b = b.next {
		n += b.to - b.from
	}
	return n
}

// drain removes all messages and returns them.
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
