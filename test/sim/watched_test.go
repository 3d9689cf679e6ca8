package sim

import (
	"context"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// watched is a store that keeps nothing: the items of its queue are in the actor's memory. It
// observes what is done with them.
type watched struct {
	cfg  queue.Config
	push func(q queuestore.Queue, it queue.Item[any]) (duplicate bool, err error)
	done func(queue.Stats) // after, and for who manages the queue before, each request
}

func (w *watched) Backend(newQueue func(queue.Config) queuestore.Queue) queuestore.Backend {
	return watching{w, newQueue(w.cfg)}
}

type watching struct {
	*watched
	q queuestore.Queue
}

func (w watching) Err() error { return nil }

func (w watching) Run(ctx context.Context, do func(context.Context)) error {
	do(ctx)
	return nil
}

func (w watching) Push(it queue.Item[any]) (rest func(context.Context) (bool, error), err error) {
	duplicate, err := w.push(w.q, it)
	if err != nil {
		return nil, &queuestore.Refusal{Code: rpc.Overloaded, Why: err}
	}
	return func(context.Context) (bool, error) { return duplicate, nil }, nil
}

func (w watching) Consumed(queuestore.Order, queuestore.Reply) queuestore.Rest {
	w.done(w.q.Stats())
	return nil
}

func (w watching) Manage(queuestore.Order) queuestore.Rest {
	w.done(w.q.Stats())
	return nil
}
