package actor

import (
	"github.com/tandem-go/tandem/rpc"
)

// Principal is who the sender of the message proved to be: what the road has made of its
// certificate, token or user (see the road's package, and Config.Principals), and
// transport.Anonymous where the road authenticates nobody. It is the same for requests, one-way
// messages, jobs, and the whole of a stream, and stays so after the handler has returned. For
// a message from the node's own actors or program, and for what comes back by Pipe, it is the
// node's own: what Config.Principals makes of transport.Anonymous on rpc.LoopbackRoad.
//
// Nobody but the road says so; what a message claims about its sender (Sender, Header)
// proves nothing.
func (c *Context) Principal() string {
	if c.origin == nil {
		return c.System().node.OwnPrincipal()
	}
	return c.origin.Principal
}

// Node is the node that the message came from, this one's own name if from here. A node's
// name is what its greeting claims: it is proven as far as Principal is that of the node of
// this name. It is empty for a job that an earlier start of this node took on and did not
// note it for.
func (c *Context) Node() string {
	if c.origin == nil {
		return c.System().Name()
	}
	return c.origin.Node
}

// originOf is where a message in a mailbox comes from; nil: from here.
func originOf(it *item) *rpc.Origin {
	if in, remote := it.msg.(*rpc.Inbound); remote {
		return in.Origin()
	}
	if j, ok := it.req.(*job); ok {
		return j.origin
	}
	return nil
}
