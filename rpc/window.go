package rpc

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tandem-go/tandem/transport"
)

// window is the client's side of a session: which requests are outstanding, and
// what can be acked. It is a pure structure: no lock, no clock, no I/O.
//
// Recent requests lie in a ring by number, so that the usual path hashes nothing.
// A request that is still outstanding when `span` later ones have been numbered is
// a straggler and moves to a list, so that one slow request does not hold back the
// mark of the quick ones (RIFL, SOSP'15, §4, acks by low-water mark only).
type window struct {
	next  uint64  // the number that the next request gets
	low   uint64  // every number below it is answered or in far
	ring  []*call // outstanding, by number & (len-1), for low ≤ number < next
	far   []*call // stragglers, all below low, in the order of their numbers
	count int     // outstanding in ring and far

	unsaid int // answered since the last mark that covered everything was sent
}

// span is how far numbering may run ahead of an outstanding request in the ring.
const span = 1024

// newWindow returns a window whose first number is first.
func newWindow(first uint64) *window {
	return &window{next: first, low: first, ring: make([]*call, 64)}
}

// add numbers c and makes it outstanding.
func (w *window) add(c *call) uint64 {
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

func (w *window) grow() {
	old := w.ring
	w.ring = make([]*call, 2*len(old))
	for s := w.low; s < w.next; s++ {
		w.ring[s&uint64(len(w.ring)-1)] = old[s&uint64(len(old)-1)]
	}
}

// advance moves low past what is answered.
func (w *window) advance() {
	for w.low < w.next && w.ring[w.low&uint64(len(w.ring)-1)] == nil {
		w.low++
	}
}

// get returns the outstanding request of that number, or nil.
func (w *window) get(seq uint64) *call {
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

func (w *window) straggler(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.far, seq, func(c *call, seq uint64) int { return cmp.Compare(c.seq, seq) })
}

// take removes the request of that number from the window and returns it, or nil.
func (w *window) take(seq uint64) *call {
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
	w.unsaid++
	return c
}

// inline returns the mark that can ride on a request: exact up to the oldest
// request in the ring if few stragglers are out, else as far as the first of them.
// The exceptions are appended to buf.
func (w *window) inline(buf []uint64) transport.Mark {
	w.advance()
	if len(w.far) > transport.MaxInlineExcept {
		return transport.Mark{}
	}
	if w.low == w.next {
		w.unsaid = 0
	}
	for _, c := range w.far {
		buf = append(buf, c.seq)
	}
	return transport.Mark{Below: w.low, Except: buf}
}

// full returns the mark that says everything: all numbers given out so far, save
// those outstanding.
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
	w.unsaid = 0
	return m
}

// drain takes all outstanding requests out, and returns them in the order of their
// numbers: who gives them other numbers must not look for them by the old ones.
func (w *window) drain() []*call {
	calls := slices.Collect(w.all())
	for _, c := range calls {
		w.take(c.seq)
	}
	return calls
}

// all yields the outstanding requests in the order of their numbers. Meanwhile the
// window must not change, except by take, and no request its number.
func (w *window) all() iter.Seq[*call] {
	return func(yield func(*call) bool) {
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
