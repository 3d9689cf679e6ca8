package server

import (
	"hash/maphash"
	"net/netip"
	"strings"

	"github.com/tandem-go/tandem/rpc"
)

// Origin is the origin of all messages of a session. It is immutable, and may be kept.
type Origin struct {
	Principal string // who the client has proved to be
	Node      string // the node's name
	Local     bool   // the client is this node itself, on its loopback: no other node can claim that

	// Relay is the origin of the session on which the client has sent a message on behalf of Principal. nil: it
	// has sent it for itself.
	Relay *Origin
}

// Bearer returns the principal in whose share of the memory the message counts: that of the peer that has sent it.
func (o *Origin) Bearer() string {
	if o.Relay != nil {
		return o.Relay.Principal
	}
	return o.Principal
}

// behalfSize is about how many bytes an Origin of a single message takes, without its Principal.
const behalfSize = 64

// behalf returns the origin of a message that was sent on behalf of a principal; o itself if that is empty.
func (o *Origin) behalf(principal string) *Origin {
	if principal == "" {
		return o
	}
	return &Origin{Principal: strings.Clone(principal), Node: o.Node, Relay: o}
}

// origins keeps a few origins of a session, so that a principal on whose behalf the client lately sent a message needs no
// allocation for the next one.
type origins [64]*Origin

// behalf is Origin.behalf for the origin of the session. Its lock is held.
func (s *session) behalf(principal string) *Origin {
	if s.behalves == nil {
		s.behalves = new(origins)
	}
	o := &s.behalves[maphash.String(s.server.seed, principal)%uint64(len(s.behalves))]
	if *o == nil || (*o).Principal != principal {
		*o = s.origin.behalf(principal)
	}
	return *o
}

// Arrival describes a message from a client, or a question about the record of one.
type Arrival struct {
	Origin *Origin
	Addr   netip.Addr // address of the link; zero if its transport knows none
	Target string     // the actor's name
	TypeID uint64
	Tell   bool   // it is a one-way message: nobody waits for its handler's result
	Outbox string // the outbox that it is from; empty for none
}

// From returns the node that sent the message; it is empty if the peer has not proved to be
// the node that it names.
func (in *Inbound) From() string {
	if in.session.foreign {
		return ""
	}
	return in.session.id.Node
}

// Own reports whether the sender is this node itself, and Principal returns who it has proved to be, or for whom it
// has sent the message.
func (in *Inbound) Own() bool         { return in.session.own }
func (in *Inbound) Principal() string { return in.Origin().Principal }

// Caller names the start of the node that sent the message, for all sessions on all roads. A peer that
// has not proved to be a node is named together with who it has proved to be.
func (in *Inbound) Caller() string {
	id := in.session.id
	if in.session.foreign {
		return in.session.principal + "//" + id.Node + "/" + id.Epoch
	}
	return CallerOf(id.Node, id.Epoch)
}

// CallerOf is what Caller returns for the messages of that start of a node.
func CallerOf(node, epoch string) string { return node + "/" + epoch }

// Key returns the name of a request with a key, which is the same for all requests under it, and what
// stands for its content. It must not be called for other requests.
func (in *Inbound) Key() (name [16]byte, print uint64) { return in.name.id.Grant, in.name.fingerprint }

// Outbox returns the outbox that the message is from; empty for none.
func (in *Inbound) Outbox() string {
	if in.Number == 0 || in.name == nil {
		return ""
	}
	return in.name.outbox
}

// Relayed reports whether the message was sent on behalf of another principal than the peer's own.
func (in *Inbound) Relayed() bool { return in.behalf != nil }

// Origin returns where the message comes from.
func (in *Inbound) Origin() *Origin {
	if in.behalf != nil {
		return in.behalf
	}
	return in.session.origin
}

// Arrival returns the description by which it is decided whether the message may be handled.
func (in *Inbound) Arrival() Arrival {
	return Arrival{in.Origin(), in.addr(), in.Target, in.TypeID, in.Seq == 0 || in.Confirm || in.Number > 0, in.Outbox()}
}

// addr returns the address of a link on which the message came.
func (in *Inbound) addr() netip.Addr {
	if in.Seq != 0 {
		in.session.mu.Lock()
		defer in.session.mu.Unlock()
	}
	if in.link == nil {
		return netip.Addr{}
	}
	return in.link.Addr
}

// Away reports whether no link to the client is open, so that an answer could not be sent now.
func (in *Inbound) Away() bool {
	s := in.session
	if s.origin.Local {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links) == 0
}

// mayReplay returns nil if the peer of c, which sent the request, may still get its recorded
// outcome. Otherwise it returns the error that the peer gets instead, whose verdict says
// whether the request ran. The session's lock is held. When it returns an error, the caller
// has to call denied once the lock is released.
func (in *Inbound) mayReplay(c *Link) (Arrival, *rpc.Error) {
	srv := in.session.server
	if srv.cfg.Check == nil || in.Receipt {
		return Arrival{}, nil
	}
	a := Arrival{in.Origin(), c.Addr, in.Target, in.TypeID, in.Confirm || in.Number > 0, in.Outbox()}
	err := srv.cfg.Check(a)
	if err == nil || in.finished() && in.outcome.refused() {
		return a, err
	}
	now := *err
	if now.Verdict = rpc.Unknown; in.finished() && (in.outcome.err == nil || in.outcome.err.Verdict == rpc.HasRun) {
		now.Verdict = rpc.HasRun
	}
	return a, &now
}

// denied counts a refusal and reports it to Config.OnDenied. No lock of a session is held.
func (srv *Server) denied(a Arrival, err *rpc.Error) {
	srv.counts.refused.Add(1)
	if srv.cfg.OnDenied != nil {
		srv.cfg.OnDenied(a, err)
	}
}
