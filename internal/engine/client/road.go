package client

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// allows reports whether the policy uses direct roads, or those over a bus, at all.
func allows(r rpc.RoadPolicy, direct bool) bool {
	return r == rpc.DirectFirst || r == rpc.Adaptive || direct == (r == rpc.DirectOnly)
}

// When rpc.Adaptive opens direct links, and when it closes them.
const (
	earnedBy  = 200 // messages sent to a peer between two heartbeats
	idleAfter = 15  // heartbeats without a request or a one-way message in either direction
)

// traffic measures the traffic with a peer for rpc.Adaptive. It has no lock and no clock.
type traffic struct {
	sent  int // messages sent since the last heartbeat
	quiet int // heartbeats in a row without traffic
}

// beat is called at each heartbeat. served says whether this node has served the peer since the
// last one. It reports whether the traffic calls for direct links, and whether it has ceased.
func (t *traffic) beat(served bool) (earned, idle bool) {
	earned = t.sent >= earnedBy
	if t.quiet++; t.sent > 0 || served {
		t.quiet = 0
	}
	t.sent = 0
	return earned, t.quiet >= idleAfter
}

// directPatience is how long traffic waits for the first direct link before it uses the bus.
const directPatience = 250 * time.Millisecond

// candidate is what choose must know of a link.
type candidate struct{ ready, direct bool }

// choose returns the index of the link to send on, or -1 to send on none yet. Of two equal links
// it takes the later one, which both ends know to be alive. awaitDirect says that a direct link
// is being dialled and traffic still waits for it.
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
