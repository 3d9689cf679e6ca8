package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file decides who a peer is: under which principal it is served, and whether it is the
// node that it says it is.

// claim is what a peer says about itself, and what is known about it. It is a pure structure.
type claim struct {
	node      string // the name that the peer gives
	given     string // its principal as the road returned it
	principal string // its principal as Config.Principals returned it
	named     string // the principal in the registry's record of that node; empty: there is no record, or it names none
	own       bool   // the name is that of this node
}

// proven reports whether the peer is the node that it says it is. The principal in the node's
// record decides. If there is none, the peer's principal has to be the node's name. There are
// two exceptions: peers that share a token are trusted, and without authentication every name
// is believed.
func (c claim) proven() bool {
	switch {
	case c.own: // this node does not dial itself over a road
		return false
	case c.named != "":
		return c.principal == c.named
	case c.given == transport.Anonymous, c.given == transport.TokenHolder:
		return true
	}
	return c.principal == rpc.NodePrincipal(c.node)
}

// expected describes, for errors and the log, which principal the node has to have.
func (c claim) expected() string {
	switch {
	case c.own:
		return "another name: this one is the node's own"
	case c.named != "":
		return c.named
	}
	return rpc.NodePrincipal(c.node)
}

// notices decides which foreign links are logged: links of the same sort once in noticeEvery.
// It is a pure structure.
type notices struct{ logged map[string]time.Duration } // by sort, the time of the latest

const (
	noticeEvery = time.Minute
	maxNotices  = 64 // how many sorts of links are logged within that time
)

// due reports whether a link of that sort is to be logged now, and remembers it if so.
func (n *notices) due(sort string, now time.Duration) bool {
	if at, said := n.logged[sort]; said && now-at < noticeEvery {
		return false
	}
	if len(n.logged) >= maxNotices {
		maps.DeleteFunc(n.logged, func(_ string, at time.Duration) bool { return now-at >= noticeEvery })
	}
	if len(n.logged) >= maxNotices {
		return false
	}
	if n.logged == nil {
		n.logged = map[string]time.Duration{}
	}
	n.logged[sort] = now
	return true
}

// meet returns a conn for a link. named is the principal in the record of the node that the
// peer says it is. If the peer is not that node, the conn is foreign, and the error says so.
func (n *Node) meet(l transport.Link, named string) (c *conn, err *rpc.Error) {
	c = &conn{node: n, Link: wire.Link{Link: l, ID: l.Peer(), Addr: addrOf(l), Direct: n.direct[l.Road()], Packs: packs(l)}}
	if c.Loop() {
		c.Near, _ = l.(wire.Near)
		c.Principal = c.ID.Principal
		return c, nil
	}
	c.Principal = n.cfg.Principals(l.Road(), c.ID)
	who := claim{c.ID.Node, c.ID.Principal, c.Principal, named, c.ID.Node == n.cfg.Name}
	if who.proven() {
		return c, nil
	}
	c.Foreign = true
	n.linksForeign.Add(1)
	err = rpc.Errorf(rpc.Denied, rpc.NotRun, "on road %s the peer that says it is node %s is principal %q, want %q: %w", l.Road(), c.ID.Node, c.Principal, who.expected(), transport.ErrIdentity)
	n.mu.Lock()
	due := n.notices.due(fmt.Sprintf("%q %s %q", c.ID.Node, l.Road(), c.Principal), n.host.Now())
	n.mu.Unlock()
	if due {
		n.cfg.Logger.Warn("a peer is not the node that it says it is: it is served as who it is, and the node is not reached over its link. If it should be, name its certificate or NATS user as the node, or set actor.Config.Principal there",
			"node", c.ID.Node, "road", l.Road(), "principal", c.Principal, "want", who.expected())
		n.host.Event(rpc.Event{Type: rpc.LinkForeign, Peer: c.ID.Node, Road: l.Road(), Err: err})
	}
	return c, err
}

// packs reports whether compressed bodies may be sent on a link.
func packs(l transport.Link) bool {
	p, ok := l.(transport.Packer)
	return ok && p.Packs()
}

// addrOf returns the address of a link's other end, zero if its road knows none.
func addrOf(l transport.Link) netip.Addr {
	if a, ok := l.(transport.Addressed); ok {
		return a.RemoteAddr()
	}
	return netip.Addr{}
}

// wrongLink is the Receiver of a link that this node has dialled and whose peer is not the
// expected node. It ignores everything until the link is closed.
type wrongLink struct{}

func (wrongLink) Receive(*transport.Envelope) {}
func (wrongLink) Flush()                      {}
func (wrongLink) Drained()                    {}
func (wrongLink) Disturbed()                  {}
func (wrongLink) Closed(error)                {}

// identifier is a transport that knows how its peers prove who they are. Identity returns
// transport.Anonymous if they do not, transport.TokenHolder if they only prove that they know
// the token, and something else if each proves a name of its own.
type identifier interface{ Identity() string }

// own returns the principal of this node's own actors: the one by which its peers know the
// node, as far as its roads agree.
func (c *Config) own() string {
	if c.Principal != "" {
		return c.Principal
	}
	given := ""
	for _, t := range c.Transports {
		i, ok := t.(identifier)
		if !ok {
			continue
		}
		switch kind := i.Identity(); {
		case kind != transport.Anonymous && kind != transport.TokenHolder, given != "" && given != kind:
			given = rpc.NodePrincipal(c.Name)
		case given == "":
			given = kind
		}
	}
	if given == "" {
		given = transport.Anonymous
	}
	return c.Principals(rpc.LoopbackRoad, transport.Peer{Node: c.Name, Epoch: c.Epoch, Principal: given})
}

// logIdentity logs, when a road is started, that its peers do not prove which node they are.
func (n *Node) logIdentity(t transport.Transport) {
	i, ok := t.(identifier)
	if !ok {
		return
	}
	switch i.Identity() {
	case transport.Anonymous:
		n.cfg.Logger.Warn("nobody proves who they are on this road: everybody who can reach it can be any node", "road", t.Road())
	case transport.TokenHolder:
		n.cfg.Logger.Info("peers prove on this road that they know the token, not which node they are: everybody who knows it can be any node", "road", t.Road())
	}
}
