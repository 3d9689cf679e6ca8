package engine

import "time"

// gaps notices when this node has not run for a while, because the process was stopped or the
// machine suspended. Then its clients' heartbeats have come but have not been read yet, so no
// lease may end for a while. It is a pure structure.
type gaps struct {
	last  time.Duration // node clock at the latest call
	until time.Duration // node clock from which on leases may end, because what had come has been read
}

// expiryAllowed reports whether leases may end now. It has to be called once every beat.
func (g *gaps) expiryAllowed(now, beat time.Duration) bool {
	if now-g.last >= DeadAfter*beat {
		g.until = now + DeadAfter*beat // as long as a live peer can be silent
	}
	g.last = now
	return now >= g.until
}
