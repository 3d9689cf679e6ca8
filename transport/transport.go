// Package transport is the ground under Tandem's roads: the envelope that every
// message travels in, the interfaces a road implements, and the parts all roads
// share (the greeting, the gathering send queue).
//
// A road is a way to reach a peer node. Package transport/tcp is the direct one,
// transport/natsbus the bus, transport/memnet both of them in memory for tests.
// On every road two systems talk over a [Link]: a two-way, identified channel of
// envelopes that keeps their order while it lives. On TCP a link is a connection;
// on the bus it is a conversation between two node subjects.
//
// The wire is specified byte by byte in SPEC.md beside this file.
//
// The package imports the standard library alone. It knows nothing of sessions,
// retries or actors: those live above, in package rpc.
package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
)

// Transport is one road of one system. A system calls Start once, Dial any number
// of times and concurrently, and Close once.
type Transport interface {
	// Road names the road, the same on every node ("tcp", "nats"). It is the key
	// under which a node's address on this road stands in the registry.
	Road() string

	// Direct reports whether links of this road go straight to the peer's process
	// rather than through a bus.
	Direct() bool

	// Start begins to accept links for local and returns the address that peers
	// dial, empty if a peer needs none. For each link that a peer opened, accept is
	// called once, before anything is received on it; the Receiver it returns gets
	// all that arrives. Start returns once links are accepted, or with an error and
	// nothing left behind.
	Start(ctx context.Context, local Local, accept func(Link) Receiver) (addr string, err error)

	// Dial opens a link to a peer and greets it. ctx bounds the dialling only, not
	// the link's life. open is called once, before anything is received. An error
	// wraps one of the sentinels of this package; nothing was handed to the network
	// that could make the peer run anything.
	Dial(ctx context.Context, to Endpoint, open func(Link) Receiver) (Link, error)

	// Close stops accepting, closes every link after its queue was written or a
	// short time passed, and waits for the transport's goroutines. It is idempotent.
	Close() error
}

// Local is the system that a transport serves.
type Local struct {
	Cluster string       // prefixes every subject; systems of two clusters never talk
	Node    string       // this system's name in the cluster; see ValidName
	Epoch   string       // random id of this one start of the node; see ValidName
	Logger  *slog.Logger // never nil

	// MaxMessage is how many bytes one encoded envelope may have, both ways; 0 is
	// DefaultMaxMessage. What is larger than a frame travels in chunks.
	MaxMessage int

	// Lookup, if set, returns the address on this road that the registry has of one start
	// of a node; empty if it has that start, and no address. With an empty epoch it is asked
	// for whatever start there is, or was lately. An error that wraps ErrNoPeer
	// says that it has no such start, any other one that it cannot be asked. Without anew
	// what is cached has to do, and it does not wait.
	Lookup func(ctx context.Context, node, epoch string, anew bool) (addr string, err error)
}

// Largest returns MaxMessage or its default.
func (l Local) Largest() int { return cmp.Or(l.MaxMessage, DefaultMaxMessage) }

// Common returns the largest message that both l and a peer take which said peer in its
// greeting; 0 if the peer takes no chunks.
func (l Local) Common(peer uint64) int { return int(min(uint64(l.Largest()), peer)) }

// Endpoint is where to find a peer on one road.
type Endpoint struct {
	Node  string // the node that must answer; another one is refused (ErrIdentity)
	Epoch string // its epoch if known; empty accepts any
	Addr  string // what the peer's Start returned on this road
}

// Peer is who the other end of a link proved to be.
type Peer struct {
	Node      string // the name it goes by in the cluster
	Epoch     string // its epoch
	Principal string // who it authenticated as, under this road's own prefix ("tls:", "nats:"); or one of the two below
}

// Principals of peers that have no name of their own. Any other has a prefix that no other
// road gives: who is known on one road cannot take a name of another.
const (
	Anonymous   = "anonymous" // the road authenticates nobody
	TokenHolder = "token"     // it proved to know the token that all nodes share
)

// Link is an open channel of envelopes to one peer. All methods may be called
// concurrently and none of them blocks.
type Link interface {
	// Peer says who is at the other end.
	Peer() Peer

	// Road is the name of the transport that the link belongs to.
	Road() string

	// Send appends e to the send queue and returns its place in the link's stream.
	// Everything e refers to may be reused once Send returns, save a Body of more than
	// LargeBody bytes, which must not change any more. An error means that e
	// was not queued and will provably never leave: ErrFull (ask again after
	// Receiver.Drained), ErrTooLarge, or ErrClosed.
	//
	// Messages arrive in the order of Send, save that large ones, which go in chunks, are
	// overtaken. None is overtaken by a request or a tell to its own target, a tell
	// not by a tell, and nothing by an envelope with Fence or by an open.
	Send(e *Envelope) (at uint64, err error)

	// Handed reports whether any byte of the envelope that Send placed at at may
	// have been handed to the network. The answer is final once Receiver.Closed was
	// called; before that a false may become true.
	Handed(at uint64) bool

	// Close ends the link at once with err as its cause, without waiting and without
	// sending what is queued. Only the first call counts. Close does not call the
	// Receiver itself: Closed follows from the link's own goroutine.
	Close(err error)
}

// Addressed is a Link that knows the network address of its other end: of a direct road,
// where packets come from there. One over a bus does not.
type Addressed interface {
	RemoteAddr() netip.Addr
}

// Receiver gets what happens on a link. A link calls these methods from one
// goroutine at a time, in order, save that Drained and Disturbed may overlap
// with Receive. None may block, and none may be called with a lock of the link held.
type Receiver interface {
	// Receive gets the next envelope. It is good for the time of the call: the memory
	// of its strings, slices and Body is used again after it. What is to be kept is
	// copied (Envelope.Clone), save the Body of an envelope that is Owned. Nothing of
	// it must be written to.
	Receive(e *Envelope)

	// Flush says that Receive has got all that is there for the moment: what it has put
	// off, to do it for several envelopes at once, is done now. It is called whenever the
	// link is about to wait after a Receive, and before Closed.
	Flush()

	// Drained says that Send has room again after it returned ErrFull.
	Drained()

	// Disturbed says that messages may have been lost on the way, in either
	// direction, although the link lives: a bus connection was re-established, or
	// dropped messages of a slow consumer.
	Disturbed()

	// Closed is the last call: nothing is received after it, and Handed's answers
	// are final. err says why; it is never nil.
	Closed(err error)
}

// Sentinels that errors of every road wrap.
var (
	ErrClosed    = errors.New("transport: link closed")
	ErrFull      = errors.New("transport: send queue full")
	ErrTooLarge  = errors.New("transport: message too large")
	ErrNoPeer    = errors.New("transport: nobody answers there")
	ErrIdentity  = errors.New("transport: another node answers there")
	ErrDenied    = errors.New("transport: not authenticated")
	ErrVersion   = errors.New("transport: no common wire version")
	ErrCluster   = errors.New("transport: peer belongs to another cluster")
	ErrBusy      = errors.New("transport: peer takes no more links")
	ErrProtocol  = errors.New("transport: malformed bytes from peer")
	ErrStalled   = errors.New("transport: peer does not read")
	ErrHeartbeat = errors.New("transport: peer fell silent")
)

// ErrAbsent is an ErrNoPeer of a road that was told so: nothing listens there. An answer
// that does not come says less, for a process that is stopped gives none either.
var ErrAbsent = fmt.Errorf("%w: nothing listens", ErrNoPeer)

// Limits of the wire. The defaults that are settings live with their owners.
const (
	MaxFrame        = 1 << 20  // bytes of one frame on an established link
	MaxHello        = 64 << 10 // bytes of a frame before the greeting is over
	MaxSendQueue    = 4 << 20  // bytes waiting in a link's send queue before Send returns ErrFull
	MaxName         = 128      // bytes of a node name, a cluster name, an epoch or a principal
	MaxTarget       = 255      // bytes of an actor's name
	MaxHeaders      = 64       // optional headers of one envelope
	MaxHeaderBytes  = 8 << 10  // keys and values of all of them together
	MaxInlineExcept = 8        // exceptions that an ack mark carries on a request
	MaxWaiting      = 16       // waits that a request names
	LargeBody       = 64 << 10 // bytes of the largest body that Send copies
)

// DefaultMaxMessage is the size of the largest message unless Local says otherwise:
// 64 MiB of data, and room for what a codec and the envelope put around them.
const DefaultMaxMessage = 64<<20 + 64<<10

// ValidName returns nil if s can name a cluster, a node, an epoch or a principal:
// 1 to MaxName bytes of letters, digits, '-' and '_', so that it is a single token
// of a NATS subject, a KV key and a URL. what names the thing in the error.
func ValidName(what, s string) error {
	if s == "" || len(s) > MaxName {
		return fmt.Errorf("transport: %s %q: want 1 to %d bytes", what, s, MaxName)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return fmt.Errorf("transport: %s %q: byte %q is none of letters, digits, '-' and '_'", what, s, c)
		}
	}
	return nil
}
