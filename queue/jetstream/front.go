package jetstream

import (
	"context"
	"errors"
	"sync"
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
		actor.Handle((*front[T]).keepUp))
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
}

// holding is an item that the front has fetched.
type holding struct {
	msg     natsjs.Msg
	attempt int          // of its next delivery
	why     queue.Reason // how its last delivery ended
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
	var acks []natsjs.Msg
	for i, t := range m.Tokens {
		if m.Op == actor.OpAck && !failed[i] {
			acks = append(acks, f.held[t[1]].msg)
			delete(f.held, t[1])
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
		return ackAll(ctx, acks)
	})
}

const (
	maxAcks   = 64              // on their way at once, of one request
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

// ackAll acks messages and returns when NATS has confirmed all, or ctx ends.
func ackAll(ctx context.Context, msgs []natsjs.Msg) error {
	var all sync.WaitGroup
	slots := make(chan struct{}, maxAcks)
	for _, m := range msgs {
		slots <- struct{}{}
		all.Go(func() {
			_ = persist(ctx, func(ctx context.Context) error { return m.DoubleAck(ctx) })
			<-slots
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return errNotConfirmed
	}
	return nil
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
	if h.attempt >= f.q.cfg.Queue.Attempts {
		f.q.run(func() { f.q.bury(h) })
		return
	}
	_ = h.msg.NakWithDelay(delay) // if that is lost, it comes when the lease has ended there
}

// keep is the message that has the front tell NATS what it still holds.
type keep struct{ mine bool }

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
	for _, h := range f.held {
		_ = h.msg.InProgress()
	}
	f.keepOn(ctx)
	return nil
}

// putBack returns what nobody has been given.
func (f *front[T]) putBack() {
	for _, seq := range f.offer.Withdraw() {
		_ = f.held[seq].msg.Nak()
		delete(f.held, seq)
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
