package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// rig is a cluster in a bubble: nodes on roads in memory, and a tap that decides about every
// message.
type rig struct {
	t   *testing.T
	net *memnet.Network

	lends bool // links have rows (transport.Rower), and what comes through them is not tapped; set before the first link

	mu     sync.Mutex // guards what follows
	places map[string]client.Place
	was    map[string]bool // nodes that have been somewhere
	tap    func(hop) fate
}

// hop is a message about to be sent.
type hop struct {
	road, from, to string
	*transport.Envelope
	link transport.Link
}

// fate is what happens to a message.
type fate int

const (
	pass  fate = iota
	drop       // lost, and nobody is told
	twice      // sent two times
	cut        // lost, and the link with it
)

// withRig runs a test in a bubble of its own: when it returns, every goroutine of
// every node must have ended.
func withRig(t *testing.T, run func(t *testing.T, r *rig)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		run(t, &rig{t: t, net: memnet.New(memnet.Config{Seed: 1}), places: map[string]client.Place{}})
	})
}

// setTap has fn decide on every message from now on. It may not block.
func (r *rig) setTap(fn func(hop) fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tap = fn
}

// decide asks the tap about a message.
func (r *rig) decide(h hop) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tap == nil {
		return pass
	}
	return r.tap(h)
}

// resolve is how nodes find each other: Config.Resolve of all of them.
func (r *rig) resolve(_ context.Context, node string) (client.Place, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.places[node]; ok {
		return p, nil
	}
	if r.was[node] {
		return client.Place{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no node %s: %w", node, client.ErrAway)
	}
	return client.Place{}, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node %s", node)
}

// tapped is a road whose links ask the rig.
type tapped struct {
	transport.Transport
	r    *rig
	node string
}

func (t *tapped) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	t.node = local.Node
	return t.Transport.Start(ctx, local, t.wrap(accept))
}

func (t *tapped) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	return t.Transport.Dial(ctx, to, t.wrap(open))
}

func (t *tapped) wrap(open func(transport.Link) transport.Receiver) func(transport.Link) transport.Receiver {
	return func(l transport.Link) transport.Receiver {
		if t.r.lends {
			return open(lendingLink{&tappedLink{l, t}})
		}
		return open(&tappedLink{l, t})
	}
}

// lendingLink is a tappedLink with rows.
type lendingLink struct{ *tappedLink }

func (l lendingLink) Row() *transport.Row { return l.Link.(transport.Rower).Row() }

type tappedLink struct {
	transport.Link
	t *tapped
}

func (l *tappedLink) Packs() bool {
	p, ok := l.Link.(transport.Packer)
	return ok && p.Packs()
}

func (l *tappedLink) Send(e *transport.Envelope) (uint64, error) {
	switch l.t.r.decide(hop{l.Road(), l.t.node, l.Peer().Node, e, l}) {
	case drop:
		return 0, nil
	case twice:
		_, _ = l.Link.Send(e)
	case cut:
		l.Close(fmt.Errorf("%w: cut", transport.ErrClosed))
		return 0, nil
	}
	return l.Link.Send(e)
}

// site is a node of a rig.
type site struct {
	*Node
	r     *rig
	name  string
	serve func(*server.Inbound) // in a goroutine of its own, for each request

	instead server.Handler // handles requests and one-way messages in place of the site; nil: nothing does

	mu         sync.Mutex        // guards what follows
	durability server.Durability // of all actors
	runs       map[string]int    // how often handlers ran, by body
	tells      []string          // bodies, in order
	lost       int               // one-way messages that there was no room for
	keepTells  bool              // one-way messages are not dropped when they have been handled
	waiting    []*server.Inbound // but kept here
	events     []rpc.Event
}

// start starts a node on roads, each of which is "direct" or "bus". Its handler
// answers with what it was asked.
func (r *rig) start(name, epoch string, roads []string, change ...func(*Config)) *site {
	r.t.Helper()
	s := r.make(name, epoch, roads, change...)
	addrs, err := s.Start(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.known(name, client.Place{Epoch: epoch, Addrs: addrs})
	return s
}

// known makes the rig's registry say where a node is.
func (r *rig) known(name string, at client.Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places[name] = at
}

// forget makes the rig's registry say that a node has left.
func (r *rig) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.places, name)
	if r.was == nil {
		r.was = map[string]bool{}
	}
	r.was[name] = true
}

// make makes a node as start does, and does not start it.
func (r *rig) make(name, epoch string, roads []string, change ...func(*Config)) *site {
	r.t.Helper()
	s := &site{r: r, name: name, serve: echo, runs: map[string]int{}}
	cfg := Config{Cluster: "test", Name: name, Epoch: epoch, Resolve: r.resolve, Handler: s, Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e rpc.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}}
	for _, road := range roads {
		cfg.Transports = append(cfg.Transports, &tapped{Transport: r.net.Transport(road, road == "direct"), r: r})
	}
	for _, fn := range change {
		fn(&cfg)
	}
	s.Node = NewNode(cfg)
	r.t.Cleanup(func() { s.Close() })
	return s
}

// crash ends a node like a killed process: it sends nothing more, and its links break, unless
// it ends silently.
func (s *site) crash(silently bool) {
	s.r.net.Partition("", s.name, "")
	if !silently {
		s.r.net.Reset("", s.name, "")
	}
	s.Close()
	if !silently {
		s.r.net.Heal("", s.name, "")
	}
}

// echo answers a request with its own body.
func echo(in *server.Inbound) {
	if in.Start() {
		in.Reply(in.TypeID, in.Codec, in.TakeBody())
	}
}

func (s *site) HandleRequest(in *server.Inbound) {
	if s.instead != nil {
		s.instead.HandleRequest(in)
		return
	}
	s.mu.Lock()
	serve := s.serve
	s.mu.Unlock()
	go serve(in)
}

func (s *site) Durability(string) server.Durability {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durability
}

func (s *site) HandleTells(tells []*server.Inbound) {
	if s.instead != nil {
		s.instead.HandleTells(tells)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range tells {
		s.tells = append(s.tells, bodies(in)...)
	}
	if s.keepTells {
		s.waiting = append(s.waiting, tells...)
		return
	}
	for _, in := range tells {
		in.Drop()
	}
}

// bodies returns the bodies of one-way messages, which are several if in is a row.
func bodies(in *server.Inbound) (all []string) {
	if in.Left() == 0 {
		return []string{string(in.TakeBody())}
	}
	for body, ok := in.Next(); ok; body, ok = in.Next() {
		all = append(all, string(body))
	}
	return all
}

func (s *site) LoseTells(tells []*server.Inbound, why *rpc.Error) {
	if s.instead != nil {
		s.instead.LoseTells(tells, why)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += len(tells)
}

// handle makes fn the handler. It gets the body of a request, and what it returns is the
// answer.
func (s *site) handle(fn func(in *server.Inbound, body string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = func(in *server.Inbound) {
		if !in.Start() {
			return
		}
		body := string(in.TakeBody())
		s.mu.Lock()
		s.runs[body]++
		s.mu.Unlock()
		in.Reply(1, 1, []byte(fn(in, body)))
	}
}

// ran returns how often the handler ran for requests with a body.
func (s *site) ran(body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[body]
}

// received returns the bodies of the one-way messages that arrived, in order.
func (s *site) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tells)
}

// saw counts events of a type.
func (s *site) saw(typ rpc.EventType) (n int) {
	synctest.Wait() // events have a goroutine of their own
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Type == typ {
			n++
		}
	}
	return n
}

const patience = 30 * time.Second // the time-out of requests, unless a test has another one

// request returns a request to the actor t on a node.
func request(to, body string, timeout time.Duration) client.Request {
	return client.Request{Node: to, Target: "t", TypeID: 1, Codec: 1, Body: []byte(body), Timeout: timeout}
}

// send starts a request.
func (s *site) send(r client.Request) (*rpc.Future[string], *client.Call) {
	s.r.t.Helper()
	p := promise.New(func(r *promise.Reply) (string, error) { return string(r.Body), nil }, nil)
	call, err := s.Client.Do(s.r.t.Context(), r, p)
	if err != nil {
		p.Resolve("", err)
	}
	return (*rpc.Future[string])(p), call
}

// ask sends a request and waits for its end.
func (s *site) ask(to, body string) (string, error) {
	s.r.t.Helper()
	f, _ := s.send(request(to, body, patience))
	return f.Await(context.Background())
}

// echoes fails the test unless to answers body with itself.
func (s *site) echoes(to, body string) {
	s.r.t.Helper()
	if got, err := s.ask(to, body); got != body || err != nil {
		s.r.t.Errorf("%s asked %s %q: %q, %v", s.name, to, body, got, err)
	}
}

// wantErr fails the test unless err has the code and verdict.
func wantErr(t *testing.T, what string, err error, code rpc.Code, ran rpc.Verdict) {
	t.Helper()
	if rpc.CodeOf(err) != code || rpc.Ran(err) != ran {
		t.Errorf("%s: %v, ran: %v; want %v, %v", what, err, rpc.Ran(err), code, ran)
	}
}

var (
	direct   = []string{"direct"}
	bus      = []string{"bus"}
	twoRoads = []string{"direct", "bus"}
)

// onEachRoad runs a test with a client a and a server b on every set of roads.
func onEachRoad(t *testing.T, run func(t *testing.T, r *rig, a, b *site)) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				run(t, r, r.start("a", "a1", roads), r.start("b", "b1", roads))
			})
		})
	}
}

// tell sends a one-way message.
func (s *site) tell(to, body string) error {
	return s.Client.Tell(context.Background(), request(to, body, patience))
}

// numbers returns the bodies "0", "1" and so on.
func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// inOrder handles each request in its link's reader, so requests are handled in the order in
// which they arrive.
type inOrder struct{ fn func(*server.Inbound) }

func (h inOrder) HandleRequest(in *server.Inbound)        { h.fn(in) }
func (h inOrder) HandleTells([]*server.Inbound)           {}
func (h inOrder) LoseTells([]*server.Inbound, *rpc.Error) {}
func (inOrder) Durability(string) server.Durability       { return server.Durability{} }
