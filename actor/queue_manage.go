package actor

import (
	"context"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// PauseQueue has a queue of Ts hand out nothing until ResumeQueue. Pushes go on, and so
// do acks of what consumers have; who pulls waits. A queue in memory forgets a pause when
// its actor is started anew.
func PauseQueue[T any](ctx context.Context, q Ref) error {
	_, err := manage(ctx, q, Oversee[T]{Op: OpPause})
	return err
}

// ResumeQueue ends a pause.
func ResumeQueue[T any](ctx context.Context, q Ref) error {
	_, err := manage(ctx, q, Oversee[T]{Op: OpResume})
	return err
}

// PurgeQueue takes out all items of a queue of Ts that no consumer has, delayed ones too,
// and returns how many. Dead letters stay, and so does what consumers have.
func PurgeQueue[T any](ctx context.Context, q Ref) (int, error) {
	reply, err := manage(ctx, q, Oversee[T]{Op: OpPurge})
	return reply.Count, err
}

// WaitingItem is an item of a queue that no consumer has.
type WaitingItem[T any] struct {
	ID       string
	Message  T
	Attempts int // deliveries so far that count
	Priority int
	Age      time.Duration // for how long it has been ready
	Due      time.Duration // until when it is delayed from now; 0 if it can be taken

	held held
}

// WaitingItems lists the first items of a queue that no consumer has, up to Max (1 if not
// given): in the order in which they will be taken, and behind them the delayed ones. They
// stay there. A list may be cut to what fits into a message.
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
	reply, err := Call(ctx, q, Oversee[T]{Op: OpWaiting, Max: p.max})
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

// Cancel takes the item out of its queue for good. Errors: ErrTaken if a consumer has it
// by now, ErrDone if it is not in the queue any more or a dead letter, ErrForeign.
func (w WaitingItem[T]) Cancel(ctx context.Context) error {
	return oversee[T](ctx, w.held, OpCancel)
}

// manage does something to a whole queue.
func manage[T any](ctx context.Context, q Ref, m Oversee[T]) (Dequeued[T], error) {
	if _, err := queueTarget[T](ctx, q); err != nil {
		return Dequeued[T]{}, err
	}
	return Call(ctx, q, m)
}
