package server

import (
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// replays remembers where in a link's queue the outcomes are that were sent again. While such
// an outcome is still in the queue, a further copy or probe does not add it once more:
// otherwise a client that does not read could make the queue grow without a bound. Only the
// goroutine that reads the link may use it. The zero value is empty.
type replays map[replay]uint64

type replay struct {
	grant transport.Grant
	seq   uint64
}

// maxReplays is how many outcomes are remembered. When there are more, all are forgotten, and
// may get into the queue once more.
const maxReplays = 2 * rpc.DefaultWindow

// waits reports whether the outcome is still in the queue of l.
func (r replays) waits(l transport.Link, id replay) bool {
	if at, said := r[id]; said {
		if !l.Handed(at) {
			return true
		}
		delete(r, id)
	}
	return false
}

// sent remembers where in the queue the outcome is.
func (r *replays) sent(id replay, at uint64) {
	if *r == nil || len(*r) >= maxReplays {
		*r = replays{}
	}
	(*r)[id] = at
}
