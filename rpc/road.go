package rpc

import "time"

// RoadPolicy says which roads a node takes to its peers.
type RoadPolicy uint8

const (
	// DirectFirst (the default) sends over a direct link while there is one, and
	// keeps a link over the bus beside it, to change to at once.
	DirectFirst RoadPolicy = iota
	BusOnly
	DirectOnly
	// Adaptive starts on the bus. It opens a direct link to a peer when the traffic
	// there earns one, or the bus leads nowhere, and closes it when it falls idle: so
	// many nodes need no full mesh of links.
	Adaptive
)

// String returns the policy's name in lower case.
func (r RoadPolicy) String() string {
	return [...]string{"direct first", "bus only", "direct only", "adaptive", "?"}[min(r, Adaptive+1)]
}

// Valid reports whether r is one of the policies.
func (r RoadPolicy) Valid() bool { return r <= Adaptive }

// takes reports whether the policy uses roads of that sort at all.
func (r RoadPolicy) takes(direct bool) bool {
	return r == DirectFirst || r == Adaptive || direct == (r == DirectOnly)
}

// When a direct link is earned, and when it is idle, in heartbeats.
const (
	earnedBy  = 200 // messages sent to a peer within one
	idleAfter = 15  // of them without a request or a one-way message in either direction
)

// traffic is what Adaptive goes by. It is a pure structure.
type traffic struct {
	sent  int // messages since the last beat
	quiet int // beats without traffic
}

// beat takes in a heartbeat's time in which the peer has served us, or we it, or not.
func (t *traffic) beat(served bool) (earned, idle bool) {
	earned = t.sent >= earnedBy
	if t.quiet++; t.sent > 0 || served {
		t.quiet = 0
	}
	t.sent = 0
	return earned, t.quiet >= idleAfter
}

// directPatience is how long traffic waits for a first direct link before it starts
// on the bus.
const directPatience = 250 * time.Millisecond

// candidate is a link as the choice of a road sees it.
type candidate struct{ ready, direct bool }

// choose returns the index of the link to send on, or -1 to send on none yet. The
// later of two equal links wins: it is the one that both ends know to be alive.
// awaitDirect says that a direct link is being dialled and patience has not run out.
func choose(links []candidate, awaitDirect bool) int {
	best := -1
	for i, l := range links {
		switch {
		case !l.ready, !l.direct && awaitDirect:
		case best < 0, l.direct || !links[best].direct:
			best = i
		}
	}
	return best
}

// backoff returns the pause before the n-th attempt (the first is 0) at something
// that failed: full jitter over a range that doubles from 50 ms to 2 s. random is
// uniform in [0, 1).
func backoff(n int, random float64) time.Duration {
	if n <= 0 {
		return 0
	}
	high := min(50*time.Millisecond<<min(n, 10), 2*time.Second)
	return time.Duration(random * float64(high))
}
