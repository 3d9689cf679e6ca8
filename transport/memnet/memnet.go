// Package memnet is a network in memory, for tests and simulations. It has any number of roads,
// direct ones and buses, between the systems of one process, and injects faults on demand.
//
//	net := memnet.New(memnet.Config{Seed: 7})
//	a, b := net.Transport("tcp", true), net.Transport("tcp", true) // one for each system
//	net.SetFaults("tcp", "a", "b", memnet.Faults{MaxDelay: 20 * time.Millisecond})
//	net.Partition("tcp", "a", "b")
//
// Every envelope is encoded when it is sent and parsed when it arrives, so the wire format is
// tested as well. There are no sockets: a network that is made inside a bubble of
// testing/synctest uses the clock of the bubble.
//
// A direct road behaves like TCP: while a link lives it loses nothing and keeps the order. A
// partition holds messages back until it is healed or the link dies. A bus silently loses what
// it cannot deliver, and may duplicate and reorder messages.
//
// Faults are drawn from random generators with seeds that depend on Config.Seed, one for each
// direction of each link, so that they do not depend on how goroutines are scheduled.
package memnet

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Config is the set-up of a Network. The zero value is a network without faults.
type Config struct {
	Seed   uint64
	Window int // bytes in flight in one direction of a direct link before its sender waits; default 256 KiB

	// DialTimeout bounds a greeting that gets no answer; default 5 s.
	DialTimeout time.Duration

	// PackTells makes one-way messages that follow each other share a frame, as on other roads.
	// Which ones do depends on how fast they are sent, so the same seed does not give the same
	// faults to each of them.
	PackTells bool
}

// Network carries the links of all its transports. All methods may be called
// concurrently.
type Network struct {
	cfg    Config
	frames atomic.Uint64

	mu      sync.Mutex // guards what follows
	nodes   []*Transport
	links   map[*end]struct{} // every end whose Receiver did not get Closed yet
	rules   []rule
	changed chan struct{}     // closed and replaced when faults change
	serial  map[string]uint64 // how many generators were made, by name
}

// New returns an empty network.
func New(cfg Config) *Network {
	cfg.Window = cmp.Or(cfg.Window, 256<<10)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, 5*time.Second)
	return &Network{cfg: cfg, links: make(map[*end]struct{}), changed: make(chan struct{}), serial: make(map[string]uint64)}
}

// Frames returns how many frames its nodes have sent so far, lost ones included. Most messages are one
// frame; large ones are several, and one-way messages may share one.
func (n *Network) Frames() uint64 { return n.frames.Load() }

// Transport returns a new transport of the road called name, for one system.
// Transports of one name reach each other, and must have the same direct. The system's peers see
// it as transport.Anonymous.
func (n *Network) Transport(name string, direct bool) transport.Transport {
	return n.TransportAs(name, direct, transport.Anonymous)
}

// TransportAs is Transport for a system that its peers see as the given principal.
func (n *Network) TransportAs(name string, direct bool, principal string) transport.Transport {
	t := &Transport{net: n, road: name, direct: direct, principal: principal}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// generator returns the next generator of name. The n-th one of a name is the same in every run
// with the same seed. n.mu must be held.
func (n *Network) generator(name string) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s#%d", name, n.serial[name])
	n.serial[name]++
	return rand.New(rand.NewPCG(n.cfg.Seed, h.Sum64()))
}

// find returns the transport that answers at to on t's road. If a bus cannot distinguish two of
// them, each answers some of the greetings. n.mu must be held.
func (n *Network) find(t *Transport, to transport.Endpoint) *Transport {
	var found []*Transport
	for _, c := range n.nodes {
		switch {
		case c.road != t.road:
		case t.direct && c.addr == to.Addr:
			return c
		case !t.direct && c.local.Cluster == t.local.Cluster && c.local.Node == to.Node && (to.Epoch == "" || to.Epoch == c.local.Epoch):
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	if len(found) == 1 {
		return found[0]
	}
	return found[n.generator("choice/"+t.road+"/"+t.local.Node+"/"+to.Node).IntN(len(found))]
}
