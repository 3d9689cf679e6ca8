package natsbus

import "sync/atomic"

// Stats counts what a transport has done since it was made.
type Stats struct {
	Links      int    // open now, or being opened
	PacketsOut uint64 // NATS messages published, all kinds
	PacketsIn  uint64 // NATS messages received, all kinds
	Malformed  uint64 // packets or frames that could not be read
	Foreign    uint64 // packets for a link by another principal than its peer's, dropped
	Forged     uint64 // packets that the peer of their link has not made, or that have headers, dropped
	Replayed   uint64 // packets whose number came before, or that a later one overtook, dropped
	Unknown    uint64 // packets for a link that does not exist, answered with a reset
	Refused    uint64 // opens refused
	Gaps       uint64 // times that a link missed packets
	Dropped    uint64 // packets that nats.go dropped because they were handled too slowly
	Unsaid     uint64 // answers to packets that were dropped because too many were waiting, or there was no connection
}

type counters struct {
	packetsOut, packetsIn, malformed, foreign, forged, replayed, unknown, refused, gaps, dropped, unsaid atomic.Uint64
}

// Stats returns a snapshot.
func (t *Transport) Stats() Stats {
	return Stats{Links: t.links.len(), PacketsOut: t.packetsOut.Load(), PacketsIn: t.packetsIn.Load(),
		Malformed: t.malformed.Load(), Foreign: t.foreign.Load(), Forged: t.forged.Load(), Replayed: t.replayed.Load(), Unknown: t.unknown.Load(), Refused: t.refused.Load(),
		Gaps: t.gaps.Load(), Dropped: t.dropped.Load(), Unsaid: t.unsaid.Load()}
}
