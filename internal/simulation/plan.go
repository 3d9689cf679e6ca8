package simulation

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Plan is what is drawn for a run before it begins.
type Plan struct {
	Nodes     int
	Roads     []string // "direct" and "bus", or one of them
	Lease     time.Duration
	Heartbeat time.Duration            // 0: the default
	Length    time.Duration            // of the faults
	Gap       time.Duration            // mean pause between faults
	Faults    []string                 // of FaultNames
	Base      map[string]memnet.Faults // of each road, all the time
	Stores    []bool                   // of the nodes; shorter: the others have none
	Slow      time.Duration            // a write to a store takes, at most
}

// NewPlan draws a plan without stores and faults.
func NewPlan(r *rand.Rand) Plan {
	p := Plan{Nodes: DrawNodes(r), Roads: DrawRoads(r), Lease: DrawLease(r), Length: DrawLength(r), Gap: DrawGap(r), Heartbeat: DrawHeartbeat(r)}
	p.DrawBase(r)
	return p
}

// DrawNodes draws how many nodes a run has.
func DrawNodes(r *rand.Rand) int { return 2 + r.IntN(3) }

// DrawRoads draws the roads of a run.
func DrawRoads(r *rand.Rand) []string {
	return draw.Pick(r, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct"}, []string{"bus"})
}

// DrawLease draws how long sessions are kept.
func DrawLease(r *rand.Rand) time.Duration {
	return draw.Pick(r, 25*time.Second, 25*time.Second, 15*time.Second, 5*time.Second, 3*time.Second)
}

// DrawLength draws for how long there are faults.
func DrawLength(r *rand.Rand) time.Duration { return draw.Span(r, 10*time.Second, 60*time.Second) }

// DrawGap draws the mean pause between faults.
func DrawGap(r *rand.Rand) time.Duration {
	return draw.Pick(r, 200*time.Millisecond, time.Second, 5*time.Second)
}

// DrawHeartbeat draws the pause between heartbeats.
func DrawHeartbeat(r *rand.Rand) time.Duration { return draw.Pick(r, 0, 0, 0, 5*time.Second) }

// DrawBase draws the faults that the roads have all the time.
func (p *Plan) DrawBase(r *rand.Rand) {
	direct := memnet.Faults{MaxDelay: draw.Pick(r, 0, time.Millisecond, 20*time.Millisecond)}
	bus := memnet.Faults{MaxDelay: draw.Pick(r, 0, 2*time.Millisecond, 50*time.Millisecond)}
	if draw.Chance(r, 0.1) { // slow, but not dead: copies live for long
		bus.MinDelay = draw.Span(r, 0, 3*time.Second)
		bus.MaxDelay = bus.MinDelay + draw.Span(r, 0, 3*time.Second)
	}
	if draw.Chance(r, 0.3) {
		bus.Drop, bus.Duplicate, bus.Reorder = draw.Pick(r, 0, 0.02, 0.2), draw.Pick(r, 0, 0.05, 0.3), draw.Pick(r, 0, 0.05, 0.3)
		bus.ReorderBy = draw.Pick(r, 0, time.Second, 20*time.Second, 2*p.Lease)
	}
	p.Base = map[string]memnet.Faults{"direct": direct, "bus": bus}
}

// DrawFaults draws which kinds of faults a run has, those of stores if stores is set.
func (p *Plan) DrawFaults(r *rand.Rand, stores bool) {
	for _, f := range FaultNames {
		if draw.Chance(r, 0.4) && (stores || !strings.HasPrefix(f, "store")) {
			p.Faults = append(p.Faults, f)
		}
	}
}

// Ends draws one of the ways in which a node ends that has no time for a goodbye.
func Ends(r *rand.Rand) string { return draw.Pick(r, "kill", "power off", "zombie", "usurp") }
