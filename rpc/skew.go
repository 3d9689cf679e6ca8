package rpc

import "time"

// skew is what a node knows of how another one's clock differs from its own. Each answer
// to a heartbeat shows the peer's clock at some moment between the heartbeat and the
// answer, and so bounds the difference; what fits all answers is kept (Cristian,
// "Probabilistic clock synchronization", 1989; Marzullo, 1984). It is a pure structure.
type skew struct {
	known     bool
	low, high time.Duration // the peer's clock less this one's lies between them
}

// drift is how far two clocks may come apart between two heartbeats.
const drift = time.Millisecond

// heard takes in that the peer's clock showed stamp, after this one showed sent and
// before it showed came.
func (s *skew) heard(sent, came, stamp time.Duration) {
	low, high := stamp-came, stamp-sent
	if both := (skew{true, max(low, s.low-drift), min(high, s.high+drift)}); s.known && both.low <= both.high {
		*s = both
	} else { // the first answer, or a clock stood still meanwhile
		*s = skew{true, low, high}
	}
}

// age is how long ago the peer's clock showed stamp, at least, when this one shows now.
func (s *skew) age(stamp, now time.Duration) time.Duration {
	if !s.known {
		return 0
	}
	return max(0, now-(stamp-s.low))
}
