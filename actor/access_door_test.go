package actor

// The guarded actors of the tests of access lists, and the three nodes that use them.

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of the guarded actors.
type (
	openDoor struct{ Returns[string] }
	ringDoor struct{ Returns[string] }
	knock    struct{ N int }
	slowJob  struct{ Returns[string] }
	touchy   struct {
		Returns[string]
		Secret secret
	}
	secret struct{ text string }
)

func (openDoor) WireName() string { return "test.door.Open" }

func (ringDoor) WireName() string { return "test.door.Ring" }

func (touchy) WireName() string { return "test.door.Touchy" }

// decoded counts the secrets that were decoded.
var decoded struct {
	sync.Mutex
	n int
}

func (s secret) MarshalText() ([]byte, error) { return []byte(s.text), nil }

func (s *secret) UnmarshalText(b []byte) error {
	decoded.Lock()
	defer decoded.Unlock()
	decoded.n++
	s.text = string(b)
	return nil
}

// door is the state of a guarded actor. It notes who sent what.
type door struct {
	finish chan struct{} // lets a slow job end

	mu        sync.Mutex // guards what follows
	came      []string
	producing int // streams whose producer runs
}

// enter notes a visit, and returns what.
func (d *door) enter(ctx *Context, what string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.came = append(d.came, what+" by "+ctx.Principal()+" of "+ctx.Node())
	return what
}

// visits returns the visits since the last call.
func (d *door) visits() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	came := d.came
	d.came = nil
	return came
}

// produces counts the producers of streams that run, and returns their number. n is 1 when one
// begins, -1 when it ends, and 0 to ask.
func (d *door) produces(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.producing += n
	return d.producing
}

// doorKind is a kind with d as its state, and a handler for each operation that rules can
// allow.
func doorKind(d *door) *Kind {
	return Define("door", func() *door { return d },
		Answer(func(d *door, ctx *Context, _ openDoor) (string, error) { return d.enter(ctx, "open"), nil }),
		Answer(func(d *door, ctx *Context, _ ringDoor) (string, error) { return d.enter(ctx, "ring"), nil }),
		Answer(func(d *door, ctx *Context, m touchy) (string, error) { return d.enter(ctx, m.Secret.text), nil }),
		Answer(func(d *door, ctx *Context, _ slowJob) (string, error) { <-d.finish; return d.enter(ctx, "slow"), nil }),
		Handle(func(d *door, ctx *Context, m knock) error { d.enter(ctx, "knock"); return nil }),
		Produce(func(d *door, ctx *Context, _ ticks) (iter.Seq2[int, error], error) {
			d.enter(ctx, "stream")
			return func(yield func(int, error) bool) {
				d.produces(1)
				defer d.produces(-1)
				for n := 0; yield(n, nil); n++ {
					select {
					case <-ctx.Done():
						return
					case <-time.After(time.Second):
					}
				}
			}, nil
		}))
}

// guests are three nodes. b has the actors; at b, the principal of a is "by one" and that of
// c is "by two".
type guests struct {
	a, b, c *System
	door    *door
	log     *LineLog
}

// withGuests runs a test in a bubble with guests. change changes the configuration of b.
func withGuests(t *testing.T, run func(t *testing.T, g guests), change ...func(*Config)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string, log slog.Handler, roads ...string) *System {
			cfg := Config{Name: name, Registry: reg, Logger: slog.New(log), Principals: func(road string, _ transport.Peer) string { return "by " + road }}
			for _, road := range roads {
				cfg.Transports = append(cfg.Transports, net.Transport(road, true))
			}
			if name == "b" {
				for _, fn := range change {
					fn(&cfg)
				}
			}
			sys, err := NewSystem(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
			return sys
		}
		g := guests{door: &door{finish: make(chan struct{}, 100)}, log: new(LineLog)}
		g.a, g.b, g.c = start("a", slog.DiscardHandler, "one"), start("b", g.log, "one", "two"), start("c", slog.DiscardHandler, "two")
		if _, err := g.b.Spawn("door", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		if _, err := g.b.Spawn("jobs", QueueKind[int]("jobs", queue.Config{})); err != nil {
			t.Fatal(err)
		}
		run(t, g)
	})
}

// setAccess sets the rules of b.
func (g guests) setAccess(t *testing.T, r access.Rules) {
	t.Helper()
	if err := g.b.SetAccess(r); err != nil {
		t.Fatal(err)
	}
}

// wantDenied checks that err is Denied and NotRun.
func wantDenied(t *testing.T, what string, err error) {
	t.Helper()
	if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("%s: %v, want denied, not run", what, err)
	}
}

// byOne allows everything to a's principal, and nothing to others.
var byOne = access.Rules{List: []access.Rule{{Effect: access.Allow, Principals: []string{"by one"}}}, Default: access.Deny}

// verbs has a function for each operation, which tries it once from a system.
var verbs = map[access.Op]func(ctx context.Context, s *System) error{
	access.Call: func(ctx context.Context, s *System) error {
		_, err := Call(ctx, s.Ref("door@b"), openDoor{})
		return err
	},
	access.Send: func(ctx context.Context, s *System) error { return Tell(ctx, s.Ref("door@b"), knock{}, rpc.Acked()) },
	access.Stream: func(ctx context.Context, s *System) error {
		for _, err := range Stream(ctx, s.Ref("door@b"), ticks{}) {
			return err
		}
		return nil
	},
	access.Push: func(ctx context.Context, s *System) error { return Push(ctx, s.Ref("jobs@b"), 1) },
	access.Pull: func(ctx context.Context, s *System) error {
		_, err := Pull[int](ctx, s.Ref("jobs@b"), Wait(0))
		return err
	},
	access.Manage: func(ctx context.Context, s *System) error {
		_, err := PurgeQueue[int](ctx, s.Ref("jobs@b"))
		return err
	},
	access.Submit: func(ctx context.Context, s *System) error {
		_, err := Submit(ctx, s.Ref("door@b"), openDoor{})
		return err
	},
}
