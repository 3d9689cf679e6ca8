package rpc

import (
	"context"
	"crypto/rand"
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
	DefaultTableBytes   = 64 << 20         // bytes of all kept replies; one principal may take a quarter
	DefaultKeyBytes     = 1 << 30          // bytes that keys and their outcomes may take; see Config.KeyBytes
	DefaultMaxSessions  = 16384            // sessions that clients have open here
	DefaultKeyLife      = 10 * time.Minute // outcomes of keyed requests
	DefaultSessionLease = 60 * time.Second // a session with no traffic and nothing running ends after it
	DefaultHeartbeat    = 2 * time.Second  // a link with DeadAfter silent heartbeats is closed
	DeadAfter           = 3
)

// headerRoom is what an envelope may have beside the body.
const headerRoom = 32 << 10

// Place is where a node can be reached.
type Place struct {
	Epoch string            // its present epoch; empty if unknown
	Addrs map[string]string // road → address
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
}

// Config describes a Node. Cluster, Name, Epoch, Handler and Logger are required; zero
// values elsewhere mean the defaults.
type Config struct {
	Cluster, Name, Epoch string
	Transports           []transport.Transport // roads, in no order
	Roads                RoadPolicy
	Resolve              func(ctx context.Context, node string) (Place, error)         // an error of code NotFound, or one that wraps ErrAway, says that the node has left
	LastWord             func(ctx context.Context, node, epoch string) ([]byte, error) // what that start of a node left behind (see LastWords), nil for nothing; nil: nobody knows
	Principals           func(road, principal string) string                           // one name for one peer on all roads; nil: the principal itself
	Handler              Handler
	Logger               *slog.Logger
	OnEvent              func(Event) // called from one goroutine; events are lost, counted, when it lags far behind; nil for none
	OnFenced             func(error) // another start of this node has taken its records over: called once, must not block; nil for none

	// Check says whether a client may get what is recorded for a request, or use a key: nil,
	// or why not. It is called with locks held, and only looks. nil: all may. What it refuses
	// OnDenied is told, if that is not nil.
	Check    func(Arrival) *Error
	OnDenied func(Arrival, *Error)

	Store   dedup.Store   // of the records of durable requests; nil: nothing is durable
	Kinds   []string      // of the actors of which records are kept, here or by the application
	KeyLife time.Duration // how long the outcome of a keyed request is kept, and of those that a lost start left behind
	// KeyBytes bounds the memory of keys (rpc.Key) and their outcomes; it is taken as there
	// are keys, about 81 bytes for each and its reply, 192 more of a durable kind. One principal
	// may take nine times as much as is free: nine tenths, if it is the only one. So by default
	// nodes that are all anonymous can use some 8,000,000 keys with small replies within a
	// KeyLife, 3,000,000 of durable kinds. Beyond that a request with a new key is refused
	// as Overloaded, and did not run.
	KeyBytes     int64
	Retry        Retry // its budget is the node's; the rest is each request's own
	Window       int
	MaxBody      int
	MaxPending   int
	Keep         int
	TableBytes   int64
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
	set(&c.TableBytes, DefaultTableBytes)
	set(&c.MaxSessions, DefaultMaxSessions)
	set(&c.KeyLife, DefaultKeyLife)
	set(&c.KeyBytes, DefaultKeyBytes)
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
		c.Principals = func(_, principal string) string { return principal }
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
	up        []transport.Transport // started; of the goroutine that starts and closes the node
	journal   *journal              // nil without a store
	settles   chan struct{}         // holds a token for each question to an application's own records
	exchanges sync.Pool             // of *Exchange; each node has its own, as with Waiters
	retries   *Budget
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
	budget   budget
	large    budget // of the bodies of large requests
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
	served   uint64 // requests taken on in sessions that have ended

	closing  sync.Once
	closeErr error // result of Close
}

// NewNode returns a node that is not started.
func NewNode(cfg Config) *Node {
	cfg.defaults()
	n := &Node{cfg: cfg, start: time.Now(), seed: maphash.MakeSeed(), direct: map[string]bool{}, acked: make(chan struct{}, 1), events: make(chan Event, eventQueue),
		peers: map[string]*peer{}, sessions: map[transport.Grant]*session{}, clients: map[string]*client{}, conns: map[*conn]struct{}{}}
	n.budget.init(cfg.TableBytes, cfg.Keep)
	n.large.init(largeFactor*int64(cfg.MaxBody), 0)
	n.keys.node, n.keys.all, n.keys.done.limit = n, map[[16]byte]*keyed{}, cfg.KeyBytes
	n.settles = make(chan struct{}, maxSettles)
	n.retries = NewBudget(cfg.Retry)
	n.self = &loopback{}
	n.direct[LoopbackRoad] = true
	for _, t := range cfg.Transports {
		n.direct[t.Road()] = t.Direct()
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// adopt makes a conn of a link, whoever dialled it.
func (n *Node) adopt(l transport.Link) transport.Receiver {
	c := &conn{node: n, link: l, id: l.Peer(), addr: addrOf(l), direct: n.direct[l.Road()]}
	n.mu.Lock()
	c.peer = n.peerLocked(c.id.Node)
	phase := n.phase
	if phase < closed {
		n.conns[c] = struct{}{}
	}
	n.mu.Unlock()
	if phase == closed {
		l.Close(transport.ErrClosed)
		return c
	}
	c.peer.connected(c)
	if phase >= leaving && !c.isLoop() {
		c.send(&transport.Envelope{Verb: transport.VerbBye})
	}
	n.event(Event{Type: LinkUp, Peer: c.id.Node, Road: l.Road()})
	return c
}

func (n *Node) forget(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

func (n *Node) peer(name string) *peer {
	slot := &n.recent[maphash.String(n.seed, name)%uint64(len(n.recent))]
	if p := slot.Load(); p != nil && p.name == name { // peers are never forgotten
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
		drained := gaps.drained(now, n.cfg.Heartbeat)
		n.mu.Lock()
		served := map[string]bool{}
		for g, s := range n.sessions {
			if s.takeWorked() {
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
			p.beat(served[p.name])
		}
		for _, c := range n.liveConns() {
			c.heartbeat()
		}
	}
}

// openSession answers an open that came in on c: it joins the session that grant
// names, or makes one if grant is zero (DESIGN: sessions, rules 1 and 2). Neither comes
// of it while the node does not take new sessions.
func (n *Node) openSession(c *conn, grant transport.Grant, number uint64) (*session, *Error) {
	principal := n.cfg.Principals(c.link.Road(), c.id.Principal)
	n.mu.Lock()
	defer n.mu.Unlock()
	if grant == (transport.Grant{}) {
		if !n.phase.opens() && !c.isLoop() {
			return nil, nil
		}
		if len(n.sessions) >= n.cfg.MaxSessions {
			return nil, Errorf(Overloaded, Unknown, "%d sessions are open here", len(n.sessions))
		}
		if _, err := rand.Read(grant[:]); err != nil {
			return nil, Errorf(Internal, NotRun, "no randomness: %v", err)
		}
		name := ownerName(c.id, principal)
		of := n.clients[name]
		if of == nil {
			of = new(client)
			n.clients[name] = of
		}
		of.sessions++
		s := newSession(n, grant, c.id, principal, number, of)
		s.origin.Local = c.isLoop()
		n.sessions[grant] = s
		n.journal.sessionOpened(s)
		n.stats.sessionsOpened.Add(1)
		return s, nil
	}
	s := n.sessions[grant]
	if s == nil {
		return nil, Errorf(SessionLost, Unknown, "no such session here")
	}
	if s.principal != principal || s.id.Node != c.id.Node || s.id.Epoch != c.id.Epoch {
		n.stats.joinsDenied.Add(1)
		s.deny(c, principal)
		return nil, Errorf(Denied, Unknown, "the session belongs to another principal or node")
	}
	s.touch()
	return s, nil
}

// discard ends a session that its client opened and left for another one, if it is
// empty and no link holds it; else its lease ends it.
func (n *Node) discard(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if records, linked := s.records(); records == 0 && !linked {
		s.mu.Lock()
		s.endLocked()
		s.mu.Unlock()
		delete(n.sessions, s.grant)
		n.sessionEnded(s)
	}
}

// sessionEnded lets go of what the node keeps for a session beside it. n.mu is held.
func (n *Node) sessionEnded(s *session) {
	if s.client.sessions--; s.client.sessions == 0 {
		delete(n.clients, ownerName(s.id, s.principal))
	}
	n.budget.leave(s.principal, s.share)
	n.large.leave(s.principal, s.large)
	n.journal.sessionEnded(s)
	n.served += s.served
}

// Linked reports whether a link to a node is open: a registry may have lost sight of it.
func (n *Node) Linked(node string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.id.Node == node {
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
