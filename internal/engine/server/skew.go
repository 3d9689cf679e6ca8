package server

import "time"

// skew bounds the difference between a peer's clock and the node's own. Each answer to a
// heartbeat shows the peer's clock at some moment between the heartbeat and the answer,
// which gives bounds of the difference. The range that fits all answers is kept (Cristian,
// "Probabilistic clock synchronization", 1989; Marzullo, 1984). It is a pure structure.
type skew struct {
	known     bool
	low, high time.Duration // the peer's clock minus this node's clock is between them
}

// drift is how much the difference of two clocks may change between two heartbeats.
const drift = time.Millisecond

// add takes an answer into account: the peer's clock showed stamp after this node's clock
// showed sent and before it showed came.
func (s *skew) add(sent, came, stamp time.Duration) {
	low, high := stamp-came, stamp-sent
	if both := (skew{true, max(low, s.low-drift), min(high, s.high+drift)}); s.known && both.low <= both.high {
		*s = both
	} else { // the first answer, or a clock has stood still or jumped since the last one
		*s = skew{true, low, high}
	}
}

// age returns how long ago, at least, the peer's clock showed stamp, if this node's clock shows
// now. It is 0 while nothing is known.
func (s *skew) age(stamp, now time.Duration) time.Duration {
	if !s.known {
		return 0
	}
	return max(0, now-(stamp-s.low))
}
