package static_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/registry/static"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T) (a, b registry.Registry) {
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
	if err := r.Deregister(ctx, "b", "e7"); err != nil {
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
	if _, err := r.Lookup(ctx, "c"); !errors.Is(err, registry.ErrNotFound) {
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
		"deregister": r.Deregister(ctx, "b", "e1"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.Lookup(ctx, "b"); err != nil { // an available result beats an ended ctx
		t.Error(err)
	}
}
