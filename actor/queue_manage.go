package actor

import (
	"context"
	"time"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/rpc"
)

// PauseQueue keeps a queue of Ts from giving out items until ResumeQueue. Pushes still work, and
// so do acks of items that consumers have; pulls wait. A queue in memory is no longer paused
// after its actor was restarted.
func PauseQueue[T any](ctx context.Context, q Ref) error {
	_, err := manage(ctx, q, oversee[T]{Op: queuestore.Pause})
	return err
}

// ResumeQueue ends a pause.
func ResumeQueue[T any](ctx context.Context, q Ref) error {
	_, err := manage(ctx, q, oversee[T]{Op: queuestore.Resume})
	return err
}

// PurgeQueue removes all items of a queue of Ts that no consumer has, including delayed ones,
// and returns how many. Dead letters stay, and so do items that consumers have.
func PurgeQueue[T any](ctx context.Context, q Ref) (int, error) {
	reply, err := manage(ctx, q, oversee[T]{Op: queuestore.Purge})
	return reply.Count, err
}

// WaitingItem is an item of a queue that no consumer has.
type WaitingItem[T any] struct {
	ID       string
	Message  T
	Attempts int // deliveries so far that count as attempts
	Priority int
	Age      time.Duration // how long it has been ready
	Due      time.Duration // how long it is still delayed; 0 if it is ready

	held held
}

// WaitingItems lists the first items of a queue that no consumer has, up to Max (1 if not
// given), without removing them: those that are ready, in the order in which they will be
// delivered, and then the delayed ones. The list may be cut to what fits into a message.
func WaitingItems[T any](ctx context.Context, q Ref, opts ...PullOption) ([]WaitingItem[T], error) {
	p := pulling{max: 1}
	for _, opt := range opts {
		opt(&p)
	}
	sys, err := queueTarget[T](ctx, q)
	switch {
	case err != nil:
		return nil, err
	case p.max < 1:
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a list of %d items", p.max)
	}
	reply, err := Call(ctx, q, oversee[T]{Op: queuestore.Waiting, Max: p.max})
	if err != nil {
		return nil, err
	}
	all := make([]WaitingItem[T], len(reply.Items))
	for i, h := range reply.Items {
		all[i] = WaitingItem[T]{ID: h.ID, Message: h.Message, Attempts: h.Attempt, Priority: h.Priority, Age: max(0, h.Age), Due: max(0, -h.Age),
			held: held{sys.Bind(reply.Queue), h.Token}}
	}
	return all, nil
}

// Cancel removes the item from its queue for good. Errors: ErrTaken if a consumer has it
// meanwhile, ErrDone if it is no longer in the queue or is a dead letter, and ErrForeign.
func (w WaitingItem[T]) Cancel(ctx context.Context) error {
	return manageItem[T](ctx, w.held, queuestore.Cancel)
}

// manage sends an operation on a whole queue.
func manage[T any](ctx context.Context, q Ref, m oversee[T]) (dequeued[T], error) {
	if _, err := queueTarget[T](ctx, q); err != nil {
		return dequeued[T]{}, err
	}
	return Call(ctx, q, m)
}
