package transport

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// frameSize is the size of the length that stands before every envelope in a
// link's byte stream: 4 bytes, big endian, not counting itself.
const frameSize = 4

// Outbox is the send queue of a link: senders append frames, one writer takes all
// that is ready at once. So a busy link makes one write of many messages, and an
// idle one sends a message as soon as it comes. All methods may be called
// concurrently, Take by one writer only.
type Outbox struct {
	maxFrame int
	wake     chan struct{} // holds a token while there may be something to take

	mu     sync.Mutex // guards what follows
	buf    []byte     // frames not yet taken
	base   uint64     // place in the stream of buf's first byte
	failed bool       // Append returned ErrFull since the last Take
	calm   int        // how many Takes in a row needed little of a large buffer
	closed bool
}

// NewOutbox returns an empty queue for envelopes of at most maxFrame encoded bytes.
func NewOutbox(maxFrame int) *Outbox {
	return &Outbox{maxFrame: maxFrame, wake: make(chan struct{}, 1)}
}

// hardFactor times MaxSendQueue is where a queue of replies to a peer that does not
// read ends: Append returns ErrStalled, and the link should be closed.
const hardFactor = 16

// Append queues e and returns its place in the stream. Requests and tells get
// ErrFull while MaxSendQueue bytes or more are waiting; the other verbs, which
// answer what was already admitted, go on to 16 times that and then get
// ErrStalled. Other errors: ErrClosed, ErrTooLarge.
func (o *Outbox) Append(e *Envelope) (at uint64, err error) {
	o.mu.Lock()
	at, first, err := o.append(e)
	o.mu.Unlock()
	if first {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return at, err
}

func (o *Outbox) append(e *Envelope) (at uint64, first bool, err error) {
	switch n := len(o.buf); {
	case o.closed:
		return 0, false, ErrClosed
	case n >= MaxSendQueue && e.Verb.bounded():
		o.failed = true
		return 0, false, ErrFull
	case n >= hardFactor*MaxSendQueue:
		return 0, false, ErrStalled
	}
	if n := headerSize + len(e.Body); n > o.maxFrame { // before it is copied, and its memory kept
		return 0, false, fmt.Errorf("%w: %d bytes and more encoded, limit %d", ErrTooLarge, n, o.maxFrame)
	}
	start := len(o.buf)
	buf, err := e.Append(append(o.buf, 0, 0, 0, 0))
	if n := len(buf) - start - frameSize; err == nil && n > o.maxFrame {
		err = fmt.Errorf("%w: %d bytes encoded, limit %d", ErrTooLarge, n, o.maxFrame)
	}
	if err != nil {
		o.buf = buf[:start]
		return 0, false, err
	}
	binary.BigEndian.PutUint32(buf[start:], uint32(len(buf)-start-frameSize))
	o.buf = buf
	return o.base + uint64(start), start == 0, nil
}

// Wake returns the channel that holds a token while there may be something to take.
func (o *Outbox) Wake() <-chan struct{} { return o.wake }

// A queue whose buffers went nearly unused calmTakes times gives them back, if they
// hold more than keepSpare bytes.
const (
	calmTakes = 16
	keepSpare = 64 << 10
)

// Take swaps out everything queued and leaves spare, emptied, in its place. at is
// the stream place of the first byte of frames; drained reports that a sender was
// refused with ErrFull since the last Take and should be told that there is room.
func (o *Outbox) Take(spare []byte) (frames []byte, at uint64, drained bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frames, at, drained = o.buf, o.base, o.failed
	if cap(spare) > keepSpare {
		if len(frames) >= cap(spare)/8 {
			o.calm = 0
		} else if o.calm++; o.calm > calmTakes {
			spare = nil // a burst must not keep its memory for good; a busy link may
		}
	}
	o.buf, o.failed = spare[:0], false
	o.base += uint64(len(frames))
	return frames, at, drained
}

// Close makes every later Append return ErrClosed. What is queued can still be taken.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}
