// Package ledger defines what outlives a server's process: which requests began, and the
// outcomes of those that are done. With that, a request runs at most once across restarts
// too.
//
// A server writes each step as a [Change]. A [Store] keeps the changes of all nodes. Only
// the latest start of a node gets that node's [Log], with which it appends more. Package
// ledger/jetstream is a Store, and package ledger/storetest is the suite that every store
// passes. A [Ledger] holds in memory the state that results from the changes. An
// application that records what it did in its own transactions implements [Completions]
// instead.
//
// What happens to copies of requests is not decided here, but in package dedup.
package ledger

import (
	"iter"
	"time"
)

// Ledger is the state that results from a Store's changes: the sessions that are known,
// and for each request whether it began, and its outcome. It has no lock, clock, goroutine
// or I/O, and is not safe for concurrent use. Applying a change a second time, or a change
// whose effect is there already, has no effect.
type Ledger struct {
	sessions map[[16]byte]*pages
	keys     map[[16]byte]*Page
	bytes    int
}

// Page is what is kept of one request.
type Page struct {
	Fingerprint uint64 // of the request's content, once Begun
	Job         []byte // the job, if the request is one; otherwise nil
	Number      uint64 // of the latest message of an outbox that was Begun; 0: the page is not that of an outbox
	earlier     uint64 // the number of the one before
	Begun, Done bool
	Outcome     []byte    // once Done
	Time        time.Time // of the latest change
}

// pages is what is kept of one session.
type pages struct {
	owner string
	at    time.Time
	byNum map[uint64]*Page
}

// OutboxLife is how long the page of an outbox is kept after its latest change, at least.
const OutboxLife = 24 * time.Hour

// pageSize is about how many bytes of memory a page takes without its outcome.
const pageSize = 128

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{sessions: map[[16]byte]*pages{}, keys: map[[16]byte]*Page{}}
}

// Apply applies a change. It ignores Begun if the session was never opened, and Done if the
// request never began: nobody could ask for such requests.
func (l *Ledger) Apply(c Change) {
	s := l.sessions[c.ID.Grant]
	switch {
	case c.Op == Opened && s == nil:
		l.sessions[c.ID.Grant] = &pages{owner: c.Owner, at: c.Time, byNum: map[uint64]*Page{}}
		l.bytes += pageSize + len(c.Owner)
	case c.Op == Closed && s != nil:
		for _, p := range s.byNum {
			l.bytes -= p.size()
		}
		l.bytes -= pageSize + len(s.owner)
		delete(l.sessions, c.ID.Grant)
	case c.Op == Numbered:
		l.number(c)
	case c.Op == Freed && c.Fingerprint > 0:
		l.unnumber(c)
	case c.Op == Freed:
		if p := l.page(c.ID); p != nil {
			l.bytes -= p.size()
			if c.ID.Seq == 0 {
				delete(l.keys, c.ID.Grant)
			} else {
				delete(s.byNum, c.ID.Seq)
			}
		}
	case c.Op == Submitted && c.ID.Seq == 0 && len(c.Outcome) > 0:
		if l.keys[c.ID.Grant] == nil {
			p := &Page{Job: c.Outcome, Time: c.Time}
			l.keys[c.ID.Grant] = p
			l.bytes += p.size()
		}
	case (c.Op == Begun || c.Op == Done) && (s != nil || c.ID.Seq == 0):
		p := l.page(c.ID)
		if p == nil && c.Op == Done || p != nil && p.Number != c.Fingerprint && (p.Number > 0 || c.Op == Done) {
			return
		}
		if p == nil {
			p = &Page{}
			if c.ID.Seq == 0 {
				l.keys[c.ID.Grant] = p
			} else {
				s.byNum[c.ID.Seq] = p
			}
			l.bytes += p.size()
		}
		if c.Op == Begun && !p.Done {
			p.Begun, p.Fingerprint, p.Time = true, c.Fingerprint, c.Time
		}
		if c.Op == Done && !p.Done {
			p.Done, p.Outcome, p.Time = true, c.Outcome, c.Time
			l.bytes += len(c.Outcome)
		}
	}
}

// number notes that the handler of a message of an outbox is about to be called. The earlier ones
// are over.
func (l *Ledger) number(c Change) {
	p := l.keys[c.ID.Grant]
	switch {
	case c.ID.Seq != 0 || c.Fingerprint == 0 || p != nil && (p.Number == 0 || p.Number >= c.Fingerprint):
		return
	case p == nil:
		p = &Page{}
		l.keys[c.ID.Grant] = p
		l.bytes += p.size()
	}
	p.earlier, p.Number, p.Begun, p.Done, p.Time = p.Number, c.Fingerprint, true, false, c.Time
}

// unnumber undoes number for a message whose handler was not called after all.
func (l *Ledger) unnumber(c Change) {
	p := l.keys[c.ID.Grant]
	switch {
	case c.ID.Seq != 0 || p == nil || p.Number != c.Fingerprint || p.Done:
	case p.earlier == 0:
		l.bytes -= p.size()
		delete(l.keys, c.ID.Grant)
	default:
		p.Number, p.Done = p.earlier, true
	}
}

func (l *Ledger) page(id ID) *Page {
	if id.Seq == 0 {
		return l.keys[id.Grant]
	}
	if s := l.sessions[id.Grant]; s != nil {
		return s.byNum[id.Seq]
	}
	return nil
}

func (p *Page) expired(before time.Time) bool {
	if p.Number > 0 {
		before = before.Add(-OutboxLife)
	}
	return p.Time.Before(before)
}

func (p *Page) size() int { return pageSize + len(p.Job) + len(p.Outcome) }

// Lookup returns what is kept of a request, and whether anything is kept of it.
func (l *Ledger) Lookup(id ID) (Page, bool) {
	if p := l.page(id); p != nil {
		return *p, true
	}
	return Page{}, false
}

// Session returns the grant of a session that match accepts, and whether there is one.
func (l *Ledger) Session(match func(grant [16]byte) bool) (grant [16]byte, found bool) {
	for grant := range l.sessions {
		if match(grant) {
			return grant, true
		}
	}
	return grant, false
}

// Owner returns for whom a session was opened, and whether the session is known. If it is,
// a request of it that Lookup does not find never began, or was freed.
func (l *Ledger) Owner(grant [16]byte) (string, bool) {
	if s := l.sessions[grant]; s != nil {
		return s.owner, true
	}
	return "", false
}

// Expired yields the changes that remove keys and sessions that are older than before. The
// age of a key counts from its last change; that of an outbox is kept OutboxLife longer. The age of a session, which is removed as a
// whole, counts from its opening. Sessions for which live returns true stay, and so do keys
// for which it returns true and whose requests are not done. Jobs stay too: they are freed
// when their results expire. The caller may apply each change as it is yielded.
func (l *Ledger) Expired(before time.Time, live func(name [16]byte) bool) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for id, p := range l.keys {
			if p.Job == nil && p.expired(before) && (p.Done || !live(id)) && !yield(Change{Op: Freed, ID: ID{Grant: id}, Time: p.Time}) {
				return
			}
		}
		for grant, s := range l.sessions {
			if s.at.Before(before) && !live(grant) && !yield(Change{Op: Closed, ID: ID{Grant: grant}, Time: s.at}) {
				return
			}
		}
	}
}

// All yields changes that, applied to an empty ledger, give the state of this one.
func (l *Ledger) All() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for id, p := range l.keys {
			if !p.yield(ID{Grant: id}, yield) {
				return
			}
		}
		for grant, s := range l.sessions {
			if !yield(Change{Op: Opened, ID: ID{Grant: grant}, Time: s.at, Owner: s.owner}) {
				return
			}
			for seq, p := range s.byNum {
				if !p.yield(ID{Grant: grant, Seq: seq}, yield) {
					return
				}
			}
		}
	}
}

// yield yields the changes that give this page, and returns whether to go on.
func (p *Page) yield(id ID, yield func(Change) bool) bool {
	if p.Number > 0 {
		return (p.earlier == 0 || yield(Change{Op: Numbered, ID: id, Time: p.Time, Fingerprint: p.earlier})) &&
			yield(Change{Op: Numbered, ID: id, Time: p.Time, Fingerprint: p.Number}) &&
			(!p.Done || yield(Change{Op: Done, ID: id, Time: p.Time, Fingerprint: p.Number}))
	}
	return (p.Job == nil || yield(Change{Op: Submitted, ID: id, Time: p.Time, Outcome: p.Job})) &&
		(!p.Begun || yield(Change{Op: Begun, ID: id, Time: p.Time, Fingerprint: p.Fingerprint})) &&
		(!p.Done || yield(Change{Op: Done, ID: id, Time: p.Time, Outcome: p.Outcome}))
}

// Bytes returns about how many bytes of memory the ledger takes.
func (l *Ledger) Bytes() int { return l.bytes }
