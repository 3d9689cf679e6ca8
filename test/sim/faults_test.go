package sim

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/engine"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// faultNames are the kinds of faults that a plan may have.
var faultNames = []string{
	"drop", "duplicate", "reorder", "delay", "no responders", // of a bus
	"kill links",                    // of a direct road
	"cut", "cut one way", "isolate", // partitions
	"hold", "hold one way", "suspend", // late flushes
	"stop", // as SIGSTOP and SIGCONT do
	"reset", "disturb",
	"stall", "flap", // a node does not read; the registry forgets one for a while
	"store fails", "store lies", "store slow", // writes: are errors, are errors and take place, take long
	"kill", "power off", "zombie", "usurp", "deploy", "leave", // ends of nodes
}

// inject causes faults until the plan's time is over.
func (w *world) inject() {
	r := w.rng("faults")
	end := w.truth.start.Add(w.plan.Length)
	for len(w.plan.Faults) > 0 {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(w.plan.Gap)))
		if !time.Now().Before(end) {
			break
		}
		w.fault(r, pick(r, w.plan.Faults...))
	}
	time.Sleep(time.Until(end))
}

// fault injects one fault. Those that last end by themselves.
func (w *world) fault(r *rand.Rand, name string) {
	a, b := w.twoNodes(r)
	road := pick(r, append(w.plan.Roads, "")...)
	long := pick(r, span(r, 0, 300*time.Millisecond), span(r, 0, 3*time.Second), span(r, 3*time.Second, 15*time.Second))
	w.truth.note("FAULT %s %s %s on %q for %v", name, a.name, b.name, road, long)
	w.faults[name]++
	switch name {
	case "drop", "duplicate", "reorder", "delay", "no responders", "kill links":
		w.spell(a, b, pick(r, w.plan.Roads...), w.weather(r, name), long)
	case "cut":
		w.net.Partition(road, a.name, b.name)
		w.after(long, func() { w.net.Heal(road, a.name, b.name) })
	case "cut one way":
		w.net.PartitionOneWay(road, a.name, b.name)
		w.after(long, func() { w.net.Heal(road, a.name, b.name) })
	case "isolate":
		w.net.Partition(road, a.name, "")
		w.after(long, func() { w.net.Heal(road, a.name, "") })
	case "hold":
		w.net.Hold(road, a.name, b.name)
		w.net.Hold(road, b.name, a.name)
		w.after(long, func() { w.net.Heal(road, a.name, b.name) })
	case "hold one way":
		w.net.Hold(road, a.name, b.name)
		w.after(long, func() { w.net.Release(road, a.name, b.name) })
	case "suspend": // for longer than a lease
		w.net.Hold("", a.name, "")
		w.net.Hold("", "", a.name)
		long, unread := w.plan.Lease+span(r, 0, 10*time.Second), chance(r, 0.5)
		if l := a.live(); l != nil && unread { // what has come by now as well
			l.stall(min(long, time.Until(w.truth.start.Add(w.plan.Length))))
		}
		w.after(long, func() { w.net.Heal("", a.name, "") })
	case "stop":
		w.stop(a, 4*cmp.Or(w.plan.Heartbeat, rpc.DefaultHeartbeat)+pick(r, 0, w.plan.Lease)+span(r, 0, 5*time.Second))
	case "reset":
		w.net.Reset(road, a.name, b.name)
	case "disturb":
		w.net.Disturb(road, a.name)
	case "stall":
		if l := a.live(); l != nil {
			l.stall(min(long, time.Until(w.truth.start.Add(w.plan.Length))))
		}
	case "flap":
		w.flap(a, long)
	case "store fails", "store lies", "store slow":
		if d := a.disk; d != nil {
			d.breaks(name)
			w.after(long, func() { d.mended(name) })
		}
	default:
		w.endNode(r, a, name)
	}
}

// weather draws the faults of a road for a while.
func (w *world) weather(r *rand.Rand, name string) memnet.Faults {
	p := pick(r, 0.05, 0.3, 0.8)
	switch name {
	case "drop":
		return memnet.Faults{Drop: p, MaxDelay: 5 * time.Millisecond}
	case "duplicate":
		return memnet.Faults{Duplicate: p, MaxDelay: pick(r, 5*time.Millisecond, time.Second)}
	case "reorder":
		return memnet.Faults{Reorder: p, Duplicate: p / 2, ReorderBy: pick(r, 100*time.Millisecond, 5*time.Second, 2*w.plan.Lease)}
	case "delay":
		return memnet.Faults{MinDelay: span(r, 0, 500*time.Millisecond), MaxDelay: span(r, 500*time.Millisecond, 4*time.Second)}
	case "no responders":
		return memnet.Faults{NoResponders: true}
	}
	return memnet.Faults{Kill: p / 10, MaxDelay: 5 * time.Millisecond}
}

// spell sets the faults of messages between two nodes for a while.
func (w *world) spell(a, b *node, road string, f memnet.Faults, long time.Duration) {
	w.net.SetFaults(road, a.name, b.name, f)
	w.after(long, func() { w.net.SetFaults(road, a.name, b.name, w.plan.Base[road]) })
}

// after does something later, and before the faults are over.
func (w *world) after(d time.Duration, fn func()) {
	w.spells.Go(func() {
		time.Sleep(min(d, time.Until(w.truth.start.Add(w.plan.Length))))
		fn()
	})
}

// stop suspends a node for longer than its peers may be silent. When it goes on, the messages
// of its clients are there and unread. Until they are read, no session may end.
func (w *world) stop(n *node, long time.Duration) {
	beat := cmp.Or(w.plan.Heartbeat, rpc.DefaultHeartbeat)
	long = min(long, time.Until(w.truth.start.Add(w.plan.Length)))
	l := n.live()
	if l == nil || long < 4*beat || slices.ContainsFunc(l.gates, (*gate).stands) {
		return
	}
	w.net.Hold("", n.name, "")
	w.net.Hold("", "", n.name)
	for _, g := range l.gates {
		g.stop(long)
	}
	w.spells.Go(func() {
		time.Sleep(long - time.Nanosecond)
		before := l.sys.Stats().RPC.SessionsExpired
		time.Sleep(time.Nanosecond)
		w.net.Heal("", n.name, "")
		time.Sleep(2 * beat)
		stood := slices.ContainsFunc(l.gates, func(g *gate) bool { return g.stoodFor() >= engine.DeadAfter*beat })
		if after := l.sys.Stats().RPC.SessionsExpired; stood && after != before {
			w.truth.bad("%s ended %d sessions right after it had stood still for %v", n.name, after-before, long)
		}
	})
}

// flap makes the registry forget a live node for a while.
func (w *world) flap(n *node, long time.Duration) {
	l := n.live()
	record, err := w.reg.Lookup(context.Background(), n.name)
	if l == nil || err != nil || record.Epoch != l.sys.Epoch() {
		return
	}
	w.evict(n, l)
	w.after(long, func() {
		if n.live() == l {
			_ = w.reg.Register(context.Background(), record)
		}
	})
}

// endNode ends a start of a node and starts the node again.
func (w *world) endNode(r *rand.Rand, n *node, how string) {
	away := pick(r, 0, span(r, 0, time.Second), span(r, 0, time.Second), span(r, time.Second, 20*time.Second))
	known := chance(r, 0.3) // the registry is told at once
	haunt := span(r, 0, 10*time.Second)
	l := n.down()
	if l == nil {
		return // it is down already
	}
	if how != "deploy" && how != "leave" {
		w.truth.crashed(n.name)
	}
	switch how {
	case "kill", "power off":
		l.cutOff(how == "kill")
		if known {
			w.evict(n, l)
		}
	case "zombie": // it has lost the network alone, and goes on to write
		l.silence(false)
		if known {
			w.evict(n, l)
		}
		w.after(haunt, l.drive.unplug)
	case "usurp": // its successor is there before it has gone: two processes of one name
		w.evict(n, l)
		away = 0
		w.after(haunt, func() { l.cutOff(haunt < 5*time.Second) })
	case "leave": // the registry forgets it, and it is cut off later
		w.evict(n, l)
		w.after(haunt, func() { l.cutOff(true) })
	case "deploy":
		l.deployed = true
		w.spells.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = l.sys.Shutdown(ctx)
		})
	}
	w.after(away, func() {
		w.evict(n, l)
		w.start(n)
	})
}

// calm ends all faults and makes sure that every node is up.
func (w *world) calm() {
	w.net.Heal("", "", "")
	w.net.SetFaults("", "", "", memnet.Faults{})
	w.spells.Wait()
	w.net.Heal("", "", "")
	w.net.SetFaults("", "", "", memnet.Faults{})
	w.truth.note("CALM")
}

func (w *world) twoNodes(r *rand.Rand) (a, b *node) {
	i := r.IntN(len(w.nodes))
	j := (i + 1 + r.IntN(len(w.nodes)-1)) % len(w.nodes)
	return w.nodes[i], w.nodes[j]
}
