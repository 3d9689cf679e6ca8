package actor_test

// Systems for tests: one, two in a bubble, and two over real roads.

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// spawn starts an actor, or ends the test.
func spawn(t testing.TB, sys *actor.System, name string, kind *actor.Kind, opts ...actor.SpawnOption) actor.Ref {
	t.Helper()
	ref, err := sys.Spawn(name, kind, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// world runs a test in a bubble with two systems on roads in memory, each "direct" or "bus".
// When it returns, all goroutines of the systems must have ended.
func world(t *testing.T, roads []string, run func(t *testing.T, net *memnet.Network, a, b *actor.System), change ...func(*actor.Config)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1, PackTells: true}), static.New()
		start := func(name string) *actor.System {
			cfg := actor.Config{Name: name, Registry: reg, Logger: quiet}
			for _, road := range roads {
				cfg.Transports = append(cfg.Transports, net.Transport(road, road == "direct"))
			}
			for _, fn := range change {
				fn(&cfg)
			}
			return newSystem(t, cfg)
		}
		run(t, net, start("a"), start("b"))
	})
}

// eachMemRoad runs a test in a world with a direct road, with a bus, and with both.
func eachMemRoad(t *testing.T, run func(t *testing.T, a, b *actor.System)) {
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}, "both": {"direct", "bus"}} {
		t.Run(name, func(t *testing.T) {
			world(t, roads, func(t *testing.T, _ *memnet.Network, a, b *actor.System) { run(t, a, b) })
		})
	}
}

// letters returns a function that returns all dead letters of sys until now.
func letters(t testing.TB, sys *actor.System) func() []actor.DeadLetter {
	ch := sys.DeadLetters(t.Context())
	var got []actor.DeadLetter
	return func() []actor.DeadLetter {
		synctest.Wait()
		for len(ch) > 0 {
			got = append(got, <-ch)
		}
		return slices.Clone(got)
	}
}

// quiet is a logger that discards everything.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// natsURL starts a NATS server for the test, and returns its URL.
func natsURL(t testing.TB) string {
	t.Helper()
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv.URL()
}

// overNATS returns a road over a NATS connection of its own.
func overNATS(t testing.TB, url string) transport.Transport {
	t.Helper()
	nc, err := natsbus.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return natsbus.New(nc, natsbus.Config{})
}

// overTCP returns a road over TCP.
func overTCP() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }

// pair starts two systems, a and b, over the given roads.
func pair(t testing.TB, roads func() []transport.Transport) (a, b *actor.System) {
	t.Helper()
	reg := static.New()
	a = newSystem(t, actor.Config{Name: "a", Transports: roads(), Registry: reg, Logger: quiet})
	b = newSystem(t, actor.Config{Name: "b", Transports: roads(), Registry: reg, Logger: quiet, Kinds: []*actor.Kind{AccountKind}})
	return a, b
}

// eachRoad runs a test over TCP, over NATS, and over both.
func eachRoad(t *testing.T, fn func(t *testing.T, roads func() []transport.Transport)) {
	t.Run("tcp", func(t *testing.T) {
		fn(t, func() []transport.Transport { return []transport.Transport{overTCP()} })
	})
	t.Run("nats", func(t *testing.T) {
		url := natsURL(t)
		fn(t, func() []transport.Transport { return []transport.Transport{overNATS(t, url)} })
	})
	t.Run("both", func(t *testing.T) {
		url := natsURL(t)
		fn(t, func() []transport.Transport { return []transport.Transport{overTCP(), overNATS(t, url)} })
	})
}

// newSystem starts a system, which is shut down at the end of the test.
func newSystem(t testing.TB, cfg actor.Config) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := sys.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return sys
}

// everywhere runs a test with a caller on b itself, and with a caller on another system, over
// each kind of road. bind returns the caller's ref to an actor of b.
func everywhere(t *testing.T, run func(t *testing.T, at *actor.System, bind func(actor.Ref) actor.Ref)) {
	t.Run("local", func(t *testing.T) {
		world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, _, b *actor.System) {
			run(t, b, func(r actor.Ref) actor.Ref { return r })
		})
	})
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		run(t, b, func(r actor.Ref) actor.Ref { return a.Ref(r.String()) })
	})
}
