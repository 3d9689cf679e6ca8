package actor

import "github.com/tandem-go/tandem/internal/engine/server"

// Principal is who the sender of the message has proved to be. The road derives it from the
// sender's certificate, token or user (see the road's package, and Config.Principals); it is
// transport.Anonymous if the road does not authenticate. If the sender may relay and has sent the message on behalf of
// another principal (rpc.OnBehalfOf), it is that one. It is available for requests, one-way
// messages, jobs and streams, also after the handler has returned. For a message from the
// node's own actors or program, and for one that Pipe delivers, it is the node's own:
// Config.Principals of transport.Anonymous on rpc.LoopbackRoad. For one of a durable topic it
// is transport.Anonymous, because the store does not prove who has published.
//
// Only the road determines it. What a message claims about its sender (Sender, Header)
// proves nothing.
func (c *Context) Principal() string {
	if c.origin == nil {
		return c.System().node.OwnPrincipal()
	}
	return c.origin.Principal
}

// Local reports whether the message is from this node's own program or actors. No other node can have a message look like
// that; and one that a gateway of this node has sent on behalf of somebody (rpc.OnBehalfOf) is not local.
func (c *Context) Local() bool { return c.origin == nil || c.origin.Local && c.origin.Relay == nil }

// bearer is the principal in whose share of the memory the message counts.
func (c *Context) bearer() string {
	if c.origin == nil {
		return c.Principal()
	}
	return c.origin.Bearer()
}

// Node is the name of the node that the message came from, which may be this one. A node
// claims its name in its greeting; it has proved the name only if Principal is that of the node
// of this name. Node is empty for a recorded job whose record does not name the node, and for
// a message of a durable topic (see Delivery).
func (c *Context) Node() string {
	if c.origin == nil {
		return c.System().Name()
	}
	return c.origin.Node
}

// originOf is where a message in a mailbox comes from; nil: from this node.
func originOf(it *item) *server.Origin {
	if in, remote := it.msg.(*server.Inbound); remote {
		return in.Origin()
	}
	switch r := it.req.(type) {
	case *delivery:
		return unproven
	case *job:
		return r.origin
	case *racer:
		return r.origin
	}
	if it.meta != nil && it.meta.arrival != nil {
		return it.meta.arrival.Origin
	}
	return nil
}
