package actor_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
)

// A virtual actor is inspected and stopped from any node, also from one that does not host its kind, wherever
// it is active. Nothing of that activates it.
func TestVirtualStoppedAndInspected(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		c.reg["d"] = c.reg["a"].view()
		c.sys["d"] = newSystem(t, actor.Config{Name: "d", Registry: c.reg["d"], Logger: quiet, Transports: []transport.Transport{c.net.Transport("direct", true)}}) // without Claims
		for _, sys := range c.sys {
			if err := sys.SetAccess(access.Rules{Default: access.Allow, List: []access.Rule{{Effect: access.Allow, Ops: access.Stop}}}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, id := range []string{"p", "q", "r", "s", "t"} {
			for from, sys := range c.sys {
				ref := sys.Ref("counter/" + id + "@~")
				begun := c.begun()
				if _, err := sys.Inspect(t.Context(), ref); rpc.CodeOf(err) != rpc.NotFound || !errors.Is(err, actor.ErrNotActive) {
					t.Fatalf("%s inspected from %s: %v", id, from, err)
				}
				if err := sys.Stop(t.Context(), ref); err != nil || c.begun() != begun {
					t.Fatalf("%s stopped from %s: %v; %d activations", id, from, err, c.begun()-begun)
				}
				at := c.holder(t, "b", id)
				seen, err := sys.Inspect(t.Context(), ref)
				if err != nil || seen.Node != at || seen.Name != "~counter/"+id || seen.Stage != inspect.Working || seen.Details == nil {
					t.Fatalf("%s inspected from %s: %+v, %v", id, from, seen, err)
				}
				if err := actor.Tell(t.Context(), ref, bump{}, rpc.Acked()); err != nil {
					t.Fatal(err)
				}
				if err := sys.Stop(t.Context(), ref); err != nil {
					t.Fatalf("%s stopped from %s: %v", id, from, err)
				}
				for a := range c.sys[at].Actors(inspect.Filter{Prefix: "~counter/" + id}) {
					t.Fatalf("%s stopped from %s is still there: %+v", id, from, a)
				}
				if n, err := actor.Call(t.Context(), ref, total{}); n != 0 || err != nil {
					t.Fatalf("%s has counted %d, %v", id, n, err)
				}
				if err := sys.StopNow(t.Context(), ref); err != nil {
					t.Fatalf("%s stopped from %s: %v", id, from, err)
				}
				synctest.Wait() // until its claim is released
			}
		}
	})
}

// begun is how many activations there have been.
func (c *cluster3) begun() (n uint64) {
	for _, s := range c.sys {
		n += s.Stats().Virtual.Begun
	}
	return n
}

// What a rule does not allow is denied, and nothing is learned of where an actor is. An actor whose node is dead is not active; where no node hosts the kind,
// nobody knows.
func TestVirtualFindFailures(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		c.reg["d"] = c.reg["a"].view()
		d := newSystem(t, actor.Config{Name: "d", Registry: c.reg["d"], Logger: quiet, Transports: []transport.Transport{c.net.Transport("direct", true)}})
		synctest.Wait()
		at := c.holder(t, "a", "x")
		ref := d.Ref("counter/x@~")
		if err := d.Stop(t.Context(), ref); rpc.CodeOf(err) != rpc.Denied || c.begun() != 1 { // no rule names access.Stop
			t.Errorf("stopped: %v", err)
		}
		for _, sys := range c.sys {
			if err := sys.SetAccess(access.Rules{Default: access.Allow, List: []access.Rule{{Effect: access.Deny, Ops: access.Inspect, Actors: []string{"~counter/*"}}}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.Inspect(t.Context(), ref); rpc.CodeOf(err) != rpc.Denied {
			t.Errorf("inspected: %v", err)
		}
		other := "a"
		if at == "a" {
			other = "b"
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			if name != at {
				c.net.Partition("direct", at, name)
			}
		}
		c.reg[at].cut.off()
		time.Sleep(2 * leaseTime)
		if _, err := c.sys[other].Inspect(t.Context(), c.sys[other].Virtual(counterKind, "x")); !errors.Is(err, actor.ErrNotActive) {
			t.Errorf("its node is dead: %v", err)
		}
		c.reg[at].cut.on()
		for name, sys := range c.sys {
			if name != at {
				c.net.Heal("direct", at, name)
			}
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if err := d.Stop(t.Context(), ref); rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("nobody hosts it: %v", err)
		}
	})
}
