package client

import (
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The parts of a peer. All of them are guarded by its mu.

// peerCalls are the requests to a peer that have no outcome yet.
type peerCalls struct {
	win        *window
	kept       pending                // bodies kept for resending, and senders that wait for room
	unsent     int                    // outstanding calls of which no live link has a copy
	unresolved map[uint64]*unresolved // calls sent to an earlier start of the node, by number
	waiters    int                    // callers in awaitRoom
	recancel   []uint64               // numbers of cancelled calls whose cancels may be lost
	cancelLost time.Duration          // node clock when the latest of them may have been lost
	scratch    transport.Envelope     // reused for requests, because an Envelope passed to a Link escapes to the heap
	except     [transport.MaxInlineExcept]uint64
	quietly    bool      // what is sent to this node itself is queued only: admit delivers it
	near       wire.Near // the link on which something was queued so; nil: none
}

// peerTells are the one-way messages to a peer, and those that wait to send one.
type peerTells struct {
	tells      uint64             // number of the last tell
	lastTellOn *Link              // the link that it was sent on
	cutOff     uint64             // number of the last tell that was sent on a link that has closed
	tellers    int                // callers in Tell
	credits    map[string]*credit // flow control of one-way messages, by actor
	lastTarget string             // the actor of the credit that was looked up last
	lastCredit *credit            // its credit
	inRow      int                // how many to that actor came one after another; see lend
	changed    chan struct{}      // closed, and replaced, when a waiting tell should look again
	telling    transport.Envelope // reused for one-way messages, as scratch is for requests
}

// peerSession is the session at a peer, which links.go opens and loses.
type peerSession struct {
	epoch     string
	start     *Start          // of the node, which has the session or had the last one; nil: nobody has asked for it
	principal string          // the peer's principal when it opened the session
	past      []string        // epochs of sessions that were lost
	grant     transport.Grant // set by newSession
	session   uint64          // stands for the session, or for there being none, in the names of requests
	noted     time.Duration   // node clock when notes on a request were last begun
	opens     uint64          // number of the last open sent; 0: none was sent
	limit     int             // how many outstanding requests the server accepts
	durable   bool            // a later start of the server can be asked for the outcomes of requests
	kinds     string          // what the server said about its records, repeated to that start with each query
	opening   *Link           // the link on which a new session was asked for
	deniedOn  map[string]bool // roads on which the peer refuses this node, which was reported
	leavingOf string          // epoch of the latest start that said that it is leaving
	leaving   bool            // the only known start of the peer is that one
}

// peerLinks are the open links to a peer, of which links.go chooses one to send on.
type peerLinks struct {
	conns    []*Link
	current  *Link // the link to send on; nil: none
	next     *Link // the link to change to once the ping numbered fence was answered on current
	fence    uint64
	fences   uint64
	fencedAt time.Duration
}

// peerDialing is how links to a peer are opened; see dial.go.
type peerDialing struct {
	dialers        map[string]*dialer // by road
	patience       time.Duration      // node clock until which traffic waits for a direct link; 0: it does not wait
	attempts       uint64             // number of attempts to open a link, on all roads together
	attemptsAtLoss uint64             // value of attempts when the last link was lost
	downSince      uint64             // messages that waited since this attempt or an earlier one have failed
	downErr        *rpc.Error         // the error that they got
	down           bool               // the latest event was PeerDown, not PeerUp
	traffic        traffic
	earned         bool // under rpc.Adaptive: there was enough traffic to open direct links
}

// peerTimer is when something is to be done next for a peer; see tick.go.
type peerTimer struct {
	timer    *time.Timer
	timerAt  time.Duration // node clock; 0: not set
	ackArmed bool
	lastSent time.Duration
}
