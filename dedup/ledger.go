package dedup

import (
	"iter"
	"time"
)

// Ledger is what a Store's changes amount to: the sessions that are known, and of
// each request whether it began, and its outcome. Like a Table it has no lock, clock,
// goroutine or I/O; its caller serialises. Applying a change twice, or a change whose
// effect is there already, changes nothing.
type Ledger struct {
	sessions map[[16]byte]*pages
	keys     map[[16]byte]*Page
	bytes    int
}

// Page is what is kept of one request.
type Page struct {
	Fingerprint uint64
	Job         []byte // of a job, else nil
	Begun, Done bool
	Outcome     []byte // once Done
	Time        time.Time
}

// pages are those of one session.
type pages struct {
	owner string
	at    time.Time
	byNum map[uint64]*Page
}

// pageSize is about what a page takes beside its outcome.
const pageSize = 128

// NewLedger returns an empty one.
func NewLedger() *Ledger {
	return &Ledger{sessions: map[[16]byte]*pages{}, keys: map[[16]byte]*Page{}}
}

// Apply takes in a change. Begun of a session that was never opened is ignored, and Done
// of what never began: nobody could ask for them.
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
		if p == nil && c.Op == Done {
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

func (l *Ledger) page(id ID) *Page {
	if id.Seq == 0 {
		return l.keys[id.Grant]
	}
	if s := l.sessions[id.Grant]; s != nil {
		return s.byNum[id.Seq]
	}
	return nil
}

func (p *Page) size() int { return pageSize + len(p.Job) + len(p.Outcome) }

// Lookup returns what is kept of a request, and whether anything is.
func (l *Ledger) Lookup(id ID) (Page, bool) {
	if p := l.page(id); p != nil {
		return *p, true
	}
	return Page{}, false
}

// Owner returns whom a session was opened for, and whether it is known. While it is,
// a request of it that Lookup does not find never began, or was freed.
func (l *Ledger) Owner(grant [16]byte) (string, bool) {
	if s := l.sessions[grant]; s != nil {
		return s.owner, true
	}
	return "", false
}

// Expired yields the changes that forget what is older than before: keys by their last
// change, and sessions, whole, by their opening; save sessions, and keys that are not
// done, of which live says that they are in use; and jobs, which are freed when their
// results expire. Applying a change while they are
// yielded is allowed.
func (l *Ledger) Expired(before time.Time, live func(name [16]byte) bool) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for id, p := range l.keys {
			if p.Job == nil && p.Time.Before(before) && (p.Done || !live(id)) && !yield(Change{Op: Freed, ID: ID{Grant: id}, Time: p.Time}) {
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

// All yields changes that make an empty ledger like this one.
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

func (p *Page) yield(id ID, yield func(Change) bool) bool {
	return (p.Job == nil || yield(Change{Op: Submitted, ID: id, Time: p.Time, Outcome: p.Job})) &&
		(!p.Begun || yield(Change{Op: Begun, ID: id, Time: p.Time, Fingerprint: p.Fingerprint})) &&
		(!p.Done || yield(Change{Op: Done, ID: id, Time: p.Time, Outcome: p.Outcome}))
}

// Bytes is about how much memory the ledger holds.
func (l *Ledger) Bytes() int { return l.bytes }
