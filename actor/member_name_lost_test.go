package actor_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// evicting is a registry that evicts a node just before the node's next write, and counts how
// often the name is claimed after that.
type evicting struct {
	registry.Registry
	armed, claims atomic.Int32
}

func (r *evicting) evict(ctx context.Context, name, epoch string) error {
	if r.armed.CompareAndSwap(1, 2) {
		return r.Evict(ctx, name, epoch)
	}
	return nil
}

// Renew succeeds, and then the node is evicted.
func (r *evicting) Renew(ctx context.Context, name, epoch string) error {
	err := r.Registry.Renew(ctx, name, epoch)
	if err == nil {
		err = r.evict(ctx, name, epoch)
	}
	return err
}

func (r *evicting) Register(ctx context.Context, n registry.Node) error {
	if err := r.evict(ctx, n.Name, n.Epoch); err != nil {
		return err
	}
	if r.armed.Load() == 2 {
		r.claims.Add(1)
	}
	return r.Registry.Register(ctx, n)
}

func (r *evicting) Update(ctx context.Context, n registry.Node) error {
	if err := r.evict(ctx, n.Name, n.Epoch); err != nil {
		return err
	}
	return r.Registry.Update(ctx, n)
}

// A node that only wants to remove something from its record does not claim its name again if
// it has just lost the name. Otherwise it would prevent a successor from starting.
func TestLostNameIsNotClaimedAgain(t *testing.T) {
	for name, takeBack := range map[string]func(context.Context, *actor.System){
		"an actor stops":      func(ctx context.Context, s *actor.System) { s.Stop(ctx, s.Ref("one")) },
		"the node shuts down": func(ctx context.Context, s *actor.System) { s.Shutdown(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := &evicting{Registry: static.New()}
				sys := newSystem(t, actor.Config{Name: "n", Registry: reg, Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}})
				if _, err := sys.Spawn("one", newShop().workers(""), actor.Expose("shop")); err != nil {
					t.Fatal(err)
				}
				reg.armed.Store(1)
				takeBack(t.Context(), sys)
				synctest.Wait()
				if reg.armed.Load() != 2 || reg.claims.Load() != 0 {
					t.Errorf("evicted: %v, claimed again %d times", reg.armed.Load() == 2, reg.claims.Load())
				}
			})
		})
	}
}
