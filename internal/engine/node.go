package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/engine/retry"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// DeadAfter is after how many heartbeats without an envelope from the peer a link is closed.
const DeadAfter = 3

// headerRoom is how many bytes an envelope may have beside the body.
const headerRoom = 32 << 10

// Config describes a Node. Cluster, Name, Epoch, Handler and Logger are required. The zero
// values of the other fields mean their defaults.
type Config struct {
	Cluster, Name, Epoch string
	Transports           []transport.Transport // the roads, in any order
	Roads                rpc.RoadPolicy
	Resolve              func(ctx context.Context, node string) (client.Place, error)                    // where a node is; an error of code NotFound, or one that wraps ErrAway, means that the node has left
	Registered           func(ctx context.Context, node, epoch string, fresh bool) (client.Place, error) // where that start of a node is, by the registry; transport.Local.Lookup explains fresh and the errors; nil: there is no registry
	LastWord             func(ctx context.Context, node, epoch string) ([]byte, error)                   // what LastWords returned at that start of a node, nil for nothing; if the function is nil, nobody knows

	// Principals returns the principal of a peer. Only here is it decided which peers on
	// different roads have the same principal. It is called once for each link, and must not
	// block. nil: rpc.PrincipalOf.
	Principals func(road string, peer transport.Peer) string
	// Principal is the principal of this node's own actors, which the node's record names too.
	// If it is empty, it follows from the roads: where they prove names, it is the node's name.
	Principal string
	// Recorded returns the principal that the record of a node names, as far as that is known
	// now; empty: none. It is called when a peer has dialled a link, and must not block. nil: no
	// record names one.
	Recorded func(node string) (principal string)

	Handler  server.Handler
	Logger   *slog.Logger
	OnEvent  func(rpc.Event) // called from one goroutine; when it is too slow, events are dropped and counted; nil for none
	OnFenced func(error)     // called once when another start of this node has taken its records over; must not block; nil for none

	// Check returns nil if a client may get the recorded outcome of a request, or may use a
	// key, and otherwise why not. It is called with locks held, and must not block or change
	// anything. If Check is nil, every client may. OnDenied, if it is not nil, is called with
	// what Check refused.
	Check    func(server.Arrival) *rpc.Error
	OnDenied func(server.Arrival, *rpc.Error)

	Compression transport.Compression // compresses bodies for peers that inflate them; nil: nothing is compressed
	Forms       client.Forms          // of compact requests; nil: there are none
	Trail       *trail.Trail          // notes what becomes of requests; nil: nothing is noted

	Store ledger.Store // keeps the records of durable requests; nil: nothing is durable
	Kinds []string     // the kinds of actors of which this node or the application keeps records
	Retry rpc.Retry    // only its budget is used, which is the node's; each request has the rest itself
	rpc.Limits
}

// SetRetry changes the budget of all retries of the node.
func (n *Node) SetRetry(r rpc.Retry) { n.budget.Set(r) }

func (c *Config) defaults() {
	c.Limits = c.WithDefaults()
	if c.OnEvent == nil {
		c.OnEvent = func(rpc.Event) {}
	}
	if c.OnFenced == nil {
		c.OnFenced = func(error) {}
	}
	if c.Principals == nil {
		c.Principals = rpc.PrincipalOf
	}
	if c.Recorded == nil {
		c.Recorded = func(string) string { return "" }
	}
}

// Node is one system's part of the cluster: it sends requests to peers and serves their
// requests, over all its roads. All methods may be called concurrently, except those that start
// the node, AnnounceLeaving and LastWords.
//
// Its lock is taken before all other locks of the engine.
type Node struct {
	Client *client.Client // sends requests to peers
	Server *server.Server // serves requests of peers

	cfg           Config
	host          *host.Host
	account       *account.Account
	budget        *retry.Budget         // for retries
	journal       *journal.Journal      // nil without a store
	direct        map[string]bool       // whether a road is direct, by its name
	self          transport.Transport   // the road to this node itself
	own           string                // the principal of its own actors
	started       []transport.Transport // used only by the goroutine that starts and closes the node
	answers       chan struct{}         // has a token when a link may have confirmed an announcement
	announcements uint64                // how many there were; used only by the goroutine that lets the node leave

	linksLost, linksForeign atomic.Uint64

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	phase   phase
	notices notices // which foreign links were logged

	closing  sync.Once
	closeErr error // the result of Close
}

// NewNode returns a node that is not started.
func NewNode(cfg Config) *Node {
	cfg.defaults()
	h := host.New(host.Config{Name: cfg.Name, Logger: cfg.Logger, OnEvent: cfg.OnEvent, Heartbeat: cfg.Heartbeat, Random: cfg.Random})
	n := &Node{cfg: cfg, host: h, account: account.New(h, cfg.MemoryBytes, cfg.Keep, cfg.MaxSessions),
		budget: retry.NewBudget(cfg.Retry), direct: map[string]bool{rpc.LoopbackRoad: true}, own: cfg.own(), answers: make(chan struct{}, 1), conns: map[*conn]struct{}{}}
	n.self = &loopback{principal: n.own}
	for _, t := range cfg.Transports {
		n.direct[t.Road()] = t.Direct()
	}
	n.Client = client.New(client.Config{Limits: cfg.Limits, Host: h, Roads: roads{n}, Policy: cfg.Roads, Budget: n.budget, Resolve: cfg.Resolve, LastWord: cfg.LastWord, Compression: cfg.Compression, Forms: cfg.Forms, Trail: cfg.Trail})
	n.Server = server.New(server.Config{Limits: cfg.Limits, Host: h, Account: n.account, Handler: cfg.Handler, Kinds: cfg.Kinds, Check: cfg.Check, OnDenied: cfg.OnDenied, Compression: cfg.Compression, Trail: cfg.Trail})
	return n
}

// roads are the roads of a node, as its Client uses them.
type roads struct{ node *Node }

func (r roads) To(name string) []transport.Transport {
	if name == r.node.cfg.Name {
		return []transport.Transport{r.node.self}
	}
	return r.node.cfg.Transports
}

func (r roads) Adopt(l transport.Link, named string) (transport.Receiver, *rpc.Error) {
	c, err := r.node.meet(l, named)
	if err != nil {
		return wrongLink{}, err
	}
	return r.node.adopt(c), nil
}

// accept returns the Receiver of a link that a peer has dialled.
func (n *Node) accept(l transport.Link) transport.Receiver {
	c, _ := n.meet(l, n.cfg.Recorded(l.Peer().Node))
	return n.adopt(c)
}

// adopt adds a link, whether this node or its peer has dialled it, and returns its Receiver.
func (n *Node) adopt(c *conn) transport.Receiver {
	c.holding.host, c.share = n.host, n.account.Share(c.Principal)
	n.Server.Attach(&c.server, c.Link, c.share)
	n.Client.Attach(&c.client, c.Link)
	n.mu.Lock()
	phase := n.phase
	if phase < closed {
		n.conns[c] = struct{}{}
	}
	n.mu.Unlock()
	if phase == closed {
		c.Close(transport.ErrClosed)
		return c
	}
	if !c.Foreign {
		c.client.Connected()
	}
	if phase >= leaving && !c.Loop() {
		_, _ = c.Post(&transport.Envelope{Verb: transport.VerbBye})
	}
	if !c.Foreign {
		n.host.Event(rpc.Event{Type: rpc.LinkUp, Peer: c.ID.Node, Road: c.Road()})
	}
	return c
}

func (n *Node) forget(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	n.linksLost.Add(1)
}

// sweep sends heartbeats on links and ends sessions. It is the node's own goroutine.
func (n *Node) sweep() {
	tick := time.NewTicker(n.cfg.Heartbeat)
	defer tick.Stop()
	gaps := gaps{last: n.host.Now()}
	for {
		select {
		case <-n.host.Context().Done():
			return
		case <-tick.C:
		}
		now := n.host.Tick()
		n.account.Sweep(now)
		served := n.Server.Beat(now, gaps.expiryAllowed(now, n.cfg.Heartbeat))
		n.Client.Beat(now, served)
		for _, c := range n.liveConns() {
			c.heartbeat()
		}
	}
}

// At returns the time at which the node's clock showed d.
func (n *Node) At(d time.Duration) time.Time { return n.host.At(d) }

// EventsLost returns how many events were not reported because OnEvent was too slow.
func (n *Node) EventsLost() uint64 { return n.host.EventsLost() }

// Linked reports whether a link to a node is open, which then is alive even if the registry has
// lost its record.
func (n *Node) Linked(node string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.ID.Node == node && !c.Foreign {
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

// Close closes the transports, ends pending requests with Unavailable, and waits for the node's
// goroutines. It is idempotent: every call returns when all is closed, with the same error.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.mu.Lock()
	n.phase = closed
	n.mu.Unlock()
	n.host.Stop()
	n.Server.Open(false)
	n.Client.Close()
	var errs []error
	for _, t := range append([]transport.Transport{n.self}, n.started...) {
		if err := t.Close(); err != nil {
			errs = append(errs, fmt.Errorf("rpc: closing road %q: %w", t.Road(), err))
		}
	}
	n.host.Wait()
	return errors.Join(errs...)
}

// Stats returns a snapshot. It takes the locks of all peers and sessions in turn.
func (n *Node) Stats() rpc.Stats {
	s := rpc.Stats{LinksLost: n.linksLost.Load(), LinksForeign: n.linksForeign.Load(), EventsLost: n.host.EventsLost()}
	n.mu.Lock()
	s.Links = len(n.conns)
	n.mu.Unlock()
	n.Client.Count(&s)
	n.Server.Count(&s)
	s.HeldBytes += n.account.Held()
	s.HoldsRefused = n.account.Refused()
	return s
}

// StoreFailing returns why the records of this node are not written to its store now; nil if they are, or there is none.
func (n *Node) StoreFailing() error { return n.journal.Failing() }
