package sim

import (
	"context"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/route"
)

// spawnPool starts a pool, whose workers count what they run, as all workers of the simulation do.
func (w *world) spawnPool(sys *actor.System) error {
	kind := actor.Define("sim.pooled", func() *worker {
		k := &worker{truth: w.truth, cheat: w.cheat.handler}
		if w.cheats("a message of a pool runs twice") {
			k.cheat = func(uint64) int { return 2 }
		}
		return k
	}, actor.Answer((*worker).op), actor.Handle((*worker).note)).With(lively())
	by := draw.Pick(w.RNG("pool of "+sys.Name()), route.RoundRobin(), route.Random(), route.LeastBusy(), route.ByKey(func(m Note) string { return m.Stream }))
	_, err := sys.Spawn("pool", kind, actor.Pool(3, by, actor.Mailbox(mailbox.Config{Capacity: 4})))
	return err
}

// pool sends a pool something, or resizes one.
func (c *caller) pool() {
	to := "pool@" + c.anyNode().Name
	switch x := c.r.Float64(); {
	case x < 0.15:
		ctx, cancel, due := c.within(draw.Chance(c.r, 0.1))
		err := c.life.Sys.Resize(ctx, c.life.Sys.Ref("pool@"+c.home.Name), 1+c.r.IntN(6))
		cancel()
		c.w.typed("Resize", err)
		c.w.inTime("Resize", due)
	case x < 0.4:
		for range 1 + c.r.IntN(20) {
			c.tell(to, draw.Chance(c.r, 0.3))
		}
	default:
		for range 1 + c.r.IntN(10) {
			m := c.request("slow0")
			if draw.Chance(c.r, 0.1) {
				m.End = 2
			}
			c.ask(to, m)
		}
	}
}

// resizeLast checks that pools have as many workers as they should.
func (w *world) resizeLast() {
	for _, n := range w.Nodes {
		sys, want := n.Live().Sys, 2
		ref := sys.Ref("pool@" + n.Name)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := sys.Resize(ctx, ref, want); err != nil {
			w.truth.Bad("%v cannot be resized: %v", ref, err)
		}
		cancel()
		if w.cheats("a pool is not resized") {
			want++
		}
		st, err := sys.PoolStats(ref)
		if err != nil || len(st.Workers) != want || st.Waiting != 0 {
			w.truth.Bad("%v was to have %d workers: %+v, %v", ref, want, st, err)
		}
	}
}
