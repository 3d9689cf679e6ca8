package rpc

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// eventQueue is how many events may wait for OnEvent.
const eventQueue = 256

// Defaults of Config. See TARGETS in the project's documentation for the whole list.
const (
	DefaultWindow       = 4096             // outstanding requests of one session
	DefaultMaxBody      = 64<<20 + 32<<10  // bytes of a message's body: 64 MiB of data and what a codec puts around them
	DefaultMaxPending   = 64 << 20         // bytes of bodies that a client keeps for resending, per peer; as many again of large ones
	DefaultKeep         = 256 << 10        // bytes of the largest reply that is kept for replay
	DefaultMemoryBytes  = 256 << 20        // bytes that peers may have this node hold; or 12 times MaxBody, if that is more
	DefaultMaxSessions  = 16384            // sessions that clients have open here; see Config.MaxSessions
	DefaultKeyLife      = 10 * time.Minute // outcomes of keyed requests
	DefaultSessionLease = 60 * time.Second // a session with no traffic and nothing running ends after it
	DefaultHeartbeat    = 2 * time.Second  // a link with DeadAfter silent heartbeats is closed
	DeadAfter           = 3
)

// headerRoom is what an envelope may have beside the body.
const headerRoom = 32 << 10

// Place is where a node can be reached.
type Place struct {
	Epoch     string            // its present epoch; empty if unknown
	Addrs     map[string]string // road → address
	Principal string            // that its record names; empty: none
}

// ErrAway is wrapped by an error of Config.Resolve that says: the node has left, and may
// come back. The error's code should be Unavailable.
var ErrAway = errors.New("rpc: the node is away")

// Handler runs what peers ask for. Its methods are called from the readers of links
// and must not block.
type Handler interface {
	// HandleRequest gets a request that is to run. It must see to it that in ends in
	// Refuse, Reply or Fail, once.
	HandleRequest(in *Inbound)
	// Durability says what a later start of this node can find out about requests to
	// an actor.
	Durability(target string) Durability
	// HandleTells gets one-way messages to one actor, in order. The slice is good for the
	// time of the call.
	HandleTells(told []*Inbound)
	// LoseTells gets one-way messages to one actor that are not to be handled, and why. Their
	// bodies may be missing. It may keep none of them.
	LoseTells(told []*Inbound, why *Error)
}

// Config describes a Node. Cluster, Name, Epoch, Handler and Logger are required; zero
// values elsewhere mean the defaults.
type Config struct {
	Cluster, Name, Epoch string
	Transports           []transport.Transport // roads, in no order
	Roads                RoadPolicy
	Resolve              func(ctx context.Context, node string) (Place, error)                   // an error of code NotFound, or one that wraps ErrAway, says that the node has left
	Registered           func(ctx context.Context, node, epoch string, anew bool) (Place, error) // that start of a node in the registry; see transport.Local.Lookup for anew and errors; nil: there is no registry
	LastWord             func(ctx context.Context, node, epoch string) ([]byte, error)           // what that start of a node left behind (see LastWords), nil for nothing; nil: nobody knows

	// Principals is who a peer is, with one name on all roads: the one place where equality
	// of principals is decided. It is called once for each link, and must not block. nil:
	// PrincipalOf.
	Principals func(road string, peer transport.Peer) string
	// Principal is who this node's own actors are, and what the node's record names; empty:
	// what its roads make of it, the node's name where they prove names.
	Principal string
	// Recorded is the principal that the record of a node names, as far as it is known now;
	// empty: none. It is called when a link comes in, and must not block. nil: none is.
	Recorded func(node string) (principal string)

	Handler  Handler
	Logger   *slog.Logger
	OnEvent  func(Event) // called from one goroutine; events are lost, counted, when it lags far behind; nil for none
	OnFenced func(error) // another start of this node has taken its records over: called once, must not block; nil for none

	// Check says whether a client may get what is recorded for a request, or use a key: nil,
	// or why not. It is called with locks held, and only looks. nil: all may. What it refuses
	// OnDenied is told, if that is not nil.
	Check    func(Arrival) *Error
	OnDenied func(Arrival, *Error)

	Store   dedup.Store   // of the records of durable requests; nil: nothing is durable
	Kinds   []string      // of the actors of which records are kept, here or by the application
	KeyLife time.Duration // how long the outcome of a keyed request is kept, and of those that a lost start left behind
	// KeyBytes bounds the memory of keys (rpc.Key) and their outcomes, which counts in
	// MemoryBytes too; two thirds of that by default. It is taken as there are keys, about 81
	// bytes for each and its reply, 192 more of a durable kind. One principal may take nine
	// times as much as is free: nine tenths, if it is the only one. So by default nodes that
	// are all anonymous can use 5,000 new keys a second with small replies, and 1,500 of durable
	// kinds, for which 5,000 need a MemoryBytes of 2 GiB. Beyond that a request with a new key
	// is refused as Overloaded, and did not run.
	KeyBytes   int64
	Retry      Retry // its budget is the node's; the rest is each request's own
	Window     int
	MaxBody    int
	MaxPending int
	Keep       int
	// MemoryBytes bounds what peers have this node hold: messages that wait or are being
	// handled, what has come of large ones, records and replies, keys, results of jobs, batches of
	// streams, items of queues in memory, what waits to be written to the store. One
	// principal may take as much as is free: half of all, if it is the only one. Beyond that a
	// request is refused as Overloaded, and did not run; a one-way message is lost.
	MemoryBytes int64
	// MaxSessions bounds the sessions that are open here. One principal may have three times as
	// many as are free: three quarters, if it is the only one. It may open a quarter of
	// MaxSessions at once, at least 64, and then a 64th of it each second; beyond that it is
	// refused as Overloaded, and asks again.
	MaxSessions  int
	SessionLease time.Duration
	Heartbeat    time.Duration
	Random       func() float64 // of pauses, uniform in [0, 1); nil: math/rand. Called concurrently
}

func (c *Config) defaults() {
	set(&c.Window, DefaultWindow)
	set(&c.MaxBody, DefaultMaxBody)
	set(&c.MaxPending, DefaultMaxPending)
	set(&c.Keep, DefaultKeep)
	set(&c.MemoryBytes, max(DefaultMemoryBytes, 12*int64(c.MaxBody)))
	set(&c.MaxSessions, DefaultMaxSessions)
	set(&c.KeyLife, DefaultKeyLife)
	set(&c.KeyBytes, c.MemoryBytes/3*2)
	set(&c.SessionLease, DefaultSessionLease)
	set(&c.Heartbeat, DefaultHeartbeat)
	if c.Random == nil {
		c.Random = mathrand.Float64
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	if c.OnFenced == nil {
		c.OnFenced = func(error) {}
	}
	if c.Principals == nil {
		c.Principals = PrincipalOf
	}
	if c.Recorded == nil {
		c.Recorded = func(string) string { return "" }
	}
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// linePad stands between fields that are read all the time and those that change all the
// time: on one cache line, each change would make all other cores read the line again.
type linePad [64]byte

// Node is one system's end of the cluster: it sends requests to peers and serves
// theirs, over whatever roads there are. All methods may be called concurrently.
type Node struct {
	cfg       Config
	start     time.Time
	seed      maphash.Seed
	direct    map[string]bool       // by road
	self      transport.Transport   // the road to this node itself
	own       string                // who its own actors are
	strangers *peer                 // of all foreign links: no node, so that nothing is asked of it
	up        []transport.Transport // started; of the goroutine that starts and closes the node
	journal   *journal              // nil without a store
	settles   chan struct{}         // holds a token for each question to an application's own records
	exchanges sync.Pool             // of *Exchange; each node has its own, as with Waiters
	retries   *Budget
	opens     atomic.Uint64   // asked for, of all peers: also one that was forgotten counts on
	ctx       context.Context // ends when Close begins
	stop      context.CancelFunc
	recent    [16]atomic.Pointer[peer] // spares most requests the lock
	looked    atomic.Int64             // node clock, one heartbeat ago at most
	parting   atomic.Bool              // Farewell was called
	acked     chan struct{}            // a token when a session may have become free of records, or a link have heard what was said
	byes      uint64                   // said; of the goroutine that leaves
	events    chan Event               // on their way to OnEvent
	_         linePad                  // what is behind it changes all the time

	stats    counters
	account  account
	keys     keys
	asked    sync.Map // the IDs that are asked for
	inbounds inbounds
	owned    sync.WaitGroup // goroutines of the node and its peers

	mu       sync.Mutex // guards what follows
	peers    map[string]*peer
	sessions map[transport.Grant]*session
	clients  map[string]*client // by ownerName, while they have sessions
	conns    map[*conn]struct{}
	phase    phase
	served   uint64  // requests taken on in sessions that have ended
	gone     Stats   // what peers that are forgotten have counted
	notices  notices // of foreign links

	closing  sync.Once
	closeErr error // result of Close
}

// NewNode returns a node that is not started.
func NewNode(cfg Config) *Node {
	cfg.defaults()
	n := &Node{cfg: cfg, start: time.Now(), seed: maphash.MakeSeed(), direct: map[string]bool{}, acked: make(chan struct{}, 1), events: make(chan Event, eventQueue),
		peers: map[string]*peer{}, sessions: map[transport.Grant]*session{}, clients: map[string]*client{}, conns: map[*conn]struct{}{}}
	n.account.init(cfg.MemoryBytes, cfg.Keep, cfg.MaxSessions)
	n.keys.node, n.keys.all, n.keys.done.limit, n.keys.done.share = n, map[[16]byte]*keyed{}, cfg.KeyBytes, n.account.of
	n.settles = make(chan struct{}, maxSettles)
	n.retries = NewBudget(cfg.Retry)
	n.own = n.cfg.own()
	n.self = &loopback{principal: n.own}
	n.strangers = newPeer(n, "")
	n.strangers.closed = true
	n.direct[LoopbackRoad] = true
	for _, t := range cfg.Transports {
		n.direct[t.Road()] = t.Direct()
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// accept takes in a link that a peer has dialled.
func (n *Node) accept(l transport.Link) transport.Receiver {
	c, _ := n.meet(l, n.cfg.Recorded(l.Peer().Node))
	return n.adopt(c)
}

// adopt takes in a link, whoever dialled it.
func (n *Node) adopt(c *conn) transport.Receiver {
	l := c.link
	c.share = n.account.of(c.principal)
	n.mu.Lock()
	if !c.foreign {
		c.peer = n.peerLocked(c.id.Node)
		c.peer.links++
	}
	phase := n.phase
	if phase < closed {
		n.conns[c] = struct{}{}
	}
	n.mu.Unlock()
	if phase == closed {
		l.Close(transport.ErrClosed)
		return c
	}
	if !c.foreign {
		c.peer.connected(c)
	}
	if phase >= leaving && !c.isLoop() {
		c.send(&transport.Envelope{Verb: transport.VerbBye})
	}
	if c.foreign {
		return c
	}
	n.event(Event{Type: LinkUp, Peer: c.id.Node, Road: l.Road()})
	return c
}

func (n *Node) forget(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

// peer returns the one of that name. Unless something keeps it, it may be gone when it is
// locked: see forgetPeer.
func (n *Node) peer(name string) *peer {
	slot := &n.recent[maphash.String(n.seed, name)%uint64(len(n.recent))]
	if p := slot.Load(); p != nil && p.name == name && !p.gone.Load() {
		return p
	}
	n.mu.Lock()
	p := n.peerLocked(name)
	n.mu.Unlock()
	slot.Store(p)
	return p
}

func (n *Node) peerLocked(name string) *peer {
	p := n.peers[name]
	if p == nil {
		p = newPeer(n, name)
		p.closed = n.phase == closed
		n.peers[name] = p
	}
	return p
}

// now is the node's clock: time since it started, so that a step of the wall clock
// moves no deadline.
func (n *Node) now() time.Duration { return time.Since(n.start) }

// passed reports whether the node's clock has reached at. Where the sweeper's last look
// at it is enough to tell, it is not read again.
func (n *Node) passed(at time.Duration) bool {
	if at-time.Duration(n.looked.Load()) > 4*n.cfg.Heartbeat {
		return false
	}
	return n.now() >= at
}

// event reports e. It never blocks, and may be called under any lock.
func (n *Node) event(e Event) {
	e.Time = time.Now()
	select {
	case n.events <- e:
	default:
		n.stats.eventsLost.Add(1)
	}
}

// report is the goroutine that calls OnEvent: the application's code runs under no
// lock of the node.
func (n *Node) report() {
	for {
		select {
		case e := <-n.events:
			n.cfg.OnEvent(e)
		case <-n.ctx.Done():
			return
		}
	}
}

// sweep is the node's own goroutine: heartbeats on links, ends of sessions.
func (n *Node) sweep() {
	tick := time.NewTicker(n.cfg.Heartbeat)
	defer tick.Stop()
	gaps := gaps{last: n.now()}
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		now := n.now()
		n.looked.Store(int64(now))
		n.keys.sweep(now)
		n.account.sweep(now)
		drained := gaps.drained(now, n.cfg.Heartbeat)
		n.mu.Lock()
		served := map[string]bool{}
		for g, s := range n.sessions {
			if s.takeWorked() && !s.foreign {
				served[s.id.Node] = true
			}
			if drained && s.over(now, n.cfg.SessionLease) {
				delete(n.sessions, g)
				n.stats.sessionsExpired.Add(1)
			}
		}
		peers := make([]*peer, 0, len(n.peers))
		for _, p := range n.peers {
			peers = append(peers, p)
		}
		n.mu.Unlock()
		for _, p := range peers {
			if p.beat(served[p.name]) {
				n.forgetPeer(p, now)
			}
		}
		for _, c := range n.liveConns() {
			c.heartbeat()
		}
	}
}

// Linked reports whether a link to a node is open: a registry may have lost sight of it.
func (n *Node) Linked(node string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.id.Node == node && !c.foreign {
			return true
		}
	}
	return false
}

func (n *Node) liveConns() []*conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	return conns
}

// Close closes the transports, ends what is pending with Unavailable, and waits for
// the node's goroutines. It is idempotent; every call returns when all is closed.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.mu.Lock()
	n.phase = closed
	peers := make([]*peer, 0, len(n.peers))
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	n.mu.Unlock()
	n.stop()
	for _, p := range peers {
		p.close()
	}
	var errs []error
	for _, t := range append(n.roadsTo(n.cfg.Name), n.up...) {
		if err := t.Close(); err != nil {
			errs = append(errs, fmt.Errorf("rpc: closing road %q: %w", t.Road(), err))
		}
	}
	n.owned.Wait()
	return errors.Join(errs...)
}
