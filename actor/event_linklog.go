package actor

import (
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Changes of links and peers are logged one by one: of each type up to lineBurst at once, and
// then lineRate a second. So the start of a whole cluster is in the log, and a peer that opens
// links without end does not fill it.
const (
	lineBurst = 200
	lineRate  = 5.0
)

// lineLimit decides which changes are logged. It has no clock, and only the goroutine that
// reports the node's events uses it.
type lineLimit map[rpc.EventType]*lineState

type lineState struct {
	gone   float64 // how many of the lineBurst lines are used up
	at     time.Time
	unsaid uint64 // changes without a line since the latest line
}

// due reports whether a change gets a line now, and how many changes of its type right before it
// got none.
func (l lineLimit) due(t rpc.EventType, now time.Time) (unsaid uint64, due bool) {
	s := l[t]
	if s == nil {
		s = &lineState{at: now}
		l[t] = s
	}
	s.gone, s.at = max(0, s.gone-now.Sub(s.at).Seconds()*lineRate), now
	if s.gone+1 > lineBurst {
		s.unsaid++
		return 0, false
	}
	s.gone++
	unsaid, s.unsaid = s.unsaid, 0
	return unsaid, true
}
