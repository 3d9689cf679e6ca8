package client

import (
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Request is what to send to an actor on another node.
type Request struct {
	Retry   *rpc.Retry // when to retry the request; nil: never
	Rare    *Rare      // nil for most requests
	Body    []byte     // kept for resending; it must not change until the request ends, and never if it is large (transport.LargeBody)
	Node    string     // where the actor lives
	Target  string     // the actor's name on that node
	TypeID  uint64
	Codec   uint8
	Receipt bool          // it has no message; the outcome comes once all earlier messages have left the mailbox
	Confirm bool          // it is a one-way message, and the outcome is that it was accepted into the mailbox
	Agreed  *Start        // its body is compact: in a form that was agreed upon with that start of the node; nil: every node can read it
	Timeout time.Duration // after this time the request ends for its caller

	packed *transport.Packed // the Body in compressed form; nil: there is none
}

// Rare holds the options that few requests have.
type Rare struct {
	wire.Meta
	Key          string          // the caller's own name for the request, valid beyond this session; empty for none
	Number       uint64          // if not 0, Key names an outbox of the caller's, and this is the message's number in it
	SentSince    time.Time       // when a message of an outbox may have been sent for the first time; zero: it never was
	MaybeAt      string          // the start of the node that may have got a message of an outbox; empty: none, or it is not known which
	AgeElsewhere time.Duration   // what another start than MaybeAt is told at least of how long ago it was sent
	Behalf       string          // the principal that it is sent for; empty: this node's own
	Once         transport.Once  // its name beyond this session; zero: it has none
	Idempotent   bool            // the request may run twice
	Hedge        time.Duration   // silence after which a second copy is sent over another road; 0: never
	Route        Route           // chooses one of several instances; nil: the request goes to Node and Target
	Epoch        string          // the only start of the node that may get it; empty: any
	SentTo       *string         // set to the start of the node that got the latest copy; nil: nobody wants to know. It is not written any more once the request has ended
	Report       *sendopt.Report // filled in before the request ends; nil: nobody wants to know
	LinkWait     time.Duration   // how long it waits for a link before it fails with Unavailable; 0: until opening links has failed on every road, or, with a Route, until its deadline
}

// ended notes that an attempt has ended; replayed: with a recorded outcome.
func (c *Call) ended(replayed bool) {
	if r := c.first.req.Rare; r != nil && r.Report != nil {
		r.Report.Attempts++
		r.Report.Replayed = replayed
	}
}

// Route chooses the instance for each attempt of a request that several instances can serve.
// Its methods must not block and must not call the Client, because some are called under the
// locks of a peer.
type Route interface {
	// Over notes how the current attempt ended; nil stands for an answer. It does nothing if
	// there is no current attempt.
	Over(err *rpc.Error)
	// Untried reports whether an instance is left that has had no attempt.
	Untried() bool
	// Next begins the next attempt and returns its destination. An error says why there is none.
	Next() (node, target string, err *rpc.Error)
}

func (r *Request) idempotent() bool { return r.Rare != nil && r.Rare.Idempotent }

func (r *Request) named() bool { return r.Rare != nil && r.Rare.Once.Number > 0 }

// recognised reports whether the request's receiver knows it again, at whatever node, and has kept its reply.
func (r *Request) recognised() bool {
	return r.named() || r.idempotent() && r.Rare.Key != "" && r.Rare.Number == 0 && r.movable()
}

func (r *Request) hedge() time.Duration {
	if r.Rare == nil {
		return 0
	}
	return r.Rare.Hedge
}

func (r *Request) route() Route {
	if r.Rare == nil {
		return nil
	}
	return r.Rare.Route
}

// linkWait is how long the request waits for a link; 0 means no limit of its own.
func (r *Request) linkWait() time.Duration {
	if r.Rare == nil || r.Rare.Route != nil && !r.Rare.Route.Untried() {
		return 0
	}
	return r.Rare.LinkWait
}

func (r *Request) key() string {
	if r.Rare == nil {
		return ""
	}
	return r.Rare.Key
}

func (r *Request) behalf() string {
	if r.Rare == nil {
		return ""
	}
	return r.Rare.Behalf
}

func (r *Request) number() uint64 {
	if r.Rare == nil {
		return 0
	}
	return r.Rare.Number
}

// Completer receives the outcome of a request.
type Completer interface {
	// Complete is called once, with a reply or an error. It must not block.
	Complete(*promise.Reply, error)
}

// Call is an outstanding request, or one attempt of a request that is retried. The order of its
// fields keeps what the reader of a link needs on four cache lines: with hundreds of callers they
// are in no cache any more, or in that of another processor.
type Call struct {
	first *Call // the first attempt of this request; c itself if c is the first
	to    Completer
	peer  *peer // the last one that it was sent to

	flight // guarded by peer.mu

	reply    promise.Reply
	answered bool // the first attempt was answered, so nobody else refers to the call any more
	req      Request

	retries retries // used only in the first attempt
}

// flight is the state of an attempt on its way to the peer.
type flight struct {
	seq uint64
	copies
	deadline time.Duration // node clock
	since    uint64        // number of the first attempt to open a link that began after the call
	quiet    time.Duration // node clock of the last message about the call, to or from the peer
	patience time.Duration // silence after which the call is probed
	hedgeAt  time.Duration // node clock when a second copy should be sent
	linkBy   time.Duration // node clock until which it waits for a link; 0: until its deadline
	session  uint64        // stands for the session that it has its number in; see trail.go
	kept     trail.Ref     // of the notes on it
	before   *earlier      // the attempt that it is made again after; nil: it is the first
}

// age is the time since the request was made, 1 ns at least. For a retried request it is counted
// from the first attempt.
func (c *Call) age(now time.Duration) time.Duration {
	return max(now-(c.deadline-c.req.Timeout), 1)
}
