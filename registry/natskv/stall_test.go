package natskv_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// next returns the next event, which must come within d.
func next(t *testing.T, events <-chan registry.Event, d time.Duration) registry.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(d):
		t.Fatalf("nothing was told for %v", d)
		return registry.Event{}
	}
}

// A watch that delivers nothing any more, although its heartbeats go on, is noticed within seconds.
func TestSilentWatch(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{})
	ctx := within(t, time.Minute)
	a, js := open(t, connect(t, s), natskv.Config{}), connect(t, s)
	b := open(t, js, natskv.Config{})
	events, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pauseAll(t, js)
	n := registrytest.Node("n", "e1", "x")
	if err := a.Register(ctx, n); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events, 15*time.Second); e.Change != registry.Joined || !e.Node.Equal(n) {
		t.Errorf("got %v %+v", e.Change, e.Node)
	}
}

// A bucket that was deleted and recreated under an open registry is watched again.
func TestBucketIsReplaced(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{})
	ctx := within(t, time.Minute)
	a, js := open(t, connect(t, s), natskv.Config{}), connect(t, s)
	b := open(t, js, natskv.Config{})
	for range 5 {
		if err := a.Register(ctx, registrytest.Node("n", "e1", "x")); err != nil {
			t.Fatal(err)
		}
	}
	events, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	next(t, events, 15*time.Second)
	if err := js.DeleteKeyValue(ctx, "tandem_nodes"); err != nil {
		t.Fatal(err)
	}
	m := registrytest.Node("m", "e1", "x")
	for { // until one of the clients has recreated the bucket, for which there is no event
		if err = a.Register(ctx, m); err == nil {
			break
		}
		if !errors.Is(err, registry.ErrUnavailable) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
	if e := next(t, events, 15*time.Second); e.Change != registry.Joined || !e.Node.Equal(m) {
		t.Errorf("got %v %+v", e.Change, e.Node)
	}
}

// Refresh serves at once what no watch has delivered. Here all watches are silent.
func TestRefresh(t *testing.T) {
	s := start(t, embedded.Config{})
	ctx := within(t, time.Minute)
	a, b := open(t, connect(t, s), natskv.Config{}), open(t, connect(t, s), natskv.Config{})
	n := registrytest.Node("n", "e1", "x")
	if err := a.Register(ctx, n); err != nil {
		t.Fatal(err)
	}
	events, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	next(t, events, 15*time.Second)
	b.Close()
	n.Addrs["tcp"] = "y"
	if err := a.Register(ctx, n); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Lookup(ctx, "n"); err != nil || got.Addrs["tcp"] != "x" {
		t.Fatalf("before: %+v, %v", got, err)
	}
	if err := b.Refresh(ctx, "n"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Lookup(ctx, "n"); err != nil || got.Addrs["tcp"] != "y" {
		t.Errorf("after: %+v, %v", got, err)
	}
	if err := a.Deregister(ctx, "n", "e1", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(ctx, "n"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Lookup(ctx, "n"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("after it left: %+v, %v", got, err)
	}
	for _, name := range []string{"nobody", "no such.name"} {
		if err := b.Refresh(ctx, name); err != nil {
			t.Error(err)
		}
	}
}

// pauseAll silences the watches of all clients.
func pauseAll(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	stream, err := js.Stream(ctx, "KV_tandem_nodes")
	if err != nil {
		t.Fatal(err)
	}
	paused := 0
	for name := range stream.ConsumerNames(ctx).Name() {
		// A paused consumer delivers nothing and goes on sending heartbeats.
		if _, err := js.PauseConsumer(ctx, "KV_tandem_nodes", name, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		paused++
	}
	if paused != 2 {
		t.Fatalf("%d watches are open, want 2", paused)
	}
}
