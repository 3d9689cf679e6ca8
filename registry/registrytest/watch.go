package registrytest

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// watch is an open watch of one client.
type watch struct {
	p      *pair
	events <-chan registry.Event
	cancel context.CancelFunc
}

func (p *pair) open(r registry.Registry) *watch {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 3*patience)
	p.Cleanup(cancel)
	events, err := r.Watch(ctx)
	p.ok(err)
	return &watch{p, events, cancel}
}

// expect reads one event.
func (w *watch) expect(change registry.Change, n registry.Node) {
	w.p.Helper()
	e, open := <-w.events
	if !open {
		w.p.Fatalf("the watch ended; want %v %s/%s", change, n.Name, n.Epoch)
	}
	if e.Change != change || !e.Node.Equal(n) {
		w.p.Fatalf("got %v %+v, want %v %+v", e.Change, e.Node, change, n)
	}
}

func (p *pair) watch() {
	p.ok(p.a.Register(p.ctx, Node("old", "e1", "x")))
	w := p.open(p.b)
	w.expect(registry.Joined, Node("old", "e1", "x"))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	w.expect(registry.Joined, Node("n", "e1", "x"))
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "y")))
	w.expect(registry.Updated, Node("n", "e1", "y"))
	p.ok(p.a.Renew(p.ctx, "n", "e1")) // changes nothing, so there is no event
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "y")))
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	w.expect(registry.Left, Node("n", "e1", "y"))
	p.ok(p.a.Register(p.ctx, Node("n", "e2", "z")))
	w.expect(registry.Joined, Node("n", "e2", "z"))
	p.ok(p.b.Evict(p.ctx, "n", "e2"))
	w.expect(registry.Left, Node("n", "e2", "z"))

	second := p.open(p.b) // begins with what exists; each watch has its own position
	second.expect(registry.Joined, Node("old", "e1", "x"))
	p.ok(p.a.Deregister(p.ctx, "old", "e1", nil))
	w.expect(registry.Left, Node("old", "e1", "x"))
	second.expect(registry.Left, Node("old", "e1", "x"))
}

func (p *pair) watchEnds() {
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	idle, unread := p.open(p.a), p.open(p.a)
	idle.expect(registry.Joined, Node("n", "e1", "x"))
	for _, w := range []*watch{idle, unread} {
		w.cancel()
		deadline := time.After(patience)
		for open := true; open; {
			select {
			case _, open = <-w.events:
			case <-deadline:
				p.Fatal("the channel stays open")
			}
		}
	}
	p.ok(p.a.Renew(p.ctx, "n", "e1")) // the registry still works
}

// slow checks that a watcher which does not read delays nobody, and in the end gets the latest
// states.
func (p *pair) slow() {
	const changes = 300
	w := p.open(p.b)
	for i := range changes {
		p.ok(p.a.Register(p.ctx, Node("n", "e1", fmt.Sprint(i))))
		if i%30 == 0 {
			p.ok(p.a.Register(p.ctx, Node("gone", fmt.Sprintf("e%d", i), "x")))
			p.ok(p.a.Deregister(p.ctx, "gone", fmt.Sprintf("e%d", i), nil))
		}
	}
	p.ok(p.a.Register(p.ctx, Node("last", "e1", "x")))
	n, gone, last := "", false, false
	for n != fmt.Sprint(changes-1) || gone || !last {
		e, open := <-w.events
		if !open {
			p.Fatalf("ended at %q, gone %v, last %v", n, gone, last)
		}
		switch e.Node.Name {
		case "n":
			n = e.Node.Addrs["tcp"]
		case "gone":
			gone = e.Change <= registry.Updated
		case "last":
			last = true
		}
	}
}

func (p *pair) copies() {
	want := Node("n", "e1", "x")
	given := want.Clone()
	p.ok(p.a.Register(p.ctx, given))
	spoil := func(n registry.Node) {
		n.Addrs["tcp"] = "spoilt"
		n.Services["mailer"][0] = "spoilt"
	}
	spoil(given)
	p.served(p.a, want)

	got, err := p.a.Lookup(p.ctx, "n")
	p.ok(err)
	spoil(got)
	nodes, err := p.a.Nodes(p.ctx)
	p.ok(err)
	if len(nodes) != 1 || !nodes[0].Equal(want) {
		p.Fatalf("got %v", nodes)
	}
	spoil(nodes[0])
	w := p.open(p.a)
	if e := <-w.events; !e.Node.Equal(want) {
		p.Fatalf("got %v", e)
	} else {
		spoil(e.Node)
	}
	p.served(p.a, want)
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	w.expect(registry.Left, want)
}
