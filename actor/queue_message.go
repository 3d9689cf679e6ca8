package actor

import (
	"reflect"
	"time"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Push, Pull and the methods of Delivery send the messages of this file.

// enqueue is the message behind Push.
type enqueue[T any] struct {
	Returns[enqueued]
	Item     T
	ID       string        `msgpack:",omitempty" json:",omitempty"`
	Priority int           `msgpack:",omitempty" json:",omitempty"`
	Delay    time.Duration `msgpack:",omitempty" json:",omitempty"`
}

// enqueued answers an enqueue.
type enqueued struct {
	Duplicate bool // the queue knew the id
}

// dequeue is the message behind Pull and everything that consumers do with deliveries.
type dequeue[T any] struct {
	Returns[dequeued[T]]
	Op     queuestore.Op
	Max    int           `msgpack:",omitempty" json:",omitempty"` // Pull: how many
	Wait   time.Duration `msgpack:",omitempty" json:",omitempty"` // Pull
	Delay  time.Duration `msgpack:",omitempty" json:",omitempty"` // Nack, Release; Extend: the length of the lease
	Tokens [][3]uint64   `msgpack:",omitempty" json:",omitempty"` // the deliveries, for the other operations

	waiter uint64 `msgpack:"-"` // opNudge: the pull whose caller has cancelled
}

// oversee is the message behind operations on a queue as a whole, on dead letters and on
// waiting items. It has another type than dequeue, so that access rules can distinguish the two
// before a message is decoded.
type oversee[T any] struct {
	Returns[dequeued[T]]
	Op     queuestore.Op
	Max    int         `msgpack:",omitempty" json:",omitempty"` // Dead, Waiting: how many
	Tokens [][3]uint64 `msgpack:",omitempty" json:",omitempty"` // the items, for Cancel, Revive and Discard
}

// opNudge is an operation that only the actor itself sends. From others it does no harm.
const opNudge queuestore.Op = 255

// dequeued answers a dequeue and an oversee.
type dequeued[T any] struct {
	Queue  Ref                  // the queue that answered, which may be an instance of a service
	Items  []handout[T]         `msgpack:",omitempty" json:",omitempty"` // Pull, Dead, Waiting
	Failed []queuestore.Failure `msgpack:",omitempty" json:",omitempty"` // the other operations: the tokens for which they failed
	Stats  *queue.Stats         `msgpack:",omitempty" json:",omitempty"` // Stats
	Count  int                  `msgpack:",omitempty" json:",omitempty"` // Purge: how many items were removed
}

// handout is an item in an answer: a delivery, a dead letter or a waiting item.
type handout[T any] struct {
	Token    [3]uint64
	ID       string
	Attempt  int
	Priority int           `msgpack:",omitempty" json:",omitempty"`
	Age      time.Duration // of a dead letter or a waiting item, negative while it is delayed; for a delivery, what is left of the lease
	Reason   queue.Reason  `msgpack:",omitempty" json:",omitempty"`
	Message  T
	Trace    []byte `msgpack:",omitempty" json:",omitempty"` // of a delivery: the trace context under which the item was pushed
}

// traceText is t as a queue keeps it.
func traceText(t rpc.Trace) string {
	if t.IsZero() {
		return ""
	}
	return string(t[:])
}

// trace is the trace context under which the item was pushed.
func (h *handout[T]) trace() (t rpc.Trace) {
	if len(h.Trace) == len(t) {
		copy(t[:], h.Trace)
	}
	return t
}

// pushedUnder returns the trace contexts of the items, as far as they have some; see intercept.Operation.Pushed.
func (d dequeued[T]) pushedUnder() (all []rpc.Trace) {
	for i := range d.Items {
		if t := d.Items[i].trace(); !t.IsZero() {
			all = append(all, t)
		}
	}
	return all
}

// failureError is the error that the caller gets for f.
func failureError(f queuestore.Failure) error {
	switch f.Cause() {
	case queue.ErrLeaseExpired:
		return ErrLeaseExpired
	case queue.ErrDone:
		return ErrDone
	case queue.ErrForeign:
		return ErrForeign
	case queue.ErrTaken:
		return ErrTaken
	case queue.ErrFull:
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%w", queue.ErrFull)
	}
	return rpc.Errorf(rpc.Failed, rpc.Unknown, "the queue could not do it")
}

// WireName is the type's name on the wire.
func (enqueued) WireName() string { return "tandem.Enqueued" }

func (enqueue[T]) derivedName() (string, reflect.Type)  { return "Enqueue", reflect.TypeFor[T]() }
func (dequeue[T]) derivedName() (string, reflect.Type)  { return "Dequeue", reflect.TypeFor[T]() }
func (oversee[T]) derivedName() (string, reflect.Type)  { return "Oversee", reflect.TypeFor[T]() }
func (dequeued[T]) derivedName() (string, reflect.Type) { return "Dequeued", reflect.TypeFor[T]() }
