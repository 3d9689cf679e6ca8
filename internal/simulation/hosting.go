package simulation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
)

// Hosting is what nodes have in common that host virtual actors: leases of their names, claims,
// stored states, and reminders. Each start of a node has its own way to them, which can be slow, lose answers, or be
// cut. A start is removed from the registry when its lease has run out, or when it is dead.
//
// Its exported fields are set before the run. Its methods may be called concurrently.
type Hosting struct {
	Lease  time.Duration
	Slow   time.Duration // a call takes, in the mean
	Losses float64       // the share of writes of which nobody hears whether they were made
	Claims placement.Claims
	States *Archive
	Bells  *Bells // the store of reminders; nil: there is none

	world *World
	late  sync.WaitGroup // writes that are made when their callers have given up
	ends  sync.WaitGroup // faults that are to end by themselves

	mu     sync.Mutex // guards what follows
	ways   map[*Life]*way
	leases map[[2]string]*time.Timer // by node and epoch
	Counts map[string]int            // faults that were injected, by kind
}

// NewHosting returns the hosting of a world.
func NewHosting(w *World, lease time.Duration) *Hosting {
	return &Hosting{Lease: lease, Claims: memory.New(), States: NewArchive(), world: w,
		ways: map[*Life]*way{}, leases: map[[2]string]*time.Timer{}, Counts: map[string]int{}}
}

// Attach gives a start of a node its way to the services, in its configuration.
func (h *Hosting) Attach(n *Node, l *Life, cfg *actor.Config) {
	of := n.Name + string(rune('0'+l.No))
	w := &way{h: h, rand: h.world.RNG("way of " + of), died: make(chan struct{})}
	h.mu.Lock()
	h.ways[l] = w
	h.mu.Unlock()
	cfg.Registry, cfg.Claims, cfg.States = leased{h.world.Registry, w}, claims{h.Claims, w}, states{h.States, w}
	if h.Bells != nil {
		cfg.Reminders = &reminders{Bells: h.Bells, w: w, rand: h.world.RNG("reminders of " + of)}
	}
}

// extend begins a lease anew.
func (h *Hosting) extend(node, epoch string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := [2]string{node, epoch}
	if old := h.leases[key]; old != nil {
		old.Stop()
	}
	h.leases[key] = time.AfterFunc(h.Lease, func() { _ = h.world.Registry.Evict(context.Background(), node, epoch) })
}

func (h *Hosting) way(l *Life) *way {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ways[l]
}

// IsDead reports whether the process of a start is dead: nobody hears from it any more, and nobody was
// told what its callers are told.
func (h *Hosting) IsDead(l *Life) bool { return h.way(l).isDead() }

// Cut cuts a start off from a service for a while.
func (h *Hosting) Cut(l *Life, s Service, long time.Duration) {
	w := h.way(l)
	w.cut(s)
	h.ends.Go(func() {
		time.Sleep(long)
		w.mend(s)
	})
}

// kill ends the process of a start.
func (h *Hosting) kill(l *Life, lastWord bool) {
	l.Deployed = true // its shutdown comes to nothing
	h.way(l).kill()
	l.CutOff(lastWord)
}

// HostingFaults are the kinds of faults that Inject makes.
var HostingFaults = []string{
	"registry away", "claims away", "states away", "services away",
	"killed", "powered off", "alone", "deployed",
}

// Inject causes faults until end. Those that last end by themselves; nodes that were ended are started again.
func (h *Hosting) Inject(r *rand.Rand, faults []string, gap time.Duration, end time.Time) {
	for len(faults) > 0 {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(gap)))
		if !time.Now().Before(end) {
			return
		}
		h.fault(r, draw.Pick(r, faults...), draw.Pick(r, h.world.Nodes...))
	}
}

func (h *Hosting) fault(r *rand.Rand, name string, n *Node) {
	long := draw.Pick(r, draw.Span(r, 0, time.Second), draw.Span(r, 0, h.Lease), draw.Span(r, h.Lease, 3*h.Lease))
	away := draw.Pick(r, 0, draw.Span(r, 0, time.Second), draw.Span(r, 0, 2*h.Lease))
	known := draw.Chance(r, 0.5) // that it is dead
	l := n.Live()
	if l == nil {
		return // it is down already
	}
	h.mu.Lock()
	h.Counts[name]++
	h.mu.Unlock()
	h.world.Truth.Note("FAULT %s %s for %v", name, n.Name, long)
	switch name {
	case "registry away":
		h.Cut(l, Leases, long)
	case "claims away":
		h.Cut(l, Claims, long)
	case "states away":
		h.Cut(l, States, long)
	case "services away":
		for s := range services {
			h.Cut(l, s, long)
		}
	case "killed", "powered off":
		n.Down()
		h.kill(l, name == "killed")
		h.ends.Go(func() {
			time.Sleep(away)
			if known {
				h.world.Evict(n, l)
			} else {
				time.Sleep(h.Lease + time.Second)
			}
			_ = h.world.Start(n)
		})
	case "alone": // it has lost the other nodes and the registry, and goes on; its successor is there before it dies
		n.Down()
		h.way(l).cut(Leases)
		l.Silence(false)
		h.ends.Go(func() {
			time.Sleep(h.Lease + time.Second)
			_ = h.world.Start(n)
			time.Sleep(away)
			h.kill(l, false)
		})
	case "deployed":
		n.Down()
		limit := draw.Pick(r, time.Second, 10*time.Second)
		h.ends.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			_ = l.Sys.Shutdown(ctx)
			cancel()
			h.kill(l, true)
			time.Sleep(away)
			h.world.Evict(n, l)
			_ = h.world.Start(n)
		})
	}
}

// Calm waits until all faults are over and all nodes are up.
func (h *Hosting) Calm() { h.ends.Wait() }

// End waits for what is left, after the end of the world.
func (h *Hosting) End() {
	h.late.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.leases {
		t.Stop()
	}
}
