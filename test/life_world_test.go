package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The messages of the actors of TestLife. Script names what their handlers do, because a function
// does not travel.
type (
	Play struct {
		actor.Returns[string]
		Script uint64
		Key    string
	}
	Cue struct {
		Script uint64
		N      int
	}
)

// scripts are what the handlers of Play and Cue do.
var scripts struct {
	sync.Map
	last atomic.Uint64
}

type script func(ctx *actor.Context, a *agent) (string, error)

func written(do script) uint64 {
	id := scripts.last.Add(1)
	scripts.Store(id, do)
	return id
}

func perform(id uint64, ctx *actor.Context, a *agent) (string, error) {
	do, ok := scripts.Load(id)
	if !ok {
		return "", fmt.Errorf("there is no script %d", id)
	}
	return do.(script)(ctx, a)
}

// agent is an actor of TestLife: it does what it is told, and notes what becomes of it.
type agent struct {
	role *role
	n    int // of what is handled
}

// role is what the agents of one kind have in common.
type role struct {
	note    func(format string, args ...any)
	started func(ctx *actor.Context) error // nil: nothing
	silent  bool                           // its life is not noted
}

func (r *role) live(format string, args ...any) {
	if !r.silent {
		r.note(format, args...)
	}
}

func (a *agent) Started(ctx *actor.Context) error {
	a.role.live("%s starts", ctx.Self().Name())
	if a.role.started == nil {
		return nil
	}
	return a.role.started(ctx)
}

func (a *agent) Restarting(ctx *actor.Context, why error) {
	a.role.live("%s restarts: %v", ctx.Self().Name(), reason(why))
}

func (a *agent) Stopping(ctx *actor.Context, why error) {
	a.role.live("%s stops: %v", ctx.Self().Name(), reason(why))
}

func (a *agent) Play(ctx *actor.Context, m Play) (string, error) {
	a.n++
	return perform(m.Script, ctx, a)
}

func (a *agent) Cue(ctx *actor.Context, m Cue) error {
	a.n++
	_, err := perform(m.Script, ctx, a)
	return err
}

func (a *agent) News(ctx *actor.Context, m News) error {
	a.role.note("%s hears %d", ctx.Self().Name(), m.N)
	return nil
}

func (a *agent) Terminated(ctx *actor.Context, m actor.Terminated) error {
	a.role.note("%s has ended: %v", m.Ref.Name(), reason(m.Why))
	return nil
}

// reason is a short text for why an actor has ended.
func reason(why error) string {
	for text, err := range map[string]error{"idle": actor.ErrIdle, "shutdown": actor.ErrShutdown, "parent": actor.ErrParentStopped} {
		if errors.Is(why, err) {
			return text
		}
	}
	if why == nil {
		return "asked to"
	}
	return rpc.CodeOf(why).String()
}

// site is where a row of TestLife is tried: with actors of the node there, by others of the node here.
type site struct {
	*testing.T
	column      lifeColumn
	hasGuest    bool // there is a node n2
	ctx         context.Context
	here, there *actor.System
	nodes       lifeNodes
	notes       chan string
	outgoing    atomic.Pointer[intercept.Func] // of here
	cut         sync.Once
	pointless   *string // why the row means nothing in this column
}

// lifeColumn is a column of the table of TestLife.
type lifeColumn struct {
	name  string
	local bool  // here and there are one node
	fake  bool  // in a bubble, on roads in memory
	roads roads // which there are
	lost  roads // which one is in use, and is cut in the middle
}

// lifeNodes are the nodes of a site: n0 is there, n1 is here, n2 may be left, killed and started again.
type lifeNodes interface {
	system(node int) *actor.System
	leave() error // of n2
	kill()        // n2, with no goodbye
	again()       // a new start of n2
	cut()         // the road in use
}

const (
	nodeThere = iota
	nodeHere
	nodeGuest
)

// configure is what all nodes of a site have in common.
func (s *site) configure(cfg *actor.Config) {
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Access = access.Rules{Default: access.Allow, List: []access.Rule{{Effect: access.Allow, Ops: access.Stop}}}
	cfg.AckWait = 100 * time.Millisecond
	if s.column.lost == bus {
		cfg.Roads = rpc.Adaptive // it begins on the bus
	}
	if cfg.Name == fmt.Sprint("n", nodeHere) || s.column.local {
		cfg.Outgoing = []intercept.Func{func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
			if f := s.outgoing.Load(); f != nil {
				return (*f)(ctx, op, next)
			}
			return next(ctx)
		}}
	}
}

// tryLife tries a row in a column.
func tryLife(t *testing.T, c lifeColumn, row lifeRow, pointless *string) {
	run := func(t *testing.T) {
		patience := 20 * time.Second
		if c.fake {
			patience = 6 * time.Hour
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the row hangs"))
		defer cancel()
		s := &site{T: t, column: c, hasGuest: row.guest, ctx: ctx, notes: make(chan string, 10_000), pointless: pointless}
		if c.fake {
			s.nodes = newMemoryNodes(s)
		} else {
			s.nodes = newRealNodes(s)
		}
		s.there = s.nodes.system(nodeThere)
		s.here = s.there
		if !c.local {
			s.here = s.nodes.system(nodeHere)
			s.open()
		}
		row.try(s)
	}
	if c.fake {
		bubble.Test(t, run)
	} else {
		run(t)
	}
}

// open opens the road that is to be used from here to the others, and waits until that is so.
func (s *site) open() {
	want := map[roads]string{direct: tcp.Road, bus: natsbus.Road}[s.column.lost]
	if s.column.fake {
		want = map[roads]string{direct: string(actortest.Direct), bus: string(actortest.Bus)}[s.column.lost]
	}
	changes := s.here.Events(s.ctx, rpc.RoadChanged)
	quiet := &role{note: s.note, silent: true}
	for node := range s.count() {
		sys := s.nodes.system(node)
		if sys == s.here {
			continue
		}
		s.spawn(sys, "door", s.kind(quiet))
		s.run(s.here.Ref("door@"+sys.Name()), func(*actor.Context, *agent) (string, error) { return "", nil })
		for in := ""; want != "" && in != want; {
			select {
			case e := <-changes:
				if e.Peer == sys.Name() {
					in = e.Road
				}
			case <-s.ctx.Done():
				s.Fatalf("to %s over %q, not over %q", sys.Name(), in, want)
			}
		}
		if s.column.lost == direct { // the other one stands by
			waitFor(s.T, "both roads", func() bool { return sys.Stats().RPC.Links >= 2 })
		}
	}
}

// count is how many nodes there are.
func (s *site) count() int {
	switch {
	case s.hasGuest:
		return nodeGuest + 1
	case s.column.local:
		return nodeThere + 1
	}
	return nodeHere + 1
}

// mid cuts the road that is in use.
func (s *site) mid() {
	if s.column.lost != 0 {
		s.cut.Do(s.nodes.cut)
	}
}

// skip ends a row that means nothing in its column.
func (s *site) skip(why string) {
	*s.pointless = why
	s.SkipNow()
}

func (s *site) note(format string, args ...any) { s.notes <- fmt.Sprintf(format, args...) }

// next returns the next note.
func (s *site) next() string {
	s.Helper()
	select {
	case n := <-s.notes:
		return n
	case <-s.ctx.Done():
		s.Fatal(context.Cause(s.ctx))
		return ""
	}
}

// want checks the next notes.
func (s *site) want(lines ...string) {
	s.Helper()
	for _, want := range lines {
		if got := s.next(); got != want {
			s.Fatalf("%q is noted, want %q", got, want)
		}
	}
}

// wantAll checks the next notes, in any order.
func (s *site) wantAll(lines ...string) {
	s.Helper()
	missing := map[string]int{}
	for _, l := range lines {
		missing[l]++
	}
	for range lines {
		got := s.next()
		if missing[got]--; missing[got] < 0 {
			s.Fatalf("%q is noted, want %q", got, lines)
		}
	}
}

// quiet checks that nothing else was noted, once what overtakes messages at an actor was handled.
func (s *site) quiet(at actor.Ref) {
	s.Helper()
	s.run(at, func(*actor.Context, *agent) (string, error) { return "", nil })
	if s.column.fake {
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	if len(s.notes) > 0 {
		s.Errorf("%q is noted as well", <-s.notes)
	}
}

// kind is that of agents in a role.
func (s *site) kind(r *role, opts ...actor.KindOption) *actor.Kind {
	if r.note == nil {
		r.note = s.note
	}
	return actor.Define("test.agent", func() *agent { return &agent{role: r} }, actor.Answer((*agent).Play), actor.Handle((*agent).Cue),
		actor.Handle((*agent).News), actor.Handle((*agent).Terminated)).With(opts...)
}

// silent is the kind of agents whose life is not noted.
func (s *site) silent(opts ...actor.KindOption) *actor.Kind {
	return s.kind(&role{silent: true}, opts...)
}

func (s *site) spawn(on *actor.System, name string, kind *actor.Kind, opts ...actor.SpawnOption) {
	s.Helper()
	if _, err := on.Spawn(name, kind, opts...); err != nil {
		s.Fatal(err)
	}
}

// actor spawns an actor there, and returns the ref that is used here.
func (s *site) actor(name string, kind *actor.Kind, opts ...actor.SpawnOption) actor.Ref {
	s.Helper()
	s.spawn(s.there, name, kind, opts...)
	return s.ref(name)
}

// ref is the ref of here to an actor of there.
func (s *site) ref(name string) actor.Ref { return s.here.Ref(name + "@" + s.there.Name()) }

// run has an actor do something, and returns its answer.
func (s *site) run(on actor.Ref, do script) string {
	s.Helper()
	got, err := actor.Call(s.ctx, on, Play{Script: written(do)})
	if err != nil {
		s.Fatalf("%s: %v", on, err)
	}
	return got
}

// ask is run without waiting.
func (s *site) ask(on actor.Ref, do script) *rpc.Future[string] {
	return actor.Ask(s.ctx, on, Play{Script: written(do)}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
}

// tell has an actor do something, and waits until that is in its mailbox.
func (s *site) tell(on actor.Ref, do script) {
	s.Helper()
	if err := actor.Tell(s.ctx, on, Cue{Script: written(do)}, rpc.Acked()); err != nil {
		s.Fatal(err)
	}
}

// hold has an actor handle a message until the returned function is called, which checks its answer.
func (s *site) hold(on actor.Ref) (leave func()) {
	s.Helper()
	began, gate := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	s.Cleanup(open) // if the row fails
	f := s.ask(on, func(*actor.Context, *agent) (string, error) { close(began); <-gate; return "held", nil })
	s.await(began, "the handler to begin")
	return func() {
		s.Helper()
		open()
		if got, err := f.Await(s.ctx); got != "held" || err != nil {
			s.Fatalf("the message that was being handled: %q, %v", got, err)
		}
	}
}

func (s *site) await(c <-chan struct{}, what string) {
	s.Helper()
	select {
	case <-c:
	case <-s.ctx.Done():
		s.Fatalf("waited in vain for %s", what)
	}
}

// seen waits until an actor looks like that from here.
func (s *site) seen(of actor.Ref, what string, like func(inspect.Actor) bool) {
	s.Helper()
	waitFor(s.T, what, func() bool {
		a, err := s.here.Inspect(s.ctx, of)
		if err != nil {
			s.Fatal(err)
		}
		return like(a)
	})
}

// watched has an actor of here watch another one, and waits until that is so.
func (s *site) watched(by, x actor.Ref) {
	s.Helper()
	s.run(by, func(ctx *actor.Context, _ *agent) (string, error) { return "", ctx.Watch(x) })
	s.seen(x, "the watch", func(a inspect.Actor) bool { return a.Watchers > 0 })
}

// watcher spawns an actor here.
func (s *site) watcher() actor.Ref {
	s.Helper()
	s.spawn(s.here, "watcher", s.silent())
	return s.here.Ref("watcher")
}

// refused checks that a request did not run.
func (s *site) refused(what string, err error, code rpc.Code) {
	s.Helper()
	if rpc.CodeOf(err) != code || rpc.Ran(err) != rpc.NotRun {
		s.Errorf("%s: %v, %v; want %v that did not run", what, err, rpc.Ran(err), code)
	}
}

// memoryNodes are nodes in a bubble, on roads in memory.
type memoryNodes struct {
	c    *actortest.Cluster
	lost actortest.Road
}

func newMemoryNodes(s *site) *memoryNodes {
	names := map[roads]actortest.Road{direct: actortest.Direct, bus: actortest.Bus}
	m := &memoryNodes{lost: names[s.column.lost]}
	cfg := actortest.ClusterConfig{Nodes: s.count(), Seed: 1, Config: func(_ *actortest.Node, c *actor.Config) { s.configure(c) }}
	for road, name := range names {
		if s.column.roads&road != 0 {
			cfg.Roads = append(cfg.Roads, name)
		}
	}
	m.c = actortest.NewCluster(s.T, cfg)
	return m
}

func (m *memoryNodes) system(node int) *actor.System { return m.c.Node(node).System() }
func (m *memoryNodes) leave() error                  { return m.c.Node(nodeGuest).Stop() }
func (m *memoryNodes) kill()                         { m.c.Node(nodeGuest).Kill() }
func (m *memoryNodes) again()                        { m.c.Node(nodeGuest).Start() }
func (m *memoryNodes) cut()                          { m.c.Cut(m.lost, nil, nil); m.c.Reset(m.lost, nil, nil) }

// realNodes are nodes on sockets, with a real NATS server. Others reach each of them by TCP through a
// proxy; but if there is a guest, the node here only dials, so that a guest that is killed cannot reach it.
type realNodes struct {
	s   *site
	reg *static.Registry
	w   *world // its NATS server
	all [nodeGuest + 1]realNode

	noBus bool // the NATS server was stopped
}

type realNode struct {
	sys   *actor.System
	proxy *proxy
	nc    *nats.Conn
}

func newRealNodes(s *site) *realNodes {
	r := &realNodes{s: s, reg: static.New(), w: &world{t: s.T, natsDir: s.TempDir()}}
	if s.column.roads&bus != 0 {
		r.w.startNATS()
		s.Cleanup(func() { r.w.nats.Shutdown() })
	}
	for node := range s.count() {
		r.start(node)
	}
	return r
}

func (r *realNodes) start(node int) {
	t, n := r.s.T, &r.all[node]
	cfg := actor.Config{Name: fmt.Sprint("n", node), Registry: r.reg}
	r.s.configure(&cfg)
	if r.s.column.roads&direct != 0 {
		var c tcp.Config
		if node != nodeHere || !r.s.hasGuest {
			n.proxy = newProxy(t)
			c = tcp.Config{Listen: "127.0.0.1:0", Advertise: n.proxy.addr()}
		}
		road := tcp.New(c)
		cfg.Transports = append(cfg.Transports, road)
		cfg.Setup = func(*actor.System) error {
			if n.proxy != nil {
				n.proxy.forward(road.Addr().String())
			}
			return nil
		}
	}
	if r.s.column.roads&bus != 0 {
		nc, err := natsbus.Connect(t.Context(), r.w.nats.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		n.nc = nc
		cfg.Transports = append(cfg.Transports, transport.Transport(natsbus.New(nc, natsbus.Config{})))
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.sys = sys
	t.Cleanup(func() { // its roads may be lost, so it may have to give up
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = sys.Shutdown(ctx)
	})
}

func (r *realNodes) system(node int) *actor.System { return r.all[node].sys }

func (r *realNodes) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.all[nodeGuest].sys.Shutdown(ctx)
}

func (r *realNodes) kill() {
	n := &r.all[nodeGuest]
	if n.proxy != nil {
		n.proxy.close()
	}
	if n.nc != nil {
		n.nc.Close()
	}
	if err := r.reg.Evict(r.s.ctx, n.sys.Name(), n.sys.Epoch()); err != nil {
		r.s.Fatal(err)
	}
}

func (r *realNodes) again() {
	if r.noBus { // it cannot start without
		r.w.startNATS()
	}
	r.start(nodeGuest)
}

func (r *realNodes) cut() {
	if r.s.column.lost == bus {
		r.noBus = true
		r.w.nats.Shutdown()
		return
	}
	for _, n := range r.all {
		if n.proxy != nil {
			n.proxy.close()
		}
	}
}
