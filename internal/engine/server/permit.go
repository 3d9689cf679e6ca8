package server

import "github.com/tandem-go/tandem/dedup"

// Permit is what a request holds until it has ended: a place among those that may be under way.
type Permit interface {
	// Release gives it back. ran says whether the request's handler was called. It is called once, under
	// the lock of a session: it must not block, and must not use the Inbound.
	Release(ran bool)
}

// Hold has p given back when the request has ended: when it has its outcome, or is given up before its
// handler runs; of one that is given up while it runs, when its handler has ended. It returns false if
// the request has ended before; then p is still the caller's.
func (in *Inbound) Hold(p Permit) bool {
	s := in.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if state, rec := s.table.Lookup(in.Seq); state != dedup.Queued || *rec != in {
		return false
	}
	in.permit = p
	return true
}

// releasePermit gives back what Hold was given. The session's lock is held.
func (in *Inbound) releasePermit(ran bool) {
	if p := in.permit; p != nil {
		in.permit = nil
		p.Release(ran)
	}
}
