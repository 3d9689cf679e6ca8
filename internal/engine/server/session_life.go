package server

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// openSession handles an open that came on c. It returns the session that grant names, or a
// new one if grant is zero. It returns neither a session nor an error if a new session is
// wanted while the node opens none.
func (srv *Server) openSession(c *Link, grant transport.Grant, number uint64) (*session, *rpc.Error) {
	principal := c.Principal
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if grant == (transport.Grant{}) {
		if !srv.open && !c.Loop() {
			return nil, nil
		}
		if _, err := rand.Read(grant[:]); err != nil {
			return nil, rpc.Errorf(rpc.Internal, rpc.NotRun, "no randomness: %v", err)
		}
		err := c.share.OpenSession()
		if err == nil && srv.journal.Full() {
			c.share.CloseSession()
			err = journal.ErrFull
		}
		if err != nil {
			srv.counts.opensRefused.Add(1)
			return nil, err
		}
		name := ownerName(c.ID, principal)
		if c.Foreign { // what counts for the node itself must not depend on peers that only claim its name
			name = "\x00" + name
		}
		cl := srv.clients[name]
		if cl == nil {
			cl = &client{name: name}
			srv.clients[name] = cl
		}
		cl.sessions++
		s := newSession(srv, grant, c, number, cl)
		srv.sessions[grant] = s
		srv.journal.SessionOpened(s.grant, ownerName(s.id, s.principal))
		srv.counts.sessionsOpened.Add(1)
		return s, nil
	}
	s := srv.sessions[grant]
	if s == nil {
		return nil, rpc.Errorf(rpc.SessionLost, rpc.Unknown, "no such session here")
	}
	if s.principal != principal || s.id.Node != c.ID.Node || s.id.Epoch != c.ID.Epoch {
		srv.counts.joinsDenied.Add(1)
		s.logMismatch(c, principal)
		return nil, rpc.Errorf(rpc.Denied, rpc.Unknown, "the session belongs to another principal or node")
	}
	s.touch()
	return s, nil
}

// discard ends a session whose client has opened another one since, if the session has no
// records and no link has it open. Otherwise it ends with its lease.
func (srv *Server) discard(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if records, linked := s.records(); records == 0 && !linked {
		s.mu.Lock()
		s.endLocked()
		s.mu.Unlock()
		delete(srv.sessions, s.grant)
		srv.sessionEnded(s)
	}
}

// sessionEnded frees what the server keeps for a session outside of it. srv.mu is held.
func (srv *Server) sessionEnded(s *session) {
	if s.client.sessions--; s.client.sessions == 0 {
		delete(srv.clients, s.client.name)
	}
	s.share.CloseSession()
	s.share.Leave()
	srv.journal.SessionEnded(s.grant)
	srv.served += s.served
}

// expire ends the session if nothing runs in it and no traffic came for a whole lease, and
// reports whether it did. The Server's mu is held.
func (s *session) expire(now, lease time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active {
		s.active, s.touched = false, now
	}
	if now-s.touched < lease {
		return false
	}
	for _, in := range s.table.All() {
		if !in.finished() {
			return false
		}
	}
	for _, in := range s.table.All() {
		in.unusual(trail.Unanswered, nil, nil)
		s.free(in.kept)
		in.kept = 0
	}
	s.endLocked()
	s.server.sessionEnded(s)
	return true
}

// endLocked makes the session receive nothing more. s.mu is held.
func (s *session) endLocked() {
	s.freeSpare()
	s.share.Free(8 * (s.listed - uncountedSeqs))
	s.listed = uncountedSeqs
	s.ended.Store(true)
}

// takeWorked reports whether the client has sent requests or one-way messages since the last
// call. If not, the session frees the memory that it has reserved ahead.
func (s *session) takeWorked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	worked := s.worked
	if s.worked = false; !worked {
		s.freeSpare()
	}
	return worked
}

// touch renews the session's lease.
func (s *session) touch() {
	s.mu.Lock()
	s.active = true
	s.mu.Unlock()
}

// linkOpened adds a link on which the session was opened, and reports whether its last word
// was said before.
func (s *session) linkOpened(c *Link) (sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = append(s.links, c)
	s.active = true
	return s.sealed
}

// linkClosed removes a link that is closed, or that the session is no longer open on.
func (s *session) linkClosed(c *Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.links, c); i >= 0 {
		s.links = slices.Delete(s.links, i, i+1)
	}
	s.active = true
}
