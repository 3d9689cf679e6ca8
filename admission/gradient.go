package admission

import (
	"fmt"
	"math"
	"time"
)

// Gradient finds out how many requests may be under way from how long they take. While they take as long as
// they usually do, it allows more; when they take longer, they wait for each other somewhere, and it
// allows less. It follows Gradient2Limit of Netflix's concurrency-limits
// (https://github.com/Netflix/concurrency-limits). The zero value of each field is the default that its
// comment gives.
//
// What is usual is an average of some minutes. So in an overload that lasts for longer, it becomes
// usual that requests wait, and the limit rises slowly, up to Max.
type Gradient struct {
	Min     int // it allows no less; default 4
	Max     int // and no more; default 1000
	Initial int // what it begins with; default 20, or the nearest that Min and Max allow

	// Tolerance is how many times as long as usual requests may take before less is allowed; default 1.5.
	Tolerance float64

	// Queue is how many requests more than before are tried while nothing gets slower; default 4.
	Queue int

	// Window is how long durations are gathered before the limit changes, and at least 10 of them;
	// default 200 ms.
	Window time.Duration
}

// The constants of the algorithm.
const (
	smoothing    = 0.2  // how much of the new limit counts
	longWindows  = 600  // windows over which what is usual is averaged
	warmWindows  = 10   // of the first ones the plain average counts
	minSamples   = 10   // of a window
	minGradient  = 0.5  // by how much the limit may fall at once
	forgetFaster = 0.95 // when requests take less than half of what is usual
)

func (g Gradient) withDefaults() Gradient {
	if g.Min == 0 {
		g.Min = 4
	}
	if g.Max == 0 {
		g.Max = max(1000, g.Min)
	}
	if g.Initial == 0 {
		g.Initial = min(max(20, g.Min), g.Max)
	}
	if g.Tolerance == 0 {
		g.Tolerance = 1.5
	}
	if g.Queue == 0 {
		g.Queue = 4
	}
	if g.Window == 0 {
		g.Window = 200 * time.Millisecond
	}
	return g
}

func (g Gradient) validate() error {
	switch {
	case g.Min < 0 || g.Max < g.Min || g.Initial < g.Min || g.Initial > g.Max:
		return fmt.Errorf("want Min %d, Initial %d and Max %d in this order", g.Min, g.Initial, g.Max)
	case !(g.Tolerance >= 1) || math.IsInf(g.Tolerance, 0):
		return fmt.Errorf("want a Tolerance of 1 or more, not %v", g.Tolerance)
	case g.Queue < 0 || g.Window < 0:
		return fmt.Errorf("negative Queue %d or Window %v", g.Queue, g.Window)
	}
	return nil
}

// gradient is the state of a Gradient for one limiter.
type gradient struct {
	Gradient
	limit float64
	usual float64 // how long requests usually take, in seconds; 0: not known yet
	count int     // windows that went into usual, up to longWindows

	// The window that is gathered now.
	until   time.Time // zero: it has no samples
	sum     time.Duration
	samples int
	most    int // requests that were under way at most
}

func newGradient(g Gradient) *gradient {
	g = g.withDefaults()
	return &gradient{Gradient: g, limit: float64(g.Initial)}
}

// Limit returns how many requests may be under way.
func (g *gradient) Limit() int { return int(g.limit) }

// Sample notes that a request has ended at now that has taken so long, while so many were under way,
// itself included.
func (g *gradient) Sample(now time.Time, took time.Duration, underWay int) {
	if g.samples == 0 {
		g.until = now.Add(g.Window)
	}
	g.sum += took
	g.samples++
	g.most = max(g.most, underWay)
	if g.samples < minSamples || now.Before(g.until) {
		return
	}
	short, most := g.sum.Seconds()/float64(g.samples), g.most
	g.until, g.sum, g.samples, g.most = time.Time{}, 0, 0, 0
	g.update(max(short, 1e-9), most)
}

// update changes the limit after a window in which requests took short seconds on average.
func (g *gradient) update(short float64, most int) {
	if g.count < warmWindows {
		g.usual += (short - g.usual) / float64(g.count+1)
	} else {
		g.usual += (short - g.usual) * 2 / (longWindows + 1)
	}
	g.count = min(g.count+1, longWindows)
	if g.usual > 2*short { // after an overload it would take long until more is allowed
		g.usual *= forgetFaster
	}
	if float64(most) < g.limit/2 { // the limit was not what kept requests back, so nothing is learned of it
		return
	}
	slope := max(minGradient, min(1, g.Tolerance*g.usual/short))
	next := g.limit*slope + float64(g.Queue)
	g.limit = g.within(g.limit*(1-smoothing) + next*smoothing)
}

// within returns the nearest to limit that Min and Max allow.
func (g Gradient) within(limit float64) float64 {
	return min(max(limit, float64(g.Min)), float64(g.Max))
}
