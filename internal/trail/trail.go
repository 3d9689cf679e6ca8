// Package trail keeps what lately became of requests: for each of them its head and its steps, in
// memory that is bounded by a number of requests. What is unusual is kept longer than what is not.
//
// A Trail is written under the locks of those who know what becomes of a request, so it takes only
// a lock of its own, for the time of a copy, and allocates nothing once it is full. A nil Trail keeps
// nothing.
package trail

import (
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// Default and Most are how many requests a Trail keeps by default, and at most.
const (
	Default = 1024
	Most    = 1 << 20
)

// least is how many requests each class has room for.
const least = 4

// Trail keeps the latest requests. Its methods may be called concurrently.
type Trail struct {
	mu     sync.Mutex // guards what follows; no other lock is taken under it
	rings  [classes]ring
	number uint64 // of the latest request
}

// ring holds the latest requests of one class, of which the oldest is replaced.
type ring struct {
	records []Record
	limit   int
	next    int // where the next one goes, once records has its full length
}

// Ref names a request that is kept. The zero Ref names none.
type Ref struct {
	class Class
	at    uint32
	low   uint32 // the lower half of its Number, which is never 0 with a Ref that is not zero
}

// IsZero reports whether r names no request.
func (r Ref) IsZero() bool { return r.low == 0 }

// New returns a Trail that keeps about that many requests: half of them unusual ones. It returns nil
// if requests is negative.
func New(requests int) *Trail {
	if requests < 0 {
		return nil
	}
	if requests == 0 {
		requests = Default
	}
	t := new(Trail)
	t.rings[Unusual].limit = max(requests/2, least)
	t.rings[Marked].limit = max(requests/4, least)
	t.rings[Routine].limit = max(requests-requests/2-requests/4, least)
	return t
}

// Keep keeps a request with no steps yet, and returns its name.
func (t *Trail) Keep(h *Head, class Class) Ref {
	if t == nil {
		return Ref{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.number++
	if uint32(t.number) == 0 {
		t.number++
	}
	r, ref := t.place(class, t.number)
	r.Head = *h
	return ref
}

// place makes room for a request in the ring of its class. t.mu is held.
func (t *Trail) place(class Class, number uint64) (*Record, Ref) {
	g := &t.rings[class]
	at := len(g.records)
	if at < g.limit {
		g.records = append(g.records, Record{})
	} else {
		at = g.next
		if g.next++; g.next == g.limit {
			g.next = 0
		}
	}
	r := &g.records[at]
	r.Class, r.Number, r.Dropped, r.count = class, number, 0, 0
	return r, Ref{class, uint32(at), uint32(number)}
}

// find returns the request of that name, or nil. t.mu is held.
func (t *Trail) find(ref Ref) *Record {
	if ref.low == 0 {
		return nil
	}
	r := &t.rings[ref.class].records[ref.at]
	if uint32(r.Number) != ref.low {
		return nil
	}
	return r
}

// Add adds a step. It returns false if the request is not kept any more.
func (t *Trail) Add(ref Ref, s Step) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(ref)
	if r == nil {
		return false
	}
	r.add(s)
	return true
}

// Raise moves a request to a higher class, and returns the name by which it is known then: the same
// one if it is of that class, or of a higher one, already, and the zero Ref if it is not kept any more.
func (t *Trail) Raise(ref Ref, to Class) Ref {
	if t == nil {
		return Ref{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.find(ref)
	switch {
	case old == nil:
		return Ref{}
	case old.Class >= to:
		return ref
	}
	r, now := t.place(to, old.Number)
	*r = *old
	r.Class = to
	*old = Record{} // its place stays empty until its turn comes
	return now
}

// Name notes that a request has to do with a job.
func (t *Trail) Name(ref Ref, job uint64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.find(ref); r != nil {
		r.Job = job
	}
}

// Query is what to look for: the requests that have one of these. Zero values are not looked for.
type Query struct {
	ID    rpc.RequestID
	Trace [16]byte
	Key   string
	Job   uint64
}

// Find returns copies of the requests that the query is about, n at most, the latest ones first.
func (t *Trail) Find(q Query, n int) []Record {
	key := TextOf(q.Key)
	return t.Page(0, n, func(r *Record) bool {
		return q.ID != (rpc.RequestID{}) && r.ID == q.ID || q.Trace != [16]byte{} && r.Trace == q.Trace || key.sum != 0 && r.Key == key || q.Job != 0 && r.Job == q.Job
	})
}

// Rename changes the name of a request that no other node knows yet.
func (t *Trail) Rename(ref Ref, id rpc.RequestID) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.find(ref); r != nil {
		r.ID = id
	}
}
