package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// rig is a cluster in a bubble: nodes on roads in memory, and a tap on every
// message.
type rig struct {
	t   *testing.T
	net *memnet.Network

	mu     sync.Mutex // guards what follows
	places map[string]Place
	was    map[string]bool // nodes that have been somewhere
	tap    func(hop) fate
}

// hop is a message about to be sent.
type hop struct {
	road, from, to string
	*transport.Envelope
	link transport.Link
}

// fate is what becomes of it.
type fate int

const (
	pass  fate = iota
	drop       // lost without a word
	twice      // sent two times
	cut        // lost, and the link with it
)

// withRig runs a test in a bubble of its own: when it returns, every goroutine of
// every node must have ended.
func withRig(t *testing.T, run func(t *testing.T, r *rig)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		run(t, &rig{t: t, net: memnet.New(memnet.Config{Seed: 1}), places: map[string]Place{}})
	})
}

// setTap has fn decide on every message from now on. It may not block.
func (r *rig) setTap(fn func(hop) fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tap = fn
}

func (r *rig) decide(h hop) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tap == nil {
		return pass
	}
	return r.tap(h)
}

func (r *rig) resolve(_ context.Context, node string) (Place, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.places[node]; ok {
		return p, nil
	}
	if r.was[node] {
		return Place{}, Errorf(Unavailable, NotRun, "no node %s: %w", node, ErrAway)
	}
	return Place{}, Errorf(NotFound, NotRun, "no node %s", node)
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
	return func(l transport.Link) transport.Receiver { return open(&tappedLink{l, t}) }
}

type tappedLink struct {
	transport.Link
	t *tapped
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
	serve func(*Inbound) // in a goroutine of its own, for each request

	mu         sync.Mutex     // guards what follows
	durability Durability     // of all actors
	runs       map[string]int // handlers run, by body
	tells      []string       // bodies, in order
	lost       int            // one-way messages that there was no room for
	keepTells  bool           // they are not dropped once they are told
	waiting    []*Inbound     // but are here
	events     []Event
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
	r.known(name, Place{Epoch: epoch, Addrs: addrs})
	return s
}

// known and forget change what is known of where a node is.
func (r *rig) known(name string, at Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places[name] = at
}

func (r *rig) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.places, name)
	if r.was == nil {
		r.was = map[string]bool{}
	}
	r.was[name] = true
}

// make makes the node of start.
func (r *rig) make(name, epoch string, roads []string, change ...func(*Config)) *site {
	r.t.Helper()
	s := &site{r: r, name: name, serve: echo, runs: map[string]int{}}
	cfg := Config{Cluster: "test", Name: name, Epoch: epoch, Resolve: r.resolve, Handler: s, Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e Event) {
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

// crash ends a node as a killed process ends: nothing that it still wanted to say
// arrives, and its links break, unless silently.
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

func echo(in *Inbound) {
	if in.Start() {
		in.Reply(in.TypeID, in.Codec, in.TakeBody())
	}
}

func (s *site) HandleRequest(in *Inbound) {
	s.mu.Lock()
	serve := s.serve
	s.mu.Unlock()
	go serve(in)
}

func (s *site) Durability(string) Durability {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durability
}

func (s *site) HandleTells(told []*Inbound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range told {
		s.tells = append(s.tells, string(in.TakeBody()))
	}
	if s.keepTells {
		s.waiting = append(s.waiting, told...)
		return
	}
	for _, in := range told {
		in.Drop()
	}
}

func (s *site) LoseTells(told []*Inbound, _ *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += len(told)
}

// handle makes fn the handler: what it returns is the answer.
func (s *site) handle(fn func(in *Inbound, body string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = func(in *Inbound) {
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

func (s *site) ran(body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[body]
}

func (s *site) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tells)
}

// saw counts events of a type.
func (s *site) saw(typ EventType) (n int) {
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

const patience = 30 * time.Second // of requests, unless a test says another

func request(to, body string, timeout time.Duration) Request {
	return Request{Node: to, Target: "t", TypeID: 1, Codec: 1, Body: []byte(body), Timeout: timeout}
}

// send starts a request.
func (s *site) send(r Request) (*Future[string], *Call) {
	s.r.t.Helper()
	p := NewPromise(func(r *Reply) (string, error) { return string(r.Body), nil })
	call, err := s.Do(s.r.t.Context(), r, p)
	if err != nil {
		p.Resolve("", err)
	}
	return p.Future(), call
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
func wantErr(t *testing.T, what string, err error, code Code, ran Verdict) {
	t.Helper()
	if CodeOf(err) != code || Ran(err) != ran {
		t.Errorf("%s: %v, ran: %v; want %v, %v", what, err, Ran(err), code, ran)
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
