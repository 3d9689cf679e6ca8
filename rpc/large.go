package rpc

import "github.com/tandem-go/tandem/transport"

// Large requests that have come and have no outcome yet hold memory here: all of them
// at most largeFactor times the largest body, those of one principal a quarter of that.
const largeFactor = 16

// holdLarge counts the body of a large request, of n bytes, or reports that there is no
// room for it. The session's lock is held.
func (in *Inbound) holdLarge(n int) bool {
	if n <= transport.LargeBody {
		return true
	}
	units := min((n+transport.LargeBody-1)/transport.LargeBody, 1<<16-1)
	if !in.session.node.large.reserve(in.session.large, units*transport.LargeBody) {
		return false
	}
	in.units = uint16(units)
	return true
}

// dropLarge ends that: the request has its outcome, or never starts. The session's lock
// is held.
func (in *Inbound) dropLarge() {
	if in.units > 0 {
		in.session.node.large.free(in.session.large, int(in.units)*transport.LargeBody)
		in.units = 0
	}
}
