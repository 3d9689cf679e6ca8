package jetstream

import (
	"context"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Kind describes an actor that stands in front of a queue of Ts.
func Kind[T any](name string, q *Queue) *actor.Kind {
	return actor.Define(name, func() *front[T] { return newFront[T](q) },
		actor.Answer((*front[T]).push),
		actor.Answer((*front[T]).dequeue),
		actor.Answer((*front[T]).oversee),
		actor.Handle((*front[T]).fetched),
		actor.Handle((*front[T]).keepUp),
		actor.Handle((*front[T]).touched))
}

// front is the actor's state: what it has fetched and not seen the end of. The offer in
// it decides who gets what, and for how long; NATS is only told.
type front[T any] struct {
	q       *Queue
	offer   *actor.Offer[T]
	held    map[uint64]holding // by sequence number in the stream
	pushing chan struct{}      // a token for each push on its way

	round   bool         // a round of fetching is on
	waiting [levels]bool // it waits for the first item of that level, or an earlier one does
	keeping bool         // keepUp is on its way
	pulled  bool         // there was a pull since the last keepUp

	touching atomic.Bool // a round of touch is on
}

// holding is an item that the front has fetched.
//
// NATS takes it from whomever it comes that an item goes back or stays, whoever has it by
// now. So the front does that only until the time before which NATS certainly gives the
// item to nobody else, unless it forgets a delivery: a lease after the front last asked
// for the item, or said that it still has it, and NATS confirmed that in time. An ack
// needs no such care, see ack.go.
type holding struct {
	msg     natsjs.Msg
	seq     uint64 // in the stream
	until   time.Time
	due     time.Time    // not to be delivered earlier; zero for no delay
	free    int          // deliveries to actors that were no attempts
	attempt int          // of its next delivery
	why     queue.Reason // how its last delivery ended
}

// lost reports whether another may have the item by now.
func (h *holding) lost() bool { return !time.Now().Before(h.until) }

// nak gives the item back at once, unless NATS would take it from another.
func (h *holding) nak() {
	if !h.lost() {
		_ = h.msg.Nak()
	}
}

// maxPushes is how many pushes a front has on their way to NATS; more are refused.
const maxPushes = 4096

func newFront[T any](q *Queue) *front[T] {
	f := &front[T]{q: q, held: map[uint64]holding{}, pushing: make(chan struct{}, maxPushes)}
	f.offer = actor.NewOffer[T](queue.Config{Lease: q.cfg.Queue.Lease, Waiters: q.cfg.Queue.Waiters})
	f.offer.Back = f.back
	return f
}

// dequeue answers consumers: the offer does, and what ends there is then ended in NATS.
func (f *front[T]) dequeue(ctx *actor.Context, m actor.Dequeue[T]) (none actor.Dequeued[T], _ error) {
	if err := f.q.Err(); err != nil {
		return none, actor.Defer[actor.Dequeued[T]](ctx).Refuse(rpc.Failed, err)
	}
	switch m.Op {
	case actor.OpAck, actor.OpNack, actor.OpRelease, actor.OpExtend:
		return f.settle(ctx, m)
	case actor.OpPull:
		f.pulled = true
	}
	r, err := f.offer.Answer(ctx, m)
	f.fetch(ctx)
	return r, err
}

// oversee answers who manages the queue.
func (f *front[T]) oversee(ctx *actor.Context, m actor.Oversee[T]) (none actor.Dequeued[T], _ error) {
	if err := f.q.Err(); err != nil {
		return none, actor.Defer[actor.Dequeued[T]](ctx).Refuse(rpc.Failed, err)
	}
	switch m.Op {
	case actor.OpPause, actor.OpResume:
		return f.pause(ctx, m.Op == actor.OpPause)
	case actor.OpPurge:
		return f.purge(ctx)
	case actor.OpWaiting:
		return f.list(ctx, m.Max)
	case actor.OpCancel:
		return f.cancel(ctx, m.Tokens)
	case actor.OpStats:
		return f.stats(ctx)
	case actor.OpDead:
		return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) (err error) {
			reply.Items, err = listDead[T](ctx, f.q, m.Max)
			return err
		})
	case actor.OpRevive, actor.OpDiscard:
		return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
			for i, t := range m.Tokens {
				if err := f.q.endDead(ctx, t, m.Op == actor.OpRevive); err != nil {
					reply.Failed = append(reply.Failed, actor.FailureOf(i, err))
				}
			}
			return nil
		})
	}
	return f.offer.Oversee(ctx, m)
}

// later answers a request with what do finds out, off the actor's turn.
func (f *front[T]) later(ctx *actor.Context, do func(context.Context, *actor.Dequeued[T]) error) (none actor.Dequeued[T], _ error) {
	answer := actor.Defer[actor.Dequeued[T]](ctx)
	reply := actor.Dequeued[T]{Queue: ctx.Self()}
	if !f.q.run(func() {
		ctx, cancel := f.q.until(ctx)
		defer cancel()
		ctx, stop := inTime(ctx)
		defer stop()
		if err := do(ctx, &reply); err != nil {
			_ = answer.Fail(err)
		} else {
			_ = answer.Answer(reply)
		}
	}) {
		return none, errClosed
	}
	return none, nil
}

// until is a context that ends with the request's, or Close.
func (q *Queue) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(q.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// back gives NATS back what was nacked or has lapsed, or makes a dead letter of it.
func (f *front[T]) back(ctx *actor.Context, t queue.Token, delay time.Duration, why queue.Reason) {
	h := f.held[t.Item]
	h.why = why
	delete(f.held, t.Item)
	if h.lost() {
		return // it comes again, here or elsewhere
	}
	if h.attempt >= f.q.cfg.Queue.Attempts {
		f.q.run(func() { f.q.bury(h) })
		return
	}
	_ = h.msg.NakWithDelay(delay) // if that is lost, it comes when the lease has ended there
}

// keep is the message that has the front tell NATS what it still holds.
type keep struct{ mine bool }

// touches is what NATS has confirmed of that.
type touches struct {
	mine  bool
	items []uint64
	until time.Time
}

// keepUp has NATS leave what is held where it is. What waits here for consumers while
// there are none goes back, for they may be elsewhere.
func (f *front[T]) keepUp(ctx *actor.Context, m keep) error {
	if !m.mine || !f.keeping {
		return nil
	}
	f.keeping = false
	if !f.pulled && f.offer.Stats().Depth > 0 && f.offer.Credit() == 0 {
		f.putBack()
	}
	f.pulled = f.offer.Credit() > 0
	f.touch(ctx)
	f.keepOn(ctx)
	return nil
}

// touch begins a round of telling NATS what is held, unless one is still on.
func (f *front[T]) touch(ctx *actor.Context) {
	q, self := f.q, ctx.Self()
	var items []uint64
	var hs []holding
	for item, h := range f.held {
		items, hs = append(items, item), append(hs, h)
	}
	if len(hs) == 0 || f.touching.Swap(true) {
		return
	}
	q.run(func() {
		defer f.touching.Store(false)
		got := touches{mine: true, until: time.Now().Add(q.cfg.Queue.Lease)}
		ctx, cancel := context.WithTimeout(q.ctx, q.cfg.Queue.Lease/3)
		defer cancel()
		for i, err := range each(hs, func(h holding) error {
			_, err := q.js.Conn().RequestWithContext(ctx, h.msg.Reply(), inProgress)
			return err
		}) {
			if err != nil || !time.Now().Before(hs[i].until) { // if it was lost before, NATS has taken this for its new holder's
				items[i] = 0
			}
		}
		got.items = items
		_ = tellSelf(self, got)
	})
}

// inProgress is what Msg.InProgress sends, which does not wait for an answer.
var inProgress = []byte("+WPI")

// touched takes note of what NATS leaves here for another lease.
func (f *front[T]) touched(_ *actor.Context, m touches) error {
	for _, item := range m.items {
		if h, ok := f.held[item]; m.mine && ok && h.until.Before(m.until) {
			h.until = m.until
			f.held[item] = h
		}
	}
	return nil
}

// putBack returns what nobody has been given.
func (f *front[T]) putBack() {
	var hs []holding
	for _, item := range f.offer.Withdraw() {
		hs = append(hs, f.held[item])
		delete(f.held, item)
	}
	f.q.run(func() { f.q.putBack(hs) })
}

// keepOn sees to it that keepUp comes while anything is held.
func (f *front[T]) keepOn(ctx *actor.Context) {
	if f.keeping || len(f.held) == 0 {
		return
	}
	f.keeping = true
	self := ctx.Self()
	time.AfterFunc(f.q.cfg.Queue.Lease/3, func() { _ = tellSelf(self, keep{mine: true}) })
}

// tellSelf puts a message into the front's own mailbox, from a goroutine of its own. An
// error says that it is not in there.
func tellSelf[M any](self actor.Ref, m M) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*tryFor)
	defer cancel()
	return actor.Tell(ctx, self, m, rpc.Acked())
}
