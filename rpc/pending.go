package rpc

import (
	"container/list"

	"github.com/tandem-go/tandem/transport"
)

// pending counts the bodies that a client keeps for resending, and lines up who waits
// for room. Large bodies are counted apart and wait in a line of their own, so that no
// small request waits for one. It has no lock; its peer's guards it.
type pending struct {
	bytes [2]int       // of small bodies, of large ones
	line  [2]list.List // of place; thousands may wait, and leave anywhere
}

// place is where a sender waits.
type place struct {
	turn  chan struct{} // closed when it is its turn
	bytes int
}

// class is 1 for large bodies.
func class(body int) int {
	if body > transport.LargeBody {
		return 1
	}
	return 0
}

func (b *pending) add(body int) { b.bytes[class(body)] += body }
func (b *pending) sub(body int) { b.bytes[class(body)] -= body }

// fits reports whether there is room for a body. One alone always fits.
func (b *pending) fits(body, limit int) bool {
	n := b.bytes[class(body)]
	return n == 0 || n+body <= limit
}

// idle reports whether nobody waits with a body of that class.
func (b *pending) idle(body int) bool { return b.line[class(body)].Len() == 0 }

// wait puts a sender into its line: to the front if it was there before.
func (b *pending) wait(body int, front bool) *list.Element {
	line, p := &b.line[class(body)], place{make(chan struct{}), body}
	if front {
		return line.PushFront(p)
	}
	return line.PushBack(p)
}

// turnOf returns the channel that is closed when it is the turn of who waits at at.
func turnOf(at *list.Element) <-chan struct{} { return at.Value.(place).turn }

// leave takes a sender out of its line, or reports that it had its turn.
func (b *pending) leave(at *list.Element) bool {
	line := &b.line[class(at.Value.(place).bytes)]
	n := line.Len()
	line.Remove(at)
	return line.Len() < n
}

// pass gives the first of each line its turn, if there is room.
func (b *pending) pass(limit int) {
	for i := range b.line {
		if first := b.line[i].Front(); first != nil && b.fits(first.Value.(place).bytes, limit) {
			close(b.line[i].Remove(first).(place).turn)
		}
	}
}

// passAll ends all waiting.
func (b *pending) passAll() {
	for i := range b.line {
		for b.line[i].Len() > 0 {
			close(b.line[i].Remove(b.line[i].Front()).(place).turn)
		}
	}
}
