package actor_test

// A service whose instances are of different versions and in different zones.

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

type (
	// Which is answered with the version that handled it, and the zone: "1.4.0 eu".
	Which struct {
		actor.Returns[string]
		Fail string // an error that the versions of this name answer with
	}
	// Leaflet is a one-way message.
	Leaflet struct{ N int }
)

// errBroke is what a version answers that is told to fail.
var errBroke = rpc.NewError("test.broke", "it broke")

// fleet is a service, mailer, and a client, on two roads in memory.
type fleet struct {
	t      *testing.T
	net    *memnet.Network
	reg    registry.Registry
	client *actor.System

	mu     sync.Mutex // guards what follows
	posts  map[string]int
	asked  map[string]int // by version, zone and who sent it
	header map[string]int // how often a copy of a mirror came, by version
}

// withFleet runs a test with a fleet in a bubble. Each node is "version zone"; the nodes are n0, n1, ...
func withFleet(t *testing.T, nodes []string, run func(t *testing.T, f *fleet), change ...func(*actor.Config)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		f := &fleet{t: t, net: memnet.New(memnet.Config{Seed: 1}), reg: static.New(), posts: map[string]int{}, asked: map[string]int{}, header: map[string]int{}}
		f.net.SetFaults("", "", "", memnet.Faults{MinDelay: time.Millisecond / 2, MaxDelay: time.Millisecond / 2})
		f.client = f.start("client", "", "", change...)
		for i, n := range nodes {
			f.node("n"+string(rune('0'+i)), n)
		}
		synctest.Wait()
		run(t, f)
	})
}

func (f *fleet) start(name, version, zone string, change ...func(*actor.Config)) *actor.System {
	cfg := actor.Config{Name: name, Version: version, Zone: zone, Registry: f.reg, Logger: quiet}
	for _, road := range []string{"direct", "bus"} {
		cfg.Transports = append(cfg.Transports, f.net.Transport(road, road == "direct"))
	}
	for _, fn := range change {
		fn(&cfg)
	}
	return newSystem(f.t, cfg)
}

// node starts a node of the service. what is "version zone".
func (f *fleet) node(name, what string) *actor.System {
	version, zone := split(what)
	kind := actor.Define("test.mailer", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Which) (string, error) {
			f.note(ctx, f.asked, what)
			if m.Fail == version {
				return "", errBroke
			}
			return what, nil
		}), actor.Handle(func(_ int, ctx *actor.Context, m Leaflet) error {
			f.note(ctx, f.posts, what)
			return nil
		}))
	return f.start(name, version, zone, func(cfg *actor.Config) {
		cfg.Setup = func(s *actor.System) error {
			_, err := s.Spawn("worker", kind, actor.Expose("mailer"))
			return err
		}
	})
}

func split(what string) (version, zone string) {
	for i := range what {
		if what[i] == ' ' {
			return what[:i], what[i+1:]
		}
	}
	return what, ""
}

func (f *fleet) note(ctx *actor.Context, in map[string]int, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in[what]++
	if ctx.Header(actor.MirrorHeader) == "mailer" {
		f.header[what]++
	}
}

// hits counts who answers n calls.
func (f *fleet) hits(to actor.Ref, n int) map[string]int {
	f.t.Helper()
	got := map[string]int{}
	for range n {
		who, err := actor.Call(f.t.Context(), to, Which{})
		if err != nil {
			f.t.Error(err)
		}
		got[who]++
	}
	return got
}

// soon returns a context that ends after d.
func soon(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
