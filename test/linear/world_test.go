package linear

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// plan is what a run is made of.
type plan struct {
	nodes, callers, ops int
	roads               []string
	weather             map[string]memnet.Faults // of each road, all the time
	window, keep        int
	lease               time.Duration
	retry               rpc.Retry
	pace, gap, length   time.Duration
	faults              []string
}

// faultNames are the kinds of faults that a plan may have.
var faultNames = []string{"drop", "duplicate", "reorder", "delay", "kill links", "cut", "cut one way", "hold", "reset", "disturb", "kill"}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// span draws a duration between two bounds.
func span(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Float64()*float64(to-from))
}

func newPlan(r *rand.Rand) plan {
	p := plan{
		nodes: 2 + r.IntN(2), callers: 8 + r.IntN(9), ops: 40,
		roads:  pick(r, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct"}, []string{"bus"}),
		window: pick(r, 0, 0, 2, 16), keep: pick(r, 0, 0, 8),
		lease: pick(r, 60*time.Second, 5*time.Second), retry: rpc.Retry{Attempts: pick(r, 0, 0, 1)},
		pace: pick(r, 10*time.Millisecond, 50*time.Millisecond), gap: pick(r, 50*time.Millisecond, 300*time.Millisecond),
		length: span(r, 2*time.Second, 6*time.Second),
	}
	bus := memnet.Faults{MaxDelay: pick(r, 2*time.Millisecond, 20*time.Millisecond)}
	if chance(r, 0.5) {
		bus.Drop, bus.Duplicate, bus.Reorder = pick(r, 0, 0.05, 0.2), pick(r, 0.05, 0.3), pick(r, 0.05, 0.3)
		bus.ReorderBy = pick(r, 50*time.Millisecond, time.Second)
	}
	p.weather = map[string]memnet.Faults{"direct": {MaxDelay: pick(r, time.Millisecond, 10*time.Millisecond)}, "bus": bus}
	for _, f := range faultNames {
		if chance(r, 0.5) {
			p.faults = append(p.faults, f)
		}
	}
	return p
}

// cheat breaks a promise on purpose, to show that the check finds it.
type cheat struct {
	register func(m Op, found, after uint64, r Result) (uint64, Result)              // what a register does instead
	wire     func(e *transport.Envelope, send func(*transport.Envelope)) (stop bool) // meddles with what nodes send
	verdict  func(m Op, r Result, err error) (Result, error)                         // what is taken for the caller's verdict
}

// world is one run.
type world struct {
	seed  uint64
	plan  plan
	cheat *cheat
	net   *memnet.Network
	reg   *static.Registry
	disk  *disk
	hist  *history
	nodes []*node
	keys  []string // registers; key i is on node i mod nodes
	end   time.Time
	wrong chan string

	callers, spells sync.WaitGroup
}

// node is a name in the cluster. Its systems come and go.
type node struct {
	name string
	keys []string

	mu   sync.Mutex // guards what follows
	now  *life      // nil: down
	past []*life
}

// life is a node from one start to its end.
type life struct {
	sys   *actor.System
	gates []*gate
	dead  bool // it was killed: nothing of it reaches the disk; guarded by disk.mu
}

// rng returns a generator of its own for everything that draws.
func (w *world) rng(what string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// registers is how many registers there are. Of these, active are in use at the same time,
// until too many operations on one of them are dubious.
const registers, active, dubious = 24, 3, 4

func newWorld(seed uint64, c *cheat) *world {
	w := &world{seed: seed, cheat: c, net: memnet.New(memnet.Config{Seed: seed}), reg: static.New(), wrong: make(chan string, 100),
		disk: &disk{values: map[string]uint64{}}, hist: &history{cheat: c, pending: map[string]int{}}}
	w.plan = newPlan(w.rng("plan"))
	for i := range w.plan.nodes {
		w.nodes = append(w.nodes, &node{name: fmt.Sprintf("n%d", i)})
	}
	for i := range registers {
		n := w.nodes[i%len(w.nodes)]
		key := fmt.Sprintf("r%d", i)
		n.keys = append(n.keys, key)
		w.keys = append(w.keys, key+"@"+n.name)
	}
	w.calmWeather()
	return w
}

func (w *world) bad(format string, args ...any) {
	select {
	case w.wrong <- fmt.Sprintf(format, args...):
	default:
	}
}

// start starts a node with a new epoch.
func (w *world) start(n *node) {
	l := &life{}
	cfg := actor.Config{Name: n.name, Registry: w.reg, Logger: quiet, AckWait: time.Second, Retry: w.plan.retry, RPC: rpc.Limits{SessionLease: w.plan.lease, Window: w.plan.window, Keep: w.plan.keep}}
	for _, road := range w.plan.roads {
		g := &gate{Transport: w.net.Transport(road, road == "direct"), cheat: w.cheat}
		l.gates = append(l.gates, g)
		cfg.Transports = append(cfg.Transports, g)
	}
	var err error
	if l.sys, err = actor.NewSystem(cfg); err != nil {
		w.bad("starting %s: %v", n.name, err)
		return
	}
	for _, key := range n.keys {
		if _, err := l.sys.Spawn(key, kindOf(w.disk, key+"@"+n.name, l, w.cheat)); err != nil {
			w.bad("spawning %s: %v", key, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = l
}

// live is the node's present start, or nil.
func (n *node) live() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// kill ends a node like a killed process, and starts it again.
func (w *world) kill(r *rand.Rand, n *node) {
	silent, away := chance(r, 0.5), pick(r, 0, span(r, 0, time.Second))
	n.mu.Lock()
	l := n.now
	if n.now = nil; l != nil {
		n.past = append(n.past, l)
	}
	n.mu.Unlock()
	if l == nil {
		return // it is down already
	}
	for _, g := range l.gates { // first: what it has answered is on the disk
		g.close(!silent)
	}
	w.disk.mu.Lock()
	l.dead = true
	w.disk.mu.Unlock()
	w.after(away, func() {
		if err := w.reg.Evict(context.Background(), n.name, l.sys.Epoch()); err != nil {
			w.bad("evicting %s: %v", n.name, err)
		}
		w.start(n)
	})
}

// inject causes faults until the plan's time is over.
func (w *world) inject() {
	r := w.rng("faults")
	for len(w.plan.faults) > 0 {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(w.plan.gap)))
		if !time.Now().Before(w.end) {
			break
		}
		w.fault(r, pick(r, w.plan.faults...))
	}
	time.Sleep(time.Until(w.end))
}

// fault injects one fault. Those that last end by themselves.
func (w *world) fault(r *rand.Rand, name string) {
	i := r.IntN(len(w.nodes))
	a, b := w.nodes[i], w.nodes[(i+1+r.IntN(len(w.nodes)-1))%len(w.nodes)]
	road := pick(r, append(w.plan.roads, "")...)
	long := pick(r, span(r, 0, 100*time.Millisecond), span(r, 0, time.Second))
	p := pick(r, 0.1, 0.5)
	heal := func() { w.net.Heal(road, a.name, b.name) }
	switch name {
	case "drop":
		w.spell(r, a, b, memnet.Faults{Drop: p, MaxDelay: 5 * time.Millisecond}, long)
	case "duplicate":
		w.spell(r, a, b, memnet.Faults{Duplicate: p, MaxDelay: pick(r, 5*time.Millisecond, 200*time.Millisecond)}, long)
	case "reorder":
		w.spell(r, a, b, memnet.Faults{Reorder: p, Duplicate: p / 2, ReorderBy: pick(r, 50*time.Millisecond, 2*time.Second, 2*w.plan.lease)}, long)
	case "delay":
		w.spell(r, a, b, memnet.Faults{MinDelay: span(r, 0, 100*time.Millisecond), MaxDelay: span(r, 100*time.Millisecond, time.Second)}, long)
	case "kill links":
		w.spell(r, a, b, memnet.Faults{Kill: p / 10, MaxDelay: 5 * time.Millisecond}, long)
	case "cut":
		w.net.Partition(road, a.name, b.name)
		w.after(long, heal)
	case "cut one way":
		w.net.PartitionOneWay(road, a.name, b.name)
		w.after(long, heal)
	case "hold":
		w.net.Hold(road, a.name, b.name)
		w.after(long, heal)
	case "reset":
		w.net.Reset(road, a.name, b.name)
	case "disturb":
		w.net.Disturb(road, a.name)
	case "kill":
		w.kill(r, a)
	}
}

// spell sets the faults of messages from one node to another for a while.
func (w *world) spell(r *rand.Rand, a, b *node, f memnet.Faults, long time.Duration) {
	road := pick(r, w.plan.roads...)
	w.net.SetFaults(road, a.name, b.name, f)
	w.after(long, func() { w.net.SetFaults(road, a.name, b.name, w.plan.weather[road]) })
}

// after does something later, and before the faults are over.
func (w *world) after(d time.Duration, fn func()) {
	w.spells.Go(func() {
		time.Sleep(min(d, time.Until(w.end)))
		fn()
	})
}

func (w *world) calmWeather() {
	w.net.Heal("", "", "")
	for road, f := range w.plan.weather {
		w.net.SetFaults(road, "", "", f)
	}
}

// calm ends all faults.
func (w *world) calm() {
	w.spells.Wait()
	w.net.Heal("", "", "")
	w.net.SetFaults("", "", "", memnet.Faults{})
}

// shutdown ends all systems, also those that were killed.
func (w *world) shutdown() {
	var all sync.WaitGroup
	for _, n := range w.nodes {
		for _, l := range append(n.past, n.now) {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				if err := l.sys.Shutdown(ctx); err != nil {
					w.bad("shutdown of %s: %v", n.name, err)
				}
			})
		}
	}
	all.Wait()
}

// gate is the road of one start of a node. When it is shut, nothing passes any more.
type gate struct {
	transport.Transport
	cheat *cheat

	mu    sync.Mutex // guards what follows, and is held while a message is handed on
	shut  bool
	links []transport.Link
}

func (g *gate) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	return g.Transport.Start(ctx, local, g.through(accept))
}

func (g *gate) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	if g.isShut() {
		return nil, fmt.Errorf("%w: the node is dead", transport.ErrNoPeer)
	}
	return g.Transport.Dial(ctx, to, g.through(open))
}

func (g *gate) through(open func(transport.Link) transport.Receiver) func(transport.Link) transport.Receiver {
	return func(l transport.Link) transport.Receiver {
		g.mu.Lock()
		g.links = append(g.links, l)
		g.mu.Unlock()
		return &gatedReceiver{open(&gatedLink{l, g}), g}
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// close shuts the gate. It does so silently, or it closes every link as the operating system
// does for a killed process.
func (g *gate) close(lastWord bool) {
	g.mu.Lock()
	g.shut = true
	links := g.links
	g.mu.Unlock()
	if lastWord {
		for _, l := range links {
			l.Close(fmt.Errorf("%w: killed", transport.ErrClosed))
		}
	}
}

type gatedLink struct {
	transport.Link
	g *gate
}

func (l *gatedLink) Send(e *transport.Envelope) (uint64, error) {
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	if l.g.shut {
		return 0, nil
	}
	if l.g.cheat.wire != nil {
		copied := *e
		e = &copied
		if l.g.cheat.wire(e, func(e *transport.Envelope) { _, _ = l.Link.Send(e) }) {
			return 0, nil
		}
	}
	return l.Link.Send(e)
}

type gatedReceiver struct {
	transport.Receiver
	g *gate
}

func (r *gatedReceiver) Receive(e *transport.Envelope) {
	if !r.g.isShut() {
		r.Receiver.Receive(e)
	}
}
