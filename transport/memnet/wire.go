package memnet

import (
	"slices"
	"sync"
	"time"
)

// busPending is how many bytes a bus keeps for a slow receiver. What exceeds it is lost, and the
// receiver gets Disturbed.
const busPending = 64 << 20

// parcel is one envelope in flight, or says that the sender has closed.
type parcel struct {
	due   time.Time
	frame []byte
	fin   bool
}

// wire holds what is in flight to one end. The pump of the other end puts parcels in, and the
// end's own deliver takes them out.
type wire struct {
	arrived chan struct{} // holds a token when something was put in
	room    chan struct{} // holds a token when something was taken out, or dead was set

	mu    sync.Mutex // guards what follows
	queue []parcel   // by due; those with the same time are in the order of put
	bytes int
	last  time.Time // due of the last parcel that was put in order
	dead  bool      // nobody takes parcels out any more
}

func newWire() *wire {
	return &wire{arrived: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// load returns the bytes in flight, and whether the wire is dead.
func (w *wire) load() (bytes int, dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes, w.dead
}

// put adds p. If it is put in order, it is not due before parcels that were put in order
// earlier. A fin is not due before any other parcel.
func (w *wire) put(p parcel, inOrder bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return
	}
	if n := len(w.queue); p.fin && n > 0 && p.due.Before(w.queue[n-1].due) {
		p.due = w.queue[n-1].due
	}
	if inOrder {
		if p.due.Before(w.last) {
			p.due = w.last
		}
		w.last = p.due
	}
	at := len(w.queue)
	for at > 0 && p.due.Before(w.queue[at-1].due) {
		at--
	}
	w.queue = slices.Insert(w.queue, at, p)
	w.bytes += len(p.frame)
	token(w.arrived)
}

// first returns the next parcel without taking it out.
func (w *wire) first() (p parcel, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return p, false
	}
	return w.queue[0], true
}

// take takes out the first parcel if it is due.
func (w *wire) take(now time.Time) (p parcel, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 || w.queue[0].due.After(now) {
		return p, false
	}
	p, w.queue = w.queue[0], w.queue[1:]
	w.bytes -= len(p.frame)
	token(w.room)
	return p, true
}

// kill drops what is in flight, and all that comes later.
func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.queue, w.bytes = true, nil, 0
	token(w.room)
}

// token puts a token into a channel that holds at most one.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
