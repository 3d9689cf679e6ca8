package sim

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// plan is everything that the seed draws for a run.
type plan struct {
	simulation.Plan
	Callers, Ops       int
	Policies           []rpc.RoadPolicy // of the nodes
	Window, Keep       int
	MemoryBytes        int64
	Pace               time.Duration // mean pause of a caller
	Idle               bool          // callers may pause for longer than a lease
	Retry              rpc.Retry
	Strangers          bool // nobody can show on the bus who he is on a direct link
	MaxSessions        int
	Durable            map[string]bool // actors that are, on nodes with a store
	Keys               float64         // share of the operations that have one
	KeyLife            time.Duration
	Hedges, Twice, Own float64 // shares of those that are hedged, that may run twice, that have a retry of their own
	Patterns           patterns
	Lives              lives
}

func newPlan(r *rand.Rand) plan {
	var p plan
	p.Nodes, p.Callers, p.Ops = simulation.DrawNodes(r), 2+r.IntN(5), 20+r.IntN(50)
	p.Roads, p.Lease = simulation.DrawRoads(r), simulation.DrawLease(r)
	p.Window, p.Keep, p.MemoryBytes = draw.Pick(r, 0, 0, 2, 16), draw.Pick(r, 0, 0, 64), draw.Pick[int64](r, 0, 0, 0, 2<<20)
	p.Pace = draw.Pick(r, 20*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond)
	p.Length, p.Gap = simulation.DrawLength(r), simulation.DrawGap(r)
	p.Idle = draw.Chance(r, 0.2)
	mixed, policy := draw.Chance(r, 0.2), draw.Pick(r, rpc.DirectFirst, rpc.Adaptive)
	for range p.Nodes {
		if mixed && len(p.Roads) == 2 {
			policy = draw.Pick(r, rpc.DirectFirst, rpc.BusOnly, rpc.DirectOnly, rpc.Adaptive)
		}
		p.Policies = append(p.Policies, policy)
	}
	p.DrawBase(r)
	p.Retry.Attempts, p.Strangers = draw.Pick(r, 0, 1), draw.Chance(r, 0.1)
	if draw.Chance(r, 0.1) {
		p.MaxSessions = p.Nodes + 2
	}
	p.Heartbeat = simulation.DrawHeartbeat(r)
	if !p.Strangers { // on each road they are others, and their keys other keys
		p.Keys = draw.Pick(r, 0, 0.1, 0.4)
	}
	p.KeyLife = draw.Pick(r, 0, 0, 20*time.Second)
	p.Hedges, p.Twice, p.Own = draw.Pick(r, 0, 0.1), draw.Pick(r, 0, 0.1), draw.Pick(r, 0, 0.1)
	p.stores(r)
	p.DrawFaults(r, p.Durable != nil && draw.Chance(r, 0.6))
	if p.Durable != nil { // where it matters what becomes of a lost server's calls
		p.Faults = append(p.Faults, simulation.Ends(r))
	}
	p.Patterns = p.patterns(r)
	p.Lives = drawLives(r)
	return p
}

// stores draws which nodes keep records that outlive the process.
func (p *plan) stores(r *rand.Rand) {
	if draw.Chance(r, 0.5) {
		return
	}
	p.Durable, p.Slow = map[string]bool{}, draw.Pick(r, 0, time.Millisecond, 20*time.Millisecond)
	for range p.Nodes {
		p.Stores = append(p.Stores, draw.Chance(r, 0.8))
	}
	for _, c := range cast {
		p.Durable[c.name] = draw.Chance(r, 0.7)
	}
}

// durable reports whether the actor with that name on that node is durable.
func (p plan) durable(actor, node string) bool {
	return p.Durable[actor] && p.Stores[node[1]-'0']
}

// sound reports whether no store fails.
func (p plan) sound() bool {
	return !slices.ContainsFunc(p.Faults, func(f string) bool { return strings.HasPrefix(f, "store") })
}

func (p plan) policy(node string) rpc.RoadPolicy { return p.Policies[node[1]-'0'] }

// inOrder reports whether nothing in the plan loses single messages or lets one overtake
// another, and nothing that was refused is retried.
func (p plan) inOrder() bool {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(f string) bool { return slices.Contains(p.Faults, f) })
	}
	bus := p.Base["bus"]
	lossless := bus.Drop == 0 && bus.Reorder == 0 && !has("drop", "reorder", "cut", "cut one way", "isolate")
	return p.Retry.Attempts == 1 && (!slices.Contains(p.Roads, "bus") || lossless)
}

// mixed reports whether one-way messages keep their order also among requests. Messages that
// are read late from a link that has ended may arrive after requests that were sent again.
func (p plan) mixed() bool {
	return !slices.ContainsFunc(p.Faults, func(f string) bool {
		return slices.Contains([]string{"kill links", "reset", "no responders", "hold", "hold one way", "suspend", "stop", "stall", "delay", "usurp", "leave"}, f)
	})
}

// has reports whether the plan has a kind of faults.
func (p plan) has(fault string) bool { return slices.Contains(p.Faults, fault) }
