package actor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// forgetful is a registry whose watch can be made to report events that did not happen.
type forgetful struct {
	registry.Registry
	also chan registry.Event
}

func (f forgetful) Watch(ctx context.Context) (<-chan registry.Event, error) {
	in, err := f.Registry.Watch(ctx)
	out := make(chan registry.Event)
	go func() {
		defer close(out)
		for {
			var e registry.Event
			ok := true
			select {
			case e, ok = <-in:
			case e = <-f.also:
			}
			if !ok {
				return
			}
			out <- e
		}
	}()
	return out, err
}

// An instance whose lease has expired is treated as gone only when no link leads to it any
// more.
func TestExpiredLease(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		lossy := forgetful{reg, make(chan registry.Event)}
		start := func(name string, r registry.Registry) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: r, Logger: quiet, Transports: []transport.Transport{net.Transport("bus", false)}})
		}
		a, b := start("a", lossy), start("b", reg)
		spawn(t, b, "x", PuppetKind, actor.Expose("counters"))
		synctest.Wait()
		service := a.Service("counters")
		if _, err := actor.Call(t.Context(), service, Count{}); err != nil {
			t.Fatal(err)
		}
		lossy.also <- registry.Event{Change: registry.Expired, Node: registry.Node{Name: "b"}}
		synctest.Wait()
		if _, err := actor.Call(t.Context(), service, Count{}); err != nil {
			t.Errorf("the link is open: %v", err)
		}
		net.Partition("bus", "a", "b")
		net.Reset("bus", "a", "b")
		time.Sleep(time.Minute)
		if _, err := actor.Call(t.Context(), service, Count{}); err == nil || a.Stats().RPC.Links != 0 {
			t.Errorf("no link is open: %v", err)
		}
	})
}
