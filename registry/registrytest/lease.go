package registrytest

import (
	"errors"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// keeper renews a claim.
type keeper struct {
	*pair
	node   registry.Node
	before time.Time // when the latest renewal was asked for that was confirmed
}

// renew renews the claim, or registers it again if its lease had run out, which it may
// only when it was not renewed in time: on a busy machine, or while the registry had no
// leader.
func (k *keeper) renew() {
	k.Helper()
	asked := time.Now()
	err := k.a.Renew(k.ctx, k.node.Name, k.node.Epoch)
	if errors.Is(err, registry.ErrLost) {
		k.lapsed()
		asked = time.Now()
		err = k.a.Register(k.ctx, k.node)
	}
	k.ok(err)
	k.before = asked
}

// lapsed checks that the claim may have run out by now.
func (k *keeper) lapsed() {
	k.Helper()
	if d := time.Since(k.before); d < k.a.Lease() {
		k.Fatalf("%s was gone %v after it was renewed; a lease is %v", k.node.Name, d, k.a.Lease())
	}
}

// lease checks that a claim lives while it is renewed and ends when it is not.
func (p *pair) lease() {
	lease := p.a.Lease()
	if lease != p.b.Lease() {
		p.Errorf("leases %v and %v", lease, p.b.Lease())
	}
	if lease == 0 {
		return // for ever
	}
	ctx := p.ctx
	events, err := p.b.Watch(ctx)
	p.ok(err)
	k := &keeper{pair: p, node: Node("kept", "e1", "x")}
	k.before = time.Now()
	p.ok(p.a.Register(ctx, k.node))
	spare := Node("spare", "e1", "x")
	for range 2 { // so that "kept" outlives its first lease for certain
		began := time.Now()
		p.ok(p.a.Register(ctx, spare))
		k.until(events, spare)
		if d := time.Since(began); d < lease {
			p.Errorf("expired after %v of %v", d, lease)
		}
		p.is(p.a.Renew(ctx, "spare", "e1"), registry.ErrLost)
	}
	k.renew()
	p.await(p.b, "kept", func(n registry.Node) bool { return n.Equal(k.node) })
	p.ok(p.b.Register(ctx, Node("spare", "e2", "y"))) // free for anyone
	p.served(p.b, Node("spare", "e2", "y"))
}

// until renews the claim until another node, which nobody renews, is told to have expired.
func (k *keeper) until(events <-chan registry.Event, spare registry.Node) {
	k.Helper()
	renew := time.NewTicker(k.a.Lease() / 4)
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			k.renew()
		case e, open := <-events:
			switch {
			case !open:
				k.Fatal("the watch ended")
			case e.Change == registry.Joined && (e.Node.Equal(spare) || e.Node.Equal(k.node)):
			case e.Change == registry.Expired && e.Node.Equal(k.node):
				k.lapsed()
			case e.Change == registry.Expired && e.Node.Equal(spare):
				return
			default:
				k.Fatalf("got %v %+v, want spare to expire", e.Change, e.Node)
			}
		}
	}
}
