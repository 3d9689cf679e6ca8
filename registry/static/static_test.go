package static_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, _ time.Duration) (a, b registry.Registry) {
			r := static.New()
			return r, r
		},
	})
}

func TestListed(t *testing.T) {
	ctx := t.Context()
	listed := registrytest.Node("b", "", "10.0.0.2:1")
	r := static.New(registrytest.Node("c", "", "old"), registrytest.Node("c", "e1", "x"), listed)
	events, err := r.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(change registry.Change, n registry.Node) {
		t.Helper()
		if e := <-events; e.Change != change || !e.Node.Equal(n) {
			t.Errorf("got %v %+v, want %v %+v", e.Change, e.Node, change, n)
		}
	}
	expect(registry.Joined, listed)
	expect(registry.Joined, registrytest.Node("c", "e1", "x"))

	// A listed name belongs to nobody until it is registered.
	if err := r.Renew(ctx, "b", ""); !errors.Is(err, registry.ErrLost) {
		t.Errorf("renew of a listed name: %v", err)
	}
	if err := r.Evict(ctx, "b", ""); err != nil {
		t.Error(err)
	}
	own := registrytest.Node("b", "e7", "127.0.0.1:9")
	if err := r.Register(ctx, own); err != nil {
		t.Fatal(err)
	}
	expect(registry.Joined, own)
	if err := r.Register(ctx, registrytest.Node("b", "e8", "")); !errors.Is(err, registry.ErrTaken) {
		t.Errorf("a second epoch: %v", err)
	}
	if err := r.Deregister(ctx, "b", "e7", nil); err != nil {
		t.Fatal(err)
	}
	expect(registry.Joined, listed)

	// A node given with an epoch is held by it.
	if err := r.Register(ctx, registrytest.Node("c", "e2", "")); !errors.Is(err, registry.ErrTaken) {
		t.Errorf("a held name: %v", err)
	}
	if err := r.Evict(ctx, "c", "e1"); err != nil {
		t.Fatal(err)
	}
	expect(registry.Left, registrytest.Node("c", "e1", "x"))
	if _, err := r.Lookup(ctx, "c"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("lookup: %v", err)
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := static.New(registrytest.Node("b", "e1", "x"))
	for what, err := range map[string]error{
		"register":   r.Register(ctx, registrytest.Node("a", "e1", "x")),
		"renew":      r.Renew(ctx, "b", "e1"),
		"deregister": r.Deregister(ctx, "b", "e1", nil),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.Lookup(ctx, "b"); err != nil { // an available result beats an ended ctx
		t.Error(err)
	}
}

// A departure is remembered for registry.Memory. After that, the name is unknown again.
func TestMemory(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, r := t.Context(), static.New(registrytest.Node("b", "e1", "x"), registrytest.Node("l", "", "x"))
		for _, name := range []string{"b", "l"} {
			if err := r.Register(ctx, registrytest.Node(name, "e1", "x")); err != nil {
				t.Fatal(err)
			}
			if err := r.Deregister(ctx, name, "e1", []byte("bye")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(registry.Memory)
		if _, err := r.Lookup(ctx, "b"); !errors.Is(err, registry.ErrAway) {
			t.Errorf("after %v: %v", registry.Memory, err)
		}
		if _, err := r.Departed(ctx, "l"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := r.Lookup(ctx, "b"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("later: %v", err)
		}
		if _, err := r.Departed(ctx, "l"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("later: %v", err)
		}
	})
}
