package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// plan is what a run is made of.
type plan struct {
	Nodes, Callers, Ops int
	Roads               []string
	Policies            []rpc.RoadPolicy // of the nodes
	Lease               time.Duration
	Window, Keep        int
	TableBytes          int64
	Pace                time.Duration // mean pause of a caller
	Length              time.Duration // of the faults
	Gap                 time.Duration // mean pause between faults
	Faults              []string
	Base                map[string]memnet.Faults // of each road, all the time
	Idle                bool                     // callers may pause for longer than a lease
	Retry               rpc.Retry
	Strangers           bool // nobody can show on the bus who he is on a direct link
	MaxSessions         int
}

// pick returns one of its arguments.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// span draws a duration between two bounds.
func span(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Float64()*float64(to-from))
}

func newPlan(r *rand.Rand) plan {
	p := plan{
		Nodes: 2 + r.IntN(3), Callers: 2 + r.IntN(5), Ops: 20 + r.IntN(50),
		Roads:  pick(r, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct"}, []string{"bus"}),
		Lease:  pick(r, 60*time.Second, 60*time.Second, 15*time.Second, 5*time.Second),
		Window: pick(r, 0, 0, 2, 16), Keep: pick(r, 0, 0, 64), TableBytes: pick[int64](r, 0, 0, 0, 2000),
		Pace:   pick(r, 20*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond),
		Length: span(r, 10*time.Second, 60*time.Second), Gap: pick(r, 200*time.Millisecond, time.Second, 5*time.Second),
		Base: map[string]memnet.Faults{"direct": {}, "bus": {}},
		Idle: chance(r, 0.2),
	}
	for range p.Nodes {
		policy := rpc.DirectFirst
		if len(p.Roads) == 2 && chance(r, 0.2) {
			policy = pick(r, rpc.BusOnly, rpc.DirectOnly)
		}
		p.Policies = append(p.Policies, policy)
	}
	p.Base["direct"] = memnet.Faults{MaxDelay: pick(r, 0, time.Millisecond, 20*time.Millisecond)}
	bus := memnet.Faults{MaxDelay: pick(r, 0, 2*time.Millisecond, 50*time.Millisecond)}
	if chance(r, 0.1) { // slow, but not dead: copies live for long
		bus.MinDelay = span(r, 0, 3*time.Second)
		bus.MaxDelay = bus.MinDelay + span(r, 0, 3*time.Second)
	}
	if chance(r, 0.3) {
		bus.Drop, bus.Duplicate, bus.Reorder = pick(r, 0, 0.02, 0.2), pick(r, 0, 0.05, 0.3), pick(r, 0, 0.05, 0.3)
		bus.ReorderBy = pick(r, 0, time.Second, 20*time.Second, 2*p.Lease)
	}
	p.Base["bus"] = bus
	for _, f := range faultNames {
		if chance(r, 0.4) {
			p.Faults = append(p.Faults, f)
		}
	}
	p.Retry.Attempts, p.Strangers = pick(r, 0, 1), chance(r, 0.1)
	if chance(r, 0.1) {
		p.MaxSessions = p.Nodes + 1
	}
	return p
}

func (p plan) policy(node string) rpc.RoadPolicy { return p.Policies[node[1]-'0'] }

// inOrder reports whether nothing in the plan loses or overtakes a single message, none
// that was refused is made anew, and no bus is so slow that a change to a direct link
// does not wait for what is still under way there (a second at most).
func (p plan) inOrder() bool {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(f string) bool { return slices.Contains(p.Faults, f) })
	}
	bus := p.Base["bus"]
	switch {
	case p.Retry.Attempts != 1:
		return false
	case !slices.Contains(p.Roads, "bus"):
		return true
	case bus.Drop > 0 || bus.Reorder > 0 || has("drop", "reorder", "cut", "cut one way", "isolate"):
		return false
	}
	return len(p.Roads) == 1 || bus.MaxDelay < 100*time.Millisecond && !has("delay", "duplicate", "hold", "hold one way", "suspend", "stall")
}
