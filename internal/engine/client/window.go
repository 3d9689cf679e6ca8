package client

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tandem-go/tandem/transport"
)

// window is the client's side of a session: which calls are outstanding, and what can be acked.
// It has no lock, no clock and no I/O.
//
// Recent calls are in a ring by number, so that most look-ups need no hash. A call that is still
// outstanding when span later ones have been numbered is a straggler and moves to a list. So one
// slow call does not hold back the mark of the quick ones (RIFL, SOSP'15, §4, acks by low-water
// mark only).
type window struct {
	next  uint64  // the number that the next call gets
	low   uint64  // the call of every lower number is answered or in far
	ring  []*Call // outstanding, by number & (len-1), for low ≤ number < next
	far   []*Call // stragglers, all below low, in the order of their numbers
	count int     // outstanding in ring and far

	unacked int // calls that ended since the last mark that covered all such calls
}

// span is the largest length of the ring: how many numbers it can hold.
const span = 1024

// newWindow returns a window whose first number is first.
func newWindow(first uint64) *window {
	return &window{next: first, low: first, ring: make([]*Call, 64)}
}

// add gives c the next number, makes it outstanding, and returns the number.
func (w *window) add(c *Call) uint64 {
	w.advance()
	for w.next-w.low >= uint64(len(w.ring)) {
		if len(w.ring) < span {
			w.grow()
			continue
		}
		if c := w.ring[w.low&(span-1)]; c != nil {
			w.far = append(w.far, c)
			w.ring[w.low&(span-1)] = nil
		}
		w.low++
		w.advance()
	}
	c.seq = w.next
	w.ring[w.next&uint64(len(w.ring)-1)] = c
	w.next++
	w.count++
	return c.seq
}

// grow doubles the ring.
func (w *window) grow() {
	old := w.ring
	w.ring = make([]*Call, 2*len(old))
	for s := w.low; s < w.next; s++ {
		w.ring[s&uint64(len(w.ring)-1)] = old[s&uint64(len(old)-1)]
	}
}

// advance moves low past the calls that are answered.
func (w *window) advance() {
	for w.low < w.next && w.ring[w.low&uint64(len(w.ring)-1)] == nil {
		w.low++
	}
}

// get returns the outstanding call of that number, or nil.
func (w *window) get(seq uint64) *Call {
	switch {
	case seq >= w.next:
		return nil
	case seq >= w.low:
		return w.ring[seq&uint64(len(w.ring)-1)]
	}
	if i, found := w.straggler(seq); found {
		return w.far[i]
	}
	return nil
}

// straggler returns the index of that number in far, and whether it is there.
func (w *window) straggler(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.far, seq, func(c *Call, seq uint64) int { return cmp.Compare(c.seq, seq) })
}

// take removes the call of that number from the window and returns it, or nil.
func (w *window) take(seq uint64) *Call {
	c := w.get(seq)
	if c == nil {
		return nil
	}
	if seq >= w.low {
		w.ring[seq&uint64(len(w.ring)-1)] = nil
	} else {
		i, _ := w.straggler(seq)
		w.far = slices.Delete(w.far, i, i+1)
	}
	w.count--
	w.unacked++
	return c
}

// inline returns the mark that a request can carry: exact up to the oldest call in the ring, or
// empty if there are too many stragglers. The exceptions are appended to buf.
func (w *window) inline(buf []uint64) transport.Mark {
	w.advance()
	if len(w.far) > transport.MaxInlineExcept {
		return transport.Mark{}
	}
	if w.low == w.next {
		w.unacked = 0
	}
	for _, c := range w.far {
		buf = append(buf, c.seq)
	}
	return transport.Mark{Below: w.low, Except: buf}
}

// full returns the mark that covers all numbers given out so far, except those outstanding.
func (w *window) full() transport.Mark {
	m := transport.Mark{Below: w.next, Except: make([]uint64, 0, w.count)}
	for _, c := range w.far {
		m.Except = append(m.Except, c.seq)
	}
	for s := w.low; s < w.next; s++ {
		if c := w.ring[s&uint64(len(w.ring)-1)]; c != nil {
			m.Except = append(m.Except, s)
		}
	}
	w.unacked = 0
	return m
}

// drain removes all outstanding calls and returns them in the order of their numbers. They must be
// removed before they get new numbers, because the window finds a call by its number.
func (w *window) drain() []*Call {
	calls := slices.Collect(w.all())
	for _, c := range calls {
		w.take(c.seq)
	}
	return calls
}

// all yields the outstanding calls in the order of their numbers. During the iteration the window
// may change only by take, and no call may get another number.
func (w *window) all() iter.Seq[*Call] {
	return func(yield func(*Call) bool) {
		for _, c := range slices.Clone(w.far) {
			if w.get(c.seq) == c && !yield(c) {
				return
			}
		}
		for s := w.low; s < w.next; s++ {
			if c := w.ring[s&uint64(len(w.ring)-1)]; c != nil && !yield(c) {
				return
			}
		}
	}
}
