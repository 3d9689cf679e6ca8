package rpc

import "github.com/tandem-go/tandem/transport"

// replays knows where in a link's queue the outcomes are that were said again there: a
// copy or a probe that comes while such a one still waits adds nothing to what the client
// gets, and a client that does not read could have the queue grow by it as it likes. It is
// the link's reader's own. The zero value knows none.
type replays map[replay]uint64

type replay struct {
	grant transport.Grant
	seq   uint64
}

// maxReplays is how many are known at a time. Beyond that they are forgotten, and may be in the
// queue once more.
const maxReplays = 2 * DefaultWindow

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

// said notes where the outcome is.
func (r *replays) said(id replay, at uint64) {
	if *r == nil || len(*r) >= maxReplays {
		*r = replays{}
	}
	(*r)[id] = at
}
