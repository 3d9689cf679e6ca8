package actor_test

// Cycles of actors that wait for each other, over several nodes.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Pass goes along a path. Each step is done by the actor that the previous step leads to: it
// has a verb and the actor to send to, or the time to wait. The answer is the name of the
// last actor, or why the request did not get there.
type Pass struct {
	actor.Returns[string]
	Path []string
}

var passKind = actor.Define("test.pass", func() *struct{} { return nil }, actor.Answer(func(_ *struct{}, ctx *actor.Context, m Pass) (string, error) {
	return follow(ctx, ctx, m.Path), nil
}))

// follow does the steps, with a context that descends from c.
func follow(c *actor.Context, ctx context.Context, path []string) string {
	if len(path) == 0 {
		return c.Self().String()
	}
	verb, what, _ := strings.Cut(path[0], " ")
	rest := Pass{Path: path[1:]}
	to := func() actor.Ref { return c.System().Ref(what) }
	switch verb {
	case "call":
		return outcome(actor.Call(ctx, to(), rest))
	case "keyed":
		return outcome(actor.Call(ctx, to(), rest, rpc.Key(fmt.Sprint(c.Self(), time.Now().UnixNano(), len(path))), rpc.WithHeader("a", "b")))
	case "service":
		return outcome(actor.Call(ctx, c.System().Service(what), rest))
	case "ask": // without waiting
		actor.Ask(c.Detached(), to(), rest)
		return "asked"
	case "tell":
		return outcome("told", actor.Tell(ctx, to(), rest))
	case "wait":
		d, _ := time.ParseDuration(what)
		time.Sleep(d)
		return follow(c, context.WithoutCancel(ctx), rest.Path)
	}
	return "no such verb " + verb
}

func outcome(v string, err error) string {
	switch {
	case err == nil:
		return v
	case errors.Is(err, actor.ErrCycle) && errors.Is(err, rpc.Cycle) && rpc.Ran(err) == rpc.NotRun:
		return "cycle"
	}
	return err.Error()
}

// ring is nodes a, b and c in a bubble. Actors x, y, z and so on are on each of them.
type ring struct {
	t     *testing.T
	nodes map[string]*actor.System
}

const ringTimeout = time.Minute

func withRing(t *testing.T, run func(r *ring)) {
	for _, road := range []string{"direct", "bus"} {
		t.Run(road, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
				r := &ring{t, map[string]*actor.System{}}
				for _, node := range []string{"a", "b", "c"} {
					r.nodes[node] = newSystem(t, actor.Config{Name: node, Registry: reg, Logger: quiet, Timeout: ringTimeout,
						Transports: []transport.Transport{net.Transport(road, road == "direct")}})
				}
				for _, name := range []string{"x", "y", "z"} {
					for _, sys := range r.nodes {
						spawn(t, sys, name, passKind)
					}
				}
				run(r)
			})
		})
	}
}

// want makes an actor follow a path, and checks the outcome, which must be there in less than
// a second.
func (r *ring) want(want, from string, path ...string) {
	r.t.Helper()
	began := time.Now()
	_, node, _ := strings.Cut(from, "@")
	got := outcome(actor.Call(r.t.Context(), r.nodes[node].Ref(from), Pass{Path: path}))
	if took := time.Since(began); got != want || took >= time.Second {
		r.t.Errorf("%s: %s: %q after %v, want %q", from, strings.Join(path, ", "), got, took, want)
	}
}

// A cycle of Calls is refused at once, whichever nodes it includes, and leaves nothing
// behind.
func TestCycleOverNodes(t *testing.T) {
	withRing(t, func(r *ring) {
		for range 2 {
			for _, path := range []string{
				"x@a call x@b call x@a",
				"x@a call x@b call x@c call x@a",
				"x@a call x@b call x@c call x@b",                   // the cycle does not include the first of the chain
				"x@a call x@b call y@b call x@a",                   // there are local calls on the other node,
				"x@a call y@a call x@b call x@a",                   // on this node, with the cycle ending at the first actor
				"x@a call y@a call x@b call y@a",                   // or at the last,
				"x@a call x@b call y@a call x@a",                   // before the last call,
				"x@a call y@a call x@b call y@b call z@a call x@a", // and on both nodes
				"x@a call x@b call y@a call y@b call z@a call y@a",
				"x@a keyed x@b keyed x@a",
				"x@a keyed y@a call x@b call x@a",
				"x@a call y@a keyed x@a",
			} {
				words := strings.Fields(path)
				var steps []string
				for step := range slices.Chunk(words[1:], 2) {
					steps = append(steps, step[0]+" "+step[1])
				}
				r.want("cycle", words[0], steps...)
			}
			r.want("x@a", "x@b", "call x@a")
			r.want("x@a", "x@c", "call x@b", "call x@a")
		}
		for name, sys := range r.nodes {
			if n := sys.Stats().RPC.Retries; n != 0 {
				r.t.Errorf("node %s made %d requests anew", name, n)
			}
		}
	})
}

// If an actor waits for another one that does not wait for it, there is no cycle.
func TestNoCycleOverNodes(t *testing.T) {
	withRing(t, func(r *ring) {
		for _, row := range [][]string{
			{"asked", "x@a", "ask x@b", "call x@a"},
			{"told", "x@a", "tell x@b", "call x@a"},
			{"asked", "x@a", "call x@b", "ask x@c", "call x@a"},
			{"told", "x@a", "call x@b", "tell x@c", "call x@a"},
			{"x@a", "x@a"},
		} {
			r.want(row[0], row[1], row[2:]...)
			synctest.Wait() // otherwise a request that still runs may wait for an actor of the next path
		}
	})
}

// both makes an actor do two things at the same time, and returns their outcomes.
func (r *ring) both(from *actor.System, each func(c *actor.Context, i int) string) (got [2]string, took time.Duration) {
	r.t.Helper()
	began := time.Now()
	puppet := spawn(r.t, from, "puppet", PuppetKind)
	defer from.Stop(r.t.Context(), puppet)
	_, err := actor.Call(r.t.Context(), puppet, run(func(c *actor.Context) (string, error) {
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() { got[i] = each(c, i) })
		}
		all.Wait()
		return "", nil
	}))
	if err != nil {
		r.t.Error(err)
	}
	return got, time.Since(began)
}

// Two paths that lead to one actor are not a cycle.
func TestDiamondOverNodes(t *testing.T) {
	withRing(t, func(r *ring) {
		for _, paths := range [][2][]string{
			{{"call x@b", "call x@c"}, {"call y@b", "call x@c"}},
			{{"call x@b", "call z@a"}, {"call x@c", "call z@a"}},
			{{"call x@b", "call z@a", "call z@c"}, {"call x@a", "call z@c"}},
		} {
			got, took := r.both(r.nodes["a"], func(c *actor.Context, i int) string { return follow(c, c, paths[i]) })
			_, last, _ := strings.Cut(paths[0][len(paths[0])-1], " ")
			if got != [2]string{last, last} || took >= time.Second {
				r.t.Errorf("%v: %q after %v", paths, got, took)
			}
		}
	})
}

// A handler waits for several Calls at the same time. Each of them may close a cycle, and the
// end of another one does not change that.
func TestCycleOfOneOfSeveralCalls(t *testing.T) {
	withRing(t, func(r *ring) {
		got, took := r.both(r.nodes["a"], func(c *actor.Context, i int) string {
			return follow(c, c, [][]string{{"call x@b", "wait 100ms", "call " + c.Self().String()}, {"call x@c"}}[i])
		})
		if got != [2]string{"cycle", "x@c"} || took >= time.Second {
			r.t.Errorf("%q after %v", got, took)
		}
	})
}

// If an actor has asked one actor without waiting and waits for another one, it is not part
// of a cycle with the first. The same applies to an actor that has cancelled, and to one
// whose handler has returned.
func TestCycleIsOfWaitsNotOfActors(t *testing.T) {
	for what, first := range map[string]func(c *actor.Context, to actor.Ref, back Pass) error{
		"asked": func(c *actor.Context, to actor.Ref, back Pass) error {
			actor.Ask(c.Detached(), to, back)
			return nil
		},
		"told": func(c *actor.Context, to actor.Ref, back Pass) error { return actor.Tell(c, to, back) },
		"given up": func(c *actor.Context, to actor.Ref, back Pass) error {
			ctx, cancel := context.WithTimeout(c, 10*time.Millisecond)
			defer cancel()
			if _, err := actor.Call(ctx, to, back); rpc.CodeOf(err) != rpc.Expired {
				return fmt.Errorf("not given up: %w", err)
			}
			return nil
		},
		"answered early": func(c *actor.Context, _ actor.Ref, back Pass) error {
			_, err := actor.Call(c, c.System().Ref("early@b"), back)
			return err
		},
		"left behind": func(c *actor.Context, to actor.Ref, back Pass) error {
			go func() { _, _ = actor.Call(c.Detached(), to, back) }()
			time.Sleep(time.Millisecond)
			return nil
		},
	} {
		for _, via := range [][]string{{"x@b", "call said@a"}, {"x@a", "call said@a"}, {"x@a", "call y@b", "call said@a"}} {
			t.Run(fmt.Sprint(what, via), func(t *testing.T) {
				withRing(t, func(r *ring) {
					sys := r.nodes["a"]
					var said []string
					mine := actor.Define("test.mine", func() *struct{} { return nil },
						actor.Answer(func(_ *struct{}, c *actor.Context, m Run) (string, error) { return m.F(c) }),
						actor.Answer(func(_ *struct{}, c *actor.Context, m Pass) (string, error) {
							said = append(said, m.Path...)
							return "", nil
						}))
					puppet := spawn(r.t, sys, "puppet", mine)
					spawn(r.t, sys, "said", actor.Define("test.said", func() *struct{} { return nil },
						actor.Answer(func(_ *struct{}, c *actor.Context, m Pass) (string, error) {
							_, err := actor.Call(context.WithoutCancel(c), puppet, Pass{Path: []string{"back"}})
							said = append(said, outcome("said", err))
							return "", nil
						})))
					back := Pass{Path: append([]string{"wait 50ms"}, via[1:]...)}
					spawn(r.t, r.nodes["b"], "early", actor.Define("test.early", func() *struct{} { return nil },
						actor.Answer(func(_ *struct{}, c *actor.Context, m Pass) (string, error) {
							if err := actor.Defer[string](c).Answer(""); err != nil {
								return "", err
							}
							return follow(c, context.WithoutCancel(c), m.Path), nil
						})))
					_, err := actor.Call(r.t.Context(), puppet, run(func(c *actor.Context) (string, error) {
						if err := first(c, c.System().Ref(via[0]), back); err != nil || what == "left behind" {
							return "", err
						}
						return actor.Call(c, c.System().Ref("x@c"), Pass{Path: []string{"wait 500ms"}})
					}))
					if err != nil {
						r.t.Fatal(err)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					if !slices.Equal(said, []string{"back", "said"}) {
						r.t.Errorf("%q", said)
					}
				})
			})
		}
	}
}

// A request carries at most 16 waits. A cycle of more actors ends by its timeout. A shorter
// cycle at the end of a long chain is found.
func TestCycleAtTheEndOfALongChain(t *testing.T) {
	withRing(t, func(r *ring) {
		const n = 20
		var names []string
		for i := range n {
			node := []string{"a", "b", "c"}[i%3]
			names = append(names, fmt.Sprint("n", i, "@", node))
			spawn(r.t, r.nodes[node], fmt.Sprint("n", i), passKind)
		}
		path := func(length, back int) (steps []string) {
			for _, name := range names[1:length] {
				steps = append(steps, "call "+name)
			}
			return append(steps, "call "+names[back])
		}
		r.want("cycle", names[0], path(transport.MaxWaiting, 0)...)
		r.want("cycle", names[0], path(n, n-transport.MaxWaiting)...)
		r.want("cycle", names[0], path(n, n-2)...)
		began := time.Now()
		got := outcome(actor.Call(r.t.Context(), r.nodes["a"].Ref(names[0]), Pass{Path: path(transport.MaxWaiting+1, 0)}))
		if took := time.Since(began); !strings.Contains(got, "expired") || took != ringTimeout {
			r.t.Errorf("a cycle of too many: %s after %v", got, took)
		}
		r.want(names[0], names[0])
	})
}

// The chain of waits that a request carries is bounded, however many local calls it has
// passed, and it contains the latest ones.
func TestCycleBehindManyLocalCalls(t *testing.T) {
	withRing(t, func(r *ring) {
		var steps []string
		for i := range 200 {
			spawn(r.t, r.nodes["a"], fmt.Sprint("n", i), passKind)
			steps = append(steps, fmt.Sprint("call n", i, "@a"))
		}
		for _, back := range []string{"n199@a", "n186@a"} {
			r.want("cycle", "x@a", append(slices.Clip(steps), "call x@b", "call "+back)...)
		}
		r.want("x@c", "x@a", append(slices.Clip(steps), "call x@b", "call x@c")...)
	})
}

// A cycle through a service is refused if no other instance can handle the request.
func TestCycleViaService(t *testing.T) {
	withRing(t, func(r *ring) {
		spawn(r.t, r.nodes["b"], "server", passKind, actor.Expose("served"))
		spawn(r.t, r.nodes["a"], "client", passKind, actor.Expose("clients"))
		time.Sleep(time.Second) // until all nodes know each other
		r.want("cycle", "client@a", "service served", "call client@a")
		r.want("cycle", "client@a", "call server@b", "service clients")
		r.want("cycle", "client@a", "call x@a", "service clients")
		r.want("server@b", "client@a", "service served")
		spawn(r.t, r.nodes["c"], "other", passKind, actor.Expose("clients"))
		time.Sleep(time.Second)
		for range 8 {
			r.want("other@c", "client@a", "call server@b", "service clients")
			r.want("other@c", "client@a", "call x@a", "service clients")
		}
	})
}

// Cycles are found over real TCP connections, too.
func TestCycleOverTCP(t *testing.T) {
	a, b := pair(t, func() []transport.Transport { return []transport.Transport{overTCP()} })
	spawn(t, a, "x", passKind)
	spawn(t, b, "x", passKind)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 3 {
		if got := outcome(actor.Call(ctx, a.Ref("x"), Pass{Path: []string{"call x@b", "call x@a"}})); got != "cycle" {
			t.Fatal(got)
		}
		if got := outcome(actor.Call(ctx, b.Ref("x"), Pass{Path: []string{"call x@a"}})); got != "x@a" {
			t.Fatal(got)
		}
	}
}
