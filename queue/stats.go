package queue

import (
	"math"
	"time"
)

// Stats is a snapshot of a queue, with what it has counted since it was made.
type Stats struct {
	Depth    int           // items that are ready to be taken
	Delayed  int           // items that are not due yet
	InFlight int           // items under a lease
	Dead     int           // dead letters
	Waiting  int           // consumers that wait for items
	Paused   bool          // nothing can be taken
	Oldest   time.Duration // how long the oldest of the ready items has been ready

	Pushed       uint64 // items added
	Duplicates   uint64 // pushes of a known id
	Refused      uint64 // pushes into the full queue
	Dropped      uint64 // items that made room, under DropOldest
	Deliveries   uint64
	Redeliveries uint64 // those deliveries that were a second or later attempt
	Acked        uint64
	Nacked       uint64
	Released     uint64 // deliveries given back without a failure
	Cancelled    uint64 // items removed by Cancel or Purge
	Expired      uint64 // leases that ended without an ack
	DeadLettered uint64 // items that became dead letters
	DeadDropped  uint64 // dead letters that made room for others
	Forgotten    uint64 // ids forgotten early, to make room for others
}

// Stats returns a snapshot.
func (q *Queue[T]) Stats(now time.Time) Stats {
	s := q.count
	s.Dead, s.Waiting, s.Paused = q.dead.len(), q.waiters.len(), q.paused
	oldest := uint64(math.MaxUint64)
	for _, l := range q.ready {
		if e := l.items.first(); e.order < oldest {
			oldest, s.Oldest = e.order, max(0, now.Sub(e.since))
		}
	}
	return s
}
