// Package queue is a work queue as a plain data structure. Items are pushed, and taken under
// a lease; then they are acked, or come back. A queue does nothing by itself: it has no lock,
// clock, goroutine or I/O, and takes the time as an argument. Package actor puts it into
// actors (actor.QueueKind, actor.Offer), where consumers on any node pull from it.
//
// The promise: an item that was pushed stays in the queue until it is acked. If it was taken
// and is not acked by the end of its lease, it can be taken again, as the next attempt.
// After Config.Attempts of them it becomes a dead letter. So each item is delivered at least
// once, and more than once if a consumer is slower than its lease. A consumer that gives an
// item back says whether its attempt failed (Nack) or does not count (Release).
//
//	q := queue.New[string](queue.Config{}, salt)
//	q.Push(now, queue.Item[string]{Value: "a.go", ID: "build-17"})
//	for _, d := range q.Take(now, 16) {
//		err := q.Ack(now, d.Token) // ErrLeaseExpired if the lease has ended
//	}
//
// Items with a higher priority are taken first. Items of one priority are taken in the order
// in which they were pushed, or in which their delays ended. An item that comes back keeps
// its place, which is before all items that were not taken yet.
//
// The limits: a queue is in memory. Its bounds count items, not bytes; the caller that
// pushes can count those, see Item.Memory. A Queue is not safe for concurrent use. Times
// must not go backwards.
package queue

import (
	"errors"
	"strconv"
	"time"
)

// Errors of the methods of a Queue.
var (
	ErrFull         = errors.New("queue: full")
	ErrLeaseExpired = errors.New("queue: the lease of this delivery is over, and its item is still in the queue") // the lease ended, or the item was given back
	ErrDone         = errors.New("queue: the item is done")                                                       // it was acked, by this delivery or another one, cancelled or discarded
	ErrForeign      = errors.New("queue: not a delivery of this queue")                                           // it is a delivery of another queue, or of an earlier start of this one
	ErrCrowded      = errors.New("queue: too many wait for items")
	ErrTaken        = errors.New("queue: a consumer has the item") // only items that no consumer has can be cancelled
)

// Item is what is pushed.
type Item[T any] struct {
	Value    T
	ID       string        // if not empty, a second push with it is a duplicate: see Config.Remember
	Priority int           // items with a higher one are taken first
	Delay    time.Duration // how long after the push it can be taken
	Memory   Memory        // may be nil; it learns when the memory of the item is freed
	Trace    string        // the trace context under which it was pushed; the queue keeps it with the item
}

// Token names one delivery for good: no other delivery, of this queue or another, has it.
type Token struct {
	Queue uint64 // the salt of New
	Item  uint64
	Lease uint64
}

// Delivery is an item that a consumer has until the lease ends.
type Delivery[T any] struct {
	Token    Token
	ID       string // the item's, or a generated one if it has none
	Attempt  int    // 1 for the first delivery of the item
	Priority int
	Value    T
	Until    time.Time // when its lease ends
	Trace    string    // the item's
}

// Pushed says what a push did.
type Pushed[T any] struct {
	Duplicate  bool // the id is known: nothing was added
	HasDropped bool // Dropped was removed to make room, under DropOldest
	Dropped    T
}

// Queue is a work queue. New makes one. It is not safe for concurrent use.
type Queue[T any] struct {
	cfg    Config
	salt   uint64
	seq    uint64 // the largest number of an item
	order  uint64 // the last place that was assigned
	leases uint64 // the number of the last lease

	held    map[uint64]*entry[T]
	ready   []*level[T]     // by priority, the highest first; none is empty
	due     heap[*entry[T]] // delayed and leased entries, by their times
	dead    fifo[uint64, *deadItem[T]]
	known   map[string]uint64  // the numbers of the items in held and dead, by their ids
	ended   fifo[string, past] // items that are done, by their ids
	waiters fifo[uint64, *waiter]
	ends    heap[*waiter] // the waiters by the end of their wait
	count   Stats

	paused bool // nothing can be taken
}

type state uint8

const (
	isReady state = iota
	isDelayed
	isLeased
)

// entry is an item that the queue holds.
type entry[T any] struct {
	Item[T]
	seq     uint64
	order   uint64 // its place among those of its priority; 0: it has none yet
	state   state
	attempt int       // deliveries so far that count as attempts
	lease   uint64    // the number of its latest lease
	since   time.Time // when it was first ready, or will be
	at      time.Time // when it is due, or its lease ends
	index   int       // in the heap that has it
}

// sooner reports whether a, of two entries that wait for their times, comes before b.
func sooner[T any](a, b *entry[T]) bool {
	switch {
	case !a.at.Equal(b.at):
		return a.at.Before(b.at)
	case a.order != b.order:
		return a.order < b.order
	}
	return a.seq < b.seq // neither has a place in the order yet
}

// level holds the entries of one priority that are ready.
type level[T any] struct {
	priority int
	items    heap[*entry[T]]
}

// New makes an empty queue. salt is a random number. It distinguishes the deliveries of this
// queue from those of other queues, and of earlier starts of this one. The error is that of
// Config.Validate.
func New[T any](cfg Config, salt uint64) (*Queue[T], error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Queue[T]{
		cfg: cfg.WithDefaults(), salt: salt,
		held: map[uint64]*entry[T]{}, known: map[string]uint64{},
		due: heap[*entry[T]]{
			less:  sooner[T],
			index: func(e *entry[T]) *int { return &e.index },
		},
		ends: heap[*waiter]{
			less:  func(a, b *waiter) bool { return a.until.Before(b.until) },
			index: func(w *waiter) *int { return &w.index },
		},
	}, nil
}

// Push adds an item, unless its id is known. The error is ErrFull.
func (q *Queue[T]) Push(now time.Time, it Item[T]) (Pushed[T], error) {
	q.forget(now)
	if it.ID != "" && q.knows(it.ID) {
		q.count.Duplicates++
		return Pushed[T]{Duplicate: true}, nil
	}
	var p Pushed[T]
	if len(q.held) >= q.cfg.Capacity {
		old := q.droppable(it.Priority)
		if q.cfg.Policy != DropOldest || old == nil {
			q.count.Refused++
			return p, ErrFull
		}
		q.unready(old)
		q.drop(old)
		q.count.Dropped++
		p.HasDropped, p.Dropped = true, old.Value
	}
	q.count.Pushed++
	q.add(now, q.seq+1, 0, it)
	return p, nil
}

func (q *Queue[T]) add(now time.Time, seq uint64, attempts int, it Item[T]) {
	e := &entry[T]{Item: it, seq: seq, attempt: attempts, since: now}
	q.seq = max(q.seq, seq)
	q.held[e.seq] = e
	if e.ID != "" {
		q.known[e.ID] = e.seq
	}
	if it.Delay > 0 {
		e.since = now.Add(it.Delay)
		q.await(e, isDelayed, e.since)
		return
	}
	q.enqueue(e)
}

// enqueue makes an entry ready, as the last one of its priority.
func (q *Queue[T]) enqueue(e *entry[T]) {
	q.order++
	e.order = q.order
	q.makeReady(e)
}

// await makes an entry wait for the time at.
func (q *Queue[T]) await(e *entry[T], s state, at time.Time) {
	e.state, e.at = s, at
	q.due.push(e)
	if s == isLeased {
		q.count.InFlight++
	} else {
		q.count.Delayed++
	}
}

// unwait removes an entry from those that wait for their times.
func (q *Queue[T]) unwait(e *entry[T]) {
	q.due.remove(e.index)
	if e.state == isLeased {
		q.count.InFlight--
	} else {
		q.count.Delayed--
	}
}

// remove removes an entry, which is in no heap any more, and its id.
func (q *Queue[T]) remove(e *entry[T]) {
	delete(q.held, e.seq)
	if e.ID != "" {
		delete(q.known, e.ID)
	}
}

// Tick does what is due at now: it ends leases and delays.
func (q *Queue[T]) Tick(now time.Time) {
	q.forget(now)
	for q.due.len() > 0 && !now.Before(q.due.first().at) {
		e := q.due.first()
		q.unwait(e)
		if e.state == isLeased {
			q.count.Expired++
			q.comeBack(now, e, 0, LeaseExpired)
		} else {
			q.mature(e)
		}
	}
}

// mature makes an entry ready whose delay has ended.
func (q *Queue[T]) mature(e *entry[T]) {
	if e.order == 0 { // the delay is that of its push, so it has no place yet
		q.enqueue(e)
	} else {
		q.makeReady(e)
	}
}

// NextDue returns when Tick or Serve should be called next: when the next lease, delay or
// wait of a consumer ends, or when the memory of an id that is remembered can be freed.
// False means that nothing is due at any time.
func (q *Queue[T]) NextDue() (at time.Time, ok bool) {
	if q.due.len() > 0 {
		at, ok = q.due.first().at, true
	}
	if q.ends.len() > 0 {
		if end := q.ends.first().until; !ok || end.Before(at) {
			at, ok = end, true
		}
	}
	if q.ended.len() > 0 {
		if p := q.ended.first(); p.memory != nil && (!ok || p.at.Add(q.cfg.Remember).Before(at)) {
			at, ok = p.at.Add(q.cfg.Remember), true
		}
	}
	return at, ok
}

// Take gives up to n items that are ready, in their order, each under a lease.
func (q *Queue[T]) Take(now time.Time, n int) []Delivery[T] {
	q.Tick(now)
	var all []Delivery[T]
	for n > 0 && q.takeable() {
		all = append(all, q.take(now))
		n--
	}
	return all
}

// take gives the first item that is ready, of which there must be one, under a lease.
func (q *Queue[T]) take(now time.Time) Delivery[T] {
	e := q.ready[0].items.first()
	q.unready(e)
	q.leases++
	e.lease = q.leases
	e.attempt++
	q.count.Deliveries++
	if e.attempt > 1 {
		q.count.Redeliveries++
	}
	q.await(e, isLeased, now.Add(q.cfg.Lease))
	return q.delivery(e)
}

func (q *Queue[T]) delivery(e *entry[T]) Delivery[T] {
	return Delivery[T]{Token: Token{q.salt, e.seq, e.lease}, ID: q.idOf(e), Attempt: e.attempt, Priority: e.Priority, Value: e.Value, Until: e.at, Trace: e.Trace}
}

// idOf returns the item's id, or a generated one that no other item of any queue has.
func (q *Queue[T]) idOf(e *entry[T]) string {
	if e.ID != "" {
		return e.ID
	}
	return strconv.FormatUint(q.salt, 36) + "-" + strconv.FormatUint(e.seq, 10)
}

// leased returns the entry of a delivery if its lease has not ended.
func (q *Queue[T]) leased(now time.Time, t Token) (*entry[T], error) {
	e := q.held[t.Item]
	switch {
	case t.Queue != q.salt || t.Item == 0 || t.Item > q.seq || t.Lease > q.leases:
		return nil, ErrForeign
	case e == nil && q.dead.has(t.Item):
		return nil, ErrLeaseExpired
	case e == nil:
		return nil, ErrDone
	case e.state != isLeased || e.lease != t.Lease || !now.Before(e.at):
		return nil, ErrLeaseExpired
	}
	return e, nil
}

// Ack removes the item of a delivery, because it is done. Errors: ErrLeaseExpired, ErrDone,
// ErrForeign.
func (q *Queue[T]) Ack(now time.Time, t Token) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	q.unwait(e)
	q.end(now, e)
	q.count.Acked++
	return nil
}

// Nack gives an item back after a failure. It can be taken again after the delay; after its
// last attempt it becomes a dead letter. The errors are those of Ack.
func (q *Queue[T]) Nack(now time.Time, t Token, delay time.Duration) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	q.unwait(e)
	q.count.Nacked++
	q.comeBack(now, e, delay, Nacked)
	return nil
}

// Release gives an item back without a failure: the delivery does not count as an attempt.
// The item can be taken again after the delay. The errors are those of Ack.
func (q *Queue[T]) Release(now time.Time, t Token, delay time.Duration) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	q.unwait(e)
	q.count.Released++
	e.attempt--
	if delay > 0 {
		q.await(e, isDelayed, now.Add(delay))
	} else {
		q.makeReady(e)
	}
	return nil
}

// Undo takes back a delivery that reached nobody, as if it had not been made. The errors are
// those of Ack.
func (q *Queue[T]) Undo(now time.Time, t Token) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	q.unwait(e)
	q.count.Deliveries--
	if e.attempt > 1 {
		q.count.Redeliveries--
	}
	e.attempt--
	q.makeReady(e)
	return nil
}

// Extend makes a lease end d after now, whether that is earlier or later than before; at
// most MaxLease after now. The errors are those of Ack.
func (q *Queue[T]) Extend(now time.Time, t Token, d time.Duration) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	e.at = now.Add(min(d, MaxLease))
	q.due.fix(e.index)
	return nil
}

// comeBack ends a delivery without an ack.
func (q *Queue[T]) comeBack(now time.Time, e *entry[T], delay time.Duration, why Reason) {
	switch {
	case e.attempt >= q.cfg.Attempts && q.addDead(now, e, why):
	case e.attempt >= q.cfg.Attempts && delay <= 0: // no room for a dead letter: it must not delay the other items
		q.enqueue(e)
	case delay > 0:
		q.await(e, isDelayed, now.Add(delay))
	default:
		q.makeReady(e)
	}
}

// levelOf returns the index of a priority's level in q.ready, or where to insert it.
func (q *Queue[T]) levelOf(priority int) (at int, found bool) {
	low, high := 0, len(q.ready)
	for low < high {
		if mid := (low + high) / 2; q.ready[mid].priority > priority {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < len(q.ready) && q.ready[low].priority == priority
}

// makeReady makes an entry that has its place in the order ready to be taken.
func (q *Queue[T]) makeReady(e *entry[T]) {
	e.state = isReady
	at, found := q.levelOf(e.Priority)
	if !found {
		l := &level[T]{priority: e.Priority, items: heap[*entry[T]]{
			less:  func(a, b *entry[T]) bool { return a.order < b.order },
			index: func(e *entry[T]) *int { return &e.index },
		}}
		q.ready = append(q.ready, nil)
		copy(q.ready[at+1:], q.ready[at:])
		q.ready[at] = l
	}
	q.ready[at].items.push(e)
	q.count.Depth++
}

// unready removes an entry from those that are ready.
func (q *Queue[T]) unready(e *entry[T]) {
	at, _ := q.levelOf(e.Priority)
	l := q.ready[at]
	l.items.remove(e.index)
	if l.items.len() == 0 {
		q.ready = append(q.ready[:at], q.ready[at+1:]...)
	}
	q.count.Depth--
}

// droppable returns the entry to drop for an item of that priority: the first in order of
// the lowest priority, unless that one is higher.
func (q *Queue[T]) droppable(priority int) *entry[T] {
	if n := len(q.ready); n > 0 && q.ready[n-1].priority <= priority {
		return q.ready[n-1].items.first()
	}
	return nil
}
