package actor_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// behind is a registry whose cache has an earlier epoch of node b until it is refreshed.
type behind struct {
	*static.Registry
	fresh     atomic.Bool
	refreshed atomic.Int64
}

func (r *behind) Lookup(ctx context.Context, name string) (registry.Node, error) {
	n, err := r.Registry.Lookup(ctx, name)
	if name == "b" && !r.fresh.Load() {
		n.Epoch = "earlier"
	}
	return n, err
}

func (r *behind) Refresh(ctx context.Context, name string) error {
	r.refreshed.Add(1)
	r.fresh.Store(true)
	return nil
}

// The registry's cache is refreshed if a node cannot be reached by what the cache says, and
// only then.
func TestFailedDialAsksAnew(t *testing.T) {
	for _, road := range []string{"direct", "bus"} {
		t.Run(road, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
				cached := &behind{Registry: reg}
				start := func(name string, r registry.Registry) *actor.System {
					return newSystem(t, actor.Config{Name: name, Registry: r, Logger: quiet, Transports: []transport.Transport{net.Transport(road, road == "direct")}})
				}
				a, b := start("a", cached), start("b", reg)
				spawn(t, b, "x", PuppetKind)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				if _, err := actor.Call(ctx, a.Ref("x@b"), Count{}); err != nil {
					t.Errorf("the cache was behind: %v", err)
				}
				if d := time.Since(began); d > 6*time.Second {
					t.Errorf("it took %v", d)
				}
				if n := cached.refreshed.Load(); n < 1 || n > 3 {
					t.Errorf("refreshed %d times", n)
				}
			})
		})
	}
}
