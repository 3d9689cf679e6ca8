package rpc

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Vital is what can be read of the way to another node at any time, without a lock.
type Vital struct{ known *peer }

// Vital returns that of a node. It stays good as long as the Node.
func (n *Node) Vital(node string) Vital { return Vital{n.peer(node)} }

// peer is the node's, also after it was forgotten and asked again.
func (v Vital) peer() *peer {
	if v.known.gone.Load() {
		return v.known.node.peer(v.known.name)
	}
	return v.known
}

// Linked reports whether there is a link that requests to the node go out on, and it takes
// them: a node that leaves does not.
func (v Vital) Linked() bool {
	p := v.peer()
	return p.live.Load() != nil && !p.left.Load()
}

// Heard is when the node last answered a heartbeat, or a question of Reach, on the link
// that requests go out on, by the Node's clock; 0 if there is no such link.
func (v Vital) Heard() time.Duration {
	if c := v.peer().live.Load(); c != nil {
		return time.Duration(c.answeredAt.Load())
	}
	return 0
}

// Now is the Node's clock: time since it was made.
func (n *Node) Now() time.Duration { return n.now() }

// Reach has a link to a node opened, or asks on the one there is whether the node lives.
// It does not wait: Vital tells when there is an answer.
func (n *Node) Reach(node string) {
	p := n.lockPeer(node)
	c := p.current
	if c == nil {
		p.demand()
	}
	p.mu.Unlock()
	if c != nil {
		c.send(&transport.Envelope{Verb: transport.VerbPing, Seq: uint64(n.now())})
	}
}

// use makes c the link to send on; nil: there is none. p.mu is held.
func (p *peer) use(c *conn) {
	p.current = c
	p.live.Store(c)
}
