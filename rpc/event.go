package rpc

import "time"

// EventType says what an Event is about.
type EventType string

// The events of a node's remote side.
const (
	LinkUp      EventType = "link up"
	LinkDown    EventType = "link down"
	RoadChanged EventType = "road changed" // traffic to Peer now takes Road
	PeerDown    EventType = "peer down"    // no road to Peer could be opened; reported once, until it is up
	PeerUp      EventType = "peer up"      // a road leads to Peer again
	SessionGone EventType = "session gone" // Peer does not know our session any more
	JoinDenied  EventType = "join denied"  // Peer refused our session on Road
	MemoryFull  EventType = "memory full"  // a principal, whose node is Peer, fills its share of this node's memory; once a minute
	LinkForeign EventType = "link foreign" // somebody on Road says that it is Peer, and is not

	StoreFailing EventType = "store failing" // records are not written to the store; Err says why
	StoreWorks   EventType = "store works"   // records are written again
)

// Event is something that happened to a node's links, peers or store.
type Event struct {
	Time time.Time
	Type EventType
	Peer string // the other node; empty if there is none
	Road string // of the link; empty if it is about none
	Err  error  // why; nil if there is no reason to tell
}
