package transporttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// side is one end of a link, with what it has received.
type side struct {
	transport.Link
	in *inbox
}

// node is a started transport. Links that peers open are sent to accepted.
type node struct {
	transport.Transport
	local    transport.Local
	end      transport.Endpoint
	accepted chan side

	// onAccept is called for links that peers open, and onOpen for those that this node
	// opens. They must be set before the link is made.
	onAccept, onOpen func(l transport.Link, in *inbox)
}

// clusters numbers the clusters of this process, so that cases which share a server do not
// disturb each other.
var clusters atomic.Int64

func newCluster() string { return fmt.Sprintf("conform-%d", clusters.Add(1)) }

// start starts tr as a node; it is closed when the test ends.
func start(t testing.TB, tr transport.Transport, cluster, name, epoch string) *node {
	t.Helper()
	n := &node{
		Transport: tr,
		local:     transport.Local{Cluster: cluster, Node: name, Epoch: epoch, Logger: slog.New(slog.DiscardHandler), MaxMessage: maxMessage},
		accepted:  make(chan side, 64),
	}
	addr, err := tr.Start(t.Context(), n.local, func(l transport.Link) transport.Receiver {
		in := newInbox(t, l)
		if n.onAccept != nil {
			n.onAccept(l, in)
		}
		n.accepted <- side{l, in}
		return in
	})
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	n.end = transport.Endpoint{Node: name, Epoch: epoch, Addr: addr}
	t.Cleanup(func() { tr.Close() })
	return n
}

// newPair starts nodes "a" and "b" of one cluster.
func newPair(t testing.TB, cfg Config) (a, b *node) {
	t.Helper()
	mk, cluster := cfg.Network(t), newCluster()
	return start(t, mk(), cluster, "a", "epoch-a"), start(t, mk(), cluster, "b", "epoch-b")
}

// tryDial dials to from n.
func (n *node) tryDial(t testing.TB, to transport.Endpoint) (side, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var in *inbox
	l, err := n.Dial(ctx, to, func(l transport.Link) transport.Receiver {
		if in != nil {
			t.Error("open called twice")
		}
		in = newInbox(t, l)
		if n.onOpen != nil {
			n.onOpen(l, in)
		}
		return in
	})
	if err != nil {
		if in != nil {
			t.Error("open called although Dial failed")
		}
		return side{}, err
	}
	if in == nil {
		t.Fatal("Dial returned and open was not called")
	}
	return side{l, in}, nil
}

// link opens a link from a to b and returns both ends.
func link(t testing.TB, a, b *node) (from, to side) {
	t.Helper()
	from, err := a.tryDial(t, b.end)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return from, b.nextAccepted(t)
}

func (n *node) nextAccepted(t testing.TB) side {
	t.Helper()
	select {
	case s := <-n.accepted:
		return s
	case <-time.After(patience):
		t.Fatal("no link accepted")
		return side{}
	}
}

// refused asserts that dialling to fails with one of want.
func (n *node) refused(t testing.TB, to transport.Endpoint, want ...error) {
	t.Helper()
	s, err := n.tryDial(t, to)
	if err == nil {
		s.Close(errors.New("should not exist"))
		t.Fatalf("dial %+v succeeded, want one of %v", to, want)
	}
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	t.Fatalf("dial %+v: %v, want one of %v", to, err, want)
}

// push sends e, and waits for room as often as necessary.
func (s side) push(t testing.TB, e *transport.Envelope) (at uint64) {
	t.Helper()
	for {
		room := s.in.whenDrained()
		at, err := s.Send(e)
		if err == nil {
			return at
		}
		if !errors.Is(err, transport.ErrFull) {
			t.Errorf("send: %v", err)
			return at
		}
		select {
		case <-room:
		case <-time.After(patience):
			t.Error("ErrFull and never drained")
			return at
		}
	}
}
