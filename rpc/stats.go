package rpc

// Stats is a snapshot of what the remote side of a system has counted since it started.
// Where a comment says "now", the value is of the time of the snapshot.
type Stats struct {
	// As a client.
	Requests    uint64 // requests sent to peers, each counted once
	Resent      uint64 // further copies of them, under their numbers
	Hedged      uint64 // of the resent ones, those that went over a second road because the first was slow
	Retries     uint64 // retries of requests, each under a new number
	Tells       uint64 // one-way messages sent to peers
	Replies     uint64 // requests that were answered
	Unknown     uint64 // requests that have ended with the verdict Unknown
	RepliesLate uint64 // answers that nobody waited for, duplicates among them
	Lost        uint64 // sessions that their server did not know any more
	RoadChanges uint64 // times that the traffic to a peer moved to another link
	Outstanding int    // outstanding requests

	// As a server.
	Served          uint64 // requests accepted: the first copy of each
	Replayed        uint64 // copies that got a stored outcome
	Attached        uint64 // copies that came while the first was queued or running
	Refused         uint64 // copies that had no record and did not run
	Recovered       uint64 // questions about requests to an earlier start of this node
	TellsServed     uint64 // one-way messages that arrived
	TellsDropped    uint64 // one-way messages that were duplicates, came over an earlier road too late, or were of no known session
	TellsMissed     uint64 // one-way messages that did not arrive, or arrived too late
	SessionsOpened  uint64
	SessionsExpired uint64
	OpensRefused    uint64 // sessions that were refused because all clients, or one principal, have or open too many
	JoinsDenied     uint64 // links that presented a session of another principal
	BadMarks        uint64 // acknowledgements that made no sense
	Records         int    // requests of which there is a record now
	HeldBytes       int64  // bytes that peers have this node hold now (Limits.MemoryBytes)
	HoldsRefused    uint64 // how often there was no room in that for a message, an outcome or anything else
	TellsRefused    uint64 // one-way messages that were lost for want of that room
	Keys            int    // keys known now (rpc.Key)
	KeyBytes        int64  // bytes that they take now
	KeysRefused     uint64 // requests that were refused because the keys of their principal fill its share

	Links     int // links open now
	LinksLost uint64

	LinksForeign uint64 // links whose peer was not the node that it said it was

	EventsLost uint64 // events that were not reported because their receiver was too slow
}
