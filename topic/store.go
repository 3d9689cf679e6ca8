package topic

import (
	"context"
	"errors"
	"time"
)

// Store keeps what is published on durable topics. Package topic/jetstream has one; it is given to
// a system as actor.Config.Topics. Its methods may be called concurrently.
type Store interface {
	// Publish stores a message, and returns its position. A message whose ID, topic and type are known,
	// because it was published before, is not stored again, and its first position is returned. A
	// *NotStoredError proves that the message is not stored and never will be. After any other
	// error it may be.
	Publish(ctx context.Context, m Message) (position uint64, err error)

	// Open begins to read. When it has returned, the place where the reader begins is fixed.
	Open(ctx context.Context, r Reading) (Reader, error)
}

// Reader reads messages in the order of their positions, each one until it was acked. One
// goroutine uses it.
type Reader interface {
	// Next waits for the next message; after Retry it returns the same one again, when the delay has
	// passed. Faults that may pass it waits out. Its error is that of ctx, wraps ErrGone, or says that the store is closed.
	Next(ctx context.Context) (Message, error)
	// Ack says that the message that Next has returned is done. A Reader of a name keeps that.
	Ack()
	// Retry has Next return the message again.
	Retry(delay time.Duration)
	// Hold says that the message is still in hand. It is to be called every HoldEvery.
	Hold()
	// Close ends the reading. A message that was neither acked nor put off for later goes to the next
	// Reader of the name, at once.
	Close()
}

// HoldEvery is how often Reader.Hold has to be called while a message is in hand.
const HoldEvery = 2 * time.Second

// Message is a message of a durable topic.
type Message struct {
	ID        string // the same for each attempt to publish it
	Topic     string
	TypeID    uint64 // of the type of the message
	Type      string // its name
	Codec     uint8
	Body      []byte
	Headers   [][2]string // keys and values
	Trace     []byte      // empty: none
	Publisher string      // the node that has published it, as it says itself

	// These the store sets.
	Position uint64    // later messages have larger ones; the first is above zero
	Time     time.Time // when it was stored
	Attempt  int       // how often it was handed out by this name, or by this Reader; the first is 1
}

// Reading says what a Reader reads: the messages of one type, on all topics that the pattern
// matches.
type Reading struct {
	Pattern string
	TypeID  uint64
	Name    string // see Named; empty: the position is not kept
	From    From   // where to begin if the name has no position yet, or there is no name
}

// From is a place in what was published. The zero From is the end: only what comes later follows.
type From struct {
	Start bool      // the oldest message that is kept
	Time  time.Time // if not zero: the first one since then
}

// Delivery is what there is to know of how a message of a durable topic was delivered. See
// actor.Context.Delivery.
type Delivery struct {
	Topic     string
	Position  uint64    // in the store; later messages have larger ones
	Time      time.Time // when the message was stored
	Attempt   int       // the first is 1
	ID        string    // the same for each delivery, to each subscriber
	Publisher string    // the node that has published it, as it says itself: the store does not prove that
}

// What stores wrap in their errors.
var (
	ErrGone     = errors.New("topic: the store of the durable topics was deleted") // all requests fail with it until an operator accepts the loss
	ErrFull     = errors.New("topic: the store of the durable topics is full")
	ErrTooLarge = errors.New("topic: the message is larger than the store accepts")
	ErrAway     = errors.New("topic: the store of the durable topics cannot be reached")
)

// NotStoredError says that a message is not stored and never will be. It wraps why.
type NotStoredError struct{ Err error }

func (e *NotStoredError) Error() string { return e.Err.Error() }

// Unwrap returns why the message is not stored.
func (e *NotStoredError) Unwrap() error { return e.Err }
