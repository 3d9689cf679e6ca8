package rpc

import "time"

// gaps notices when a node's own clock has jumped: the process was stopped, or the
// machine suspended. What its clients sent meanwhile, their heartbeats among it, then
// lies unread at its door. So for a while nobody's lease ends. It is a pure structure.
type gaps struct {
	last  time.Duration // the latest look
	until time.Duration // when what had come in is read
}

// drained takes in a look at the clock, which is due every beat, and reports whether
// leases may end.
func (g *gaps) drained(now, beat time.Duration) bool {
	if now-g.last >= DeadAfter*beat {
		g.until = now + DeadAfter*beat // as long as a live peer can be silent
	}
	g.last = now
	return now >= g.until
}
