package client

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Liveness tells without a lock whether another node can be reached. Its methods may be called
// concurrently.
type Liveness struct{ known *peer }

// Liveness returns the Liveness of a node. It is valid as long as the Client.
func (cl *Client) Liveness(node string) Liveness { return Liveness{cl.peer(node)} }

// peer returns the node's current peer, which may have replaced one that was forgotten.
func (l Liveness) peer() *peer {
	if l.known.gone.Load() {
		return l.known.client.peer(l.known.name)
	}
	return l.known
}

// Linked reports whether there is a link to send requests to the node on, and the node is not
// leaving.
func (l Liveness) Linked() bool {
	p := l.peer()
	return p.live.Load() != nil && !p.left.Load()
}

// Heard returns when the node last answered a heartbeat, or a ping of Reach, on the link that
// requests are sent on. The time is that of Client.Now; it is 0 if there is no such link.
func (l Liveness) Heard() time.Duration {
	if c := l.peer().live.Load(); c != nil {
		return time.Duration(c.answeredAt.Load())
	}
	return 0
}

// Now returns the node's clock, the time since the node was made.
func (cl *Client) Now() time.Duration { return cl.host.Now() }

// Reach opens a link to a node, or sends a ping on the current one. It does not wait for an
// answer: Liveness tells when there is one.
func (cl *Client) Reach(node string) {
	p := cl.lockPeer(node)
	c := p.current
	if c == nil {
		p.dialRoads()
	}
	p.mu.Unlock()
	if c != nil {
		c.Post(&transport.Envelope{Verb: transport.VerbPing, Seq: uint64(cl.host.Now())})
	}
}

// use makes c the link to send on; nil means that there is none. p.mu is held.
func (p *peer) use(c *Link) {
	p.current = c
	p.live.Store(c)
}
