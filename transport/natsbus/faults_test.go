package natsbus_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// What is queued is sent in one message.
func TestOnePacketForAllThatIsReady(t *testing.T) {
	a, b := pair(t)
	before := b.Stats().PacketsIn
	const count = 300
	var queued *end
	_, err := a.Dial(t.Context(), b.end, func(l transport.Link) transport.Receiver {
		queued = a.newEnd(t, l)
		for i := range count {
			queued.send(uint64(i))
		}
		return queued
	})
	if err != nil {
		t.Fatal(err)
	}
	to := <-b.accepted
	for i, seq := range to.untilGot(count) {
		if seq != uint64(i) {
			t.Fatalf("envelope %d is number %d", i, seq)
		}
	}
	if n := b.Stats().PacketsIn - before; n != 3 {
		t.Errorf("%d packets for an open, a confirm and %d envelopes that were queued together, want 3", n, count)
	}
}

func TestSmallServer(t *testing.T) {
	srv := startServer(t, embedded.Config{MaxPayload: 4 << 10})
	a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{})
	b := startBus(t, connect(t, srv.URL()), "b", natsbus.Config{})
	from, to := link(t, a, b)
	const count = 500
	for i := range count {
		if _, err := from.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i), Body: make([]byte, i*20)}); err != nil {
			t.Fatal(err)
		}
	}
	for i, seq := range to.untilGot(count) {
		if seq != uint64(i) {
			t.Fatalf("envelope %d is number %d", i, seq)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	patient := natsbus.Config{OpenTimeout: time.Hour} // only the server's message can end the dialling
	a := startBus(t, connect(t, srv.URL()), "a", patient)
	b := startBus(t, connect(t, srv.URL()), "b", patient)
	for _, to := range []transport.Endpoint{{Node: "c"}, {Node: "c", Epoch: "e"}, {Node: "b", Epoch: "before"}} {
		if _, err := a.dial(t, to); !errors.Is(err, transport.ErrNoPeer) {
			t.Errorf("dial %+v: %v, want ErrNoPeer", to, err)
		}
	}
	from, to := link(t, a, b)
	b.nc.Close() // it ends without telling its peers
	if err := to.untilClosed(); !errors.Is(err, transport.ErrClosed) || !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("link of a closed connection ends with %v", err)
	}
	// The server may not have noticed yet; then it accepts what is sent.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := from.Send(&transport.Envelope{Verb: transport.VerbPing}); err != nil {
			break
		}
		if err := a.nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.untilClosed(); !errors.Is(err, transport.ErrNoPeer) {
		t.Errorf("link to a node that is gone ends with %v, want ErrNoPeer", err)
	}
}

func TestSilentPeer(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{OpenTimeout: 500 * time.Millisecond})
	deaf := connect(t, srv.URL())
	sub, err := deaf.SubscribeSync("test.node.x.e.*")
	if err != nil {
		t.Fatal(err)
	}
	deaf.Flush()
	if _, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e"}); !errors.Is(err, transport.ErrNoPeer) {
		t.Errorf("dial a node that does not answer: %v, want ErrNoPeer", err)
	}
	n, _, err := sub.Pending()
	if err != nil || n < 2 {
		t.Errorf("%d opens sent to a node that does not answer, %v; want a few", n, err)
	}
}

func TestReconnect(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{})
	b := startBus(t, connect(t, srv.URL()), "b", natsbus.Config{})
	from, to := link(t, a, b)
	broken, _ := link(t, a, b)
	from.send(1)
	to.untilGot(1)

	gone := a.nc.StatusChanged(nats.RECONNECTING)
	port := srv.Port()
	srv.Shutdown()
	<-gone
	at := broken.send(1)
	if err := broken.untilClosed(); !errors.Is(err, transport.ErrClosed) || !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Errorf("link that sends without a connection ends with %v", err)
	}
	if broken.Handed(at) {
		t.Error("what was sent without a connection counts as handed to the network")
	}
	if _, err := a.dial(t, b.end); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("dial without a connection: %v, want ErrClosed", err)
	}

	startServer(t, embedded.Config{Port: port})
	from.untilDisturbed(1)
	to.untilDisturbed(1)
	b.nc.Flush() // the server knows its subscriptions again
	a.nc.Flush()
	from.send(2)
	to.send(3)
	to.untilGot(2)
	from.untilGot(1)
}

func TestUserClosesConnection(t *testing.T) {
	a, b := pair(t)
	from, _ := link(t, a, b)
	a.nc.Close()
	if err := from.untilClosed(); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("closed with %v", err)
	}
	if _, err := a.dial(t, b.end); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("dial on a closed connection: %v, want ErrClosed", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestSlowConsumer(t *testing.T) {
	srv := startServer(t, embedded.Config{})
	a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{})
	b := startBus(t, connect(t, srv.URL()), "b", natsbus.Config{PendingBytes: 1})
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // runs before b closes, which waits for its receivers
	b.prepare = func(e *end) { e.on = func(*transport.Envelope) { <-gate } }
	from, to := link(t, a, b)
	body := make([]byte, 64<<10)
	for range 8 << 20 / len(body) {
		_, err := from.Send(&transport.Envelope{Verb: transport.VerbReply, Body: body})
		if err != nil {
			t.Fatal(err)
		}
	}
	to.untilDisturbed(1) // while Receive is stuck
	open()
	if b.Stats().Dropped == 0 {
		t.Error("disturbed, and no drop counted")
	}
}

// A node may have a link to itself, and two nodes may dial each other at the same time.
func TestCrossAndSelf(t *testing.T) {
	a, b := pair(t)
	for _, p := range [][2]*bus{{a, b}, {b, a}, {a, a}} {
		from, to := link(t, p[0], p[1])
		from.send(7)
		to.send(8)
		if got := to.untilGot(1)[0]; got != 7 {
			t.Errorf("got %d", got)
		}
		if got := from.untilGot(1)[0]; got != 8 {
			t.Errorf("got %d", got)
		}
		if want := (transport.Peer{Node: p[1].local.Node, Epoch: p[1].local.Epoch, Principal: transport.Anonymous}); from.Peer() != want {
			t.Errorf("peer is %+v, want %+v", from.Peer(), want)
		}
		to.Close(errors.New("over"))
		from.untilClosed()
		to.untilClosed()
	}
}

// Two processes of one name may both answer a dialler that does not know the epoch;
// the one that was not taken must not keep a link.
func TestTwoOfOneName(t *testing.T) {
	t.Parallel()
	srv := startServer(t, embedded.Config{})
	a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{})
	b := startBus(t, connect(t, srv.URL()), "b", natsbus.Config{OpenTimeout: time.Second})
	twin := &bus{Transport: natsbus.New(connect(t, srv.URL()), natsbus.Config{OpenTimeout: time.Second}), local: b.local, accepted: make(chan *end, 1)}
	twin.local.Epoch = "twin"
	if _, err := twin.Start(t.Context(), twin.local, func(l transport.Link) transport.Receiver {
		e := twin.newEnd(t, l)
		twin.accepted <- e
		return e
	}); err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	from, err := a.dial(t, transport.Endpoint{Node: "b"})
	if err != nil {
		t.Fatal(err)
	}
	taken, other := b, twin
	if from.Peer().Epoch == "twin" {
		taken, other = other, taken
	}
	from.send(1)
	(<-taken.accepted).untilGot(1)
	for deadline := time.Now().Add(patience); other.Stats().Links > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the one that was not taken keeps a link")
		}
	}
	if len(other.accepted) > 0 {
		t.Error("the one that was not taken has accepted a link")
	}
}
