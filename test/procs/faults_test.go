//go:build unix

package procs

import (
	"fmt"
	"slices"
	"time"
)

// fault is a kind of thing that goes wrong.
type fault struct {
	name    string
	busOnly bool          // no traffic goes over TCP
	panics  bool          // callers ask for panics
	kills   bool          // the server
	records records       // what the servers keep beyond their death
	half    bool          // injected half as often, because it takes long
	client  []int         // the client's NATS nodes, the first one first; nil: 0, 1, 2
	servers []int         // the servers'; nil: 1, 2, 0
	longest time.Duration // that it stops the client
	// inject does it once, and undoes it.
	inject func(w *world, i int) error
}

var faults = []fault{
	{name: "kill client", inject: killClient},
	{name: "kill server", kills: true, inject: killServer},
	{name: "kill server, durable", kills: true, records: inStore, inject: killServer},
	{name: "kill server, transactions", kills: true, records: inTransaction, inject: killServer},
	{name: "replace server", kills: true, half: true, inject: replaceServer},
	{name: "replace server, durable", kills: true, half: true, records: inStore, inject: replaceServer},
	{name: "replace server, transactions", kills: true, half: true, records: inTransaction, inject: replaceServer},
	{name: "stop client", inject: stopClient, longest: longStop},
	{name: "stop server", inject: stopServer},
	// In these the client goes to and fro between two nodes and the server stays at the
	// third, or the other way round.
	{name: "kill client's NATS node", busOnly: true, client: []int{0, 2}, servers: []int{1}, inject: killNode(theClient)},
	{name: "kill server's NATS node", busOnly: true, client: []int{1}, servers: []int{0, 2}, inject: killNode(serverA)},
	{name: "kill third NATS node", busOnly: true, client: []int{0}, servers: []int{1}, inject: killNode(anyone)},
	{name: "stop client's NATS node", busOnly: true, client: []int{0}, servers: []int{1}, inject: stopNode},
	{name: "TCP reset", inject: resetTCP},
	{name: "TCP blackhole", inject: blackhole(toServer, toClient)},
	{name: "TCP blackhole one way", inject: oneWay},
	{name: "handler panic", panics: true, inject: awaitPanic},
	{name: "both roads at once", client: []int{0, 2}, servers: []int{1}, inject: bothRoads},
}

// nodes returns which, or these if there are none.
func nodes(which []int, these ...int) []int {
	if which == nil {
		return these
	}
	return which
}

func killClient(w *world, _ int) error {
	w.begin()
	w.judge.killed[w.client.life] = time.Now()
	w.kill(w.client)
	return w.startClient()
}

func killServer(w *world, _ int) error {
	w.begin()
	w.judge.taken = time.Now().UnixNano()
	w.kill(w.a)
	return w.startA()
}

// replaceServer starts a successor of a server that is not dead but stopped, which then
// wakes: two of one name, and the elder has requests to go on with.
func replaceServer(w *world, _ int) error {
	w.begin()
	w.judge.taken = time.Now().UnixNano()
	elder := w.a
	defer w.kill(elder)
	if err := elder.stop(); err != nil {
		return err
	}
	if err := w.startA(); err != nil {
		return err
	}
	if err := w.well(); err != nil {
		return err
	}
	if err := elder.cont(); err != nil {
		return err
	}
	return w.well()
}

const longStop = 2500 * time.Millisecond

// stopFor draws how long a process is stopped: mostly less than its links outlive,
// sometimes more, and now and then longer than its sessions do.
func stopFor(w *world, i int) time.Duration {
	switch {
	case i%20 == 10:
		return w.span(lease+500*time.Millisecond, longStop)
	case i%7 == 3:
		return w.span(4*heartbeat, 6*heartbeat)
	}
	return w.span(50*time.Millisecond, 300*time.Millisecond)
}

func stop(w *world, c *child, d time.Duration) error {
	w.begin()
	if err := c.stop(); err != nil {
		return err
	}
	time.Sleep(d)
	return c.cont()
}

func stopClient(w *world, i int) error { return stop(w, w.client, stopFor(w, i)) }
func stopServer(w *world, i int) error { return stop(w, w.a, stopFor(w, i)) }

// killNode kills the NATS node where a process is, or with anyone one where none is.
func killNode(whose who) func(w *world, i int) error {
	return func(w *world, _ int) error {
		n := w.nodeOf(whose)
		if n == nil {
			return fmt.Errorf("no such NATS node; they are at %v", w.judge.at)
		}
		w.begin()
		w.kill(n.child)
		if err := w.well(); err != nil { // on the two that are left
			return err
		}
		return n.start()
	}
}

func (w *world) nodeOf(whose who) *natsNode {
	i := slices.IndexFunc(w.nodes[:], func(n *natsNode) bool {
		port := uint64(n.role.Port)
		if whose == anyone {
			return port != w.judge.at[theClient] && port != w.judge.at[serverA]
		}
		return port == w.judge.at[whose]
	})
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}

// stopNode holds up what the client sends and gets by the bus, and lets it go on late.
func stopNode(w *world, _ int) error {
	return stop(w, w.nodeOf(theClient).child, w.span(50*time.Millisecond, 600*time.Millisecond))
}

// onTCP waits until traffic goes over TCP.
func onTCP(w *world) error {
	before := w.proxy.moved.Load()
	return w.await("no traffic on TCP", func() bool { return w.proxy.moved.Load() > before+4<<10 })
}

func resetTCP(w *world, _ int) error {
	if err := onTCP(w); err != nil {
		return err
	}
	w.begin()
	w.proxy.reset()
	return nil
}

// blackhole cuts TCP for less, or for longer, than its links outlive.
func blackhole(d ...direction) func(w *world, i int) error {
	return func(w *world, i int) error {
		if err := onTCP(w); err != nil {
			return err
		}
		w.begin()
		w.proxy.hold(d...)
		defer w.proxy.release(d...)
		if i%2 == 0 {
			time.Sleep(w.span(50*time.Millisecond, 2*heartbeat))
			return nil
		}
		return w.well()
	}
}

func oneWay(w *world, i int) error { return blackhole(direction(i/2%2))(w, i) }

// awaitPanic waits for the next; the callers ask for them.
func awaitPanic(w *world, i int) error {
	w.begin()
	return w.await("no handler panics", func() bool { return w.judge.tally.panics > i })
}

// bothRoads takes TCP and the client's NATS node away at the same moment.
func bothRoads(w *world, i int) error {
	if err := onTCP(w); err != nil {
		return err
	}
	n := w.nodeOf(theClient)
	w.begin()
	if i%2 == 0 {
		w.proxy.reset()
	} else {
		w.proxy.hold(toServer, toClient)
		defer w.proxy.release(toServer, toClient)
	}
	w.kill(n.child)
	if err := w.well(); err != nil {
		return err
	}
	return n.start()
}
