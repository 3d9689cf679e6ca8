package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/tcp"
)

// askers is how many callers ask where another quantity varies.
const askers = 64

// largeAskers is how many do so where messages get large: each has one under way.
const largeAskers = 4

// curves are all, in the order in which they are measured and shown.
func curves() []curve {
	callers := []int{1, 4, 16, 64, 256, 1024, 4096}
	sizes := []int{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20}
	crowds := []int{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000}
	peers := []int{1, 2, 5, 10, 20, 50, 100, 200}
	one, each := func(int) int { return 1 }, func(x int) int { return x }
	byCallers := func(c *circle, x int) rig { return c.asks(x, 64) }
	bySize := func(c *circle, x int) rig { return c.asks(largeAskers, x) }
	asked := func(c *circle, _ int) rig { return c.asks(askers, 64) }
	told := func(c *circle, _ int) rig { return c.tells() }
	overTCP := func(*env) (*nodes, error) { return overTCP() }
	return []curve{
		{name: "callers", title: "Asks of 64 bytes to one actor", xLabel: "callers", lines: []line{
			{"same node", callers, of(here, one, byCallers)},
			{"TCP", callers, of(away(overTCP), one, byCallers)},
			{"NATS", callers, of(away(overNATS), one, byCallers)},
		}},
		{name: "payload", title: fmt.Sprintf("Asks of %d callers, so many bytes there and back", largeAskers), xLabel: "size of a message", bytes: true, lines: []line{
			{"TCP", sizes, of(away(overTCP), one, bySize)},
			{"NATS", sizes, of(away(overNATS), one, bySize)},
		}},
		{name: "actors", title: fmt.Sprintf("Messages to many actors in turn: tells of 1 sender, asks of %d", askers), xLabel: "actors", lines: []line{
			{"tells, same node", crowds, of(here, each, told)},
			{"asks, same node", crowds, of(here, each, asked)},
			{"tells, TCP", crowds, of(away(overTCP), each, told)},
			{"asks, TCP", crowds, of(away(overTCP), each, asked)},
		}},
		{name: "nodes", title: fmt.Sprintf("Asks of %d callers on one node to others in turn, all in one process", askers), xLabel: "nodes that are asked", lines: []line{
			{"in memory", peers, of(greeted(star(memRoad)), each, asked)},
			{"TCP", peers, of(greeted(star(tcpRoad)), each, asked)},
		}},
	}
}

// of makes the rig of a line: actors, as many as x stands for, and what sends to them.
func of(start starting, actors func(x int) int, rigOf func(c *circle, x int) rig) func(*env, int) (rig, error) {
	return func(e *env, x int) (rig, error) {
		c, err := start(e, actors(x))
		if err != nil {
			return nil, err
		}
		return rigOf(c, x), nil
	}
}

// circle is actors that get messages in turn.
type circle struct {
	refs  []actor.Ref
	asked *tally
	told  *arrivals
	burst int
	stop  func()
}

// member is one of them.
type member struct{ of *circle }

func (m *member) echo(_ *actor.Context, q echo) (echoed, error) {
	m.of.asked.add()
	return echoed{q.Data}, nil
}
func (m *member) notice(*actor.Context, notice) error { m.of.told.addShared(); return nil }

func newCircle(n, burst int, stop func(), spawn func(name string, k *actor.Kind) (actor.Ref, error)) (*circle, error) {
	c := &circle{refs: make([]actor.Ref, n), asked: new(tally), told: newArrivals(), burst: burst, stop: stop}
	kind := actor.Define("bench.member", func() *member { return &member{c} },
		actor.Answer((*member).echo), actor.Handle((*member).notice))
	for i := range c.refs {
		var err error
		if c.refs[i], err = spawn("m"+strconv.Itoa(i), kind); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// starting starts n actors somewhere.
type starting func(e *env, n int) (*circle, error)

// here starts them on the node of the sender.
func here(_ *env, n int) (*circle, error) {
	sys, err := actor.NewSystem(actor.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	return newCircle(n, localBurst, down(sys), func(name string, k *actor.Kind) (actor.Ref, error) { return sys.Spawn(name, k) })
}

// away starts them on one other node.
func away(road func(*env) (*nodes, error)) starting {
	return func(e *env, n int) (*circle, error) {
		both, err := road(e)
		if err != nil {
			return nil, err
		}
		c, err := newCircle(n, remoteBurst, both.close, func(name string, k *actor.Kind) (actor.Ref, error) {
			_, err := both.server.Spawn(name, k)
			return both.client.Ref(name + "@server"), err
		})
		if err == nil {
			_, err = both.spawn("far") // opens the link
		}
		if err != nil {
			both.close()
		}
		return c, err
	}
}

// walker chooses whom to send to next: all in turn, each time far from the last.
type walker struct {
	at, of int
	_      [48]byte // a cache line of its own
}

// stride has no divisor in common with the numbers of actors and nodes here.
const stride = 7_654_321

func (w *walker) next() int {
	w.at = (w.at + stride) % w.of
	return w.at
}

// walkers start at different places.
func walkers(n, of int) []walker {
	all := make([]walker, n)
	for i := range all {
		all[i] = walker{at: i * of / n, of: of}
	}
	return all
}

// asks makes a rig of callers that each send size bytes and get as many.
func (c *circle) asks(callers, size int) rig {
	ctx, data, turn := context.Background(), make([]byte, size), walkers(callers, len(c.refs))
	return &asks{callers: callers, executed: c.asked, stop: c.stop,
		do: func(caller int) error { return reply(actor.Call(ctx, c.refs[turn[caller].next()], echo{Data: data})) }}
}

func (c *circle) tells() rig {
	ctx, data, turn := context.Background(), make([]byte, 64), walkers(1, len(c.refs))
	return &tells{producers: 1, burst: c.burst, arrived: c.told, stop: c.stop,
		do: func(int) error { return actor.Tell(ctx, c.refs[turn[0].next()], notice{Data: data}) }}
}

// star starts them on as many nodes, to be linked with that of the sender.
func star(newRoad func() func() transport.Transport) starting {
	return func(_ *env, n int) (*circle, error) {
		road, names := newRoad(), static.New()
		var all []*actor.System
		join := func(name string) (*actor.System, error) {
			sys, err := nodeNamed(name, road(), names)
			if err == nil {
				all = append(all, sys)
			}
			return sys, err
		}
		hub, err := join("hub")
		if err != nil {
			return nil, err
		}
		c, err := newCircle(n, remoteBurst, func() { down(all...)() }, func(name string, k *actor.Kind) (actor.Ref, error) {
			sys, err := join(name)
			if err != nil {
				return actor.Ref{}, err
			}
			_, err = sys.Spawn(name, k)
			return hub.Ref(name + "@" + name), err
		})
		if err != nil {
			down(all...)()
		}
		return c, err
	}
}

// greeted is start with all links open.
func greeted(start starting) starting {
	return func(e *env, n int) (*circle, error) {
		c, err := start(e, n)
		if err != nil {
			return nil, err
		}
		if err := c.greet(); err != nil {
			c.stop()
			return nil, err
		}
		return c, nil
	}
}

// greet has every actor answer once, which opens what links there are.
func (c *circle) greet() error {
	for _, ref := range c.refs {
		if _, err := actor.Call(context.Background(), ref, echo{Data: make([]byte, 64)}); err != nil {
			return err
		}
	}
	return nil
}

func tcpRoad() func() transport.Transport {
	return func() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }
}

// memRoad is a network of its own, in memory.
func memRoad() func() transport.Transport {
	net := memnet.New(memnet.Config{})
	return func() transport.Transport { return net.Transport("mem", true) }
}
