package actor_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Run and Note have the actor run a function of the test: local only.
type Run struct {
	actor.Returns[string]
	F func(*actor.Context) (string, error) `msgpack:"-" json:"-"`
}
type Note struct {
	F func(*actor.Context) error `msgpack:"-" json:"-"`
}

// Puppet does what it is told. N counts what it handled since it was made.
type Puppet struct{ N int }

var PuppetKind = actor.Define("test.puppet", func() *Puppet { return new(Puppet) },
	actor.Answer(func(p *Puppet, ctx *actor.Context, m Run) (string, error) { p.N++; return m.F(ctx) }),
	actor.Handle(func(p *Puppet, ctx *actor.Context, m Note) error { p.N++; return m.F(ctx) }),
	actor.Answer(func(p *Puppet, ctx *actor.Context, m Count) (int, error) { return p.N, nil }))

type Count struct{ actor.Returns[int] }

func run(f func(*actor.Context) (string, error)) Run { return Run{F: f} }
func note(f func(*actor.Context)) Note {
	return Note{F: func(ctx *actor.Context) error { f(ctx); return nil }}
}

func spawn(t testing.TB, sys *actor.System, name string, kind *actor.Kind, opts ...actor.SpawnOption) actor.Ref {
	t.Helper()
	ref, err := sys.Spawn(name, kind, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func wantErr(t testing.TB, what string, err error, code rpc.Code, ran rpc.Verdict) {
	t.Helper()
	if rpc.CodeOf(err) != code || rpc.Ran(err) != ran {
		t.Errorf("%s: %v, ran: %v; want %v, %v", what, err, rpc.Ran(err), code, ran)
	}
}

// plug makes an actor's handler wait, so that its mailbox fills, until the returned
// function is called.
func plug(t testing.TB, ref actor.Ref) (unplug func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { close(entered); <-leave })); err != nil {
		t.Fatal(err)
	}
	<-entered
	return sync.OnceFunc(func() { close(leave) })
}

// small is a mailbox of n messages.
func small(n int, p mailbox.Policy) actor.SpawnOption {
	return actor.Mailbox(mailbox.Config{Capacity: n, Policy: p})
}

// world runs a test in a bubble with two systems on roads in memory, each "direct" or
// "bus": when it returns, every goroutine of theirs must have ended.
func world(t *testing.T, roads []string, run func(t *testing.T, net *memnet.Network, a, b *actor.System), change ...func(*actor.Config)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
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

func eachMemRoad(t *testing.T, run func(t *testing.T, a, b *actor.System)) {
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}, "both": {"direct", "bus"}} {
		t.Run(name, func(t *testing.T) {
			world(t, roads, func(t *testing.T, _ *memnet.Network, a, b *actor.System) { run(t, a, b) })
		})
	}
}

// letters collects dead letters.
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

// isOverloaded reports whether some cause of err is Overloaded.
func isOverloaded(err error) bool { return errors.Is(err, rpc.Overloaded) }
