package actor_test

// A registry in memory with leases, and clusters that host virtual actors.

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport/memnet"
)

// leases is a registry in memory with leases of 15 s. Each node has a view of it, which can be cut off.
type leases struct {
	*static.Registry
	*leased
	cut *cut
}

const leaseTime = 15 * time.Second

// leased is what the views share.
type leased struct {
	mu  sync.Mutex
	end map[string]*time.Timer // by node and epoch
}

// cut says whether a view is cut off.
type cut struct {
	mu sync.Mutex
	is chan struct{} // closed when it is not any more; nil: it is not
}

func (c *cut) off() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.is = make(chan struct{})
}

func (c *cut) on() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.is)
	c.is = nil
}

// wait waits until the view is not cut off.
func (c *cut) wait(ctx context.Context) error {
	c.mu.Lock()
	is := c.is
	c.mu.Unlock()
	if is == nil {
		return nil
	}
	select {
	case <-is:
		return nil
	case <-ctx.Done():
		return errors.Join(errCut, ctx.Err())
	}
}

var errCut = errors.New("the registry is away")

func newLeases() leases {
	return leases{static.New(), &leased{end: map[string]*time.Timer{}}, new(cut)}
}

// view returns the view of another node.
func (l leases) view() leases { return leases{l.Registry, l.leased, new(cut)} }

func (l leases) Lease() time.Duration { return leaseTime }

func (l leases) extend(name, epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.end[name+epoch]; old != nil {
		old.Stop()
	}
	l.end[name+epoch] = time.AfterFunc(leaseTime, func() { _ = l.Registry.Evict(context.Background(), name, epoch) })
}

func (l leases) Register(ctx context.Context, n registry.Node) error {
	err := l.cut.wait(ctx)
	if err == nil {
		if err = l.Registry.Register(ctx, n); err == nil {
			l.extend(n.Name, n.Epoch)
		}
	}
	return err
}

func (l leases) Renew(ctx context.Context, name, epoch string) error {
	err := l.cut.wait(ctx)
	if err == nil {
		if err = l.Registry.Renew(ctx, name, epoch); err == nil {
			l.extend(name, epoch)
		}
	}
	return err
}

func (l leases) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if err := l.cut.wait(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	if old := l.end[name+epoch]; old != nil {
		old.Stop()
		delete(l.end, name+epoch)
	}
	l.mu.Unlock()
	return l.Registry.Deregister(ctx, name, epoch, last)
}

func (l leases) Refresh(ctx context.Context, _ string) error { return l.cut.wait(ctx) }

// cluster3 is three nodes a, b and c in a bubble, which host counters, and what can happen to them.
type cluster3 struct {
	net    *memnet.Network
	claims placement.Claims
	reg    map[string]leases
	sys    map[string]*actor.System
}

func startCluster3(t *testing.T, roads ...string) *cluster3 {
	c := &cluster3{memnet.New(memnet.Config{Seed: 1}), memory.New(), map[string]leases{}, map[string]*actor.System{}}
	first := newLeases()
	for _, name := range []string{"a", "b", "c"} {
		c.reg[name] = first.view()
		c.start(t, name, roads...)
	}
	synctest.Wait() // until they know one another
	return c
}

// start starts a node.
func (c *cluster3) start(t *testing.T, name string, roads ...string) {
	if len(roads) == 0 {
		roads = []string{"direct"}
	}
	cfg := actor.Config{Name: name, Registry: c.reg[name], Claims: c.claims, Kinds: []*actor.Kind{counterKind}, Logger: quiet, Version: "1"}
	for _, road := range roads {
		cfg.Transports = append(cfg.Transports, c.net.Transport(road, road == "direct"))
	}
	c.sys[name] = newSystem(t, cfg)
}

// holder returns the node that has a counter, as seen from a node.
func (c *cluster3) holder(t *testing.T, from, id string) string {
	t.Helper()
	node, err := actor.Call(t.Context(), c.sys[from].Virtual(counterKind, id), where{})
	if err != nil {
		t.Fatalf("%s from %s: %v", id, from, err)
	}
	return node
}
