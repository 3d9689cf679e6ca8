package actor

import (
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// RequestID returns the name of the request that the handler answers, for logs: System.Why finds by it
// what became of the request, and so do both of its nodes. It is zero for messages from the same node that have
// taken no road, and for one-way messages.
func (c *Context) RequestID() (id rpc.RequestID) {
	c.asking(func(r request) {
		if in, remote := r.(*server.Inbound); remote && in.Seq != 0 {
			id = in.ID()
		}
	})
	return id
}
