//go:build !race

package actortest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Note is a one-way message to a vault.
type Note struct{ N int }

func (*vault) note(*actor.Context, Note) error { return nil }

// tampered changes what all nodes send on all roads.
func tampered(w *actortest.World, verb transport.Verb, tamper func(e *transport.Envelope, send simulation.Sender) (uint64, error)) {
	w.Cluster(actortest.ClusterConfig{
		Nodes: 2,
		Setup: func(n *actortest.Node) error {
			d := n.Disk()
			_, err := n.Spawn("vault", actor.Define("test.vault", func() *vault { return &vault{d, onDisk(d)} }, actor.Answer((*vault).put), actor.Handle((*vault).note)))
			return err
		},
		Config: func(_ *actortest.Node, cfg *actor.Config) {
			for _, road := range cfg.Transports {
				road.(*simulation.Gate).Tamper = func(e *transport.Envelope, send simulation.Sender) (uint64, error) {
					if e.Verb != verb {
						return send(e)
					}
					copied := *e
					return tamper(&copied, send)
				}
			}
		},
	})
	w.Callers(3, func(c *actortest.Caller) {
		for i := range 10 {
			_ = actortest.Tell(c, "vault@"+c.Pick().Name(), Note{i})
		}
		_, _ = actortest.Call(c, "vault@"+c.Pick().Name(), Put{Amount: 1})
	})
}

// Each judge finds a promise that is broken on purpose, and says which seed it was.
func TestJudges(t *testing.T) {
	for _, j := range []struct {
		name, says string
		describe   func(t *testing.T, w *actortest.World)
	}{
		{"ran once", "ran 2 times", func(_ *testing.T, w *actortest.World) {
			tampered(w, transport.VerbRequest, func(e *transport.Envelope, send simulation.Sender) (uint64, error) {
				second := *e
				second.Seq += 1 << 40
				_, _ = send(&second)
				return send(e)
			})
		}},
		{"verdict true", "was told that it never would", func(_ *testing.T, w *actortest.World) {
			tampered(w, transport.VerbReply, func(e *transport.Envelope, send simulation.Sender) (uint64, error) {
				return send(&transport.Envelope{Verb: e.Verb, Seq: e.Seq, Grant: e.Grant, Code: uint16(rpc.Expired), Flags: transport.FlagNotRun})
			})
		}},
		{"order", "one-way message", func(_ *testing.T, w *actortest.World) {
			var mu sync.Mutex
			kept := map[[16]byte]*transport.Envelope{}
			tampered(w, transport.VerbTell, func(e *transport.Envelope, send simulation.Sender) (uint64, error) {
				e.Body = append([]byte(nil), e.Body...)
				mu.Lock()
				first := kept[e.Grant]
				kept[e.Grant] = e
				if first != nil {
					delete(kept, e.Grant)
				}
				mu.Unlock()
				if first == nil {
					return 0, nil
				}
				if first.Seq+1 == e.Seq {
					first.Seq, e.Seq = e.Seq, first.Seq
					_, _ = send(e)
					return send(first)
				}
				_, _ = send(first)
				return send(e)
			})
		}},
		{"no silence", "after the last fault", func(_ *testing.T, w *actortest.World) {
			w.Cluster(actortest.ClusterConfig{Config: func(n *actortest.Node, cfg *actor.Config) {
				if n.Name() == "n1" { // it answers nobody
					cfg.Access = access.Rules{Default: access.Deny}
				}
			}})
		}},
		{"nothing leaked", "blocked goroutines remain", func(_ *testing.T, w *actortest.World) {
			w.Cluster(actortest.ClusterConfig{Setup: func(*actortest.Node) error {
				go func() { <-make(chan int) }()
				return nil
			}})
		}},
		{"nothing outstanding", "requests are outstanding", func(_ *testing.T, w *actortest.World) {
			w.Invariant("it asks, and does not wait", func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
				time.AfterFunc(9*time.Minute, cancel)
				a, b := w.Node(0), w.Node(1)
				if _, err := b.Spawn("late", lateKind); err != nil {
					return err
				}
				actor.Ask(ctx, a.Ref("late@n1"), Put{})
				return nil
			})
		}},
		{"an invariant", `invariant "the sky is green": it is blue`, func(_ *testing.T, w *actortest.World) {
			w.Invariant("the sky is green", func() error { return errors.New("it is blue") })
		}},
		{"an error of the test", "the world is flat", func(_ *testing.T, w *actortest.World) {
			w.Callers(1, func(*actortest.Caller) { w.Errorf("the world is %s", "flat") })
		}},
		{"a node that cannot start", "no room", func(_ *testing.T, w *actortest.World) {
			w.Cluster(actortest.ClusterConfig{Setup: func(*actortest.Node) error { return errors.New("no room") }})
		}},
	} {
		t.Run(j.name, func(t *testing.T) {
			if os.Getenv(asPlanted) != "" {
				actortest.Simulate(t, 60, func(w *actortest.World) { j.describe(t, w) })
				return
			}
			if found := fresh(t, j.says); found == "" {
				t.Error("not found")
			} else {
				t.Logf("found by seed %s", found)
			}
		})
	}
}

// lateKind answers after a long time.
var lateKind = actor.Define("test.late", func() struct{} { return struct{}{} }, actor.Answer(func(_ struct{}, ctx *actor.Context, _ Put) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}))

// What a test does wrong with a simulation ends it and says what.
func TestSimulateMisuse(t *testing.T) {
	var left *actortest.World
	keep := func(w *actortest.World) { left = w }
	for _, m := range []struct {
		name, says string
		env        string
		do         func(t *testing.T)
	}{
		{"no seeds", "a simulation of 0 seeds", "", func(t *testing.T) { actortest.Simulate(t, 0, keep) }},
		{"a seed that is no number", `ACTORTEST_SEED="x7": there is no such seed`, actortest.SeedVariable + "=x7", func(t *testing.T) { actortest.Simulate(t, 1, keep) }},
		{"a seed of zero", `ACTORTEST_SEED="0": there is no such seed`, actortest.SeedVariable + "=0", func(t *testing.T) { actortest.Simulate(t, 1, keep) }},
		{"a negative seed", `ACTORTEST_SEED="-3": there is no such seed`, actortest.SeedVariable + "=-3", func(t *testing.T) { actortest.Simulate(t, 1, keep) }},
		{"seeds that are no number", `ACTORTEST_SEEDS="many": there is no such seed`, actortest.SeedsVariable + "=many", func(t *testing.T) { actortest.Simulate(t, 1, keep) }},
		{"in a bubble", "Simulate makes bubbles of its own", "", func(t *testing.T) {
			actortest.Bubble(t, func(t *testing.T) { actortest.Simulate(t, 1, keep) })
		}},
		{"a World after its end", "World.Node of seed 1 is called after its end", "", func(t *testing.T) {
			actortest.Simulate(t, 1, keep)
			left.Node(0)
		}},
		{"a description after the start", "World.Callers of seed 1 is called while it runs", "", func(t *testing.T) {
			actortest.Simulate(t, 1, func(w *actortest.World) {
				w.Invariant("", func() error { w.Callers(1, func(*actortest.Caller) {}); return nil })
			})
		}},
		{"a node before the start", "World.Node of seed 1 is called before it runs", "", func(t *testing.T) {
			actortest.Simulate(t, 1, func(w *actortest.World) { w.Node(0) })
		}},
		{"negative nodes", "a cluster of -2 nodes", "", func(t *testing.T) {
			actortest.Simulate(t, 1, func(w *actortest.World) { w.Cluster(actortest.ClusterConfig{Nodes: -2}) })
		}},
		{"a node is killed that is down", "node n0 is killed, and it is down", "", func(t *testing.T) {
			actortest.Simulate(t, 1, func(w *actortest.World) {
				w.Invariant("", func() error { w.Node(0).Kill(); w.Node(0).Kill(); return nil })
			})
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			if os.Getenv(asPlanted) != "" {
				m.do(t)
				return
			}
			out, err := inProcess(t, m.env)
			if err == nil || !strings.Contains(out, m.says) {
				t.Errorf("it ends with %v, and says\n%s\nwant %q in it", err, out, m.says)
			}
		})
	}
}
