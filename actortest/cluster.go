package actortest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Road is a way between nodes of a cluster in memory.
type Road string

// The roads. A direct road loses nothing while a link lives, as TCP; when it is cut, what was
// sent arrives after it is healed, unless the link was given up meanwhile. A bus loses what it
// cannot deliver, as NATS.
const (
	Direct Road = "direct"
	Bus    Road = "bus"
	Both   Road = "" // of the faults of a cluster
)

const (
	// DefaultNodes is how many nodes a cluster has.
	DefaultNodes = 2

	// KilledLease is how long the registry of a cluster still names a node that was killed and
	// is not started again, as the lease of a real one does.
	KilledLease = 10 * time.Second

	stopWait = 20 * time.Second
)

// ClusterConfig describes a cluster. Its zero value describes two nodes on both roads, without
// actors.
type ClusterConfig struct {
	Nodes int    // default DefaultNodes
	Roads []Road // default Direct and Bus

	// Setup spawns the actors of a node, at each start of it and before it serves others: it is
	// actor.Config.Setup. nil: there are none.
	Setup func(*Node) error

	// Kinds are those of actor.Config: durable and virtual ones have to be among them.
	Kinds []*actor.Kind

	// Store gives each node a store for the records of durable kinds, which outlives its starts.
	Store bool

	// Config changes the configuration of a node's start. nil: it stays as it is.
	Config func(*Node, *actor.Config)

	// Seed decides which messages a road with faults loses, and for how long it delays them.
	Seed uint64
}

// Cluster is nodes in one bubble, on roads in memory that break when the test says so: no
// socket, no real time, and everything between the nodes is encoded as it is in production. Make
// it with NewCluster. Its methods may be called concurrently.
type Cluster struct {
	t     testing.TB
	cfg   ClusterConfig
	world *simulation.World
	nodes []*Node

	// observe lets the judges of a World see what a kind's handlers run in a start of a node; nil: there are none.
	observe func(*simulation.Life, *actor.Kind) *actor.Kind

	mu   sync.Mutex // guards what follows
	over bool
}

// NewCluster starts a cluster whose nodes are named n0, n1 and so on. It must be called in a
// bubble (see Bubble). The nodes that are up when the test ends are shut down then. If a node
// cannot start, the test ends.
func NewCluster(t testing.TB, cfg ClusterConfig) *Cluster {
	t.Helper()
	c := newCluster(t, cfg, simulation.NewTruth(true), simulation.Plan{})
	t.Cleanup(c.end)
	for _, n := range c.nodes {
		n.Start()
	}
	return c
}

// newCluster makes a cluster whose nodes are down.
func newCluster(t testing.TB, cfg ClusterConfig, truth *simulation.Truth, plan simulation.Plan) *Cluster {
	t.Helper()
	if !inBubble() {
		t.Fatalf("actortest: a cluster is in fake time: run the test in actortest.Bubble")
	}
	if cfg.Nodes < 0 {
		t.Fatalf("actortest: a cluster of %d nodes", cfg.Nodes)
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = DefaultNodes
	}
	if len(cfg.Roads) == 0 {
		cfg.Roads = []Road{Direct, Bus}
	}
	plan.Nodes, plan.Roads = cfg.Nodes, nil
	for _, road := range cfg.Roads {
		if road != Direct && road != Bus {
			t.Fatalf("actortest: a cluster on a road %q: want Direct or Bus", road)
		}
		plan.Roads = append(plan.Roads, string(road))
	}
	for range cfg.Nodes {
		plan.Stores = append(plan.Stores, cfg.Store)
	}
	c := &Cluster{t: t, cfg: cfg, world: simulation.New(cfg.Seed, plan, truth)}
	for _, n := range c.world.Nodes {
		c.nodes = append(c.nodes, &Node{c: c, node: n})
	}
	c.world.Configure = func(n *simulation.Node, l *simulation.Life, config *actor.Config) {
		c.nodeOf(n).configure(l, config)
	}
	return c
}

func (c *Cluster) nodeOf(n *simulation.Node) *Node {
	for _, of := range c.nodes {
		if of.node == n {
			return of
		}
	}
	panic("actortest: no such node")
}

// Node returns the i-th node, from 0. If there is none, the test ends.
func (c *Cluster) Node(i int) *Node {
	c.t.Helper()
	if i < 0 || i >= len(c.nodes) {
		c.t.Fatalf("actortest: there is no node %d: the cluster has %d", i, len(c.nodes))
	}
	return c.nodes[i]
}

// Nodes returns all nodes.
func (c *Cluster) Nodes() []*Node { return append([]*Node(nil), c.nodes...) }

// Cut cuts a road between two nodes in both directions; nil stands for all nodes.
func (c *Cluster) Cut(road Road, a, b *Node) {
	c.network().Partition(string(road), nameOf(a), nameOf(b))
}

// CutOneWay cuts a road from one node to another; nil stands for all nodes.
func (c *Cluster) CutOneWay(road Road, from, to *Node) {
	c.network().PartitionOneWay(string(road), nameOf(from), nameOf(to))
}

// Heal ends what Cut and CutOneWay have cut between two nodes; nil stands for all nodes.
func (c *Cluster) Heal(road Road, a, b *Node) { c.network().Heal(string(road), nameOf(a), nameOf(b)) }

// Reset ends all links between two nodes, as a reset of their connections does; nil stands for
// all nodes. It returns how many ends of links there were.
func (c *Cluster) Reset(road Road, a, b *Node) int {
	return c.network().Reset(string(road), nameOf(a), nameOf(b))
}

// Faults sets what happens to messages from one node to another on a road: delays, and on the
// bus also losses, duplicates and changes of order. nil stands for all nodes. The zero Faults
// ends them. The last call that matches counts.
func (c *Cluster) Faults(road Road, from, to *Node, f memnet.Faults) {
	c.network().SetFaults(string(road), nameOf(from), nameOf(to), f)
}

// network returns the network of a cluster that is not over.
func (c *Cluster) network() *memnet.Network {
	c.t.Helper()
	c.use("its network is used")
	return c.world.Net
}

// use ends the test if the cluster is over.
func (c *Cluster) use(what string) {
	c.t.Helper()
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if over {
		c.t.Fatalf("actortest: %s after the end of the cluster", what)
	}
}

// end shuts everything down.
func (c *Cluster) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.world.Net.Heal("", "", "")
	c.world.Net.SetFaults("", "", "", memnet.Faults{})
	c.world.End()
	for _, wrong := range c.world.Truth.Wrong() {
		c.t.Errorf("actortest: %s", wrong)
	}
}

func nameOf(n *Node) string {
	if n == nil {
		return ""
	}
	return n.Name()
}

// kill ends a start without a goodbye.
func (c *Cluster) kill(n *Node, l *simulation.Life) {
	l.CutOff(true)
	time.AfterFunc(KilledLease, func() { c.evict(n, l) })
	settle()
}

// settle lets everything happen that happens now.
func settle() { time.Sleep(time.Nanosecond) } // in a bubble, when all others wait

// evict has the registry forget a start that is dead.
func (c *Cluster) evict(n *Node, l *simulation.Life) {
	_ = c.world.Registry.Evict(context.Background(), n.Name(), l.Sys.Epoch())
}
