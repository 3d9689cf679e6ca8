package engine

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// conn is a Node's state of one link. On it, this node is a client with a session at the peer,
// and a server with the peer's session. It does not matter which of them has dialled.
type conn struct {
	wire.Link
	node   *Node
	client client.Link
	server server.Link
	holding

	lastAnswered atomic.Uint64 // stamp of the latest ping of announce that was answered
	heard        atomic.Bool   // an envelope came since the last heartbeat
	everHeard    atomic.Bool   // an envelope has come at all
	silentBeats  int           // heartbeats since the last envelope; used only by the sweeper
}

var _ transport.RowReceiver = (*conn)(nil)

// Receive handles an envelope. It is called by the link's reader, decodes no bodies, and never
// blocks.
func (c *conn) Receive(e *transport.Envelope) {
	c.hear()
	if e.Verb != transport.VerbTell {
		c.server.EndRun() // the one-way messages that came before have to run before a request that comes now
	}
	switch e.Verb {
	case transport.VerbReply:
		if e.Cut {
			e.Code, e.Flags, e.Message = uint16(rpc.ReplyDropped), transport.FlagRan, "there was no room here for the reply: "+c.share.Full(c.ID.Node).Message
		}
		c.client.Receive(e)
	case transport.VerbOpened, transport.VerbStatus, transport.VerbBye:
		c.client.Receive(e)
	case transport.VerbResync:
		c.client.Resync()
	case transport.VerbPing:
		c.server.Receive(e)
		_, _ = c.Post(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: c.node.host.At(c.node.host.Now())})
	case transport.VerbPong:
		c.answered(e)
	default:
		c.server.Receive(e)
	}
}

// ReceiveRow handles several one-way messages, see transport.RowReceiver.
func (c *conn) ReceiveRow(e *transport.Envelope, count int) {
	c.hear()
	c.server.ReceiveRow(e, count)
}

// hear notes that the peer has sent something.
func (c *conn) hear() {
	if !c.heard.Load() {
		c.heard.Store(true)
		c.everHeard.Store(true)
	}
}

// answered handles the answer to a ping.
func (c *conn) answered(e *transport.Envelope) {
	switch {
	case e.Seq&client.Fence != 0:
		c.client.Fenced(e.Seq)
	case e.Seq&byeBit != 0:
		c.lastAnswered.Store(e.Seq)
		c.node.poke()
	default: // the answer to a heartbeat
		sent, now := time.Duration(e.Seq), c.node.host.Now()
		c.client.Answered(now, now-sent)
		if !e.Sent.IsZero() {
			c.server.Answered(sent, now, c.node.host.Since(e.Sent))
		}
	}
}

// heartbeat is called by the node's sweeper once a beat.
func (c *conn) heartbeat() {
	if c.heard.Swap(false) {
		c.silentBeats = 0
	} else if c.silentBeats++; c.silentBeats >= DeadAfter {
		c.Close(transport.ErrHeartbeat)
		return
	}
	if c.stalled() {
		c.Close(fmt.Errorf("%w: nothing more of a large message came for %v", transport.ErrProtocol, transport.PartPatience))
		return
	}
	e := &transport.Envelope{Verb: transport.VerbPing, Seq: uint64(c.node.host.Now())}
	c.client.Mark(e, c.silentBeats == 0)
	_, _ = c.Post(e)
}

// Flush, Drained, Disturbed and Closed are the other methods of transport.Receiver.
func (c *conn) Flush() {
	c.server.Flush()
	c.client.Flush()
}

func (c *conn) Drained() { c.client.Drained() }

func (c *conn) Disturbed() {
	c.client.Resync()
	_, _ = c.Post(&transport.Envelope{Verb: transport.VerbResync})
}

func (c *conn) Closed(err error) {
	c.release()
	c.share.Leave()
	c.server.Closed()
	c.node.forget(c)
	c.client.Closed(err)
	if !c.Foreign {
		c.node.host.Event(rpc.Event{Type: rpc.LinkDown, Peer: c.ID.Node, Road: c.Road(), Err: err})
	}
	c.node.poke()
}
