package actor

import (
	"context"
	"errors"
	"math"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Errors of what is done to a delivery or a dead letter. The request itself ran.
var (
	// ErrLapsed: the lease of the delivery is over, because it ran out or the item was
	// given back. The item is still in the queue, or a dead letter.
	ErrLapsed = rpc.NewError("tandem.queue.lapsed", "the lease of this delivery is over")
	// ErrDone: the item is no longer in the queue. It was acked, by this delivery or a
	// later one, or it was a dead letter that was revived or discarded.
	ErrDone = rpc.NewError("tandem.queue.done", "the item of this delivery is done")
	// ErrForeign: the queue has never given out such a delivery; it was started anew
	// since, perhaps.
	ErrForeign = rpc.NewError("tandem.queue.foreign", "not a delivery of this queue")
	// ErrTaken: a consumer has the item, so it cannot be cancelled.
	ErrTaken = rpc.NewError("tandem.queue.taken", "a consumer has the item")
	// ErrGone: what the queue was kept in is gone, with the items in it, see queue/jetstream.
	ErrGone = rpc.NewError("tandem.queue.gone", "the items of this queue are gone")
)

// MaxPull is the most items that one Pull gets.
const MaxPull = 1024

const (
	defaultWait = 30 * time.Second
	grace       = 10 * time.Second // for a pull's way there and back, if ctx sets no deadline
)

// maxPushID is the most bytes of an item's id: ids are kept in mind.
const maxPushID = 255

// PushOption changes one Push.
type PushOption func(*push)

type push struct {
	id        string
	priority  int
	delay     time.Duration
	duplicate *bool
}

// report tells who pushed whether the id was known.
func (p push) report(duplicate bool) {
	if p.duplicate != nil {
		*p.duplicate = duplicate
	}
}

func pushing(opts []PushOption) (p push) {
	for _, opt := range opts {
		opt(&p)
	}
	return p
}

// PushID names the item, in up to 255 bytes: a second push of that id, by whomever, adds nothing, while the
// item is in the queue and for a time after (see queue.Config.Remember).
func PushID(id string) PushOption { return func(p *push) { p.id = id } }

// Priority puts the item before those of a lower one; 0 if not given.
func Priority(n int) PushOption { return func(p *push) { p.priority = n } }

// Delay keeps the item from being pulled for that time.
func Delay(d time.Duration) PushOption { return func(p *push) { p.delay = d } }

// Duplicate has Push set *known once it has returned nil: to true if the queue knew the
// id given with PushID, and so added nothing.
func Duplicate(known *bool) PushOption { return func(p *push) { p.duplicate = known } }

// Push adds an item to a queue. nil means that the queue has it, or knows its id (see
// Duplicate). A full queue refuses it as rpc.Overloaded, and one kept elsewhere an item
// too large for that as rpc.TooLarge; then it did not run. Where rpc.Ran says Unknown, the
// queue may have it.
func Push[T any](ctx context.Context, q Ref, item T, opts ...PushOption) error {
	if _, err := queueTarget[T](ctx, q); err != nil {
		return err
	}
	p := pushing(opts)
	switch {
	case p.delay < 0:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a delay of %v", p.delay)
	case len(p.id) > maxPushID:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "an id of %d bytes, want up to %d", len(p.id), maxPushID)
	}
	reply, err := Call(ctx, q, Enqueue[T]{Item: item, ID: p.id, Priority: p.priority, Delay: p.delay})
	if err == nil {
		p.report(reply.Duplicate)
	}
	return inDoubt(err)
}

// inDoubt turns the error of a request that ran, at a queue that then could not answer for
// it, into one of unknown outcome: what counts is what became of the items.
func inDoubt(err error) error {
	if e := (*rpc.Error)(nil); errors.As(err, &e) && e.Verdict == rpc.HasRun {
		doubt := *e
		doubt.Verdict = rpc.Unknown
		return &doubt
	}
	return err
}

// PullOption changes one Pull.
type PullOption func(*pulling)

type pulling struct {
	max  int
	wait time.Duration
}

// Max is how many items a Pull takes at most, or DeadLetters lists; 1 if not given, and
// MaxPull at most.
func Max(n int) PullOption { return func(p *pulling) { p.max = n } }

// Wait is how long a Pull waits for the first item; 30 s if not given. With 0 it takes
// what is there.
func Wait(d time.Duration) PullOption { return func(p *pulling) { p.wait = d } }

// Pull takes up to Max items from a queue, for as long as their leases last: each is to
// be acked, nacked or extended. If there are none it waits for the first, up to Wait but
// within ctx's deadline, and returns none and no error if none came. Several that wait
// are served in turn; one that has waited for MaxWait goes to the end of the line.
//
//	jobs, err := actor.Pull[Job](ctx, queue, actor.Max(16))
//	for _, d := range jobs {
//		work(d.Message)
//		err := d.Ack(ctx)
//	}
//
// If ctx ends while it waits, nothing is taken. Items whose way back was cut come again
// when their leases end; so do those of a consumer that died. A batch may be cut to what
// fits into a message.
func Pull[T any](ctx context.Context, q Ref, opts ...PullOption) ([]Delivery[T], error) {
	p := pulling{max: 1, wait: defaultWait}
	for _, opt := range opts {
		opt(&p)
	}
	sys, err := queueTarget[T](ctx, q)
	switch {
	case err != nil:
		return nil, err
	case p.max < 1 || p.wait < 0:
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a pull of %d items within %v", p.max, p.wait)
	}
	if at, ok := ctx.Deadline(); ok {
		left := time.Until(at)
		p.wait = max(0, min(p.wait, left-min(left/10, time.Second)))
	} else {
		c, cancel := context.WithTimeout(ctx, min(p.wait, math.MaxInt64-grace)+grace)
		defer cancel()
		ctx = c
	}
	reply, err := pullFor[T](ctx, q, p)
	if err != nil {
		return nil, err
	}
	all := make([]Delivery[T], len(reply.Items))
	for i, h := range reply.Items {
		all[i] = Delivery[T]{ID: h.ID, Message: h.Message, Attempt: h.Attempt, Priority: h.Priority, Lease: h.Age, held: held{sys.Bind(reply.Queue), h.Token}}
	}
	return all, nil
}

// pullFor asks until there is something, in turns of MaxWait.
func pullFor[T any](ctx context.Context, q Ref, p pulling) (reply Dequeued[T], err error) {
	for end := time.Now().Add(p.wait); ; {
		begun := time.Now()
		turn := min(end.Sub(begun), MaxWait)
		reply, err = Call(ctx, q, Dequeue[T]{Op: OpPull, Max: p.max, Wait: max(0, turn)})
		now := time.Now()
		if err != nil || len(reply.Items) > 0 || !now.Before(end) || now.Sub(begun) < turn*9/10 { // the queue has nothing to wait for any more
			return reply, err
		}
	}
}

// queueTarget returns the system to send to the queue with, and an error if a T cannot
// travel there.
func queueTarget[T any](ctx context.Context, q Ref) (*System, error) {
	t, err := targetOf(q, handling(ctx))
	if err != nil {
		return nil, err
	}
	if t.cell.Load() == nil {
		if err := t.sys.types.of(reflect.TypeFor[T]()).err; err != nil {
			return nil, err
		}
	}
	return t.sys, nil
}

// held is where an item is: its queue, and what it calls it.
type held struct {
	queue Ref
	token [3]uint64
}

// Delivery is one pulled item, its puller's until its lease ends. It is a value and may
// be copied; its methods may be called from anywhere.
//
// Ack, Nack, Release and Extend return ErrLapsed, ErrDone or ErrForeign, or what became of the
// request on its way. A second Ack is ErrDone.
type Delivery[T any] struct {
	ID       string // given with PushID, or made up; the same for each delivery of the item
	Message  T      // not to be changed: another delivery in this process may share it
	Attempt  int    // 1 for the first delivery of the item
	Priority int
	Lease    time.Duration // what was left of it when the queue answered

	held held
}

// Ack ends the item: it was done.
func (d Delivery[T]) Ack(ctx context.Context) error {
	return settle[T](ctx, d.held, Dequeue[T]{Op: OpAck})
}

// Nack gives the item back as a failed attempt, to be delivered again after the delay;
// after the last attempt it becomes a dead letter. Release gives it back without.
func (d Delivery[T]) Nack(ctx context.Context, delay time.Duration) error {
	if delay < 0 {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a delay of %v", delay)
	}
	return settle[T](ctx, d.held, Dequeue[T]{Op: OpNack, Delay: delay})
}

// Release gives the item back, to be delivered again after the delay, without a failure:
// this delivery does not count as an attempt. It is for a consumer that cannot do the
// item now, because it shuts down or lacks what the item needs. Without a delay the same
// consumer may get it again at once.
func (d Delivery[T]) Release(ctx context.Context, delay time.Duration) error {
	if delay < 0 {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a delay of %v", delay)
	}
	return settle[T](ctx, d.held, Dequeue[T]{Op: OpRelease, Delay: delay})
}

// Extend has the lease end t from when the queue gets this, up to queue.MaxLease.
func (d Delivery[T]) Extend(ctx context.Context, t time.Duration) error {
	if t <= 0 || t > queue.MaxLease {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a lease of %v, want more than 0 and at most %v", t, queue.MaxLease)
	}
	return settle[T](ctx, d.held, Dequeue[T]{Op: OpExtend, Delay: t})
}

// AckAll acks deliveries with one request to each queue that they are from. The error
// joins those of single ones; the others are acked.
func AckAll[T any](ctx context.Context, ds []Delivery[T]) error {
	var errs []error
	for len(ds) > 0 {
		var rest []Delivery[T]
		m := Dequeue[T]{Op: OpAck}
		for _, d := range ds {
			if d.held.queue == ds[0].held.queue {
				m.Tokens = append(m.Tokens, d.held.token)
			} else {
				rest = append(rest, d)
			}
		}
		errs = append(errs, order(ctx, ds[0].held.queue, m))
		ds = rest
	}
	return errors.Join(errs...)
}

// settle does something to one item.
func settle[T any](ctx context.Context, h held, m Dequeue[T]) error {
	m.Tokens = [][3]uint64{h.token}
	return order(ctx, h.queue, m)
}

// oversee does something to one item that no consumer has.
func oversee[T any](ctx context.Context, h held, op QueueOp) error {
	return settled(Call(ctx, h.queue, Oversee[T]{Op: op, Tokens: [][3]uint64{h.token}}))
}

func order[T any](ctx context.Context, q Ref, m Dequeue[T]) error {
	return settled(Call(ctx, q, m))
}

// settled is what became of the items that a request was about.
func settled[T any](reply Dequeued[T], err error) error {
	if err != nil {
		return inDoubt(err)
	}
	if len(reply.Failed) == 1 {
		return reply.Failed[0].err()
	}
	var errs []error
	for _, f := range reply.Failed {
		errs = append(errs, f.err())
	}
	return errors.Join(errs...)
}

// QueueStats returns a snapshot of a queue of Ts.
func QueueStats[T any](ctx context.Context, q Ref) (queue.Stats, error) {
	if _, err := queueTarget[T](ctx, q); err != nil {
		return queue.Stats{}, err
	}
	reply, err := Call(ctx, q, Oversee[T]{Op: OpStats})
	if err != nil || reply.Stats == nil {
		return queue.Stats{}, err
	}
	return *reply.Stats, nil
}

// DeadItem is an item that was delivered as often as its queue allows and never acked.
type DeadItem[T any] struct {
	ID       string
	Message  T
	Attempts int
	Priority int
	Reason   queue.Reason  // how its last delivery ended
	Age      time.Duration // since then

	held held
}

// DeadItems lists dead letters of a queue, the oldest first; they stay there.
func DeadItems[T any](ctx context.Context, q Ref, opts ...PullOption) ([]DeadItem[T], error) {
	p := pulling{max: 1}
	for _, opt := range opts {
		opt(&p)
	}
	sys, err := queueTarget[T](ctx, q)
	if err != nil {
		return nil, err
	}
	reply, err := Call(ctx, q, Oversee[T]{Op: OpDead, Max: p.max})
	if err != nil {
		return nil, err
	}
	all := make([]DeadItem[T], len(reply.Items))
	for i, h := range reply.Items {
		all[i] = DeadItem[T]{ID: h.ID, Message: h.Message, Attempts: h.Attempt, Priority: h.Priority, Reason: h.Reason, Age: h.Age,
			held: held{sys.Bind(reply.Queue), h.Token}}
	}
	return all, nil
}

// Revive puts the item back into its queue, at the end, as if it had just been pushed.
// Errors: ErrDone, ErrForeign, and rpc.Overloaded if the queue is full.
func (d DeadItem[T]) Revive(ctx context.Context) error {
	return oversee[T](ctx, d.held, OpRevive)
}

// Discard ends the item for good. Errors: ErrDone, ErrForeign.
func (d DeadItem[T]) Discard(ctx context.Context) error {
	return oversee[T](ctx, d.held, OpDiscard)
}
