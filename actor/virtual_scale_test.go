package actor_test

// What many virtual actors cost: memory for each, and the time of a first call.

import (
	"context"
	"strconv"
	"syscall"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	claims "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/registry/static"
	states "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/natsbus"
)

// stayingKind is a virtual kind whose actors stay for ever, and storedKind one that is stored.
var (
	stayingKind = actor.Define("counter", func() *counter { return new(counter) }, actor.Answer((*counter).total)).With(actor.Virtual())
	storedKind  = actor.Define("counter", func() *kept { return new(kept) }, actor.Answer((*kept).total)).
			With(actor.Virtual(), actor.Stored(func(k *kept) *kept { return k }))
)

// kept is the state of a stored actor that counts its requests.
type kept struct{ N int }

func (k *kept) total(*actor.Context, total) (int, error) { k.N++; return k.N, nil }

// activate makes a call of each of n actors, whose ids are numbers.
func activate(t testing.TB, sys *actor.System, kind *actor.Kind, n int) {
	t.Helper()
	for i := range n {
		if _, err := actor.Call(t.Context(), sys.Virtual(kind, strconv.Itoa(i)), total{}); err != nil {
			t.Fatal(err)
		}
	}
}

// heapAtRest is the memory in use when the clean-ups have run of what the garbage collector has found.
func heapAtRest() int {
	for last := heap(); ; {
		now := heap()
		if now > last-4096 {
			return now
		}
		last = now
	}
}

// An activation that is idle takes little memory. All is counted: its state of 8 bytes, its name, its entry in the
// table of actors, and what the node knows of where it is; of a stored one, after one request was committed, also
// the record in the store in memory and the outcome of the request.
func TestActivationMemory(t *testing.T) {
	for _, row := range []struct {
		name string
		kind *actor.Kind
		cfg  actor.Config
		n    int
		most int // bytes
	}{
		{"usual", stayingKind, actor.Config{}, 100_000, 560},
		{"with Idle", stayingKind.With(actor.Idle(time.Hour)), actor.Config{}, 100_000, 800},
		{"stored", storedKind, actor.Config{States: states.New(states.Config{})}, 50_000, 1750},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := row.cfg
			cfg.Kinds, cfg.Logger = []*actor.Kind{row.kind}, quiet
			sys := newSystem(t, cfg)
			activate(t, sys, row.kind, 1)
			before := heapAtRest()
			activate(t, sys, row.kind, row.n)
			each := (heapAtRest() - before) / row.n
			if begun := sys.Stats().Virtual.Begun; begun != uint64(row.n) {
				t.Errorf("%d activations", begun)
			}
			if t.Logf("%d B", each); each > row.most {
				t.Errorf("an idle activation takes %d B, want at most %d", each, row.most)
			}
		})
	}
}

// BenchmarkActivation compares the first call of a virtual actor, which claims and activates it, with later calls.
func BenchmarkActivation(b *testing.B) {
	for _, row := range []struct {
		name   string
		claims func(b *testing.B) placement.Claims
	}{
		{"no claims", func(*testing.B) placement.Claims { return nil }},
		{"claims in memory", func(*testing.B) placement.Claims { return memory.New() }},
		{"claims in NATS", natsClaims},
	} {
		cfg := actor.Config{Kinds: []*actor.Kind{stayingKind}, Logger: quiet}
		if cfg.Claims = row.claims(b); cfg.Claims != nil {
			cfg.Name, cfg.Registry = "a", static.New()
			cfg.Transports = []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}
		}
		sys, next := newSystem(b, cfg), 0
		call := func(b *testing.B, id int) {
			if _, err := actor.Call(context.Background(), sys.Virtual(stayingKind, strconv.Itoa(id)), total{}); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(row.name+"/first call", func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				call(b, next)
				next++
			}
		})
		b.Run(row.name+"/later call", func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				call(b, i%min(next, 1000))
			}
		})
	}
}

// reportCPU returns a function that reports the processor time of this process for each operation since then.
func reportCPU(b *testing.B) func() {
	used := func() (d int64) {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	begun := used()
	return func() { b.ReportMetric(float64(used()-begun)/1e3/float64(b.N), "cpu-µs/op") }
}

// natsClaims returns claims in a bucket with one replica, of a server in this process.
func natsClaims(b *testing.B) placement.Claims {
	nc, err := natsbus.Connect(b.Context(), natsURL(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	held, err := claims.Open(b.Context(), js, claims.Config{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	return held
}
