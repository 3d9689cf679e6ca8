package simulation

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/engine"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// FaultNames are the kinds of faults that a plan may have.
var FaultNames = []string{
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

// Inject causes faults until the plan's time is over.
func (w *World) Inject() {
	r := w.RNG("faults")
	end := w.Truth.Start.Add(w.Plan.Length)
	for len(w.Plan.Faults) > 0 {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(w.Plan.Gap)))
		if !time.Now().Before(end) {
			break
		}
		w.fault(r, draw.Pick(r, w.Plan.Faults...))
	}
	time.Sleep(time.Until(end))
}

// fault injects one fault. Those that last end by themselves.
func (w *World) fault(r *rand.Rand, name string) {
	a, b := w.twoNodes(r)
	road := draw.Pick(r, append(w.Plan.Roads, "")...)
	long := draw.Pick(r, draw.Span(r, 0, 300*time.Millisecond), draw.Span(r, 0, 3*time.Second), draw.Span(r, 3*time.Second, 15*time.Second))
	w.Truth.Note("FAULT %s %s %s on %q for %v", name, a.Name, b.Name, road, long)
	w.Counts[name]++
	switch name {
	case "drop", "duplicate", "reorder", "delay", "no responders", "kill links":
		w.spell(a, b, draw.Pick(r, w.Plan.Roads...), w.weather(r, name), long)
	case "cut":
		w.Net.Partition(road, a.Name, b.Name)
		w.after(long, func() { w.Net.Heal(road, a.Name, b.Name) })
	case "cut one way":
		w.Net.PartitionOneWay(road, a.Name, b.Name)
		w.after(long, func() { w.Net.Heal(road, a.Name, b.Name) })
	case "isolate":
		w.Net.Partition(road, a.Name, "")
		w.after(long, func() { w.Net.Heal(road, a.Name, "") })
	case "hold":
		w.Net.Hold(road, a.Name, b.Name)
		w.Net.Hold(road, b.Name, a.Name)
		w.after(long, func() { w.Net.Heal(road, a.Name, b.Name) })
	case "hold one way":
		w.Net.Hold(road, a.Name, b.Name)
		w.after(long, func() { w.Net.Release(road, a.Name, b.Name) })
	case "suspend": // for longer than a lease
		w.Net.Hold("", a.Name, "")
		w.Net.Hold("", "", a.Name)
		long, unread := w.Plan.Lease+draw.Span(r, 0, 10*time.Second), draw.Chance(r, 0.5)
		if l := a.Live(); l != nil && unread { // what has come by now as well
			l.Stall(min(long, time.Until(w.Truth.Start.Add(w.Plan.Length))))
		}
		w.after(long, func() { w.Net.Heal("", a.Name, "") })
	case "stop":
		w.stop(a, 4*cmp.Or(w.Plan.Heartbeat, rpc.DefaultHeartbeat)+draw.Pick(r, 0, w.Plan.Lease)+draw.Span(r, 0, 5*time.Second))
	case "reset":
		w.Net.Reset(road, a.Name, b.Name)
	case "disturb":
		w.Net.Disturb(road, a.Name)
	case "stall":
		if l := a.Live(); l != nil {
			l.Stall(min(long, time.Until(w.Truth.Start.Add(w.Plan.Length))))
		}
	case "flap":
		w.flap(a, long)
	case "store fails", "store lies", "store slow":
		if d := a.Disk; d != nil {
			d.Break(name)
			w.after(long, func() { d.Mend(name) })
		}
	default:
		w.endNode(r, a, name)
	}
}

// weather draws the faults of a road for a while.
func (w *World) weather(r *rand.Rand, name string) memnet.Faults {
	p := draw.Pick(r, 0.05, 0.3, 0.8)
	switch name {
	case "drop":
		return memnet.Faults{Drop: p, MaxDelay: 5 * time.Millisecond}
	case "duplicate":
		return memnet.Faults{Duplicate: p, MaxDelay: draw.Pick(r, 5*time.Millisecond, time.Second)}
	case "reorder":
		return memnet.Faults{Reorder: p, Duplicate: p / 2, ReorderBy: draw.Pick(r, 100*time.Millisecond, 5*time.Second, 2*w.Plan.Lease)}
	case "delay":
		return memnet.Faults{MinDelay: draw.Span(r, 0, 500*time.Millisecond), MaxDelay: draw.Span(r, 500*time.Millisecond, 4*time.Second)}
	case "no responders":
		return memnet.Faults{NoResponders: true}
	}
	return memnet.Faults{Kill: p / 10, MaxDelay: 5 * time.Millisecond}
}

// spell sets the faults of messages between two nodes for a while.
func (w *World) spell(a, b *Node, road string, f memnet.Faults, long time.Duration) {
	w.Net.SetFaults(road, a.Name, b.Name, f)
	w.after(long, func() { w.Net.SetFaults(road, a.Name, b.Name, w.Plan.Base[road]) })
}

// after does something later, and before the faults are over.
func (w *World) after(d time.Duration, fn func()) {
	w.spells.Go(func() {
		time.Sleep(min(d, time.Until(w.Truth.Start.Add(w.Plan.Length))))
		fn()
	})
}

// stop suspends a node for longer than its peers may be silent. When it goes on, the messages
// of its clients are there and unread. Until they are read, no session may end.
func (w *World) stop(n *Node, long time.Duration) {
	beat := cmp.Or(w.Plan.Heartbeat, rpc.DefaultHeartbeat)
	long = min(long, time.Until(w.Truth.Start.Add(w.Plan.Length)))
	l := n.Live()
	if l == nil || long < 4*beat || slices.ContainsFunc(l.Gates, (*Gate).Stands) {
		return
	}
	w.Net.Hold("", n.Name, "")
	w.Net.Hold("", "", n.Name)
	for _, g := range l.Gates {
		g.Stop(long)
	}
	w.spells.Go(func() {
		time.Sleep(long - time.Nanosecond)
		before := l.Sys.Stats().RPC.SessionsExpired
		time.Sleep(time.Nanosecond)
		w.Net.Heal("", n.Name, "")
		time.Sleep(2 * beat)
		stood := slices.ContainsFunc(l.Gates, func(g *Gate) bool { return g.StoodFor() >= engine.DeadAfter*beat })
		if after := l.Sys.Stats().RPC.SessionsExpired; stood && after != before {
			w.Truth.Bad("%s ended %d sessions right after it had stood still for %v", n.Name, after-before, long)
		}
	})
}

// flap makes the registry forget a live node for a while.
func (w *World) flap(n *Node, long time.Duration) {
	l := n.Live()
	record, err := w.Registry.Lookup(context.Background(), n.Name)
	if l == nil || err != nil || record.Epoch != l.Sys.Epoch() {
		return
	}
	w.Evict(n, l)
	w.after(long, func() {
		if n.Live() == l {
			_ = l.entry.again(context.Background())
		}
	})
}

// endNode ends a start of a node and starts the node again.
func (w *World) endNode(r *rand.Rand, n *Node, how string) {
	away := draw.Pick(r, 0, draw.Span(r, 0, time.Second), draw.Span(r, 0, time.Second), draw.Span(r, time.Second, 20*time.Second))
	known := draw.Chance(r, 0.3) // the registry is told at once
	haunt := draw.Span(r, 0, 10*time.Second)
	l := n.Down()
	if l == nil {
		return // it is down already
	}
	if how != "deploy" && how != "leave" {
		w.Truth.Crashed(n.Name)
	}
	switch how {
	case "kill", "power off":
		l.CutOff(how == "kill")
		if known {
			w.Evict(n, l)
		}
	case "zombie": // it has lost the network alone, and goes on to write
		l.Silence(false)
		if known {
			w.Evict(n, l)
		}
		w.after(haunt, l.Unplug)
	case "usurp": // its successor is there before it has gone: two processes of one name
		w.Evict(n, l)
		away = 0
		w.after(haunt, func() { l.CutOff(haunt < 5*time.Second) })
	case "leave": // the registry forgets it, and it is cut off later
		w.Evict(n, l)
		w.after(haunt, func() { l.CutOff(true) })
	case "deploy":
		l.Deployed = true
		w.spells.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = l.Sys.Shutdown(ctx)
		})
	}
	w.after(away, func() {
		w.Evict(n, l)
		w.Start(n)
	})
}

// Calm ends all faults and makes sure that every node is up.
func (w *World) Calm() {
	w.Net.Heal("", "", "")
	w.Net.SetFaults("", "", "", memnet.Faults{})
	w.spells.Wait()
	w.Net.Heal("", "", "")
	w.Net.SetFaults("", "", "", memnet.Faults{})
	w.Truth.Note("CALM")
}

func (w *World) twoNodes(r *rand.Rand) (a, b *Node) {
	i := r.IntN(len(w.Nodes))
	j := (i + 1 + r.IntN(len(w.Nodes)-1)) % len(w.Nodes)
	return w.Nodes[i], w.Nodes[j]
}
