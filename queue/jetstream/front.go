package jetstream

import (
	"context"
	"errors"
	"sync"
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
// NATS takes an ack from whomever it comes, whoever has the item by now. So what the
// front does with an item counts only until the time before which NATS certainly gives
// it to nobody else: a lease after the front last asked for the item, or said that it
// still has it, and NATS confirmed that in time.
type holding struct {
	msg     natsjs.Msg
	until   time.Time
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
func (f *front[T]) dequeue(ctx *actor.Context, m actor.Dequeue[T]) (actor.Dequeued[T], error) {
	switch m.Op {
	case actor.OpAck, actor.OpNack, actor.OpExtend:
		return f.settle(ctx, m)
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
	case actor.OpPull:
		f.pulled = true
	}
	r, err := f.offer.Answer(ctx, m)
	f.fetch(ctx)
	return r, err
}

// later answers a request with what do finds out, off the actor's turn.
func (f *front[T]) later(ctx *actor.Context, do func(context.Context, *actor.Dequeued[T]) error) (none actor.Dequeued[T], _ error) {
	answer := actor.Defer[actor.Dequeued[T]](ctx)
	reply := actor.Dequeued[T]{Queue: ctx.Self()}
	if !f.q.run(func() {
		ctx, cancel := f.q.until(ctx)
		defer cancel()
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

// settle acks, nacks or extends. The answer to an ack waits until NATS has confirmed it.
func (f *front[T]) settle(ctx *actor.Context, m actor.Dequeue[T]) (actor.Dequeued[T], error) {
	r, err := f.offer.Answer(ctx, m)
	if err != nil {
		return r, err
	}
	failed := map[int]bool{}
	doubtful := false
	for _, x := range r.Failed {
		failed[x.Index] = true
		doubtful = doubtful || x == actor.FailureOf(x.Index, queue.ErrDone)
	}
	var acks []holding
	var indexes []int // of their tokens
	for i, t := range m.Tokens {
		if failed[i] || m.Op == actor.OpNack {
			continue
		}
		h := f.held[t[1]]
		if m.Op == actor.OpAck {
			delete(f.held, t[1])
		}
		switch {
		case h.lost():
			r.Failed = append(r.Failed, actor.FailureOf(i, queue.ErrDone))
			doubtful = true
		case m.Op == actor.OpAck:
			acks, indexes = append(acks, h), append(indexes, i)
		}
	}
	if len(acks) == 0 && !doubtful {
		return r, nil
	}
	return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
		for _, x := range r.Failed {
			if x == actor.FailureOf(x.Index, queue.ErrDone) && f.q.has(ctx, m.Tokens[x.Index][1]) {
				x = actor.FailureOf(x.Index, queue.ErrLapsed)
			}
			reply.Failed = append(reply.Failed, x)
		}
		ctx, cancel := context.WithTimeout(ctx, f.q.cfg.Queue.Lease) // then all are lost
		defer cancel()
		for _, n := range each(acks, func(h holding) bool {
			return persist(ctx, h.msg.DoubleAck) == nil && !h.lost()
		}) {
			reply.Failed = append(reply.Failed, actor.FailureOf(indexes[n], errNotConfirmed))
		}
		return nil
	})
}

const (
	maxAcks   = 64              // on their way at once, of one request or round
	tryFor    = 2 * time.Second // one request to NATS, which is made again
	pauseTime = 100 * time.Millisecond
)

var errClosed = errors.New("queue/jetstream: closed")

// until is a context that ends with the request's, or Close.
func (q *Queue) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(q.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

var errNotConfirmed = errors.New("queue/jetstream: NATS has not confirmed it")

// each does something with all of hs, several at a time, and returns the indexes of those
// with which it did not work.
func each(hs []holding, do func(holding) bool) (failed []int) {
	var mu sync.Mutex // guards failed
	var all sync.WaitGroup
	slots := make(chan struct{}, maxAcks)
	for i, h := range hs {
		slots <- struct{}{}
		all.Go(func() {
			if !do(h) {
				mu.Lock()
				failed = append(failed, i)
				mu.Unlock()
			}
			<-slots
		})
	}
	all.Wait()
	return failed
}

// persist tries until it works or ctx ends, or what it gets is NATS's last word.
func persist(ctx context.Context, try func(context.Context) error) error {
	for {
		step, cancel := context.WithTimeout(ctx, tryFor)
		err := try(step)
		cancel()
		var said *natsjs.APIError
		if err == nil || errors.As(err, &said) || errors.Is(err, natsjs.ErrMsgAlreadyAckd) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pauseTime):
		}
	}
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
		failed := each(hs, func(h holding) bool {
			_, err := q.js.Conn().RequestWithContext(ctx, h.msg.Reply(), inProgress)
			return err == nil && !h.lost() // if it was lost before, NATS has taken this for its new holder's
		})
		for _, i := range failed {
			items[i] = 0
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
	for _, item := range f.offer.Withdraw() {
		h := f.held[item]
		h.nak()
		delete(f.held, item)
	}
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
