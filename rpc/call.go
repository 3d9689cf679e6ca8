package rpc

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Request is what to send to an actor on another node.
type Request struct {
	Node   string // where the actor lives
	Target string // its name there
	Sender string // who asks: an actor's address, or empty
	TypeID uint64
	Codec  uint8
	Body   []byte // kept for resending; must not change until the request ends
	Trace  transport.Trace

	Headers  []transport.Header
	Deadline time.Time     // when it ends for its caller
	Timeout  time.Duration // the same from now on, if there is no Deadline
	Key      string        // the caller's own name for the request, beyond this session; empty for none
	Receipt  bool          // no message: the outcome comes when all before it has left the mailbox
	Acked    bool          // the outcome is "accepted into the mailbox", not the handler's

	Retry      *Retry                       // when to make it anew; nil: never
	Idempotent bool                         // it may run twice
	Hedge      time.Duration                // silence after which a copy goes over a second road; 0: none does
	Again      func() (node, target string) // where to make it anew; nil: at the same place
}

// Completer gets the end of a request, once. It must not block.
type Completer interface {
	Complete(*Reply, error)
}

// Call is a request under way to a peer.
type Call struct {
	req  Request
	peer *peer
	to   Completer

	first   *Call   // of the attempts at this request; c itself if it is the first
	retries retries // the first's only

	// guarded by peer.mu
	seq      uint64
	deadline time.Duration // node clock
	on       *conn         // the live link that has the latest copy; nil: none has
	at       uint64        // the copy's place there
	since    uint64        // number of the first attempt to open a link that began after the call
	handed   bool          // an earlier copy may have left
	quiet    time.Duration // node clock of the last word to or from the peer about it
	patience time.Duration // silence after which it is probed
	hedged   bool          // a copy went over a second road
	hedgeAt  time.Duration // node clock when one should
	answered bool          // its outcome came in; nobody else holds it any more
	reply    Reply
}

// ends is when the request ends for its caller, by the node's clock, which shows now.
func (r *Request) ends(n *Node, now time.Duration) time.Duration {
	if r.Deadline.IsZero() {
		return now + r.Timeout
	}
	return r.Deadline.Sub(n.start)
}

// left is how long it is until then.
func (r *Request) left() time.Duration {
	if r.Deadline.IsZero() {
		return r.Timeout
	}
	return time.Until(r.Deadline)
}

// Limit has the request end after d at the latest.
func (r *Request) Limit(d time.Duration) {
	if d < r.left() {
		r.Deadline, r.Timeout = time.Time{}, d
	}
}

// call is the window's name for a Call.
type call = Call

// verdict is what is known of a call that ends without its outcome, while its last
// copy's link lives: what still lies in a send queue can leave at any moment.
func (c *Call) verdict() Verdict {
	if c.handed || c.on != nil {
		return Unknown
	}
	return NotRun
}
