package simulation

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/engine"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Quiet discards what systems log.
var Quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// World is one run: its nodes, the network between them, and the truth about them. It must be
// made in a bubble.
type World struct {
	Seed     uint64
	Plan     Plan
	Truth    *Truth
	Net      *memnet.Network
	Registry *static.Registry
	Claims   placement.Claims // of virtual actors
	Nodes    []*Node
	Counts   map[string]int // faults that were injected, by kind; the injector's own

	// Configure completes the configuration of a start, which has a name, a registry, roads, a
	// logger, and a store if the node has a disk. nil: it is complete.
	Configure func(n *Node, l *Life, cfg *actor.Config)
	// Populate spawns the actors of a start once it is up. nil: there are none.
	Populate func(n *Node, l *Life) error
	// Road completes a road of a start. nil: it is complete.
	Road func(n *Node, g *Gate)

	spells sync.WaitGroup // faults that are to end by themselves
}

// New returns a world whose nodes n0, n1 and so on are all down.
func New(seed uint64, plan Plan, truth *Truth) *World {
	w := &World{Seed: seed, Plan: plan, Truth: truth, Registry: static.New(), Claims: memory.New(), Counts: map[string]int{},
		Net: memnet.New(memnet.Config{Seed: seed})}
	for i := range plan.Nodes {
		n := &Node{Name: fmt.Sprintf("n%d", i)}
		if i < len(plan.Stores) && plan.Stores[i] {
			n.Disk = NewDisk(w.Random("disk of "+n.Name), plan.Slow)
		}
		w.Nodes = append(w.Nodes, n)
	}
	return w
}

// RNG returns a generator of its own for something that draws.
func (w *World) RNG(what string) *rand.Rand { return draw.From(w.Seed, what) }

// Random is a source of randomness for something that draws from several goroutines.
func (w *World) Random(whose string) func() float64 { return draw.Shared(w.Seed, whose) }

// Settle sets the faults that the roads have all the time.
func (w *World) Settle() {
	for road, f := range w.Plan.Base {
		w.Net.SetFaults(road, "", "", f)
	}
}

// Start starts a node with a new epoch. Where that fails, the truth says so.
func (w *World) Start(n *Node) error {
	n.mu.Lock()
	n.starts++
	l := &Life{No: n.starts, entry: &entry{Registry: w.Registry}}
	n.mu.Unlock()
	n.Files.take(l)
	cfg := actor.Config{Name: n.Name, Registry: l.entry, Claims: w.Claims, Logger: Quiet}
	if n.Disk != nil {
		l.Drive = n.Disk.Drive(l.No)
		cfg.Store = l.Drive
	}
	for _, road := range w.Plan.Roads {
		g := &Gate{Transport: w.Net.Transport(road, road == "direct")}
		if w.Road != nil {
			w.Road(n, g)
		}
		l.Gates = append(l.Gates, g)
		cfg.Transports = append(cfg.Transports, g)
	}
	if w.Configure != nil {
		w.Configure(n, l, &cfg)
	}
	sys, err := actor.NewSystem(cfg)
	if l.Sys = sys; err == nil && w.Populate != nil {
		err = w.Populate(n, l)
	}
	if err != nil {
		w.Truth.Bad("starting %s: %v", n.Name, err)
		return err
	}
	w.Truth.Note("%s is up as %s", n.Name, sys.Epoch())
	if !w.Truth.Silent() {
		events := sys.Events(context.Background())
		go func() {
			for e := range events {
				w.Truth.Note("%s (%s): %s %s %s %s %v", n.Name, sys.Epoch()[:4], e.Type, e.Actor, e.Peer, e.Road, e.Err)
			}
		}()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = l
	return nil
}

// CalmLimit is how soon after the last fault every node must answer every other, if none waits
// for something that takes longer.
const CalmLimit = 20 * time.Second

// Answering checks that within limit every node gets an answer of every other. ask makes one
// attempt. All nodes must be up.
func (w *World) Answering(limit time.Duration, ask func(ctx context.Context, from *Life, to *Node) error) {
	calm := time.Now()
	limit += 2 * engine.DeadAfter * w.Plan.Heartbeat // until a dead link is noticed
	var owned sync.WaitGroup
	for _, a := range w.Nodes {
		for _, b := range w.Nodes {
			owned.Go(func() {
				var err error
				for time.Since(calm) < limit {
					ctx, cancel := context.WithTimeout(context.Background(), limit-time.Since(calm))
					err = ask(ctx, a.Live(), b)
					cancel()
					if err == nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
				w.Truth.Bad("%s does not answer %s %v after the last fault: %v", b.Name, a.Name, limit, err)
			})
		}
	}
	owned.Wait()
}

// AllUp reports whether every node is up.
func (w *World) AllUp() bool {
	return !slices.ContainsFunc(w.Nodes, func(n *Node) bool { return n.Live() == nil })
}

// Evict removes a dead start from the registry.
func (w *World) Evict(n *Node, l *Life) {
	if err := w.Registry.Evict(context.Background(), n.Name, l.Sys.Epoch()); err != nil {
		w.Truth.Bad("evicting %s: %v", n.Name, err)
	}
}

// End shuts all systems down, also those that were killed.
func (w *World) End() {
	var owned sync.WaitGroup
	for _, n := range w.Nodes {
		for _, l := range n.Lives() {
			owned.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				// A system that has lost its name to another start has ended by itself, while
				// there were faults.
				if err := l.Sys.Shutdown(ctx); err != nil && !l.Deployed && l.Sys.Err() == nil {
					w.Truth.Bad("shutdown of %s, start %d: %v", n.Name, l.No, err)
				}
			})
		}
	}
	owned.Wait()
}
