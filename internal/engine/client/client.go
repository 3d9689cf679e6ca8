// Package client is the half of a node that asks other nodes. It keeps the requests that are
// outstanding at each peer, sends them on the best link that there is, and sends them again on
// another one, under the same numbers, when a link closes. Start reading with Client.Do; peer.go
// sends calls, replies.go handles what comes back, links.go manages the links.
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/internal/engine/retry"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Place is where a node can be reached.
type Place struct {
	Epoch     string            // its current epoch; empty if it is unknown
	Addrs     map[string]string // road → address
	Principal string            // the principal that its record names; empty if it names none
}

// ErrAway is wrapped by the error that Config.Resolve returns for a node that has left and
// may come back. The code of that error should be Unavailable.
var ErrAway = errors.New("rpc: the node is away")

// Roads finds the transports to other nodes. Its methods may be called concurrently.
type Roads interface {
	// To returns the transports that lead to a node.
	To(node string) []transport.Transport
	// Adopt registers a link that the Client has dialled. named is the principal in the
	// registry's record of the node. An error says that the link leads to another node; the
	// caller must close it then.
	Adopt(l transport.Link, named string) (transport.Receiver, *rpc.Error)
}

// Config describes a Client. All fields except LastWord, Compression, Trail and Forms are required.
type Config struct {
	rpc.Limits
	Host        *host.Host
	Roads       Roads
	Policy      rpc.RoadPolicy
	Budget      *retry.Budget                                                 // shared by all retries of the node
	Resolve     func(ctx context.Context, node string) (Place, error)         // an error with the code NotFound, or one that wraps ErrAway, says that the node has left
	LastWord    func(ctx context.Context, node, epoch string) ([]byte, error) // returns the last words that this start of a node left in the registry, nil if there are none; a nil func: they cannot be looked up
	Compression transport.Compression                                         // nil: nothing is compressed
	Trail       *trail.Trail                                                  // notes what becomes of requests; nil: nothing is noted
	Forms       Forms                                                         // of compact requests; nil: there are none
}

// Client is the half of a node that asks other nodes. It knows which requests are outstanding
// at each peer, and chooses the link to send them on. Its methods may be called concurrently.
//
// Locks are taken in this order: Client.mu, peer.mu, retries.mu.
type Client struct {
	cfg       Config
	host      *host.Host
	foreign   *peer                    // stands for every link whose peer is not the node that it says it is; no request is ever sent to it
	exchanges sync.Pool                // of *Exchange; each node has its own, as with promise.Waiters
	opens     atomic.Uint64            // number of the last open sent to any peer, so that numbers continue for a peer that was forgotten
	parting   atomic.Bool              // Part was called
	salt      string                   // tells requests without a session apart from those of other nodes, and of other starts of this one
	recent    [16]atomic.Pointer[peer] // a cache of peers, so that most requests need not take the lock
	_         host.LinePad             // keeps the fields above off the cache line of those below, which are written often

	counts counts

	mu     sync.Mutex // guards the fields below
	peers  map[string]*peer
	closed bool
	gone   rpc.Stats // the counts of peers that were forgotten
}

// counts holds totals since the Client was made.
type counts struct {
	resent, retries, hedged, repliesLate, sessionsLost, roadChanges atomic.Uint64
}

// New returns a Client without links.
func New(cfg Config) *Client {
	cl := &Client{cfg: cfg, host: cfg.Host, peers: map[string]*peer{}, salt: rand.Text()}
	cl.foreign = newPeer(cl, "")
	cl.foreign.closed = true
	return cl
}

// peer returns the peer of that name, and makes it if there is none. It may be forgotten before
// the caller locks it, unless a link or a request keeps it: see forgetPeer.
func (cl *Client) peer(name string) *peer {
	slot := &cl.recent[spread(name)%uint(len(cl.recent))]
	if p := slot.Load(); p != nil && p.name == name && !p.gone.Load() {
		return p
	}
	cl.mu.Lock()
	p := cl.peerLocked(name)
	cl.mu.Unlock()
	slot.Store(p)
	return p
}

// spread returns a number for a name, by the address of its text, because that takes less time than
// a hash. A name that stands in several places may have several numbers, so callers pass the same one
// if they can.
func spread(name string) uint {
	return uint(uint64(uintptr(unsafe.Pointer(unsafe.StringData(name)))) * 0x9e3779b97f4a7c15 >> 56)
}

// peerLocked is peer for callers that hold cl.mu.
func (cl *Client) peerLocked(name string) *peer {
	p := cl.peers[name]
	if p == nil {
		p = newPeer(cl, name)
		p.closed = cl.closed
		cl.peers[name] = p
	}
	return p
}

// all returns all peers.
func (cl *Client) all() []*peer {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	peers := make([]*peer, 0, len(cl.peers))
	for _, p := range cl.peers {
		peers = append(peers, p)
	}
	return peers
}

// Beat is called at each heartbeat. served holds the nodes that have sent this node a request or
// a one-way message since the last heartbeat.
func (cl *Client) Beat(now time.Duration, served map[string]bool) {
	for _, p := range cl.all() {
		if p.beat(served[p.name]) {
			cl.forgetPeer(p, now)
		}
	}
}

// Part says that this node is leaving. From then on every retry counts against Retry.Attempts,
// because the node has no time to wait for others.
func (cl *Client) Part() { cl.parting.Store(true) }

// AckAll sends every peer an ack at once, because there may be no later message to carry it.
func (cl *Client) AckAll() {
	for _, p := range cl.all() {
		p.ackNow()
	}
}

// Close ends all outstanding requests with Unavailable.
func (cl *Client) Close() {
	cl.mu.Lock()
	cl.closed = true
	cl.mu.Unlock()
	for _, p := range cl.all() {
		p.close()
	}
}

// Count adds the Client's counts to s. It takes the locks of all peers, one after another.
func (cl *Client) Count(s *rpc.Stats) {
	c := &cl.counts
	s.Resent, s.Retries, s.Hedged = c.resent.Load(), c.retries.Load(), c.hedged.Load()
	s.RepliesLate, s.Lost, s.RoadChanges = c.repliesLate.Load(), c.sessionsLost.Load(), c.roadChanges.Load()
	cl.mu.Lock()
	s.Requests, s.Replies, s.Tells = cl.gone.Requests, cl.gone.Replies, cl.gone.Tells
	cl.mu.Unlock()
	for _, p := range cl.all() {
		p.count(s)
	}
}

// PeerView is a snapshot of a Client's state for one peer.
type PeerView struct {
	Node        string
	Outstanding int // requests that were sent, or wait to be sent
	Unresolved  int // how many of them may have run at an earlier start of the node
	Bytes       int // size of the bodies that are kept for resending
	Dialing     int // roads on which a link is being opened
}

// View returns a snapshot for each peer. It takes their locks one after another.
func (cl *Client) View() (view []PeerView) {
	for _, p := range cl.all() {
		p.mu.Lock()
		v := PeerView{Node: p.name, Outstanding: p.win.count + len(p.unresolved), Unresolved: len(p.unresolved), Bytes: p.kept.bytes[0] + p.kept.bytes[1]}
		for _, d := range p.dialers {
			if d.running {
				v.Dialing++
			}
		}
		p.mu.Unlock()
		view = append(view, v)
	}
	return view
}

// count adds the counts of p to s.
func (p *peer) count(s *rpc.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Requests += p.sums.requests
	s.Replies += p.sums.replies
	s.Tells += p.sums.tells
	s.Outstanding += p.win.count + len(p.unresolved)
}
