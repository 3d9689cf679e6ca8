package actor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
)

// One watch of a virtual actor, from whatever node, is told of one end of the activation that there is, and activates nothing.
func TestVirtualWatched(t *testing.T) {
	stopped := func(err error) bool { return err == nil }
	gone := func(err error) bool { return rpc.CodeOf(err) == rpc.Unavailable }
	for _, row := range []struct {
		name string
		end  func(t *testing.T, c *cluster3, at string, ref actor.Ref)
		why  func(error) bool
	}{
		{"stop", func(t *testing.T, c *cluster3, at string, ref actor.Ref) { _ = c.sys[at].Stop(t.Context(), ref) }, stopped},
		{"stop now", func(t *testing.T, c *cluster3, at string, ref actor.Ref) { _ = c.sys[at].StopNow(t.Context(), ref) }, stopped},
		{"idle", func(*testing.T, *cluster3, string, actor.Ref) {}, func(err error) bool { return errors.Is(err, actor.ErrIdle) }},
		{"its node leaves", func(t *testing.T, c *cluster3, at string, _ actor.Ref) { _ = c.sys[at].Shutdown(t.Context()) },
			func(err error) bool { return errors.Is(err, actor.ErrShutdown) }},
		{"its node is lost", func(t *testing.T, c *cluster3, at string, _ actor.Ref) {
			c.reg[at].cut.off()
			for name := range c.sys {
				if name != at {
					c.net.Partition("direct", at, name)
				}
			}
		}, gone},
	} {
		for _, from := range []string{"a", "b", "c", "d"} {
			t.Run(row.name+"/"+from, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					c := startCluster3(t)
					c.reg["d"] = c.reg["a"].view()
					c.sys["d"] = newSystem(t, actor.Config{Name: "d", Registry: c.reg["d"], Logger: quiet, Transports: []transport.Transport{c.net.Transport("direct", true)}}) // hosts no kind
					synctest.Wait()
					by, heard := watching(t, c.sys[from])
					ref := c.sys[from].Ref("counter/x@~")
					inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(ref) })
					if m := <-heard; m.Ref != ref || !errors.Is(m.Why, actor.ErrNotActive) || c.begun() > 0 {
						t.Errorf("before it was active: %+v, %d activations", m, c.begun())
					}
					at := c.holder(t, "b", "x")
					inside(t, by, func(ctx *actor.Context) error { return errors.Join(ctx.Watch(ref), ctx.Watch(ref)) })
					time.Sleep(10 * time.Second)
					if len(heard) > 0 {
						t.Fatalf("it has not ended: %+v", <-heard)
					}
					if at == from && strings.HasPrefix(row.name, "its node") {
						return
					}
					row.end(t, c, at, ref)
					if m := <-heard; m.Ref != ref || !row.why(m.Why) {
						t.Errorf("%+v", m)
					}
					if c.begun() != 1 {
						t.Errorf("%d activations", c.begun())
					}
					if row.name == "its node is lost" {
						c.reg[at].cut.on()
						for name := range c.sys {
							if name != at {
								c.net.Heal("direct", at, name)
							}
						}
					}
					time.Sleep(time.Minute)
					_ = c.holder(t, from2(at), "x")
					time.Sleep(10 * time.Second)
					if len(heard) > 0 {
						t.Errorf("told again: %+v", <-heard)
					}
				})
			})
		}
	}
}

// from2 is a node that hosts counters, and is another one.
func from2(than string) string {
	return slices.DeleteFunc([]string{"a", "b"}, func(name string) bool { return name == than })[0]
}

// A watch that was ended is told of nothing, also while it was looked for the actor. What may not be watched, or cannot be found, is said. An attempt to activate an
// actor that another node has is not the actor.
func TestVirtualWatchEdges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		at := c.holder(t, "b", "x")
		c.reg["e"], c.claims = c.reg["a"].view(), lateClaims{c.claims}
		c.start(t, "e")
		synctest.Wait()
		e := c.sys["e"]
		by, heard := watching(t, e)
		ref := e.Ref("counter/x@~")
		inside(t, by, func(ctx *actor.Context) error {
			err := ctx.Watch(ref)
			ctx.Unwatch(ref)
			return err
		})
		if err := actor.Tell(t.Context(), c.sys[at].Ref("~counter/x@e"), bump{}); err != nil { // e tries to activate it
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(ref) })
		time.Sleep(time.Minute)
		if len(heard) > 0 {
			t.Fatalf("it has not ended: %+v", <-heard)
		}
		if err := e.Stop(t.Context(), ref); err == nil { // no rule names access.Stop
			t.Fatal("stopped")
		}
		if err := c.sys[at].Stop(t.Context(), c.sys[at].Ref("counter/x@~")); err != nil {
			t.Fatal(err)
		}
		if m := <-heard; m.Ref != ref || m.Why != nil {
			t.Errorf("%+v", m)
		}
		at = c.holder(t, "b", "x")
		if err := c.sys[at].SetAccess(access.Rules{Default: access.Allow, List: []access.Rule{{Effect: access.Deny, Ops: access.Watch, Actors: []string{"~counter/*"}}}}); err != nil {
			t.Fatal(err)
		}
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(ref) })
		if m := <-heard; m.Ref != ref || rpc.CodeOf(m.Why) != rpc.Denied {
			t.Errorf("not allowed: %+v", m)
		}
		inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(e.Ref("nothing/x@~")) })
		if m := <-heard; rpc.CodeOf(m.Why) != rpc.Unavailable {
			t.Errorf("nobody hosts it: %+v", m)
		}
		synctest.Wait()
		if len(heard) > 0 {
			t.Errorf("told again: %+v", <-heard)
		}
	})
}

// lateClaims are claims that are slow to read.
type lateClaims struct{ placement.Claims }

func (l lateClaims) Get(ctx context.Context, key placement.Key) (placement.Held, error) {
	time.Sleep(time.Second)
	return l.Claims.Get(ctx, key)
}
