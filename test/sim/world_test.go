package sim

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is one run: its nodes, the network between them, and the truth about them.
type world struct {
	seed  uint64
	plan  plan
	truth *truth
	net   *memnet.Network
	reg   *static.Registry
	nodes []*node
	cheat cheat

	jobs    jobsTruth
	queues  queuesTruth
	streams streamsTruth

	wire bool // the transcript shows every envelope

	callers sync.WaitGroup // and everything else that they start
	spells  sync.WaitGroup // faults that are to end by themselves
	faults  map[string]int // injected, by kind; the injector's own
}

// node is a name in the cluster. Its systems come and go.
type node struct {
	name string

	disk *disk // nil: none

	mu     sync.Mutex // guards what follows
	now    *life      // nil: down
	past   []*life
	starts int
}

// life is a node from one start to its end.
type life struct {
	sys   *actor.System
	gates []*gate
	drive *drive // nil: none
	no    int

	deployed bool // it was shut down as a fault, and may have run out of time
}

// rng returns a generator of its own for everything that draws.
func (w *world) rng(what string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

func newWorld(seed uint64, c cheat, silent, wire bool) *world {
	w := &world{seed: seed, truth: newTruth(silent), reg: static.New(), cheat: c, wire: wire, faults: map[string]int{},
		net: memnet.New(memnet.Config{Seed: seed})}
	w.plan = newPlan(w.rng("plan"))
	w.truth.plan, w.truth.keyLife = w.plan, cmp.Or(w.plan.KeyLife, rpc.DefaultKeyLife)
	w.truth.note("%+v", w.plan)
	for i := range w.plan.Nodes {
		n := &node{name: fmt.Sprintf("n%d", i)}
		if i < len(w.plan.Stores) && w.plan.Stores[i] {
			n.disk = &disk{random: w.random("disk of " + n.name), slow: w.plan.Slow, keeps: c.keeps, fences: !c.unfenced, begun: map[string]*drive{}}
		}
		w.nodes = append(w.nodes, n)
	}
	return w
}

// start starts a node with a new epoch.
func (w *world) start(n *node) {
	n.mu.Lock()
	n.starts++
	l := &life{no: n.starts}
	n.mu.Unlock()
	cfg := actor.Config{Name: n.name, Registry: w.reg, Logger: quiet, Roads: w.plan.policy(n.name), AckWait: time.Second, Retry: w.plan.Retry, TokenLife: w.plan.Patterns.TokenLife, RPC: rpc.Limits{
		SessionLease: w.plan.Lease, Heartbeat: w.plan.Heartbeat, KeyLife: w.plan.KeyLife,
		Window: w.plan.Window, Keep: w.plan.Keep, MemoryBytes: w.plan.MemoryBytes, MaxSessions: w.plan.MaxSessions,
		Random: w.random(fmt.Sprintf("pauses of %s.%d", n.name, l.no)),
	}}
	cfg.Principals = func(road string, _ transport.Peer) string {
		if w.plan.Strangers {
			return road
		}
		return "app" // of the loopback road as well: a key means the same from everywhere
	}
	if n.disk != nil {
		l.drive = &drive{disk: n.disk, hangs: l.no%2 == 0}
		cfg.Store, cfg.Kinds = l.drive, []*actor.Kind{w.kind(durableKind, nil).With(actor.Durable()), w.clerkKind(clerkKind).With(actor.Durable())}
	}
	for _, road := range w.plan.Roads {
		g := &gate{Transport: w.net.Transport(road, road == "direct")}
		if w.cheat.wire != nil {
			g.tamper = w.cheat.wire()
		}
		if w.wire {
			g.watch = func(format string, args ...any) { w.truth.note(n.name+" "+format, args...) }
		}
		l.gates = append(l.gates, g)
		cfg.Transports = append(cfg.Transports, g)
	}
	sys, err := actor.NewSystem(cfg)
	if err == nil {
		err = w.spawnCast(sys, l.drive)
	}
	if err == nil {
		err = w.spawnPatterns(sys, l.drive)
	}
	if err != nil {
		w.truth.bad("starting %s: %v", n.name, err)
		return
	}
	l.sys = sys
	w.truth.note("%s is up as %s", n.name, sys.Epoch())
	if !w.truth.silent {
		events := sys.Events(context.Background())
		go func() {
			for e := range events {
				w.truth.note("%s (%s): %s %s %s %s %v", n.name, sys.Epoch()[:4], e.Type, e.Actor, e.Peer, e.Road, e.Err)
			}
		}()
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

// down removes the present start from the node, so that another may follow.
func (n *node) down() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.now
	if n.now = nil; l != nil {
		n.past = append(n.past, l)
	}
	return l
}

// cutOff separates a start of a node from the others, and from its disk.
func (l *life) cutOff(lastWord bool) {
	l.drive.unplug()
	l.silence(lastWord)
}

// silence separates a start from the others.
func (l *life) silence(lastWord bool) {
	for _, g := range l.gates {
		g.close(lastWord)
	}
}

func (l *life) stall(d time.Duration) {
	for _, g := range l.gates {
		g.stall(d)
	}
}

// evict removes a dead start from the registry.
func (w *world) evict(n *node, l *life) {
	if err := w.reg.Evict(context.Background(), n.name, l.sys.Epoch()); err != nil {
		w.truth.bad("evicting %s: %v", n.name, err)
	}
}

// end shuts all systems down, also those that were killed.
func (w *world) end() {
	var owned sync.WaitGroup
	for _, n := range w.nodes {
		lives := n.past
		if n.now != nil {
			lives = append(lives, n.now)
		}
		for _, l := range lives {
			owned.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				// A system that has lost its name to another start has ended by itself, while
				// there were faults.
				if err := l.sys.Shutdown(ctx); err != nil && !l.deployed && l.sys.Err() == nil {
					w.truth.bad("shutdown of %s, start %d: %v", n.name, l.no, err)
				}
			})
		}
	}
	owned.Wait()
}

// mayDrop reports whether a message that its sender was told to be in the mailbox may still be
// dropped: because of the mailbox's policy, or because its node was shut down and had no time
// left.
func (w *world) mayDrop(o *op) bool {
	for _, n := range w.nodes {
		for _, l := range n.past {
			if l.deployed && (o.to == crew || strings.HasSuffix(o.to, "@"+n.name)) {
				return true
			}
		}
	}
	return strings.HasPrefix(o.to, "fresh@")
}

// cheat breaks a promise on purpose, to show that the checks find it.
type cheat struct {
	handler func(id uint64) int                                             // how often a handler runs the body
	wire    func() func(e *transport.Envelope, send sender) (uint64, error) // meddles with what a start of a node sends on a road
	caller  func(o *op, reply Done, err error) (reply2 Done, err2 error)    // what the caller is told instead
	late    func(o *op)                                                     // before the caller is told

	keeps      func(ledger.Change) bool // what disks keep
	unfenced   bool                     // disks let an earlier start go on
	unrecorded bool                     // the kinds of durable actors are not

	pattern string // what goes wrong with jobs, queues or streams
}
