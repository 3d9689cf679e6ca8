// Package queuestore has the interfaces between an actor that serves a queue and a store that
// keeps the queue's items outside of the actor. Package actor calls a [Backend], and package
// queue/jetstream has a [Store].
//
// The actor decides, with a queue.Queue, which consumer gets which item, and for how long.
// That queue has only the items that the backend has restored there. The backend carries the
// decisions out in the store.
package queuestore

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Store keeps the items of a queue. Several actors may serve it.
type Store interface {
	// Backend returns the store's part in one actor. It must call newQueue, which makes
	// the actor's queue, once.
	Backend(newQueue func(queue.Config) Queue) Backend
}

// Backend is a store's part in one actor. Its methods, except Err and Run, are called in the
// actor's turn. None of them waits. If they return a rest, the actor passes it to Run, and it
// makes the answer to the request.
type Backend interface {
	// Err returns the reason why every request is refused, or nil. It may be called
	// concurrently.
	Err() error
	// Run calls do outside of the actor's turn, with a context that ends with ctx or when
	// the store is closed. The error says that the store is closed already.
	Run(ctx context.Context, do func(context.Context)) error
	// Push adds an item. An error that is a *Refusal says that the item was not added.
	Push(it queue.Item[any]) (rest func(context.Context) (duplicate bool, err error), err error)
	// Consumed is called after the actor's queue has done something for a consumer, or has
	// done what was due. The reply says what failed there. If rest is not nil, it makes
	// another reply, which replaces this one.
	Consumed(o Order, reply Reply) (rest Rest)
	// Manage carries out an operation on the queue as a whole. If rest is nil, the actor's
	// queue carries it out instead.
	Manage(o Order) (rest Rest)
}

// Returner is a Backend that takes items back. If a delivery is nacked or its lease ends, the
// actor removes the item from its queue and calls Back, in its turn; Back does not wait. With
// any other Backend, the actor's queue keeps these items.
type Returner interface {
	Back(t queue.Token, delay time.Duration, why queue.Reason)
}

// Rest is the part of a request that is done outside of the actor's turn.
type Rest func(context.Context, *Reply) error

// Queue is the queue in the actor. All methods except Do and Token must be called in the
// actor's turn.
type Queue interface {
	// Do calls do in a turn of the actor, with the backend that the actor has then. It
	// waits for room in the mailbox until ctx ends. An error says that do will never be
	// called.
	Do(ctx context.Context, do func(Backend)) error
	// Push adds an item to the actor's queue, for a Backend that is not a Returner.
	Push(it queue.Item[any]) (duplicate bool, err error)
	// Restore adds an item of the store, with its number there and with the attempts that
	// it has had. Serve hands it out. The error is that of it.Decode; then nothing was
	// added.
	Restore(number uint64, it Item) error
	// Serve hands the items that are ready to the consumers that wait.
	Serve()
	// Dismiss ends all pulls that wait with an error which says that they did not run.
	Dismiss(why error)
	// Token returns the token of package queue that a consumer's token stands for.
	Token(t [3]uint64) queue.Token

	// These are the methods of queue.Queue.
	Credit() int
	Stats() queue.Stats
	Withdraw() (numbers []uint64)
	Evict(number uint64) error
	Leased(number uint64) bool
}

// Op is the operation of an Order. The numbers belong to the wire format and never change.
type Op uint8

// The operations.
const (
	Pull    Op = 1
	Ack     Op = 2
	Nack    Op = 3
	Extend  Op = 4
	Stats   Op = 5
	Dead    Op = 6
	Revive  Op = 7
	Discard Op = 8
	Release Op = 9
	Pause   Op = 10
	Resume  Op = 11
	Purge   Op = 12
	Waiting Op = 13
	Cancel  Op = 14
)

// Order is a request to a queue, by a consumer or by somebody who manages the queue.
type Order struct {
	Op     Op
	Max    int         // for Pull, Dead and Waiting: how many items at most
	Tokens [][3]uint64 // for the other operations: the items
}

// MaxItems is the most items in the reply to one Order.
const MaxItems = 1024

// Reply is the reply to an Order.
type Reply struct {
	Items  []Item       // for Dead and Waiting
	Failed []Failure    // the tokens for which the operation failed
	Stats  *queue.Stats // for Stats
	Count  int          // for Purge: how many items were cancelled
}

// Item is an item of a store.
type Item struct {
	Token    [3]uint64 // names it in an Order
	ID       string
	Attempts int
	Priority int
	Age      time.Duration        // how long it has been a dead letter, or ready; less than 0 for an item that is not due yet
	Reason   queue.Reason         // for a dead letter
	Trace    string               // the trace context under which it was pushed
	Decode   func(into any) error // decodes the item's value
}

// Failure says why an operation failed for the item of a token. Its numbers belong to the wire
// format.
type Failure struct {
	Index int // of the token in the Order
	Code  uint8
}

// causes are the codes of a Failure. They never change.
var causes = [...]error{1: queue.ErrLeaseExpired, 2: queue.ErrDone, 3: queue.ErrForeign, 4: queue.ErrFull, 5: queue.ErrTaken}

// FailureOf returns the Failure of an operation that ended with err for the token with that
// index.
func FailureOf(index int, err error) Failure {
	for code := 1; code < len(causes); code++ {
		if errors.Is(err, causes[code]) {
			return Failure{index, uint8(code)}
		}
	}
	return Failure{Index: index}
}

// Cause returns the error of package queue that f stands for, or nil if it stands for any other
// error.
func (f Failure) Cause() error {
	if int(f.Code) < len(causes) {
		return causes[f.Code]
	}
	return nil
}

// Refusal is the error of a request that was refused and had no effect at all.
type Refusal struct {
	Code rpc.Code
	Why  error
}

// Error returns the reason.
func (r *Refusal) Error() string { return r.Why.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Why }

// ErrGone is wrapped by Backend.Err when the items are gone.
var ErrGone = rpc.NewError("tandem.queue.gone", "the items of this queue are gone")
