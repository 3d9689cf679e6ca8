package client

import (
	"container/list"

	"github.com/tandem-go/tandem/transport"
)

// pending counts the bytes of the bodies that a client keeps for resending, and queues the senders
// that wait for room. Large bodies have a count and a queue of their own, so that no small request
// waits for a large one. peer.mu guards it.
type pending struct {
	bytes [2]int       // of small bodies and of large ones
	fifo  [2]list.List // queues of place; lists, because any of thousands of senders may stop waiting
}

// place is the place of a sender in its queue.
type place struct {
	turn  chan struct{} // closed when it is the sender's turn
	bytes int
}

// class is 0 for small bodies and 1 for large ones.
func class(body int) int {
	if body > transport.LargeBody {
		return 1
	}
	return 0
}

func (b *pending) add(body int) { b.bytes[class(body)] += body }
func (b *pending) sub(body int) { b.bytes[class(body)] -= body }

// fits reports whether there is room for a body. The only body of its class always fits.
func (b *pending) fits(body, limit int) bool {
	n := b.bytes[class(body)]
	return n == 0 || n+body <= limit
}

// idle reports whether no sender waits with a body of the same class.
func (b *pending) idle(body int) bool { return b.fifo[class(body)].Len() == 0 }

// wait puts a sender into its queue, at the front if it has waited there before.
func (b *pending) wait(body int, front bool) *list.Element {
	line, p := &b.fifo[class(body)], place{make(chan struct{}), body}
	if front {
		return line.PushFront(p)
	}
	return line.PushBack(p)
}

// turnOf returns the channel that is closed when it is the turn of the sender at the place at.
func turnOf(at *list.Element) <-chan struct{} { return at.Value.(place).turn }

// leave removes a sender from its queue. It returns false if the sender already had its turn.
func (b *pending) leave(at *list.Element) bool {
	line := &b.fifo[class(at.Value.(place).bytes)]
	n := line.Len()
	line.Remove(at)
	return line.Len() < n
}

// pass gives the first sender of each queue its turn if there is room for its body.
func (b *pending) pass(limit int) {
	for i := range b.fifo {
		if first := b.fifo[i].Front(); first != nil && b.fits(first.Value.(place).bytes, limit) {
			close(b.fifo[i].Remove(first).(place).turn)
		}
	}
}

// passAll gives all waiting senders their turn.
func (b *pending) passAll() {
	for i := range b.fifo {
		for b.fifo[i].Len() > 0 {
			close(b.fifo[i].Remove(b.fifo[i].Front()).(place).turn)
		}
	}
}
