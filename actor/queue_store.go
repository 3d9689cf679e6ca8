package actor

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// StoredQueueKind describes an actor that is a queue of Ts whose items are kept in a store, such
// as a *jetstream.Queue of package queue/jetstream. Push and Pull work as for QueueKind.
//
//	jobs, err := jetstream.Open(ctx, js, jetstream.Config{Name: "jobs"})
//	ref, err := sys.Spawn("jobs", actor.StoredQueueKind[Job]("jobs", jobs))
func StoredQueueKind[T any](name string, store queuestore.Store) *Kind {
	return Define(name, func() *storedQueue[T] { return newStoredQueue[T](store) },
		Answer((*storedQueue[T]).enqueue),
		Answer((*storedQueue[T]).dequeue),
		Answer((*storedQueue[T]).oversee),
		Handle((*storedQueue[T]).inTurn))
}

// storedQueue is the state of an actor whose queue is kept in a store. For the store's
// backend it implements queuestore.Queue.
type storedQueue[T any] struct {
	offer   *Offer[T]
	backend queuestore.Backend
	cell    *cell    // its actor; nil until the first turn
	turn    *Context // of the current turn; nil between turns
}

func newStoredQueue[T any](store queuestore.Store) *storedQueue[T] {
	s := &storedQueue[T]{}
	s.backend = store.Backend(func(cfg queue.Config) queuestore.Queue {
		s.offer = NewOffer[T](cfg)
		return s
	})
	s.offer.returns, _ = s.backend.(queuestore.Returner)
	return s
}

// begin begins a turn. The returned function ends it.
func (s *storedQueue[T]) begin(ctx *Context) (end func()) {
	s.turn = ctx
	if s.cell == nil {
		s.cell = ctx.cell
	}
	return func() { s.turn = nil }
}

// inTurn is the message that runs do in a turn of the actor. In a message from another node do
// is nil.
type inTurn struct{ do func(queuestore.Backend) }

func (s *storedQueue[T]) inTurn(ctx *Context, m inTurn) error {
	defer s.begin(ctx)()
	if m.do != nil {
		m.do(s.backend)
	}
	return nil
}

// enqueue answers a Push when the store has the item.
func (s *storedQueue[T]) enqueue(ctx *Context, m enqueue[T]) (none enqueued, _ error) {
	defer s.begin(ctx)()
	later := Defer[enqueued](ctx)
	if err := s.backend.Err(); err != nil {
		return none, later.Refuse(rpc.Failed, err)
	}
	rest, err := s.backend.Push(queue.Item[any]{Value: m.Item, ID: m.ID, Priority: m.Priority, Delay: m.Delay, Trace: traceText(ctx.Trace())})
	if err != nil {
		return none, notPushed(later, err)
	}
	err = s.backend.Run(ctx, func(ctx context.Context) {
		if duplicate, err := rest(ctx); err != nil {
			_ = notPushed(later, err)
		} else {
			_ = later.Answer(enqueued{Duplicate: duplicate})
		}
	})
	if err != nil {
		return none, later.Refuse(rpc.Unavailable, err)
	}
	return none, nil
}

// notPushed answers a Push with an error.
func notPushed(later *Deferred[enqueued], err error) error {
	if no := (*queuestore.Refusal)(nil); errors.As(err, &no) {
		return later.Refuse(no.Code, no.Why)
	}
	return later.Fail(err)
}

// dequeue answers consumers: first the offer does, and then the change is made in the store.
func (s *storedQueue[T]) dequeue(ctx *Context, m dequeue[T]) (none dequeued[T], _ error) {
	defer s.begin(ctx)()
	if err := s.backend.Err(); err != nil {
		return none, Defer[dequeued[T]](ctx).Refuse(rpc.Failed, err)
	}
	r, err := s.offer.answer(ctx, m)
	if err != nil {
		return r, err
	}
	rest := s.backend.Consumed(queuestore.Order{Op: m.Op, Max: m.Max, Tokens: m.Tokens}, queuestore.Reply{Failed: r.Failed})
	if rest == nil {
		return r, nil
	}
	return s.later(ctx, rest)
}

// oversee answers a request that manages the queue.
func (s *storedQueue[T]) oversee(ctx *Context, m oversee[T]) (none dequeued[T], _ error) {
	defer s.begin(ctx)()
	if err := s.backend.Err(); err != nil {
		return none, Defer[dequeued[T]](ctx).Refuse(rpc.Failed, err)
	}
	rest := s.backend.Manage(queuestore.Order{Op: m.Op, Max: m.Max, Tokens: m.Tokens})
	if rest == nil {
		return s.offer.oversee(ctx, m)
	}
	return s.later(ctx, rest)
}

// later runs rest outside of the actor's turn, and answers the request with its result.
func (s *storedQueue[T]) later(ctx *Context, rest queuestore.Rest) (none dequeued[T], _ error) {
	later, self := Defer[dequeued[T]](ctx), ctx.Self()
	return none, s.backend.Run(ctx, func(ctx context.Context) {
		var r queuestore.Reply
		if err := rest(ctx, &r); err != nil {
			_ = later.Fail(err)
			return
		}
		_ = later.Answer(dequeued[T]{Queue: self, Items: handoutsOf[T](r.Items), Failed: r.Failed, Stats: r.Stats, Count: r.Count})
	})
}

// handoutsOf makes the answer to a request for a list of a store's items. An item that cannot be
// decoded is listed too, without its message.
func handoutsOf[T any](items []queuestore.Item) (all []handout[T]) {
	for _, it := range items {
		h := handout[T]{Token: it.Token, ID: it.ID, Attempt: it.Attempts, Priority: it.Priority, Age: it.Age, Reason: it.Reason}
		_ = it.Decode(&h.Message)
		all = append(all, h)
	}
	return all
}

// The methods that follow implement queuestore.Queue.

func (s *storedQueue[T]) Do(ctx context.Context, do func(queuestore.Backend)) error {
	c := s.cell
	if c.self.sys.draining() {
		return errShutdown
	}
	return c.put(ctx, nil, item{msg: inTurn{do}}, true)
}

func (s *storedQueue[T]) Push(it queue.Item[any]) (duplicate bool, err error) {
	v, _ := it.Value.(T) // it comes from enqueue, so it is a T, or nil if T is an interface
	return s.offer.push(s.turn, queue.Item[T]{Value: v, ID: it.ID, Priority: it.Priority, Delay: it.Delay, Trace: it.Trace})
}

func (s *storedQueue[T]) Restore(number uint64, it queuestore.Item) error {
	var v T
	if err := it.Decode(&v); err != nil {
		return err
	}
	s.offer.q.Restore(time.Now(), number, it.Attempts, queue.Item[T]{Value: v, ID: it.ID, Priority: it.Priority, Trace: it.Trace})
	return nil
}

func (s *storedQueue[T]) Serve() { s.offer.serve(s.turn, 0) }

func (s *storedQueue[T]) Dismiss(why error) {
	for number, p := range s.offer.pulls {
		s.offer.q.Leave(number)
		delete(s.offer.pulls, number)
		p.unhook()
		_ = p.later.Refuse(rpc.Failed, why)
	}
	s.Serve()
}

func (s *storedQueue[T]) Token(t [3]uint64) queue.Token { return s.offer.tokens.decrypt(t) }
func (s *storedQueue[T]) Credit() int                   { return s.offer.q.Credit() }
func (s *storedQueue[T]) Stats() queue.Stats            { return s.offer.q.Stats(time.Now()) }
func (s *storedQueue[T]) Withdraw() (numbers []uint64)  { return s.offer.q.Withdraw() }
func (s *storedQueue[T]) Evict(number uint64) error     { return s.offer.q.Evict(number) }
func (s *storedQueue[T]) Leased(number uint64) bool     { return s.offer.q.Leased(number) }
