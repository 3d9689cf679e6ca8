package rpc

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// This file is who a peer is: under which principal it is served, and whether its link
// leads to the node that it says it is.

// NodePrincipal is the principal of a peer that proved to be the node of that name. A
// Config.Principals that returns it for the node that a peer claims says that the claim
// is true.
func NodePrincipal(node string) string { return nodePrefix + node }

// nodePrefix begins principals that no road gives.
const nodePrefix = "node:"

// PrincipalOf is what Config.Principals is by default: a peer whose certificate, or NATS
// user, has the name of the node that it says it is, is that node on each road alike. Any
// other is who its road says. A road of another kind names nodes by mapping of your own.
func PrincipalOf(_ string, peer transport.Peer) string {
	if kind, name, named := strings.Cut(peer.Principal, ":"); named && name == peer.Node && (kind == "tls" || kind == "nats") {
		return NodePrincipal(name)
	}
	return peer.Principal
}

// claim is what a peer says, and what is known of it. It is a pure structure.
type claim struct {
	node      string // that it says it is
	given     string // its principal, as its road gave it
	principal string // as Config.Principals has it
	named     string // the principal in that node's record; empty: there is no record, or it names none
	own       bool   // the name is that of the node which is asked
}

// proven reports whether the peer is the node that it says it is. What the node's record
// says decides. Without a word there, the peer has to have the node's name; save that who
// shares a token is trusted, and without authentication everybody is everybody.
func (c claim) proven() bool {
	switch {
	case c.own: // that node does not dial itself over a road
		return false
	case c.named != "":
		return c.principal == c.named
	case c.given == transport.Anonymous, c.given == transport.TokenHolder:
		return true
	}
	return c.principal == NodePrincipal(c.node)
}

// wanted says who would be that node.
func (c claim) wanted() string {
	switch {
	case c.own:
		return "another name: this one is the node's own"
	case c.named != "":
		return c.named
	}
	return NodePrincipal(c.node)
}

// notices decides which foreign links are said: each sort once, until it has not been
// said for a while. It is a pure structure.
type notices struct{ said map[string]time.Duration }

const (
	noticeAgain = time.Minute
	maxNotices  = 64 // sorts of links that are said within it
)

// due reports whether a link of that sort is to be said now.
func (n *notices) due(sort string, now time.Duration) bool {
	if at, said := n.said[sort]; said && now-at < noticeAgain {
		return false
	}
	if len(n.said) >= maxNotices {
		maps.DeleteFunc(n.said, func(_ string, at time.Duration) bool { return now-at >= noticeAgain })
	}
	if len(n.said) >= maxNotices {
		return false
	}
	if n.said == nil {
		n.said = map[string]time.Duration{}
	}
	n.said[sort] = now
	return true
}

// meet makes a conn of a link, whose peer may be a stranger to the node that it says it
// is: then err says so. named is the principal in that node's record.
func (n *Node) meet(l transport.Link, named string) (c *conn, err *Error) {
	c = &conn{node: n, link: l, id: l.Peer(), addr: addrOf(l), direct: n.direct[l.Road()]}
	if c.isLoop() {
		c.principal = c.id.Principal
		return c, nil
	}
	c.principal = n.cfg.Principals(l.Road(), c.id)
	who := claim{c.id.Node, c.id.Principal, c.principal, named, c.id.Node == n.cfg.Name}
	if who.proven() {
		return c, nil
	}
	c.foreign, c.peer = true, n.strangers
	n.stats.linksForeign.Add(1)
	err = Errorf(Denied, NotRun, "on road %s the peer that says it is node %s is principal %q, want %q: %w", l.Road(), c.id.Node, c.principal, who.wanted(), transport.ErrIdentity)
	n.mu.Lock()
	due := n.notices.due(fmt.Sprintf("%q %s %q", c.id.Node, l.Road(), c.principal), n.now())
	n.mu.Unlock()
	if due {
		n.cfg.Logger.Warn("a peer is not the node that it says it is: it is served as who it is, and the node is not reached over its link. If it should be, name its certificate or NATS user as the node, or set actor.Config.Principal there",
			"node", c.id.Node, "road", l.Road(), "principal", c.principal, "want", who.wanted())
		n.event(Event{Type: LinkForeign, Peer: c.id.Node, Road: l.Road(), Err: err})
	}
	return c, err
}

// wrongLink is the Receiver of a link that this node has dialled and that does not lead
// where it should, until it is closed.
type wrongLink struct{}

func (wrongLink) Receive(*transport.Envelope) {}
func (wrongLink) Flush()                      {}
func (wrongLink) Drained()                    {}
func (wrongLink) Disturbed()                  {}
func (wrongLink) Closed(error)                {}

// identifier is a transport that knows how its peers prove who they are: by
// transport.Anonymous not at all, by transport.TokenHolder as one of those that share the
// token, and else by names of their own.
type identifier interface{ Identity() string }

// own is the principal of this node's own actors: that which its peers know it by, as far
// as its roads agree.
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
			given = NodePrincipal(c.Name)
		case given == "":
			given = kind
		}
	}
	if given == "" {
		given = transport.Anonymous
	}
	return c.Principals(LoopbackRoad, transport.Peer{Node: c.Name, Epoch: c.Epoch, Principal: given})
}

// sayIdentity logs once, when a road is started, that it does not show who its peers are.
func (n *Node) sayIdentity(t transport.Transport) {
	i, ok := t.(identifier)
	if !ok {
		return
	}
	switch i.Identity() {
	case transport.Anonymous:
		n.cfg.Logger.Warn("nobody proves who they are on this road: whoever can reach it can be any node", "road", t.Road())
	case transport.TokenHolder:
		n.cfg.Logger.Info("peers prove on this road that they know the token, not which node they are: whoever knows it can be any node", "road", t.Road())
	}
}
