package rpc

import (
	"net/netip"

	"github.com/tandem-go/tandem/transport"
)

// Origin is where the messages of a session come from. It is immutable, and may be kept.
type Origin struct {
	Principal string // who the client proved to be
	Node      string // the node's name
	Local     bool   // it is this node itself, by its own loopback: no other node can claim that
}

// Arrival is a message from another node, or what is asked of the record of one.
type Arrival struct {
	Origin *Origin
	Addr   netip.Addr // of the link; zero if its road knows none
	Target string     // actor's name
	TypeID uint64
	Tell   bool // nobody waits for what its handler says
}

// Origin is where the message comes from.
func (in *Inbound) Origin() *Origin { return in.session.origin }

// Arrival describes the message, for whoever decides whether it may be handled.
func (in *Inbound) Arrival() Arrival {
	return Arrival{in.session.origin, in.addr(), in.Target, in.TypeID, in.Seq == 0 || in.Acked}
}

// addr is the address of the link that brought the message, or one of them.
func (in *Inbound) addr() netip.Addr {
	if in.Seq != 0 {
		in.session.mu.Lock()
		defer in.session.mu.Unlock()
	}
	if in.road == nil {
		return netip.Addr{}
	}
	return in.road.addr
}

// Away reports whether no link to the client is open, so that no answer would reach it now.
func (in *Inbound) Away() bool {
	s := in.session
	if s.origin.Local {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.on) == 0
}

// addrOf is the address of a link's other end, zero if its road knows none.
func addrOf(l transport.Link) netip.Addr {
	if a, ok := l.(transport.Addressed); ok {
		return a.RemoteAddr()
	}
	return netip.Addr{}
}

// mayReplay returns nil if c's peer may get what was recorded for in, which is its own. What
// it gets instead says whether that ran. It is called with the session's lock held; whoever
// gets an error tells Config.OnDenied when it holds none.
func (in *Inbound) mayReplay(c *conn) (Arrival, *Error) {
	n := in.session.node
	if n.cfg.Check == nil || in.Receipt {
		return Arrival{}, nil
	}
	a := Arrival{in.session.origin, c.addr, in.Target, in.TypeID, in.Acked}
	err := n.cfg.Check(a)
	if err == nil || in.settled && in.outcome.refused() {
		return a, err
	}
	now := *err
	if now.Verdict = Unknown; in.settled && (in.outcome.err == nil || in.outcome.err.Verdict == HasRun) {
		now.Verdict = HasRun
	}
	return a, &now
}

// denied takes note of a refusal. No lock of a session is held.
func (n *Node) denied(a Arrival, err *Error) {
	n.stats.refused.Add(1)
	if n.cfg.OnDenied != nil {
		n.cfg.OnDenied(a, err)
	}
}
