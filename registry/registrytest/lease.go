package registrytest

import (
	"errors"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// renewer renews a claim.
type renewer struct {
	*pair
	node   registry.Node
	before time.Time // when the latest renewal that was confirmed was requested
}

// renew renews the claim, or registers it again if its lease has expired. That may happen only if it
// was not renewed in time, because the machine was busy or the registry had no leader.
func (r *renewer) renew() {
	r.Helper()
	asked := time.Now()
	err := r.a.Renew(r.ctx, r.node.Name, r.node.Epoch)
	if errors.Is(err, registry.ErrLost) {
		r.checkExpired()
		asked = time.Now()
		err = r.a.Register(r.ctx, r.node)
	}
	r.ok(err)
	r.before = asked
}

// checkExpired checks that the lease of the claim may have expired by now.
func (r *renewer) checkExpired() {
	r.Helper()
	if d := time.Since(r.before); d < r.a.Lease() {
		r.Fatalf("%s was gone %v after it was renewed; a lease is %v", r.node.Name, d, r.a.Lease())
	}
}

// lease checks that a claim lives while it is renewed, and ends when it is not renewed any more.
func (p *pair) lease() {
	lease := p.a.Lease()
	if lease != p.b.Lease() {
		p.Errorf("leases %v and %v", lease, p.b.Lease())
	}
	if lease == 0 {
		return // its claims have no lease
	}
	ctx := p.ctx
	events, err := p.b.Watch(ctx)
	p.ok(err)
	r := &renewer{pair: p, node: Node("kept", "e1", "x")}
	r.before = time.Now()
	p.ok(p.a.Register(ctx, r.node))
	spare := Node("spare", "e1", "x")
	for range 2 { // so that "kept" certainly outlives its first lease
		began := time.Now()
		p.ok(p.a.Register(ctx, spare))
		r.until(events, spare)
		if d := time.Since(began); d < lease {
			p.Errorf("expired after %v of %v", d, lease)
		}
		p.is(p.a.Renew(ctx, "spare", "e1"), registry.ErrLost)
	}
	r.renew()
	p.await(p.b, "kept", func(n registry.Node) bool { return n.Equal(r.node) })
	p.ok(p.b.Register(ctx, Node("spare", "e2", "y"))) // the name is free for anyone
	p.served(p.b, Node("spare", "e2", "y"))
}

// until renews the claim until another node, which nobody renews, is reported to have expired.
func (r *renewer) until(events <-chan registry.Event, spare registry.Node) {
	r.Helper()
	renew := time.NewTicker(r.a.Lease() / 4)
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			r.renew()
		case e, open := <-events:
			switch {
			case !open:
				r.Fatal("the watch ended")
			case e.Change == registry.Joined && (e.Node.Equal(spare) || e.Node.Equal(r.node)):
			case e.Change == registry.Expired && e.Node.Equal(r.node):
				r.checkExpired()
			case e.Change == registry.Expired && e.Node.Equal(spare):
				return
			default:
				r.Fatalf("got %v %+v, want spare to expire", e.Change, e.Node)
			}
		}
	}
}
