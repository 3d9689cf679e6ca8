package client

import (
	"errors"
	"sync/atomic"

	"github.com/tandem-go/tandem/rpc"
)

// Start is one start of another node, for as long as the node is not known to have been restarted. What
// the two nodes have agreed upon holds for it alone. Its methods may be called concurrently.
type Start struct {
	epoch string
	over  atomic.Bool
}

// Over reports whether the node has another start by now, or may have.
func (s *Start) Over() bool { return s.over.Load() }

// end says that what was agreed upon holds no more. The peer's lock is held, so no message of the next session is
// sent before. A nil Start has nothing to end.
func (s *Start) end() {
	if s != nil {
		s.over.Store(true)
	}
}

// StartOf returns the start of a node that has that epoch, or nil if the session at the node is with
// another one, or there is none.
func (cl *Client) StartOf(node, epoch string) *Start {
	p := cl.lockPeer(node)
	defer p.mu.Unlock()
	if p.epoch != epoch || epoch == "" || p.closed {
		return nil
	}
	if p.start == nil {
		p.start = &Start{epoch: epoch}
	}
	return p.start
}

// started is called when a session was opened: what was agreed upon with another start of the node ends. p.mu is held.
func (p *peer) started() {
	if p.start != nil && p.start.epoch != p.epoch {
		p.start.end()
		p.start = nil
	}
}

// Forms knows both forms of compact requests. Its methods may be called concurrently.
type Forms interface {
	// Named gives a compact request the form that every start of every node can read. It is not called under a lock.
	Named(r *Request) *rpc.Error
	// TypeOf returns the type that a compact request has in that form. It must not block.
	TypeOf(r *Request) uint64
}

// typeOf returns the type of what r carries, whatever its form.
func (cl *Client) typeOf(r *Request) uint64 {
	if r.Agreed == nil {
		return r.TypeID
	}
	return cl.cfg.Forms.TypeOf(r)
}

// ErrCompact is the error of a compact one-way message whose node may have been restarted since its form
// was agreed upon. It was not sent, and can be sent in the other form. Requests get that form here.
var ErrCompact = errors.New("rpc: the node was restarted since the form of the message was agreed upon")

// refusesCompact reports whether a compact attempt has ended because its node does not know the form of the
// body: it was restarted as something else, or never agreed. The other form may be welcome there.
func (r *Request) refusesCompact(err *rpc.Error) bool {
	if r.Agreed == nil || err.Verdict != rpc.NotRun {
		return false
	}
	switch err.Code {
	case rpc.Undecodable, rpc.Unhandled, rpc.Denied:
		return true
	}
	return false
}

// endOrName ends a call that could not be sent, or makes another attempt in the form that the node can read.
// p.mu is held.
func (c *Call) endOrName(err *rpc.Error) {
	if errors.Is(err, ErrCompact) {
		c.fail(err)
		return
	}
	c.end(err)
}

// stale reports whether r is compact and its node may have been restarted since.
func (r *Request) stale() bool { return r.Agreed != nil && r.Agreed.Over() }

// Named gives a compact request the form that every node can read, at whichever start.
func (cl *Client) Named(r *Request) *rpc.Error {
	if r.Agreed == nil {
		return nil
	}
	r.Agreed, r.packed = nil, nil
	if err := cl.cfg.Forms.Named(r); err != nil {
		return err
	}
	cl.pack(r)
	return nil
}
