package rpc

import "github.com/tandem-go/tandem/transport"

// pending counts the bodies that a client keeps for resending, and lines up who waits
// for room. Large bodies are counted apart and wait in a line of their own, so that no
// small request waits for one. It has no lock; its peer's guards it.
type pending struct {
	bytes [2]int // of small bodies, of large ones
	line  [2][]place
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
func (b *pending) idle(body int) bool { return len(b.line[class(body)]) == 0 }

// wait puts a sender into its line: to the front if it was there before.
func (b *pending) wait(body int, front bool) place {
	w := place{make(chan struct{}), body}
	line := &b.line[class(body)]
	if *line = append(*line, w); front {
		copy((*line)[1:], *line)
		(*line)[0] = w
	}
	return w
}

// leave takes w out of its line, or reports that it had its turn.
func (b *pending) leave(w place) bool {
	line := &b.line[class(w.bytes)]
	for i, o := range *line {
		if o.turn == w.turn {
			*line = append((*line)[:i], (*line)[i+1:]...)
			return true
		}
	}
	return false
}

// pass gives the first of each line its turn, if there is room.
func (b *pending) pass(limit int) {
	for i, line := range b.line {
		if len(line) > 0 && b.fits(line[0].bytes, limit) {
			close(line[0].turn)
			b.line[i] = line[1:]
		}
	}
}

// passAll ends all waiting.
func (b *pending) passAll() {
	for i, line := range b.line {
		for _, w := range line {
			close(w.turn)
		}
		b.line[i] = nil
	}
}
