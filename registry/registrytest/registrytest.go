// Package registrytest is the suite that every registry must pass. It checks what the documentation
// of [registry.Registry] promises.
package registrytest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// Config describes the registry that is tested.
type Config struct {
	// New returns two clients of a new, empty registry, and cleans up with t.Cleanup. They
	// may be the same client. If claims have a lease, it must be the given one, which is long
	// except where the suite waits for leases to expire.
	New func(t *testing.T, lease time.Duration) (a, b registry.Registry)
}

// patience is how long the suite waits for something that must happen, beyond any lease.
const patience = 20 * time.Second

// The leases that the suite uses. The long one does not expire in a test, however slow the machine
// is.
const (
	longLease  = 5 * time.Minute
	shortLease = 2 * time.Second

	// outageLease is for tests in which servers of their own are stopped, started and written to
	// beside other work: a renewal that waits for the disk must come in time.
	outageLease = 5 * time.Second
)

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		test func(*pair)
	}{
		{"claim", (*pair).claim},
		{"clash", (*pair).clash},
		{"invalid names", (*pair).invalid},
		{"same epoch registers again", (*pair).again},
		{"update", (*pair).update},
		{"renew", (*pair).renew},
		{"evict", (*pair).evict},
		{"an old epoch's end does not hurt its successor", (*pair).successor},
		{"deregister", (*pair).deregister},
		{"departed", (*pair).departed},
		{"last word", (*pair).lastWord},
		{"a restart does not hide the last word", (*pair).restarted},
		{"one of many wins", (*pair).race},
		{"nodes", (*pair).nodes},
		{"watch", (*pair).watch},
		{"watch ends with its ctx", (*pair).watchEnds},
		{"slow watcher", (*pair).slow},
		{"records are copies", (*pair).copies},
		{"lease", (*pair).lease},
	} {
		t.Run(c.name, func(t *testing.T) {
			lease := longLease
			if c.name == "lease" {
				lease = shortLease
			}
			a, b := cfg.New(t, lease)
			ctx, cancel := context.WithTimeout(t.Context(), 6*shortLease+4*patience)
			defer cancel()
			c.test(&pair{T: t, ctx: ctx, a: patient{a}, b: patient{b}})
		})
	}
}

// Node returns a record for tests.
func Node(name, epoch, addr string) registry.Node {
	return registry.Node{
		Name:     name,
		Epoch:    epoch,
		Addrs:    map[string]string{"tcp": addr},
		Services: map[string][]string{"mailer": {"m1", "m2"}},
		Topics:   map[string][]string{"prices.>": {"", "audit"}},
		Kinds:    map[string]string{"bank.account": "2", "till": ""},
		Stored:   []string{"bank.account"},
		Version:  "v1",
		Zone:     "east",
		Weight:   3,
		Proof:    &registry.Proof{Boot: "b", Namespace: "pid:[1]", PID: 7, Started: 11},
	}
}

// pair is one test with two clients of one registry.
type pair struct {
	*testing.T
	ctx  context.Context
	a, b registry.Registry
}

func (p *pair) claim() {
	n := Node("n", "e1", "x")
	p.ok(p.a.Register(p.ctx, n))
	for _, r := range []registry.Registry{p.a, p.b} { // by its writer and by others, at the same time
		got, err := r.Lookup(p.ctx, "n")
		if p.ok(err); !got.Equal(n) {
			p.Errorf("got %+v, want %+v", got, n)
		}
	}
	_, err := p.a.Lookup(p.ctx, "other")
	p.is(err, registry.ErrNotFound)
}

func (p *pair) clash() {
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.is(p.b.Register(p.ctx, Node("n", "e2", "y")), registry.ErrTaken)
	p.is(p.a.Register(p.ctx, Node("n", "e3", "z")), registry.ErrTaken)
	p.served(p.b, Node("n", "e1", "x"))
	p.ok(p.b.Register(p.ctx, Node("m", "e2", "y"))) // another name is free
}

func (p *pair) invalid() {
	for _, n := range []registry.Node{Node("", "e", ""), Node("n", "", ""), Node("a.b", "e", ""), Node("*", "e", ""), Node("n", ">", "")} {
		if p.a.Register(p.ctx, n) == nil {
			p.Errorf("name %q, epoch %q: registered", n.Name, n.Epoch)
		}
	}
}

func (p *pair) again() {
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "y")))
	p.served(p.a, Node("n", "e1", "y"))
	p.ok(p.b.Register(p.ctx, Node("n", "e1", "z"))) // from any client
	p.served(p.b, Node("n", "e1", "z"))
	p.ok(p.a.Renew(p.ctx, "n", "e1"))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "w")))
	p.ok(p.a.Renew(p.ctx, "n", "e1")) // with the record that this client registered
	if got := p.await(p.b, "n", func(n registry.Node) bool { return n.Addrs["tcp"] == "w" }); got.Epoch != "e1" {
		p.Errorf("got %+v", got)
	}
}

func (p *pair) update() {
	p.is(p.a.Update(p.ctx, Node("n", "e1", "x")), registry.ErrLost) // it claims nothing
	if n, err := p.a.Lookup(p.ctx, "n"); !errors.Is(err, registry.ErrNotFound) {
		p.Errorf("after an update of nothing: %+v, %v", n, err)
	}
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.ok(p.a.Update(p.ctx, Node("n", "e1", "y")))
	p.ok(p.a.Renew(p.ctx, "n", "e1"))
	p.served(p.a, Node("n", "e1", "y"))
	p.await(p.b, "n", func(n registry.Node) bool { return n.Equal(Node("n", "e1", "y")) })
	p.ok(p.b.Evict(p.ctx, "n", "e1"))
	p.is(p.a.Update(p.ctx, Node("n", "e1", "z")), registry.ErrLost)
	p.ok(p.b.Register(p.ctx, Node("n", "e2", "y"))) // a successor's claim stays as it is
	p.is(p.a.Update(p.ctx, Node("n", "e1", "z")), registry.ErrLost)
	p.served(p.b, Node("n", "e2", "y"))
}

func (p *pair) renew() {
	p.is(p.a.Renew(p.ctx, "n", "e1"), registry.ErrLost)
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	for range 5 {
		p.ok(p.a.Renew(p.ctx, "n", "e1"))
	}
	p.is(p.a.Renew(p.ctx, "n", "e2"), registry.ErrLost)
	p.served(p.b, Node("n", "e1", "x"))
}

func (p *pair) evict() {
	p.ok(p.b.Evict(p.ctx, "n", "e1"))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.ok(p.b.Evict(p.ctx, "n", "e1"))
	p.absent(p.b, "n")
	p.is(p.a.Renew(p.ctx, "n", "e1"), registry.ErrLost)
	p.ok(p.b.Evict(p.ctx, "n", "e1"))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x"))) // it was alive nevertheless
	p.served(p.a, Node("n", "e1", "x"))
}

func (p *pair) successor() {
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.ok(p.b.Evict(p.ctx, "n", "e1"))
	p.ok(p.b.Register(p.ctx, Node("n", "e2", "y")))
	p.ok(p.a.Evict(p.ctx, "n", "e1"))
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	p.is(p.a.Renew(p.ctx, "n", "e1"), registry.ErrLost)
	p.is(p.a.Register(p.ctx, Node("n", "e1", "x")), registry.ErrTaken)
	p.ok(p.b.Renew(p.ctx, "n", "e2"))
	p.served(p.b, Node("n", "e2", "y"))
}

func (p *pair) deregister() {
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	p.absent(p.a, "n")
	p.is(p.a.Renew(p.ctx, "n", "e1"), registry.ErrLost)
	p.ok(p.b.Register(p.ctx, Node("n", "e2", "y"))) // at once, whatever the lease
	p.served(p.b, Node("n", "e2", "y"))
}

// race lets many epochs claim one name.
func (p *pair) race() {
	const many = 8
	errs := make(chan error, many)
	for i := range many {
		r := p.a
		if i%2 == 1 {
			r = p.b
		}
		go func() { errs <- r.Register(p.ctx, Node("n", fmt.Sprintf("e%d", i), "x")) }()
	}
	won := 0
	for range many {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, registry.ErrTaken):
			p.Error(err)
		}
	}
	if won != 1 {
		p.Errorf("%d epochs hold one name", won)
	}
}

func (p *pair) nodes() {
	for _, name := range []string{"c", "a", "b"} {
		p.ok(p.a.Register(p.ctx, Node(name, "e1", "x")))
	}
	nodes, err := p.a.Nodes(p.ctx)
	p.ok(err)
	if len(nodes) != 3 || nodes[0].Name != "a" || nodes[1].Name != "b" || nodes[2].Name != "c" {
		p.Errorf("got %v", nodes)
	}
	if got := registry.Instances(nodes, "mailer"); len(got) != 6 || got[0] != (registry.Instance{Node: "a", Epoch: "e1", Actor: "m1"}) {
		p.Errorf("instances: %v", got)
	}
}

func (p *pair) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *pair) is(err, want error) {
	p.Helper()
	if !errors.Is(err, want) {
		p.Errorf("got %v, want %v", err, want)
	}
}

// served checks that r, which wrote the record or never saw an older one, serves it.
func (p *pair) served(r registry.Registry, want registry.Node) {
	p.Helper()
	got, err := r.Lookup(p.ctx, want.Name)
	if err != nil || !got.Equal(want) {
		p.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// absent checks that r, which removed the record, does not serve it, and knows that it existed.
func (p *pair) absent(r registry.Registry, name string) {
	p.Helper()
	got, err := r.Lookup(p.ctx, name)
	if !errors.Is(err, registry.ErrAway) || errors.Is(err, registry.ErrNotFound) {
		p.Errorf("got %+v, %v; want %v", got, err, registry.ErrAway)
	}
}

// await returns the first record of name that r reports to its watchers and that fits.
func (p *pair) await(r registry.Registry, name string, fits func(registry.Node) bool) registry.Node {
	p.Helper()
	w := p.open(r)
	defer w.cancel()
	for e := range w.events {
		if e.Node.Name == name && e.Change <= registry.Updated && fits(e.Node) {
			return e.Node
		}
	}
	p.Fatalf("%s: what was waited for did not come", name)
	return registry.Node{}
}
