package actor

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Errors of operations on deliveries, dead letters and waiting items. The request itself ran.
var (
	// ErrLeaseExpired: the lease of the delivery has ended, because its time ran out or the item
	// was given back. The item is still in the queue, or is a dead letter.
	ErrLeaseExpired = rpc.NewError("tandem.queue.lapsed", "the lease of this delivery is over")
	// ErrDone: the item is no longer in the queue. It was acked, by this delivery or a
	// later one, or it was a dead letter that was revived or discarded.
	ErrDone = rpc.NewError("tandem.queue.done", "the item of this delivery is done")
	// ErrForeign: the queue has never given out such a delivery, perhaps because it was
	// restarted since.
	ErrForeign = rpc.NewError("tandem.queue.foreign", "not a delivery of this queue")
	// ErrTaken: a consumer has the item, so it cannot be cancelled.
	ErrTaken = rpc.NewError("tandem.queue.taken", "a consumer has the item")
	// ErrGone: the store of the queue was deleted, and the items with it, see queue/jetstream.
	ErrGone = queuestore.ErrGone
)

// MaxPull is the most items that one Pull gets.
const MaxPull = queuestore.MaxItems

const (
	defaultWait = 30 * time.Second
	grace       = 10 * time.Second // how much longer than its wait a pull may take, if ctx has no deadline
)

// maxPushID is the length, in bytes, of the longest id of an item. Ids are remembered for a time.
const maxPushID = 255

// PushOption changes one Push.
type PushOption func(*push)

type push struct {
	id        string
	priority  int
	delay     time.Duration
	duplicate *bool
}

// report sets the variable given with Duplicate.
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

// PushID gives the item an id of up to 255 bytes. Another push with that id, by anybody, adds
// nothing while the item is in the queue and for a time after (see queue.Config.Remember).
func PushID(id string) PushOption { return func(p *push) { p.id = id } }

// Priority puts the item before items of a lower priority; 0 if not given.
func Priority(n int) PushOption { return func(p *push) { p.priority = n } }

// Delay keeps the item from being pulled for that time.
func Delay(d time.Duration) PushOption { return func(p *push) { p.delay = d } }

// Duplicate has a Push that succeeds set *known: to true if the queue knew the id given with
// PushID, and so added nothing.
func Duplicate(known *bool) PushOption { return func(p *push) { p.duplicate = known } }

// Push adds an item to a queue. nil means that the queue has the item, or knows its id (see
// Duplicate). A full queue refuses it as rpc.Overloaded; a queue that is kept in a store refuses
// an item that is too large for the store as rpc.TooLarge. In both cases it did not run. If
// rpc.Ran says Unknown, the queue may have the item.
//
// From the handler of a stored actor the item leaves when the effect of the handler is written, under the id given or a
// random one, and again until the queue has it; see Stored.
func Push[T any](ctx context.Context, q Ref, item T, opts ...PushOption) error {
	if _, err := queueTarget[T](ctx, q); err != nil {
		return err
	}
	p, from := pushing(opts), handling(ctx)
	switch {
	case p.delay < 0:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a delay of %v", p.delay)
	case len(p.id) > maxPushID:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "an id of %d bytes, want up to %d", len(p.id), maxPushID)
	}
	if own := from.transaction(ctx); own != nil {
		if p.id == "" {
			p.id = rand.Text()
		}
		return own.push(ctx, from, q, enqueue[T]{Item: item, ID: p.id, Priority: p.priority, Delay: p.delay}, p)
	}
	reply, err := Call(ctx, q, enqueue[T]{Item: item, ID: p.id, Priority: p.priority, Delay: p.delay})
	if err == nil {
		p.report(reply.Duplicate)
	}
	return verdictAsUnknown(err)
}

// verdictAsUnknown replaces the verdict HasRun by Unknown: the request ran, but the queue could
// not say what has become of the items, which is what matters to the caller.
func verdictAsUnknown(err error) error {
	if e := (*rpc.Error)(nil); errors.As(err, &e) && e.Verdict == rpc.HasRun {
		unknown := *e
		unknown.Verdict = rpc.Unknown
		return &unknown
	}
	return err
}

// PullOption changes one Pull.
type PullOption func(*pulling)

type pulling struct {
	max  int
	wait time.Duration
}

// Max is how many items a Pull takes at most, or DeadItems and WaitingItems list; 1 if not
// given, and MaxPull at most.
func Max(n int) PullOption { return func(p *pulling) { p.max = n } }

// Wait is how long a Pull waits for the first item; 30 s if not given. With 0 it does not wait.
func Wait(d time.Duration) PullOption { return func(p *pulling) { p.wait = d } }

// Pull takes up to Max items from a queue, for as long as their leases last. The consumer acks,
// nacks, releases or extends each. If there are none, Pull waits for the first until Wait has
// passed or ctx's deadline is near, and then returns none and no error. Several pulls that wait
// are served in turn; one that has waited for MaxWait moves behind the others.
//
//	jobs, err := actor.Pull[Job](ctx, queue, actor.Max(16))
//	for _, d := range jobs {
//		work(d.Message)
//		err := d.Ack(ctx)
//	}
//
// If ctx ends while Pull waits, nothing is taken. If the reply is lost, or the consumer dies, its
// items are delivered again when their leases expire. Pull may return fewer items, so that they
// fit into a message.
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
		all[i] = Delivery[T]{ID: h.ID, Message: h.Message, Attempt: h.Attempt, Priority: h.Priority, Lease: h.Age, Trace: h.trace(), held: held{sys.Bind(reply.Queue), h.Token}}
	}
	return all, nil
}

// pullFor asks the queue, for MaxWait at a time, until there are items or p.wait has passed.
func pullFor[T any](ctx context.Context, q Ref, p pulling) (reply dequeued[T], err error) {
	for end := time.Now().Add(p.wait); ; {
		begun := time.Now()
		turn := min(end.Sub(begun), MaxWait)
		reply, err = Call(ctx, q, dequeue[T]{Op: queuestore.Pull, Max: p.max, Wait: max(0, turn)})
		now := time.Now()
		if err != nil || len(reply.Items) > 0 || !now.Before(end) || now.Sub(begun) < turn*9/10 { // an early answer means that the queue shuts down
			return reply, err
		}
	}
}

// queueTarget returns the system that sends to the queue, and an error if a T cannot be sent to
// the queue's node.
func queueTarget[T any](ctx context.Context, q Ref) (*System, error) {
	t, err := targetOf(q, handling(ctx))
	if err != nil {
		return nil, err
	}
	if t.cell.Load() == nil {
		if err := t.sys.types.get(reflect.TypeFor[T]()).err; err != nil {
			return nil, err
		}
	}
	return t.sys, nil
}

// held identifies an item: its queue, and the queue's token for it.
type held struct {
	queue Ref
	token [3]uint64
}

// Delivery is one pulled item, which belongs to the consumer until its lease ends. It is a value
// and may be copied; its methods may be called by any goroutine.
//
// Ack, Nack, Release and Extend return ErrLeaseExpired, ErrDone or ErrForeign, or the error of
// the request itself. A second Ack is ErrDone.
type Delivery[T any] struct {
	ID       string // given with PushID, or generated; the same for each delivery of the item
	Message  T      // must not be changed, because another delivery in this process may share it
	Attempt  int    // 1 for the first delivery of the item
	Priority int
	Lease    time.Duration // what was left of the lease when the queue answered
	Trace    rpc.Trace     // the trace context under which the item was pushed; zero: there was none

	held held
}

// Ack reports that the item is done, and removes it from the queue.
func (d Delivery[T]) Ack(ctx context.Context) error {
	return finishDelivery[T](ctx, d.held, dequeue[T]{Op: queuestore.Ack})
}

// Nack gives the item back as a failed attempt, to be delivered again after the delay;
// after the last attempt it becomes a dead letter. See Release for giving it back without a
// failure.
func (d Delivery[T]) Nack(ctx context.Context, delay time.Duration) error {
	if delay < 0 {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a delay of %v", delay)
	}
	return finishDelivery[T](ctx, d.held, dequeue[T]{Op: queuestore.Nack, Delay: delay})
}

// Release gives the item back, to be delivered again after the delay, without a failure:
// this delivery does not count as an attempt. It is for a consumer that cannot process the
// item now, because it shuts down or lacks something that the item needs. Without a delay the
// same consumer may get it again at once.
func (d Delivery[T]) Release(ctx context.Context, delay time.Duration) error {
	if delay < 0 {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a delay of %v", delay)
	}
	return finishDelivery[T](ctx, d.held, dequeue[T]{Op: queuestore.Release, Delay: delay})
}

// Extend makes the lease end t after the queue gets this request; t is at most queue.MaxLease.
func (d Delivery[T]) Extend(ctx context.Context, t time.Duration) error {
	if t <= 0 || t > queue.MaxLease {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a lease of %v, want more than 0 and at most %v", t, queue.MaxLease)
	}
	return finishDelivery[T](ctx, d.held, dequeue[T]{Op: queuestore.Extend, Delay: t})
}

// AckAll acks deliveries, with one request for each queue. The error joins the errors of those
// that were not acked; the others were.
func AckAll[T any](ctx context.Context, ds []Delivery[T]) error {
	var errs []error
	for len(ds) > 0 {
		var rest []Delivery[T]
		m := dequeue[T]{Op: queuestore.Ack}
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

// finishDelivery sends an operation on one delivery.
func finishDelivery[T any](ctx context.Context, h held, m dequeue[T]) error {
	m.Tokens = [][3]uint64{h.token}
	return order(ctx, h.queue, m)
}

// manageItem sends an operation on one item that no consumer has.
func manageItem[T any](ctx context.Context, h held, op queuestore.Op) error {
	return itemErrors(Call(ctx, h.queue, oversee[T]{Op: op, Tokens: [][3]uint64{h.token}}))
}

func order[T any](ctx context.Context, q Ref, m dequeue[T]) error {
	return itemErrors(Call(ctx, q, m))
}

// itemErrors returns the errors of the items that an operation was for.
func itemErrors[T any](reply dequeued[T], err error) error {
	if err != nil {
		return verdictAsUnknown(err)
	}
	if len(reply.Failed) == 1 {
		return failureError(reply.Failed[0])
	}
	var errs []error
	for _, f := range reply.Failed {
		errs = append(errs, failureError(f))
	}
	return errors.Join(errs...)
}

// QueueStats returns a snapshot of a queue of Ts.
func QueueStats[T any](ctx context.Context, q Ref) (queue.Stats, error) {
	if _, err := queueTarget[T](ctx, q); err != nil {
		return queue.Stats{}, err
	}
	reply, err := Call(ctx, q, oversee[T]{Op: queuestore.Stats})
	if err != nil || reply.Stats == nil {
		return queue.Stats{}, err
	}
	return *reply.Stats, nil
}

// DeadItem is an item that was delivered as often as its queue allows, and never acked.
type DeadItem[T any] struct {
	ID       string
	Message  T
	Attempts int
	Priority int
	Reason   queue.Reason  // how its last delivery ended
	Age      time.Duration // how long ago that was

	held held
}

// DeadItems lists dead letters of a queue, the oldest first, without removing them.
func DeadItems[T any](ctx context.Context, q Ref, opts ...PullOption) ([]DeadItem[T], error) {
	p := pulling{max: 1}
	for _, opt := range opts {
		opt(&p)
	}
	sys, err := queueTarget[T](ctx, q)
	if err != nil {
		return nil, err
	}
	reply, err := Call(ctx, q, oversee[T]{Op: queuestore.Dead, Max: p.max})
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

// Revive puts the item back at the end of its queue, as if it had just been pushed.
// Errors: ErrDone, ErrForeign, and rpc.Overloaded if the queue is full.
func (d DeadItem[T]) Revive(ctx context.Context) error {
	return manageItem[T](ctx, d.held, queuestore.Revive)
}

// Discard ends the item for good. Errors: ErrDone, ErrForeign.
func (d DeadItem[T]) Discard(ctx context.Context) error {
	return manageItem[T](ctx, d.held, queuestore.Discard)
}
