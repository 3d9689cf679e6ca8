package rpc

import (
	"sync/atomic"
	"time"
)

// counters are what a Node counts as it goes. All are totals since it started.
type counters struct {
	resent, retries, hedged                atomic.Uint64
	repliesLate                            atomic.Uint64
	replayed, attached, refused            atomic.Uint64
	recovered, keysRefused                 atomic.Uint64
	tellsServed, tellsDropped, tellsMissed atomic.Uint64
	tellsRefused                           atomic.Uint64
	sessionsOpened, sessionsExpired        atomic.Uint64
	opensRefused                           atomic.Uint64
	sessionsLost, joinsDenied, badMarks    atomic.Uint64
	roadChanges, linksLost, eventsLost     atomic.Uint64
	linksForeign                           atomic.Uint64
}

// Stats is a snapshot of what a Node has counted since it started.
type Stats struct {
	// As a client.
	Requests    uint64 // requests sent to peers, each counted once
	Resent      uint64 // further copies of them, under their numbers
	Hedged      uint64 // of the resent ones, those that went over a second road because the first was slow
	Retries     uint64 // requests made anew, under a new number, because they had not run
	Tells       uint64 // one-way messages sent to peers
	Replies     uint64 // requests that were answered
	RepliesLate uint64 // answers that nobody waited for any more, duplicates among them
	Lost        uint64 // sessions that a server no longer knew
	RoadChanges uint64 // times that the traffic to a peer moved to another link
	Outstanding int    // requests under way

	// As a server.
	Served          uint64 // requests taken on: the first copy of each
	Replayed        uint64 // copies that got a stored outcome
	Attached        uint64 // copies that came while the first was queued or running
	Refused         uint64 // copies that the table had no record for and that did not run
	Recovered       uint64 // questions after requests to an earlier start of this node
	TellsServed     uint64 // one-way messages that came
	TellsDropped    uint64 // duplicates, stragglers of an earlier road, and those of no known session
	TellsMissed     uint64 // one-way messages that did not come, or came too late
	SessionsOpened  uint64
	SessionsExpired uint64
	OpensRefused    uint64 // opens of sessions beyond what all, or one principal, may have or open in that time
	JoinsDenied     uint64 // links that presented a session of another principal
	BadMarks        uint64 // ack marks that made no sense
	Records         int    // requests remembered now
	HeldBytes       int64  // bytes that peers have this node hold now (Config.MemoryBytes)
	HoldsRefused    uint64 // how often there was no room in that for a message, an outcome or what else was to be held
	TellsRefused    uint64 // one-way messages that were lost for it
	Keys            int    // keys known now (rpc.Key)
	KeyBytes        int64  // bytes that they take
	KeysRefused     uint64 // requests refused because the keys of their principal fill its share

	Links     int // links open now
	LinksLost uint64

	LinksForeign uint64 // links whose peer was not the node that it said it is

	EventsLost uint64 // not reported, because OnEvent lagged behind
}

// Stats returns a snapshot. It takes the locks of all peers and sessions in turn.
func (n *Node) Stats() Stats {
	c := &n.stats
	s := Stats{
		Resent: c.resent.Load(), Retries: c.retries.Load(), Hedged: c.hedged.Load(),
		RepliesLate: c.repliesLate.Load(), Lost: c.sessionsLost.Load(), RoadChanges: c.roadChanges.Load(),
		Replayed: c.replayed.Load(), Attached: c.attached.Load(), Refused: c.refused.Load(), Recovered: c.recovered.Load(), KeysRefused: c.keysRefused.Load(),
		TellsServed: c.tellsServed.Load(), TellsDropped: c.tellsDropped.Load(), TellsMissed: c.tellsMissed.Load(),
		SessionsOpened: c.sessionsOpened.Load(), SessionsExpired: c.sessionsExpired.Load(), OpensRefused: c.opensRefused.Load(),
		JoinsDenied: c.joinsDenied.Load(), BadMarks: c.badMarks.Load(), LinksLost: c.linksLost.Load(), LinksForeign: c.linksForeign.Load(), EventsLost: c.eventsLost.Load(),
	}
	n.mu.Lock()
	s.Links = len(n.conns)
	peers := make([]*peer, 0, len(n.peers))
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	for _, v := range n.sessions {
		v.count(&s)
	}
	s.Served += n.served
	s.Requests, s.Replies, s.Tells = n.gone.Requests, n.gone.Replies, n.gone.Tells
	n.mu.Unlock()
	for _, p := range peers {
		p.count(&s)
	}
	s.HeldBytes += n.account.all.Load()
	s.HoldsRefused, s.TellsRefused = n.account.refused.Load(), n.stats.tellsRefused.Load()
	s.Keys, s.KeyBytes = n.keys.count()
	return s
}

// EventType says what an Event is about.
type EventType string

// The events of a Node.
const (
	LinkUp      EventType = "link up"
	LinkDown    EventType = "link down"
	RoadChanged EventType = "road changed" // traffic to Peer now takes Road
	PeerDown    EventType = "peer down"    // no road to Peer could be opened; once, until it is up
	PeerUp      EventType = "peer up"      // a road leads to Peer again
	SessionGone EventType = "session gone" // Peer does not know our session any more
	JoinDenied  EventType = "join denied"  // Peer refused our session on Road
	MemoryFull  EventType = "memory full"  // what a principal has this node hold, whose node is Peer, fills its share; once a minute
	LinkForeign EventType = "link foreign" // somebody on Road says that it is Peer, and is not
)

// Event is something that happened to a node's links and peers.
type Event struct {
	Time time.Time
	Type EventType
	Peer string // node
	Road string
	Err  error // why, where there is a why
}

// count adds what p has counted.
func (p *peer) count(s *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Requests += p.sums.requests
	s.Replies += p.sums.replies
	s.Tells += p.sums.tells
	s.Outstanding += p.win.count + len(p.doubts)
}
