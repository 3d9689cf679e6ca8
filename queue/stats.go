package queue

import (
	"math"
	"time"
)

// Stats is a snapshot of a queue, and what it has counted since it was made.
type Stats struct {
	Depth    int           // ready to be taken
	Delayed  int           // not due yet
	InFlight int           // under a lease
	Dead     int           // dead letters
	Waiting  int           // consumers in line
	Paused   bool          // nothing is handed out
	Oldest   time.Duration // for how long the one that is ready longest has been

	Pushed       uint64 // items added
	Duplicates   uint64 // pushes of a known id
	Refused      uint64 // pushes into the full queue
	Dropped      uint64 // items that made room, under DropOldest
	Deliveries   uint64
	Redeliveries uint64 // of these, those of a second or later attempt
	Acked        uint64
	Nacked       uint64
	Released     uint64 // given back without a failure
	Cancelled    uint64 // taken out by Cancel or Purge while they waited
	Lapsed       uint64 // leases that ran out
	Buried       uint64 // items that became dead letters
	DeadDropped  uint64 // dead letters that made room for others
	Forgotten    uint64 // ids forgotten before their time
}

// Stats returns a snapshot.
func (q *Queue[T]) Stats(now time.Time) Stats {
	s := q.count
	s.Dead, s.Waiting, s.Paused = q.dead.len(), q.line.len(), q.paused
	oldest := uint64(math.MaxUint64)
	for _, l := range q.ready {
		if e := l.items.first(); e.order < oldest {
			oldest, s.Oldest = e.order, max(0, now.Sub(e.since))
		}
	}
	return s
}
