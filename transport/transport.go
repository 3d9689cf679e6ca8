// Package transport is the base of Tandem's roads: the envelope in which every message
// travels, the interfaces that a road implements, and the parts that all roads share (the
// greeting and the batching send queue).
//
// A road is a way to reach a peer node. Package transport/tcp is a direct road,
// transport/natsbus is a road over a bus, and transport/memnet has both in memory, for
// tests. On every road two systems talk over a [Link]: a bidirectional, authenticated
// channel of envelopes that keeps their order while it lives. On TCP a link is a connection;
// on the bus it is a conversation between two node subjects.
//
// The wire is specified byte by byte in SPEC.md beside this file.
//
// The package does not know sessions, retries or actors, which are in packages above it.
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
	// Road returns the name of the road, the same on every node ("tcp", "nats"). In the
	// registry it is the key of a node's address on this road.
	Road() string

	// Direct reports whether links of this road go to the peer's process directly and not
	// over a bus.
	Direct() bool

	// Start begins to accept links for local and returns the address that peers
	// dial; empty if peers need none. For each link that a peer opens, accept is called
	// once, before anything is received on it; the Receiver that it returns gets everything
	// that arrives. Start returns once links are accepted. If it returns an error, it leaves
	// nothing behind.
	Start(ctx context.Context, local Local, accept func(Link) Receiver) (addr string, err error)

	// Dial opens a link to a peer and greets it. ctx bounds only the dialling, not the life
	// of the link. open is called once, before anything is received. An error wraps one of
	// the sentinels of this package, and proves that nothing was sent that could make the
	// peer run anything.
	Dial(ctx context.Context, to Endpoint, open func(Link) Receiver) (Link, error)

	// Close stops accepting, closes every link after its queue was written or a short time
	// has passed, and waits for the transport's goroutines. It is idempotent.
	Close() error
}

// Local is the system that a transport serves.
type Local struct {
	Cluster string       // prefixes every subject; systems of different clusters never talk
	Node    string       // this system's name in the cluster; see ValidName
	Epoch   string       // random id of this one start of the node; see ValidName
	Logger  *slog.Logger // never nil

	// MaxMessage is the largest number of bytes of one encoded envelope, in both directions;
	// 0 is DefaultMaxMessage. An envelope that is larger than a frame travels in chunks.
	MaxMessage int

	// Compression compresses the bodies of messages to peers that inflate them; nil for none, then
	// nothing that is received may be compressed either.
	Compression Compression

	// Lookup, if set, returns the address on this road that the registry has for one start
	// of a node; empty if the registry has that start but no address. An empty epoch means
	// the present start or, if there is none, a recent one. An error that wraps ErrNoPeer
	// says that there is no such start; any other error, that the registry cannot be asked.
	// If fresh is false, the answer comes from the cache, without waiting.
	Lookup func(ctx context.Context, node, epoch string, fresh bool) (addr string, err error)
}

// Largest returns MaxMessage, or its default if it is 0.
func (l Local) Largest() int { return cmp.Or(l.MaxMessage, DefaultMaxMessage) }

// Inflates returns what the greeting says of Compression.
func (l Local) Inflates() Algorithms {
	if l.Compression == nil {
		return 0
	}
	return l.Compression.Inflates()
}

// Packs returns the algorithms in which this system compresses.
func (l Local) Packs() Algorithms {
	if l.Compression == nil {
		return 0
	}
	return AlgorithmsOf(l.Compression.Packs())
}

// Common returns the largest message that both sides accept, if the peer's greeting says
// peer; 0 if the peer accepts no chunks.
func (l Local) Common(peer uint64) int { return int(min(uint64(l.Largest()), peer)) }

// Endpoint is where to find a peer on one road.
type Endpoint struct {
	Node  string // the node that must answer; another node is refused (ErrIdentity)
	Epoch string // its epoch if known; empty accepts any
	Addr  string // what the peer's Start returned on this road
}

// Peer is the identity that the other end of a link has proved.
type Peer struct {
	Node      string // its name in the cluster
	Epoch     string // its epoch
	Principal string // its principal, with this road's prefix ("tls:", "nats:"), or one of the two below
}

// Principals of peers without a name of their own. All other principals begin with a prefix
// that only their road uses, so a peer of one road cannot have the principal of a peer of
// another road.
const (
	Anonymous   = "anonymous" // the road authenticates nobody
	TokenHolder = "token"     // it proved to know the token that all nodes share
)

// Link is an open channel of envelopes to one peer. All methods may be called concurrently,
// and none of them blocks.
type Link interface {
	// Peer returns who is at the other end.
	Peer() Peer

	// Road returns the name of the link's road.
	Road() string

	// Send appends e to the send queue and returns its position in the link's stream. The
	// caller may reuse everything that e refers to once Send has returned, except for a Body
	// of more than LargeBody bytes, which must not change any more. An error proves that e
	// was not queued and will never be sent: ErrFull (try again after Receiver.Drained),
	// ErrTooLarge, or ErrClosed.
	//
	// Messages arrive in the order of Send, except that other messages may overtake large
	// ones, which travel in chunks. But no request or tell overtakes a message to its own
	// target, no tell overtakes a tell, and an envelope with Fence, or an open, overtakes
	// nothing.
	Send(e *Envelope) (at uint64, err error)

	// Handed reports whether any byte of the envelope at position at may have been handed to
	// the network. The answer is final once Receiver.Closed was called; before that, false
	// may become true.
	Handed(at uint64) bool

	// Close ends the link at once with err as its cause. It does not wait, and does not send
	// what is queued. Only the first call counts. Close does not call the Receiver itself:
	// the link's own goroutine calls Closed.
	Close(err error)
}

// Addressed is a Link that knows the network address of its peer. Links of direct roads do,
// links over a bus do not.
type Addressed interface {
	RemoteAddr() netip.Addr
}

// Receiver handles what happens on a link. A link calls these methods from one goroutine at a
// time and in order, except that Drained and Disturbed may run concurrently with Receive. No
// method may block, and the link must not hold a lock during a call.
type Receiver interface {
	// Receive handles the next envelope, which is valid only during the call: the memory of
	// its strings, slices and Body is reused afterwards. Whatever is kept must be copied
	// (Envelope.Clone), except for the Body of an envelope that is Owned. The envelope must
	// not be written to.
	Receive(e *Envelope)

	// Flush says that no more envelopes are there at the moment. The Receiver now does what
	// it has deferred in order to do it for several envelopes at once. Flush is called
	// whenever the link is about to wait after a Receive, and before Closed.
	Flush()

	// Drained says that Send has room again after it returned ErrFull.
	Drained()

	// Disturbed says that messages may have been lost in either direction although the link
	// lives: a bus connection was re-established, or dropped messages of a slow consumer.
	Disturbed()

	// Closed is the last call. Nothing is received after it, and the answers of Handed are
	// final. err is the cause and never nil.
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

// ErrAbsent is an ErrNoPeer that is certain, because the network has said that nothing
// listens there. A missing answer says less: a process that is stopped does not answer
// either.
var ErrAbsent = fmt.Errorf("%w: nothing listens", ErrNoPeer)

// Limits of the wire. Defaults of settings are with their Config.
const (
	MaxFrame        = 1 << 20   // bytes of one frame on an established link
	MaxHello        = 64 << 10  // bytes of a frame of the greeting
	MaxSendQueue    = 4 << 20   // bytes waiting in a link's send queue before Send returns ErrFull
	MaxName         = 128       // bytes of a node name, a cluster name, an epoch or a principal
	MaxTarget       = 255       // bytes of an actor's name
	MaxHeaders      = 64        // optional headers of one envelope
	MaxHeaderBytes  = 8 << 10   // keys and values of all of them together
	MaxInlineExcept = 8         // exceptions that an ack mark carries on a request
	MaxWaiting      = 16        // waiting actors that a request lists, see SPEC.md
	MaxElsewhere    = 510       // bytes that name who can be asked instead, see SPEC.md
	LargeBody       = 128 << 10 // bytes of the largest body that Send copies
)

// DefaultMaxMessage is the default of Local.MaxMessage: 64 MiB of data, and room for what a
// codec and the envelope add.
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
