package wire

import (
	"errors"
	"net/netip"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Link is a link to a peer, with the facts about it that never change. Both halves of a node and
// the node itself each have a copy.
type Link struct {
	transport.Link
	ID        transport.Peer // the peer's identity, as it claims
	Addr      netip.Addr     // address of the link's other end, see transport.Addressed
	Principal string         // the peer's principal, the same on all roads
	Foreign   bool           // the peer is not the node that it claims to be: it is served, but never asked
	Direct    bool           // its road is direct, not over a bus
	Packs     bool           // bodies that are compressed in this node's way may be sent on it, see transport.Packer
	Near      Near           // the same link, if both of its ends are in this node; else nil
}

// Near is a link with both ends in this node. Each end has a goroutine that receives. A sender that is about to wait, or is done,
// saves waking it: it queues quietly, and then has the other end receive in its own goroutine.
type Near interface {
	// SendQuietly is transport.Link.Send for those who call Deliver as soon as they hold no lock.
	SendQuietly(e *transport.Envelope) (at uint64, err error)
	// Deliver has the other end receive what is queued. The caller may hold no lock, because the Receiver takes those of the
	// engine, and of actors. If somebody else receives there at the moment, it leaves this to the goroutine of that end.
	Deliver()
}

// Loop reports whether the link leads to this node itself.
func (l *Link) Loop() bool { return l.Road() == rpc.LoopbackRoad }

// Post sends an answer to the peer, or a message that keeps the link alive. If the peer does not
// read its answers, Post closes the link; the peer gets the answers again on another one. at is
// the position of e in the link's queue; an error says why it is not in the queue.
func (l *Link) Post(e *transport.Envelope) (at uint64, err error) {
	at, err = l.Send(e)
	if errors.Is(err, transport.ErrStalled) {
		l.Close(err)
	}
	return at, err
}

// Hand is Post for those who hold no lock, so that an end within this node may receive e in this goroutine.
func (l *Link) Hand(e *transport.Envelope) (at uint64, err error) {
	if l.Near == nil {
		return l.Post(e)
	}
	if at, err = l.Near.SendQuietly(e); errors.Is(err, transport.ErrStalled) {
		l.Close(err)
	}
	l.Near.Deliver()
	return at, err
}

// ErrorOf returns the error that a reply on this link carries, nil for none.
func (l *Link) ErrorOf(e *transport.Envelope) *rpc.Error { return ErrorOf(e, l.ID.Node) }
