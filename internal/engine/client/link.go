package client

import (
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Link is the Client's half of a link. Its methods are called by the link's reader, except Mark,
// which the node's heartbeat calls.
type Link struct {
	wire.Link
	peer       *peer
	rtt        atomic.Int64 // round-trip time of the latest heartbeat in nanoseconds; 0 before the first
	answeredAt atomic.Int64 // node clock when the latest heartbeat was answered or the session was opened; 0 before that

	run run // replies that came and are not handled yet; the reader's

	// The fields below are guarded by peer.mu.
	row     *transport.Row  // made when numbers are first lent
	asked   bool            // an open was sent, and is outstanding or answered
	askedAt time.Duration   // node clock when it was sent
	askedAs uint64          // its number
	ready   bool            // the session of grant is open on this link
	denied  *rpc.Error      // why the open was refused; nil: it was not
	grant   transport.Grant // the session that was asked for, then the one that was opened
	cancels []uint64        // cancels sent since the last heartbeat with heard set, see Mark
	older   []uint64        // cancels sent between that heartbeat and the previous one with heard set
}

// Attach makes k the Client's half of the link l. Its peer is not forgotten before Closed.
func (cl *Client) Attach(k *Link, l wire.Link) {
	k.Link = l
	if l.Foreign {
		k.peer = cl.foreign
		return
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	k.peer = cl.peerLocked(l.ID.Node)
	k.peer.links++
}

// Connected is called when the link can be used.
func (k *Link) Connected() { k.peer.connected(k) }

// Receive handles an envelope that the peer has sent as a server.
func (k *Link) Receive(e *transport.Envelope) {
	if e.Verb == transport.VerbReply {
		k.receiveReply(e)
		return
	}
	k.endRun()
	switch e.Verb {
	case transport.VerbOpened:
		k.peer.opened(k, e)
	case transport.VerbStatus:
		k.peer.status(k, e.Seq, dedup.State(e.Code))
	case transport.VerbBye:
		k.peer.receiveBye(k, e)
	}
}

// Fenced handles the answer to a ping whose number has the bit Fence.
func (k *Link) Fenced(number uint64) { k.peer.fenced(k, number) }

// Resync sends the calls that are outstanding on the link again, because copies may have been lost.
func (k *Link) Resync() { k.peer.resync(k) }

// Drained continues to send after the link's queue was full.
func (k *Link) Drained() { k.peer.drained(k) }

// Mark adds the session and its ack mark to a heartbeat, which renews the session's lease. heard
// says whether anything came on the link since the last heartbeat.
func (k *Link) Mark(e *transport.Envelope, heard bool) { k.peer.mark(k, e, heard) }

// Answered notes that a heartbeat was answered: at now on the node clock, after the time rtt.
func (k *Link) Answered(now, rtt time.Duration) {
	k.rtt.Store(int64(rtt))
	k.answeredAt.Store(int64(now))
}

// Closed is called when the link has ended.
func (k *Link) Closed(err error) {
	if k.Foreign {
		return
	}
	k.peer.disconnected(k, err)
	k.peer.client.unlinked(k.peer)
}
