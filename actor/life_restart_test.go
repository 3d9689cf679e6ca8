package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Bump adds to a counter. Its answer says how often the Bump of this ID was counted.
type Bump struct {
	actor.Returns[int]
	ID string
}

// effects counts what handlers did, over all starts of all nodes.
type effects struct {
	mu  sync.Mutex // guards what follows
	all map[string]int
}

func (e *effects) bump(id string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all[id]++
	return e.all[id]
}

// counter is a kind whose handlers take a little time, each a different one.
func (e *effects) counter() *actor.Kind {
	return actor.Define("test.counter", func() *struct{} { return new(struct{}) },
		actor.Answer(func(_ *struct{}, ctx *actor.Context, m Bump) (int, error) {
			time.Sleep(time.Duration(len(m.ID)%7) * time.Millisecond)
			return e.bump(m.ID), nil
		}))
}

// hosts sets up a node under test: with an actor that exists only on it, and with an instance
// of a service.
func (e *effects) hosts(sys *actor.System) error {
	_, err := sys.Spawn("own", e.counter())
	if err == nil {
		_, err = sys.Spawn("shared", e.counter(), actor.Expose("counting"))
	}
	return err
}

// load calls an actor until stop is closed, and notes errors.
type load struct {
	calls, unknown, failed atomic.Int64
	first                  atomic.Pointer[error]
}

func (l *load) run(sys *actor.System, e *effects, to actor.Ref, name string, pause time.Duration, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(pause):
		}
		id := fmt.Sprintf("%s/%d%s", name, i, strings.Repeat("x", i%7))
		n, err := actor.Call(context.Background(), to, Bump{ID: id})
		l.calls.Add(1)
		switch {
		case err == nil && n == 1:
			continue
		case err == nil:
			err = fmt.Errorf("%s ran %d times", id, n)
		case rpc.Ran(err) == rpc.Unknown:
			l.unknown.Add(1)
		}
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, &err)
	}
}

// judge fails the test if anything went wrong.
func (l *load) judge(t *testing.T, what string, atLeast int64) {
	t.Helper()
	first := error(nil)
	if p := l.first.Load(); p != nil {
		first = *p
	}
	if l.failed.Load() > 0 || l.calls.Load() < atLeast {
		t.Errorf("%s: %d calls, %d failed, %d of them unknown; the first: %v", what, l.calls.Load(), l.failed.Load(), l.unknown.Load(), first)
	}
	t.Logf("%s: %d calls, %d failed, %d of them unknown", what, l.calls.Load(), l.failed.Load(), l.unknown.Load())
}

// restarts restarts nodes b and c in turns, under load from a. No call may fail: for the
// service there is always an instance, and callers of an actor on one node wait for its
// return.
func restarts(t *testing.T, times, callers int, pause, away time.Duration, start func(name string, setup func(*actor.System) error) *actor.System) {
	e := &effects{all: map[string]int{}}
	a := start("a", nil)
	nodes := map[string]*actor.System{"b": start("b", e.hosts), "c": start("c", e.hosts)}
	service, single := new(load), new(load)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { service.run(a, e, a.Service("counting"), fmt.Sprint("service ", i), pause, stop) })
		wg.Go(func() { single.run(a, e, a.Ref("own@b"), fmt.Sprint("single ", i), pause, stop) })
	}
	for i := range times {
		time.Sleep(20 * pause)
		name := []string{"b", "c"}[i%2]
		if err := nodes[name].Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown %d of %s: %v", i, name, err)
		}
		time.Sleep(away)
		nodes[name] = start(name, e.hosts)
	}
	time.Sleep(20 * pause)
	close(stop)
	wg.Wait()
	service.judge(t, "service of two instances", int64(times*callers))
	single.judge(t, "actor on one node", int64(times*callers))
	for _, sys := range []*actor.System{a, nodes["b"], nodes["c"]} {
		if err := sys.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// Nodes are restarted gracefully under load. No call fails, and no outcome is unknown.
func TestGracefulRestarts(t *testing.T) {
	for _, roads := range [][]string{{"direct"}, {"bus"}, {"direct", "bus"}} {
		for _, away := range []time.Duration{0, 3 * time.Second} {
			t.Run(fmt.Sprint(roads, away), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
					restarts(t, 20, 8, 3*time.Millisecond, away, func(name string, setup func(*actor.System) error) *actor.System {
						cfg := actor.Config{Name: name, Registry: reg, Logger: quiet, Setup: setup}
						for _, road := range roads {
							cfg.Transports = append(cfg.Transports, net.Transport(road, road == "direct"))
						}
						sys, err := actor.NewSystem(cfg)
						if err != nil {
							t.Fatal(err)
						}
						return sys
					})
				})
			})
		}
	}
}

// A request never meets a node that does not have its actors yet: what Setup spawns is there
// before other nodes can send requests, however long Setup takes.
func TestSetupComesFirst(t *testing.T) {
	for _, roads := range [][]string{{"direct"}, {"bus"}, {"direct", "bus"}} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
				start := func(name string, setup func(*actor.System) error) (*actor.System, error) {
					cfg := actor.Config{Name: name, Registry: reg, Logger: quiet, Setup: setup}
					for _, road := range roads {
						cfg.Transports = append(cfg.Transports, net.Transport(road, road == "direct"))
					}
					return actor.NewSystem(cfg)
				}
				e := &effects{all: map[string]int{}}
				a, err := start("a", nil)
				if err != nil {
					t.Fatal(err)
				}
				results := make(chan error, 2)
				ask := func(to actor.Ref, id string) {
					_, err := actor.Call(t.Context(), to, Bump{ID: id})
					results <- err
				}
				b, err := start("b", func(sys *actor.System) error {
					if n, err := reg.Lookup(t.Context(), "b"); err != nil || n.Epoch != sys.Epoch() || len(n.Addrs)+len(n.Services) > 0 {
						t.Errorf("the name is claimed first, and nothing offered: %+v, %v", n, err)
					}
					go ask(a.Ref("own@b"), "early")
					time.Sleep(5 * time.Second)
					if len(results) > 0 {
						t.Error("it was answered before the node was set up")
					}
					if err := e.hosts(sys); err != nil {
						return err
					}
					if n, err := actor.Call(t.Context(), sys.Ref("own"), Bump{ID: "inside"}); n != 1 || err != nil {
						t.Errorf("a call within the node that is set up: %d, %v", n, err)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // until a has heard of it
				go ask(a.Service("counting"), "at once")
				for range 2 {
					if err := <-results; err != nil {
						t.Error(err)
					}
				}
				for _, sys := range []*actor.System{b, a} {
					if err := sys.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// When NewSystem returns, the system knows the services that exist.
func TestServicesAreKnownFromTheStart(t *testing.T) {
	for range 20 {
		bubble.Test(t, func(t *testing.T) {
			e := &effects{all: map[string]int{}}
			net, reg := memnet.New(memnet.Config{Seed: 1}), slowWatch{static.New()}
			start := func(name string, setup func(*actor.System) error) *actor.System {
				return newSystem(t, actor.Config{Name: name, Registry: reg, Logger: quiet, Setup: setup, Transports: []transport.Transport{net.Transport("direct", true)}})
			}
			start("b", e.hosts)
			if _, err := actor.Call(t.Context(), start("a", nil).Service("counting"), Bump{ID: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// slowWatch tells of changes late.
type slowWatch struct{ *static.Registry }

func (r slowWatch) Watch(ctx context.Context) (<-chan registry.Event, error) {
	in, err := r.Registry.Watch(ctx)
	out := make(chan registry.Event)
	go func() {
		defer close(out)
		for e := range in {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, err
}

// A start that fails leaves nothing behind, whichever step fails.
func TestFailedStartLeavesNothing(t *testing.T) {
	why := errors.New("no")
	for name, change := range map[string]func(*actor.Config, *memnet.Network){
		"Setup": func(c *actor.Config, _ *memnet.Network) {
			c.Setup = func(sys *actor.System) error {
				ref, err := sys.Spawn("x", PuppetKind)
				if err == nil {
					_, err = actor.Call(context.Background(), ref, Count{})
				}
				return errors.Join(err, why)
			}
		},
		"store": func(c *actor.Config, _ *memnet.Network) { c.Store = brokenStore{why} },
		"road": func(c *actor.Config, net *memnet.Network) {
			c.Transports = append(c.Transports, brokenRoad{net.Transport("bus", false), why})
		},
		"Setup that shuts down": func(c *actor.Config, _ *memnet.Network) {
			c.Setup = func(sys *actor.System) error { return errors.Join(sys.Shutdown(context.Background()), why) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { // it finds goroutines that are left behind
				net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
				cfg := actor.Config{Name: "a", Registry: reg, Logger: quiet, Transports: []transport.Transport{net.Transport("direct", true)}}
				bad := cfg
				change(&bad, net)
				if sys, err := actor.NewSystem(bad); sys != nil || !errors.Is(err, why) {
					t.Errorf("%v, %v", sys, err)
				}
				if n, err := reg.Lookup(t.Context(), "a"); err == nil {
					t.Errorf("left in the registry: %+v", n)
				}
				cfg.Transports = []transport.Transport{net.Transport("direct", true)}
				newSystem(t, cfg)
			})
		})
	}
}

// brokenRoad is a road that cannot be started.
type brokenRoad struct {
	transport.Transport
	err error
}

func (r brokenRoad) Start(context.Context, transport.Local, func(transport.Link) transport.Receiver) (string, error) {
	return "", r.err
}
func (brokenRoad) Road() string { return "broken" }

// Done is closed when a system has ended. Err says why, unless somebody called Shutdown.
func TestDone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem(actor.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if sys.Err() != nil {
			t.Error(sys.Err())
		}
		synctest.Wait()
		select {
		case <-sys.Done():
			t.Error("it is over already")
		default:
		}
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-sys.Done()
		if sys.Err() != nil {
			t.Error(sys.Err())
		}
	})
}
