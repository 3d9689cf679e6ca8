package actortest

import (
	"context"
	"errors"
	"sync"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/simulation"
)

// Node is a node of a cluster: a name, under which systems start and end. Its methods may be
// called concurrently, but no two of Start, Kill and Stop of one node at the same time.
type Node struct {
	c    *Cluster
	node *simulation.Node

	mu       sync.Mutex // guards what follows
	starting *actor.System
	life     *simulation.Life // that is starting, or started last
	state    nodeState
}

// nodeState is how a node's last start has ended.
type nodeState string

const (
	unstarted nodeState = "not started yet"
	up        nodeState = "up"
	killed    nodeState = "killed"
	stopped   nodeState = "stopped"
)

// Name is the node's name: n0, n1 and so on.
func (n *Node) Name() string { return n.node.Name }

// Up reports whether the node is up.
func (n *Node) Up() bool { return n.node.Live() != nil }

// System is the node's system, in Setup the one that starts. If the node is down, the test ends.
func (n *Node) System() *actor.System {
	n.c.t.Helper()
	if sys := n.system(); sys != nil {
		return sys
	}
	n.c.t.Fatalf("actortest: node %s has no system: it is %s", n.Name(), n.now())
	return nil
}

func (n *Node) system() *actor.System {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.starting != nil {
		return n.starting
	}
	if l := n.node.Live(); l != nil {
		return l.Sys
	}
	return nil
}

func (n *Node) now() nodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == "" {
		return unstarted
	}
	return n.state
}

func (n *Node) set(s nodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = s
}

// Ref is System.Ref of the node's system. If the node is down, the test ends.
func (n *Node) Ref(addr string) actor.Ref {
	n.c.t.Helper()
	return n.System().Ref(addr)
}

// Spawn starts an actor on the node, as System.Spawn does. What its handlers run is seen by the
// judges of a World. If the node is down, the test ends.
func (n *Node) Spawn(name string, kind *actor.Kind, opts ...actor.SpawnOption) (actor.Ref, error) {
	n.c.t.Helper()
	sys := n.System()
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	return sys.Spawn(name, n.c.observed(l, kind), opts...)
}

// Start starts the node again under its name, after Kill or Stop. If it is up, or cannot start,
// the test ends.
func (n *Node) Start() {
	t := n.c.t
	t.Helper()
	n.c.use("node " + n.Name() + " is started")
	if n.Up() {
		t.Fatalf("actortest: node %s is started, and it is up", n.Name())
	}
	if past := n.node.Past(); len(past) > 0 {
		n.c.evict(n, past[len(past)-1])
	}
	if err := n.c.world.Start(n.node); err != nil {
		t.Fatalf("actortest: starting node %s: %v", n.Name(), err)
	}
	n.set(up)
	settle()
}

// Kill ends the node without a goodbye, as kill -9 does: its links are reset, and nothing is
// heard of it any more. Kill returns when those to whom it had a link have seen that, unless
// faults delay it. What it has on disk stays; what it holds in memory is lost to the next
// start. Its name stays in the registry for KilledLease, or until the node is started again. If
// it is down already, the test ends.
//
// In truth its system goes on for itself until the test ends, and nobody but its own actors
// notices: they can write neither to the node's store nor to its Disk.
func (n *Node) Kill() {
	n.c.t.Helper()
	if l := n.down("killed", killed); l != nil {
		n.c.kill(n, l)
	}
}

// Stop shuts the node down, as System.Shutdown does, and returns its error. If the node is down
// already, the test ends.
func (n *Node) Stop() error {
	n.c.t.Helper()
	l := n.down("stopped", stopped)
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return l.Sys.Shutdown(ctx)
}

// down takes the node's start from it.
func (n *Node) down(what string, s nodeState) *simulation.Life {
	n.c.t.Helper()
	n.c.use("node " + n.Name() + " is " + what)
	l := n.node.Down()
	if l == nil {
		n.c.t.Fatalf("actortest: node %s is %s, and it is down: it is %s", n.Name(), what, n.now())
		return nil
	}
	n.set(s)
	return l
}

// configure completes the configuration of a start.
func (n *Node) configure(l *simulation.Life, cfg *actor.Config) {
	c := n.c
	for _, k := range c.cfg.Kinds {
		cfg.Kinds = append(cfg.Kinds, c.observed(l, k))
	}
	cfg.Setup = func(sys *actor.System) error {
		n.mu.Lock()
		n.starting, n.life = sys, l
		n.mu.Unlock()
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.starting = nil
		}()
		return c.setup(n)
	}
	if c.cfg.Config != nil {
		c.cfg.Config(n, cfg)
	}
}

func (c *Cluster) setup(n *Node) error {
	if c.cfg.Setup == nil {
		return nil
	}
	return c.cfg.Setup(n)
}

// observed is a kind whose handlers are seen by the judges.
func (c *Cluster) observed(l *simulation.Life, k *actor.Kind) *actor.Kind {
	if c.observe == nil || k == nil {
		return k
	}
	return c.observe(l, k)
}

// ErrDiskGone is the error of a write to a Disk whose node was killed, or has started anew.
var ErrDiskGone = errors.New("actortest: this start of the node has ended, and cannot write any more")

// Disk keeps what the actors of a node want to find again after a restart. Its methods may be
// called concurrently.
type Disk struct {
	node *simulation.Node
	life *simulation.Life
}

// Disk returns the access of the node's present start to its disk, in Setup of the one that
// starts. What earlier starts have written is there. If the node is down, the test ends.
func (n *Node) Disk() *Disk {
	n.c.t.Helper()
	n.System()
	n.mu.Lock()
	defer n.mu.Unlock()
	return &Disk{n.node, n.life}
}

// Write keeps a copy of b under a name, in place of what was there. Once the node was killed, or
// has started anew, it keeps nothing and returns ErrDiskGone.
func (d *Disk) Write(name string, b []byte) error {
	if err := d.node.Files.Put(d.life, name, b); err != nil {
		return ErrDiskGone
	}
	return nil
}

// Read returns a copy of what is kept under a name; nil if nothing is.
func (d *Disk) Read(name string) []byte {
	b, _ := d.node.Files.Get(name)
	return b
}
