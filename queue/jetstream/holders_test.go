package jetstream_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// gate holds up a connection while it is locked.
type gate struct{ sync.RWMutex }

func (g *gate) Dial(network, addr string) (net.Conn, error) {
	c, err := net.Dial(network, addr)
	return gated{c, g}, err
}

type gated struct {
	net.Conn
	gate *gate
}

func (c gated) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.RLock()
	defer c.gate.RUnlock()
	return n, err
}

func (c gated) Write(b []byte) (int, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	return c.Conn.Write(b)
}

const lease = time.Second

// heldTwice makes two actors that serve one queue. The messages of the first do not reach
// NATS any more, so NATS has given an item of it to the second as well. The consumer of the
// first has extended its lease, so it still has the item.
func heldTwice(t *testing.T, meanwhile func(first actor.Delivery[Work])) (g *gate, first, second actor.Delivery[Work], at actor.Ref) {
	s, g := start(t, embedded.Config{}), new(gate)
	nc, err := s.Connect(nats.SetCustomDialer(g))
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	cfg := queue.Config{Lease: lease}
	a, b := spawn(t, system(t), js, cfg), spawn(t, system(t), connect(t, s), cfg)
	push(t, b, 1)
	first = pull(t, a, []string{"1:1"})[0]
	ok(t, first.Extend(t.Context(), time.Minute))
	g.Lock()
	meanwhile(first)
	return g, first, pull(t, b, []string{"1:2"}, actor.Wait(20*time.Second))[0], b
}

// When NATS has not heard from an actor for a lease, it gives the item to another actor. At
// most one Ack may succeed, however long the lease of the consumer is.
func TestOneAckCounts(t *testing.T) {
	for name, c := range map[string]struct {
		ack  func(t *testing.T, g *gate, first, second actor.Delivery[Work]) (error, error)
		want error // of the first
	}{
		"after the other": {func(t *testing.T, g *gate, first, second actor.Delivery[Work]) (error, error) {
			g.Unlock()
			other := second.Ack(t.Context())
			return first.Ack(t.Context()), other
		}, actor.ErrDone},
		"before the other": {func(t *testing.T, g *gate, first, second actor.Delivery[Work]) (error, error) {
			g.Unlock()
			err := first.Ack(t.Context())
			return err, second.Ack(t.Context())
		}, actor.ErrLeaseExpired},
		"when NATS has long heard of the first again": {func(t *testing.T, g *gate, first, second actor.Delivery[Work]) (error, error) {
			g.Unlock()
			ok(t, second.Extend(t.Context(), time.Minute))
			time.Sleep(lease) // meanwhile both tell NATS that they have the item
			err := first.Ack(t.Context())
			return err, second.Ack(t.Context())
		}, actor.ErrLeaseExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, first, second, at := heldTwice(t, func(actor.Delivery[Work]) {})
			err, other := c.ack(t, g, first, second)
			ok(t, other)
			if !errors.Is(err, c.want) {
				t.Errorf("the first ack: %v, want %v", err, c.want)
			}
			stats, err := actor.QueueStats[Work](t.Context(), at)
			if ok(t, err); stats.Depth != 0 || stats.InFlight != 0 {
				t.Errorf("afterwards: %+v", stats)
			}
		})
	}
}

// An Ack that NATS has not confirmed in time may count or not, so it never returns nil.
func TestAckThatIsNotConfirmedInTime(t *testing.T) {
	s, g := start(t, embedded.Config{}), new(gate)
	nc, err := s.Connect(nats.SetCustomDialer(g))
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	q := spawn(t, system(t), js, queue.Config{})
	const items = 50
	for n := range items {
		push(t, q, n)
	}
	var held []actor.Delivery[Work]
	for len(held) < items {
		ds, err := actor.Pull[Work](t.Context(), q, actor.Max(items))
		ok(t, err)
		held = append(held, ds...)
	}
	g.Lock()
	defer g.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for _, d := range held {
		all.Go(func() {
			if err := d.Ack(ctx); rpc.Ran(err) != rpc.Unknown {
				t.Errorf("%v: ran: %v", err, rpc.Ran(err))
			}
		})
	}
	all.Wait()
}

// An ack reaches NATS when another consumer has the item by then. If it is the first ack, it
// counts, and that of the other consumer is refused.
func TestFirstAckCounts(t *testing.T) {
	acked := make(chan error)
	g, _, second, _ := heldTwice(t, func(first actor.Delivery[Work]) {
		go func() {
			time.Sleep(lease / 2) // so that the ack is still outstanding when NATS may give the item to another
			acked <- first.Ack(t.Context())
		}()
	})
	g.Unlock()
	first, other := <-acked, second.Ack(t.Context())
	if first == nil && !errors.Is(other, actor.ErrDone) || first != nil && (rpc.Ran(first) != rpc.Unknown || other != nil && !errors.Is(other, actor.ErrDone)) {
		t.Errorf("the first ack: %v, the second: %v", first, other)
	}
}
