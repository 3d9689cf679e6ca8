package actor

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// The messages of this file are what Push, Pull and the methods of Delivery send.
// Applications need them only to write another kind of queue.

// Enqueue is the message behind Push.
type Enqueue[T any] struct {
	Returns[Enqueued]
	Item     T
	ID       string        `msgpack:",omitempty" json:",omitempty"`
	Priority int           `msgpack:",omitempty" json:",omitempty"`
	Delay    time.Duration `msgpack:",omitempty" json:",omitempty"`
}

// Enqueued answers an Enqueue.
type Enqueued struct {
	Duplicate bool // the queue knew the id
}

// Dequeue is the message behind Pull and all that consumers do with what they have.
type Dequeue[T any] struct {
	Returns[Dequeued[T]]
	Op     QueueOp
	Max    int           `msgpack:",omitempty" json:",omitempty"` // OpPull: how many
	Wait   time.Duration `msgpack:",omitempty" json:",omitempty"` // OpPull
	Delay  time.Duration `msgpack:",omitempty" json:",omitempty"` // OpNack, OpRelease; OpExtend: what the lease is to be
	Tokens [][3]uint64   `msgpack:",omitempty" json:",omitempty"` // of what the others are about

	waiter uint64 // opNudge: its caller is gone
}

// Oversee is the message behind what is done to a queue as a whole, to dead letters, and to
// what waits. It is another type than Dequeue so that access lists tell the two apart before
// anything is decoded.
type Oversee[T any] struct {
	Returns[Dequeued[T]]
	Op     QueueOp
	Max    int         `msgpack:",omitempty" json:",omitempty"` // OpDead, OpWaiting: how many
	Tokens [][3]uint64 `msgpack:",omitempty" json:",omitempty"` // of what OpCancel, OpRevive and OpDiscard are about
}

// QueueOp is what a Dequeue or an Oversee is for. Numbers are wire format and never change.
type QueueOp uint8

// The operations.
const (
	OpPull    QueueOp = 1
	OpAck     QueueOp = 2
	OpNack    QueueOp = 3
	OpExtend  QueueOp = 4
	OpStats   QueueOp = 5
	OpDead    QueueOp = 6
	OpRevive  QueueOp = 7
	OpDiscard QueueOp = 8
	OpRelease QueueOp = 9
	OpPause   QueueOp = 10
	OpResume  QueueOp = 11
	OpPurge   QueueOp = 12
	OpWaiting QueueOp = 13
	OpCancel  QueueOp = 14
	opNudge   QueueOp = 255 // to itself; from elsewhere it does no harm
)

// Dequeued answers a Dequeue.
type Dequeued[T any] struct {
	Queue  Ref          // who answered: one of a service, perhaps
	Items  []Handout[T] `msgpack:",omitempty" json:",omitempty"` // OpPull, OpDead, OpWaiting
	Failed []Failure    `msgpack:",omitempty" json:",omitempty"` // the others: tokens that it did not work for
	Stats  *queue.Stats `msgpack:",omitempty" json:",omitempty"` // OpStats
	Count  int          `msgpack:",omitempty" json:",omitempty"` // OpPurge: how many items that was
}

// Handout is an item on its way to a consumer, or a dead letter.
type Handout[T any] struct {
	Token    [3]uint64
	ID       string
	Attempt  int
	Priority int           `msgpack:",omitempty" json:",omitempty"`
	Age      time.Duration // of a dead letter; of what waits, less than 0 until it is due; else what is left of the lease
	Reason   queue.Reason  `msgpack:",omitempty" json:",omitempty"`
	Message  T
}

// Failure says why something could not be done to the item of a token.
type Failure struct {
	Index int // of the token in the request
	Code  uint8
}

// failures are the Failure codes. Their numbers are wire format and never change.
var failures = [...]struct{ inside, outside error }{
	1: {queue.ErrLapsed, ErrLapsed},
	2: {queue.ErrDone, ErrDone},
	3: {queue.ErrForeign, ErrForeign},
	4: {queue.ErrFull, rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%w", queue.ErrFull)},
	5: {queue.ErrTaken, ErrTaken},
}

// FailureOf says that the operation on the token of that index ended with an error of
// package queue.
func FailureOf(index int, err error) Failure {
	for code := 1; code < len(failures); code++ {
		if errors.Is(err, failures[code].inside) {
			return Failure{index, uint8(code)}
		}
	}
	return Failure{Index: index}
}

func (f Failure) err() error {
	if f.Code == 0 || int(f.Code) >= len(failures) {
		return rpc.Errorf(rpc.Failed, rpc.Unknown, "the queue could not do it")
	}
	return failures[f.Code].outside
}

// WireName makes the name on the wire of that of the items there.
func (Enqueue[T]) WireName() string { return onWire[T]("Enqueue") }

// WireName makes the name on the wire of that of the items there.
func (Dequeue[T]) WireName() string { return onWire[T]("Dequeue") }

// WireName makes the name on the wire of that of the items there.
func (Oversee[T]) WireName() string { return onWire[T]("Oversee") }

// WireName makes the name on the wire of that of the items there.
func (Dequeued[T]) WireName() string { return onWire[T]("Dequeued") }

func onWire[T any](what string) string {
	name, _ := wireName(reflect.TypeFor[T]())
	return fmt.Sprintf("tandem.%s[%s]", what, name)
}
