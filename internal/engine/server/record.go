package server

import (
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// Entry is what is kept of a request: in the table of its session, in the table of keys, or in the store.
type Entry struct {
	In    string     // where
	State string     // how far it has come
	Time  time.Time  // when the store noted that; zero in tables
	Err   *rpc.Error // its outcome, if that is an error
	Over  bool       // it has its outcome
}

// KeptOf returns what is kept of the request of that name. target is its actor, if the session's table has the request.
func (srv *Server) KeptOf(id rpc.RequestID) (all []Entry, target string) {
	srv.mu.Lock()
	var s *session
	for _, known := range srv.sessions {
		if known.number == id.Session {
			s = known
		}
	}
	srv.mu.Unlock()
	grant, recorded := [16]byte{}, false
	if s != nil {
		grant, recorded = s.grant, true
		s.mu.Lock()
		state, rec := s.table.Lookup(id.Seq)
		k := Entry{In: "session", State: state.String()}
		if rec != nil {
			target = (*rec).Target
			if (*rec).finished() {
				k.Over, k.Err = true, (*rec).outcome.err
			}
		}
		if state != dedup.Unseen {
			all = append(all, k)
		}
		s.mu.Unlock()
	} else {
		grant, recorded = srv.journal.Session(func(grant [16]byte) bool { return wire.SessionID(grant, "") == id.Session })
	}
	if recorded {
		all = append(all, srv.written(ledger.ID{Grant: grant, Seq: id.Seq})...)
	}
	return all, target
}

// KeptUnder returns what is kept of the request with that key.
func (srv *Server) KeptUnder(principal, target, key string) []Entry {
	id := keyID(principal, target, key)
	var all []Entry
	k := &srv.keys
	k.mu.Lock()
	k.done.expire(srv.host.Now() - srv.cfg.KeyLife)
	if k.all[id] != nil {
		all = append(all, Entry{In: "keys", State: "running"})
	}
	if e, found := k.done.find(id); found && !e.stored {
		all = append(all, Entry{In: "keys", State: "done", Over: true, Err: unpackOutcome(e.outcome).again().err})
	}
	k.mu.Unlock()
	return append(all, srv.written(ledger.ID{Grant: id})...)
}

// written is what the store has under a name.
func (srv *Server) written(id ledger.ID) []Entry {
	if srv.journal == nil {
		return nil
	}
	_, _, page, found := srv.journal.Recall(id.Grant, id)
	switch {
	case !found:
		return nil
	case !page.Done:
		return []Entry{{In: "store", State: "begun", Time: page.Time}}
	}
	return []Entry{{In: "store", State: "done", Time: page.Time, Over: true, Err: parseOutcome(page.Outcome).err}}
}
