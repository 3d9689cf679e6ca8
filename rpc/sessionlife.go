package rpc

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// openSession answers an open that came in on c: it joins the session that grant
// names, or makes one if grant is zero (DESIGN: sessions, rules 1 and 2). Neither comes
// of it while the node does not take new sessions.
func (n *Node) openSession(c *conn, grant transport.Grant, number uint64) (*session, *Error) {
	principal := c.principal
	n.mu.Lock()
	defer n.mu.Unlock()
	if grant == (transport.Grant{}) {
		if !n.phase.opens() && !c.isLoop() {
			return nil, nil
		}
		err := c.share.enter(len(n.sessions))
		if err == nil && n.journal.full() {
			err = errBacklog
		}
		if err != nil {
			n.stats.opensRefused.Add(1)
			return nil, err
		}
		if _, err := rand.Read(grant[:]); err != nil {
			return nil, Errorf(Internal, NotRun, "no randomness: %v", err)
		}
		name := ownerName(c.id, principal)
		if c.foreign { // what a node has said does not depend on those who say that they are it
			name = "\x00" + name
		}
		of := n.clients[name]
		if of == nil {
			of = &client{name: name}
			n.clients[name] = of
		}
		of.sessions++
		s := newSession(n, grant, c, number, of)
		s.share.sessions++
		n.sessions[grant] = s
		n.journal.sessionOpened(s)
		n.stats.sessionsOpened.Add(1)
		return s, nil
	}
	s := n.sessions[grant]
	if s == nil {
		return nil, Errorf(SessionLost, Unknown, "no such session here")
	}
	if s.principal != principal || s.id.Node != c.id.Node || s.id.Epoch != c.id.Epoch {
		n.stats.joinsDenied.Add(1)
		s.deny(c, principal)
		return nil, Errorf(Denied, Unknown, "the session belongs to another principal or node")
	}
	s.touch()
	return s, nil
}

// discard ends a session that its client opened and left for another one, if it is
// empty and no link holds it; else its lease ends it.
func (n *Node) discard(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if records, linked := s.records(); records == 0 && !linked {
		s.mu.Lock()
		s.endLocked()
		s.mu.Unlock()
		delete(n.sessions, s.grant)
		n.sessionEnded(s)
	}
}

// sessionEnded lets go of what the node keeps for a session beside it. n.mu is held.
func (n *Node) sessionEnded(s *session) {
	if s.client.sessions--; s.client.sessions == 0 {
		delete(n.clients, s.client.name)
	}
	s.share.sessions--
	s.share.leave()
	n.journal.sessionEnded(s)
	n.served += s.served
}

// over reports whether the session ends: nothing runs in it and no traffic came for
// a whole lease.
func (s *session) over(now, lease time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active {
		s.active, s.touched = false, now
	}
	if now-s.touched < lease {
		return false
	}
	for _, in := range s.table.All() {
		if !in.settled {
			return false
		}
	}
	for _, in := range s.table.All() {
		s.free(in.kept)
		in.kept = 0
	}
	s.endLocked()
	s.node.sessionEnded(s)
	return true
}

// endLocked has the session take nothing more in. s.mu is held.
func (s *session) endLocked() {
	s.yield()
	s.share.free(8 * (s.listed - freeList))
	s.listed = freeList
	s.ended.Store(true)
}

// takeWorked reports whether the client has asked for anything since it was called last. If
// not, the session gives back what it has taken ahead.
func (s *session) takeWorked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	worked := s.worked
	if s.worked = false; !worked {
		s.yield()
	}
	return worked
}

// touch renews the lease.
func (s *session) touch() {
	s.mu.Lock()
	s.active = true
	s.mu.Unlock()
}

// joined notes that the session was opened on a link, and reports whether its last word
// was said before.
func (s *session) joined(c *conn) (sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = append(s.on, c)
	s.active = true
	return s.sealed
}

// parted notes that a link has left.
func (s *session) parted(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.on, c); i >= 0 {
		s.on = slices.Delete(s.on, i, i+1)
	}
	s.active = true
}
