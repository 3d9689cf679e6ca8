package transporttest

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/transport"
)

var errEnough = errors.New("enough")

// testHandedReceived checks that Handed reports every message that the peer has received, also
// after the link has died.
func testHandedReceived(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	var places []uint64
	for range 100 {
		places = append(places, from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Body: make([]byte, 100)}))
	}
	to.in.waitFor(len(places))
	from.Close(errEnough)
	from.in.waitClosed()
	for i, at := range places {
		if !from.Handed(at) {
			t.Fatalf("envelope %d was received and counts as never handed to the network", i)
		}
	}
	if _, err := from.Send(&transport.Envelope{Verb: transport.VerbRequest}); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("send on a closed link: %v, want ErrClosed", err)
	}
}

// testHandedNeverWritten checks that messages which waited in the queue of a link that died were
// not handed, and that no message is received that was not handed.
func testHandedNeverWritten(t *testing.T, cfg Config) {
	if !cfg.Backpressure {
		t.Skip("this road has no back-pressure")
	}
	a, b := newPair(t, cfg)
	unblock := blockReceiver(t, b)
	from, to := link(t, a, b)
	places := fill(t, from)
	from.Close(errEnough)
	from.in.waitClosed()
	unblock()
	to.in.waitClosed()

	handed := 0
	for handed < len(places) && from.Handed(places[handed]) {
		handed++
	}
	for i := handed; i < len(places); i++ {
		if from.Handed(places[i]) {
			t.Fatalf("envelope %d counts as handed, %d before it does not", i, handed)
		}
	}
	if handed == len(places) {
		t.Error("everything counts as handed although the queue was full")
	}
	to.in.mu.Lock()
	defer to.in.mu.Unlock()
	if n := len(to.in.got); n > handed {
		t.Errorf("%d envelopes received, %d handed", n, handed)
	}
}

func testCloseSeenByPeer(t *testing.T, cfg Config) {
	for _, dialler := range []bool{true, false} {
		a, b := newPair(t, cfg)
		x, y := link(t, a, b)
		if !dialler {
			x, y = y, x
		}
		x.push(t, &transport.Envelope{Verb: transport.VerbTell})
		y.in.waitFor(1)
		x.Close(errEnough)
		if err := x.in.waitClosed(); !errors.Is(err, errEnough) {
			t.Errorf("closed with %v, want the error given to Close", err)
		}
		y.in.waitClosed()
		if _, err := y.Send(&transport.Envelope{Verb: transport.VerbTell}); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("send on a link that the peer closed: %v, want ErrClosed", err)
		}
	}
}

func testOnlyFirstCloseCounts(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	from.Close(errEnough)
	from.Close(errors.New("too late"))
	if err := from.in.waitClosed(); !errors.Is(err, errEnough) {
		t.Errorf("closed with %v, want the first cause", err)
	}
	from.Close(errors.New("far too late"))
	to.in.waitClosed()
	to.Close(errEnough)
}

// testCloseFromCallbacks closes links inside the callbacks that they call.
func testCloseFromCallbacks(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	b.onAccept = func(l transport.Link, _ *inbox) { l.Close(errEnough) }
	from, to := link(t, a, b)
	from.in.waitClosed()
	to.in.waitClosed()

	b.onAccept = func(l transport.Link, in *inbox) {
		in.on = func(*transport.Envelope) { l.Close(errEnough) }
	}
	from, to = link(t, a, b)
	from.push(t, &transport.Envelope{Verb: transport.VerbTell})
	from.in.waitClosed()
	to.in.waitClosed()

	b.onAccept = nil
	a.onOpen = func(l transport.Link, _ *inbox) { l.Close(errEnough) }
	from, to = link(t, a, b)
	from.in.waitClosed()
	to.in.waitClosed()
}

func testTransportCloseFlushes(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	const count = 2000
	for i := range count {
		from.push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i), Body: make([]byte, 100)})
	}
	if err := a.Transport.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	from.in.waitClosed()
	to.in.waitFor(count)
	to.in.waitClosed()
}

func testTransportCloseLeavesNothing(t *testing.T, cfg Config) {
	mk, cluster := cfg.Network(t), newCluster()
	ta, tb := mk(), mk()
	before := append([]goleak.Option{goleak.IgnoreCurrent()}, cfg.Leaks...)
	a, b := start(t, ta, cluster, "a", "epoch-a"), start(t, tb, cluster, "b", "epoch-b")
	var sides []side
	for range 4 {
		from, to := link(t, a, b)
		from.push(t, &transport.Envelope{Verb: transport.VerbTell})
		to.in.waitFor(1)
		back, forth := link(t, b, a)
		sides = append(sides, from, to, back, forth)
	}
	for _, n := range []*node{a, b, a, b} {
		if err := n.Transport.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for i, s := range sides {
		s.in.mu.Lock()
		closed := s.in.closed
		s.in.mu.Unlock()
		if closed == nil {
			t.Errorf("end %d of %d: Closed not called when Transport.Close returned", i, len(sides))
		}
		if _, err := s.Send(&transport.Envelope{Verb: transport.VerbTell}); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("send after the transport closed: %v, want ErrClosed", err)
		}
	}
	if _, err := a.Dial(context.Background(), b.end, func(l transport.Link) transport.Receiver { return newInbox(t, l) }); err == nil {
		t.Error("dial on a closed transport succeeded")
	}
	if !cfg.Synctest { // a bubble fails anyway if a goroutine is left
		goleak.VerifyNone(t, before...)
	}
}
