// Package queue is a work queue as a plain structure: items are pushed, taken under a
// lease, and acked, or come back. It decides and remembers, and does nothing by itself:
// it has no lock, clock, goroutine or I/O, and takes the time as an argument. Package
// actor puts it into actors (actor.QueueKind, actor.Offer), where consumers on any node
// pull from it.
//
// The promise: an item that was pushed is held until it is acked. One that was taken and
// not acked by the end of its lease is taken again, with its attempt number, and becomes
// a dead letter after Config.Attempts of them. So each item is delivered at least once:
// twice if a consumer is slower than its lease. A consumer that gives an item back says
// whether that was a failed attempt (Nack) or none at all (Release).
//
//	q := queue.New[string](queue.Config{}, salt)
//	q.Push(now, queue.Item[string]{Value: "a.go", ID: "build-17"})
//	for _, d := range q.Take(now, 16) {
//		err := q.Ack(now, d.Token) // ErrLapsed if now is beyond the lease
//	}
//
// Order is by priority, the higher first, and within one by the time of the push, or
// for delayed items by the time they were due. What comes back keeps its place, which
// is in front of all that was not taken yet.
//
// Limits: a queue lives in memory and its bounds count items, not bytes: who pushes may
// count those, see Item.Memory. All methods
// belong to one goroutine at a time. Times must not go backwards.
package queue

import (
	"errors"
	"strconv"
	"time"
)

// Errors of a Push, and of what is done to a delivery.
var (
	ErrFull    = errors.New("queue: full")
	ErrLapsed  = errors.New("queue: the lease of this delivery is over, and its item is still in the queue") // it ran out, or was given back
	ErrDone    = errors.New("queue: the item is done")                                                       // acked, by this delivery or another, or discarded
	ErrForeign = errors.New("queue: not a delivery of this queue")                                           // of another one, or of an earlier start of it
	ErrCrowded = errors.New("queue: too many wait for items")
	ErrTaken   = errors.New("queue: a consumer has the item") // what waits can be cancelled, and nothing else
)

// Item is what is pushed.
type Item[T any] struct {
	Value    T
	ID       string        // if not empty, a second push of it is a duplicate: see Config.Remember
	Priority int           // higher ones are taken first
	Delay    time.Duration // not to be taken earlier than this after the push
	Memory   Memory        // told when what the item takes is given back; nil: nobody is
}

// Token names one delivery for good: no other one, of this or another queue, has it.
type Token struct {
	Queue uint64 // the salt of New
	Item  uint64
	Lease uint64
}

// Delivery is an item in the hands of a consumer until its lease ends.
type Delivery[T any] struct {
	Token    Token
	ID       string // the item's, or one made up
	Attempt  int    // 1 for the first delivery of the item
	Priority int
	Value    T
	Until    time.Time // when its lease ends
}

// Pushed says what became of a push.
type Pushed[T any] struct {
	Duplicate  bool // the queue knows the id: nothing was added
	HasDropped bool // Dropped made room, under DropOldest
	Dropped    T
}

// Queue is a work queue. New makes one.
type Queue[T any] struct {
	cfg    Config
	salt   uint64
	seq    uint64 // of the item pushed last
	order  uint64 // the last place given out
	leases uint64 // the last lease given out

	held  map[uint64]*entry[T]
	ready []*level[T]     // by priority, the highest first; none is empty
	due   heap[*entry[T]] // delayed and leased ones by their time
	dead  fifo[uint64, *grave[T]]
	known map[string]uint64  // ids of what is held or dead
	ended fifo[string, past] // ids of what is done
	line  fifo[uint64, *waiter]
	ends  heap[*waiter] // the same by the end of their wait
	count Stats

	paused bool // nothing is taken
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
	order   uint64 // its place within its priority
	state   state
	attempt int       // deliveries so far
	lease   uint64    // its latest one
	since   time.Time // when it was first ready, or will be
	at      time.Time // when it is due, or its lease ends
	index   int       // in the heap where it is
}

// sooner says which of two that wait for their time comes first.
func sooner[T any](a, b *entry[T]) bool {
	switch {
	case !a.at.Equal(b.at):
		return a.at.Before(b.at)
	case a.order != b.order:
		return a.order < b.order
	}
	return a.seq < b.seq // neither has a place yet
}

// level is what is ready of one priority.
type level[T any] struct {
	priority int
	items    heap[*entry[T]]
}

// New makes an empty queue. salt tells its deliveries from those of other queues and of
// earlier starts of this one: a random number.
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

// Push adds an item, unless its id is known.
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

// enqueue gives an entry a place at the end of its priority.
func (q *Queue[T]) enqueue(e *entry[T]) {
	q.order++
	e.order = q.order
	q.makeReady(e)
}

// await has an entry wait for its time.
func (q *Queue[T]) await(e *entry[T], s state, at time.Time) {
	e.state, e.at = s, at
	q.due.push(e)
	if s == isLeased {
		q.count.InFlight++
	} else {
		q.count.Delayed++
	}
}

// unwait takes an entry out of those that wait for their time.
func (q *Queue[T]) unwait(e *entry[T]) {
	q.due.remove(e.index)
	if e.state == isLeased {
		q.count.InFlight--
	} else {
		q.count.Delayed--
	}
}

// remove forgets an entry, which is in no heap any more, and its id.
func (q *Queue[T]) remove(e *entry[T]) {
	delete(q.held, e.seq)
	if e.ID != "" {
		delete(q.known, e.ID)
	}
}

// Tick does what is due at now: leases end, and delays.
func (q *Queue[T]) Tick(now time.Time) {
	q.forget(now)
	for q.due.len() > 0 && !now.Before(q.due.first().at) {
		e := q.due.first()
		q.unwait(e)
		if e.state == isLeased {
			q.count.Lapsed++
			q.comeBack(now, e, 0, Lapsed)
		} else {
			q.mature(e)
		}
	}
}

// mature makes an entry ready whose delay is over.
func (q *Queue[T]) mature(e *entry[T]) {
	if e.order == 0 { // it was pushed with that delay
		q.enqueue(e)
	} else {
		q.makeReady(e)
	}
}

// NextDue is when the next thing happens by itself: a lease or a delay ends, the wait of a
// waiter, or the time for which an id is kept in mind. False: nothing will.
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

// Take leases up to n items that are ready, in their order.
func (q *Queue[T]) Take(now time.Time, n int) []Delivery[T] {
	q.Tick(now)
	var all []Delivery[T]
	for n > 0 && q.takeable() {
		all = append(all, q.take(now))
		n--
	}
	return all
}

// take leases the first item that is ready, of which there must be one.
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
	return Delivery[T]{Token: Token{q.salt, e.seq, e.lease}, ID: q.idOf(e), Attempt: e.attempt, Priority: e.Priority, Value: e.Value, Until: e.at}
}

// idOf is the item's id, or one that no other item of any queue has.
func (q *Queue[T]) idOf(e *entry[T]) string {
	if e.ID != "" {
		return e.ID
	}
	return strconv.FormatUint(q.salt, 36) + "-" + strconv.FormatUint(e.seq, 10)
}

// leased returns the entry of a delivery whose lease is on.
func (q *Queue[T]) leased(now time.Time, t Token) (*entry[T], error) {
	e := q.held[t.Item]
	switch {
	case t.Queue != q.salt || t.Item == 0 || t.Item > q.seq || t.Lease > q.leases:
		return nil, ErrForeign
	case e == nil && q.dead.has(t.Item):
		return nil, ErrLapsed
	case e == nil:
		return nil, ErrDone
	case e.state != isLeased || e.lease != t.Lease || !now.Before(e.at):
		return nil, ErrLapsed
	}
	return e, nil
}

// Ack ends an item: it was done. Errors: ErrLapsed, ErrDone, ErrForeign.
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

// Nack gives an item back, to be taken again after the delay, unless that was its last
// attempt. Errors are those of Ack.
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

// Release gives an item back without a failure, to be taken again after the delay: this
// delivery is no attempt. Errors are those of Ack.
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

// Undo takes back a delivery that reached nobody, as if it had not been. Errors are those
// of Ack.
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

// Extend has a lease end d from now, earlier or later than it would. Errors are those
// of Ack.
func (q *Queue[T]) Extend(now time.Time, t Token, d time.Duration) error {
	e, err := q.leased(now, t)
	if err != nil {
		return err
	}
	e.at = now.Add(min(d, MaxLease))
	q.due.fix(e.index)
	return nil
}

// comeBack is the end of a delivery without an ack.
func (q *Queue[T]) comeBack(now time.Time, e *entry[T], delay time.Duration, why Reason) {
	switch {
	case e.attempt >= q.cfg.Attempts && q.bury(now, e, why):
	case e.attempt >= q.cfg.Attempts && delay <= 0: // no room for the dead: it must not keep the others from their turn
		q.enqueue(e)
	case delay > 0:
		q.await(e, isDelayed, now.Add(delay))
	default:
		q.makeReady(e)
	}
}

// levelOf returns where the level of a priority is in q.ready, or belongs.
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

// makeReady puts an entry that has its place where it can be taken.
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

// unready takes an entry out of those that can be taken.
func (q *Queue[T]) unready(e *entry[T]) {
	at, _ := q.levelOf(e.Priority)
	l := q.ready[at]
	l.items.remove(e.index)
	if l.items.len() == 0 {
		q.ready = append(q.ready[:at], q.ready[at+1:]...)
	}
	q.count.Depth--
}

// droppable returns what makes room for an item of that priority: what is ready longest
// of the lowest priority, if that is not a higher one.
func (q *Queue[T]) droppable(priority int) *entry[T] {
	if n := len(q.ready); n > 0 && q.ready[n-1].priority <= priority {
		return q.ready[n-1].items.first()
	}
	return nil
}
