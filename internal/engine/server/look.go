package server

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tandem-go/tandem/inspect"
)

// Sessions returns what there is to see of the sessions of other nodes, by node. It locks one after another.
func (srv *Server) Sessions() []inspect.Session {
	srv.mu.Lock()
	open := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		if !s.own {
			open = append(open, s)
		}
	}
	srv.mu.Unlock()
	all := make([]inspect.Session, 0, len(open))
	for _, s := range open {
		all = append(all, s.look())
	}
	slices.SortFunc(all, func(a, b inspect.Session) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (s *session) look() inspect.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := inspect.Session{ID: fmt.Sprintf("%016x", s.number), Node: s.id.Node, Epoch: s.id.Epoch, Principal: s.principal, Proved: !s.foreign,
		Records: s.table.Outstanding(), Served: s.served, Sealed: s.sealed}
	for _, l := range s.links {
		v.Roads = append(v.Roads, l.Road())
	}
	slices.Sort(v.Roads)
	return v
}
