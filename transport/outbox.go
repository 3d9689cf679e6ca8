package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// frameSize is the size of the length that precedes every envelope in a link's byte stream: 4
// bytes, big endian, not counting itself.
const frameSize = 4

// Outbox is the send queue of a link. Senders append frames, and one writer takes all that
// are ready. So a busy link sends many messages in one write, and an idle link sends a
// message at once. All methods may be called concurrently, but Take only by one writer.
type Outbox struct {
	maxFrame int
	large    int           // bytes of a body above which its message travels in chunks
	packs    bool          // consecutive one-way messages share a frame
	wake     chan struct{} // holds a token while there may be something to take
	inflates Algorithms    // what the peer inflates
	chunked  atomic.Bool   // a chunk was sent since Silence found nothing to wait for

	mu     sync.Mutex // guards what follows
	lane   *lane      // of large messages; nil: the peer takes none
	busy   bool       // there are some
	acks   uint64     // lane.acks when Silence saw it change
	heard  time.Time  // when that was; zero: not yet
	buf    []byte     // frames not yet taken
	tells  tells      // the last of them, if that is of one-way messages
	base   uint64     // position in the stream of buf's first byte
	failed bool       // Append returned ErrFull since the last Take
	used   time.Time  // when a Take last needed much of a large buffer; zero: never
	closed bool

	holder  Holder // counts what waits for a peer that does not read; nil: nothing is counted
	counted int    // bytes of buf, as far as they are counted
	writing int    // of what was taken last, likewise
	replies int    // of large replies
}

// NewOutbox returns an empty queue for envelopes of at most maxFrame encoded bytes.
func NewOutbox(maxFrame int) *Outbox {
	return &Outbox{maxFrame: maxFrame, large: math.MaxInt, wake: make(chan struct{}, 1)}
}

// SendLarge makes the queue accept messages of up to largest encoded bytes, which it sends in
// chunks. If the peer has said that it accepts such messages, it is called before anything
// else.
func (o *Outbox) SendLarge(largest int) {
	if largest > 0 {
		o.large, o.lane = min(LargeBody, o.maxFrame/2), newLane(largest)
	}
}

// Agree makes the queue send what both local and the peer are able to: messages that are larger than
// a frame, and compressed bodies. It is called before anything else.
func (o *Outbox) Agree(local Local, peer Terms) {
	o.SendLarge(local.Common(peer.Largest))
	o.inflates = peer.Inflates & local.Packs()
}

// PackTells makes consecutive small one-way messages share a frame. It is called before
// anything else.
func (o *Outbox) PackTells() { o.packs = true }

// hardFactor times MaxSendQueue bounds the replies that wait for a peer that does not read.
// Beyond that Append returns ErrStalled, and the link should be closed.
const hardFactor = 16

// Answers that the peer does not read count as memory that it makes this end hold: in steps,
// once more than queueFree bytes wait; large replies always count. Up to queueMust bytes may
// wait even if there is no room, so that a peer which has filled its share in another way, and
// reads, gets its answers. Requests and tells do not count, because it is this end that wants
// to send them.
const (
	queueFree = 64 << 10
	queueStep = 256 << 10
	queueMust = 2 << 20
)

func (o *Outbox) hold(n int) bool { return o.holder == nil || o.holder.Hold(n) }

func (o *Outbox) free(n int) {
	if o.holder != nil && n > 0 {
		o.holder.Free(n)
	}
}

// heldBy sets the Holder that counts from now on.
func (o *Outbox) heldBy(h Holder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holder, o.counted, o.writing, o.replies = h, 0, 0, 0
}

// Append queues e and returns its position in the stream. Requests and tells get ErrFull
// while MaxSendQueue bytes or more are waiting. The other verbs, which answer what was
// already admitted, are accepted up to 16 times that, and then get ErrStalled; they get it
// earlier if the Holder has no room. Other errors: ErrClosed, ErrTooLarge.
//
// The body of a large message is not copied, and must not change any more. A large message
// of any verb can get ErrFull if there is no room for it.
func (o *Outbox) Append(e *Envelope) (at uint64, err error) {
	o.mu.Lock()
	at, first, err := o.append(e)
	o.mu.Unlock()
	if first {
		o.token()
	}
	return at, err
}

func (o *Outbox) token() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *Outbox) append(e *Envelope) (at uint64, first bool, err error) {
	if e.Packed != nil {
		if e, err = o.packed(e); err != nil {
			return 0, false, err
		}
	}
	if (o.busy || len(e.Body) > o.large) && !o.closed {
		if at, first, done, err := o.appendBehind(e); done {
			return at, first, err
		}
	}
	switch n := len(o.buf); {
	case o.closed && e.Verb != VerbChunked: // a VerbChunked is sent even then, since the peer may wait for it
		return 0, false, ErrClosed
	case n >= MaxSendQueue && e.Verb.bounded():
		o.failed = true
		return 0, false, ErrFull
	case n >= hardFactor*MaxSendQueue:
		return 0, false, ErrStalled
	case n >= o.counted+queueFree && !e.Verb.bounded():
		switch {
		case o.hold(queueStep):
		case n >= queueMust:
			return 0, false, fmt.Errorf("%w, and there is no room for what it has asked for", ErrStalled)
		default:
			o.holder.Force(queueStep)
		}
		o.counted += queueStep
	}
	if n := headerSize + len(e.Body); n > o.maxFrame { // before it is copied, and its memory kept
		return 0, false, fmt.Errorf("%w: %d bytes and more encoded, limit %d", ErrTooLarge, n, o.maxFrame)
	}
	start := len(o.buf)
	if o.packs && e.isPlain() {
		if o.tells.takes(e, start, o.maxFrame) {
			o.buf = o.tells.add(e, o.buf)
			return o.base + uint64(start), false, nil
		}
		if buf, err := o.tells.begin(e, o.buf); err == nil && len(buf)-start-frameSize <= o.maxFrame {
			o.buf = buf
			return o.base + uint64(start), start == 0, nil
		} // otherwise it may fit into a frame of its own
	}
	buf, err := o.appendFrame(o.buf, e)
	if err != nil {
		o.buf = buf[:start]
		return 0, false, err
	}
	o.buf = buf
	return o.base + uint64(start), start == 0, nil
}

// appendFrame appends the frame of e to dst.
func (o *Outbox) appendFrame(dst []byte, e *Envelope) ([]byte, error) {
	start := len(dst)
	dst, err := e.Append(append(dst, 0, 0, 0, 0))
	n := len(dst) - start - frameSize
	switch {
	case err != nil:
		return dst, err
	case n > o.maxFrame:
		return dst, fmt.Errorf("%w: %d bytes encoded, limit %d", ErrTooLarge, n, o.maxFrame)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(n))
	return dst, nil
}

// appendBehind is append where there are large messages, or e is one. done says that
// nothing is left to do.
func (o *Outbox) appendBehind(e *Envelope) (at uint64, first, done bool, err error) {
	l := o.lane
	if h := l.copyOf(e); h != nil {
		return h.place, false, true, nil
	}
	large := len(e.Body) > o.large
	switch {
	case e.Verb == VerbCancel:
		o.buf = l.cancel(e.Seq, e.Grant, o.buf)
		o.laneChanged()
		return 0, false, false, nil
	case !large && !l.holds(e):
		return 0, false, false, nil
	case len(o.buf) >= MaxSendQueue && e.Verb.bounded():
		o.failed = true
		return 0, false, true, ErrFull
	case l.small >= MaxSendQueue && e.Verb.bounded():
		l.crowded = true
		return 0, false, true, ErrFull
	}
	h := &held{name: name{e.Verb, e.Seq, e.Grant}, target: e.Target, fence: e.Fence || e.Verb == VerbOpen}
	if !e.Verb.bounded() {
		h.target = ""
	}
	if large {
		bare := *e
		bare.Body = nil
		if h.head, err = bare.Append(nil); err != nil {
			return 0, false, true, err
		}
		if h.body = e.Body; len(h.body) <= LargeBody {
			h.body = bytes.Clone(h.body)
		}
		if err := l.room(e.Verb, h.size()); err != nil {
			return 0, false, true, err
		}
		if e.Verb == VerbReply {
			if !o.hold(h.size()) {
				return 0, false, true, fmt.Errorf("%w: no room for a reply of %d bytes", ErrFull, h.size())
			}
			o.replies += h.size()
		}
	} else if h.frame, err = o.appendFrame(nil, e); err != nil {
		return 0, false, true, err
	}
	at = l.add(h)
	o.busy = true
	return at, l.ready(), true, nil
}

// laneChanged updates the queue after a message has left the lane. o.mu is held.
func (o *Outbox) laneChanged() {
	o.busy = len(o.lane.list) > 0
	if left := o.lane.bulk[VerbReply]; left < o.replies {
		o.free(o.replies - left)
		o.replies = left
	}
	if o.lane.eased {
		o.lane.eased, o.failed = false, true
	}
	if len(o.buf) > 0 || o.failed || o.lane.ready() {
		o.token()
	}
}

// acked records how much of a large message the peer has.
func (o *Outbox) acked(number, have uint64, again bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lane == nil {
		return fmt.Errorf("%w: answer about a large message, and none was sent", ErrProtocol)
	}
	var err error
	o.buf, err = o.lane.ack(number, have, again, time.Now(), o.buf)
	o.laneChanged()
	return err
}

// Wake returns the channel that holds a token while there may be something to take.
func (o *Outbox) Wake() <-chan struct{} { return o.wake }

// If the buffers of a queue hold more than keepSpare bytes, and almost nothing of that was used
// for calm, the queue frees them.
const (
	calm      = time.Second
	keepSpare = 64 << 10
)

// Take returns everything that is queued, and leaves spare, emptied, in its place. If a chunk
// of a large message can be sent, it comes last. at is the position in the stream of the
// first byte of frames. drained reports that a sender got ErrFull since the last Take and
// should be told that there is room.
func (o *Outbox) Take(spare []byte) (frames []byte, at uint64, drained bool) {
	o.mu.Lock()
	frames, at, drained = o.buf, o.base, o.failed
	if cap(spare) > keepSpare {
		if now := time.Now(); len(frames) >= cap(spare)/8 || o.used.IsZero() {
			o.used = now
		} else if now.Sub(o.used) > calm {
			spare = nil // a burst must not hold memory for good, but a busy link may
		}
	}
	o.buf, o.failed, o.tells = spare[:0], false, tells{}
	o.base += uint64(len(frames))
	if o.writing+o.counted > 0 {
		o.free(o.writing)
		o.writing, o.counted = o.counted, 0
	}
	if !o.busy {
		o.mu.Unlock()
		return frames, at, drained
	}
	chunk, ok := o.lane.take(min(chunkSize, o.maxFrame-headerSize), time.Now())
	if ok {
		o.base += uint64(chunk.frameBytes())
		o.chunked.Store(true)
	}
	ready := o.lane.ready()
	o.mu.Unlock()
	if ok {
		frames = chunk.append(frames) // without the lock, so that senders need not wait
	}
	if ready {
		o.token()
	}
	return frames, at, drained
}

// Handed reports whether the envelope at position at may have been handed to the network, if
// the bytes up to position before may have been.
func (o *Outbox) Handed(at, before uint64) bool {
	if at&laneBit == 0 {
		return at < before
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.lane.untouched(at)
}

// Silence returns for how long the peer has acknowledged nothing of the large messages that
// are in flight to it; waiting is false if there are none.
func (o *Outbox) Silence() (silence time.Duration, waiting bool) {
	if !o.chunked.Load() { // without the lock and the clock, since it is called often
		return 0, false
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch l := o.lane; {
	case l.begun == 0:
		o.chunked.Store(false)
		o.heard = time.Time{}
		return 0, false
	case o.heard.IsZero() || o.acks != l.acks:
		o.heard, o.acks = now, l.acks
	}
	return now.Sub(o.heard), true
}

// ResendAfter is how long a road that may lose chunks waits for an acknowledgement before it
// calls Resend.
const ResendAfter = time.Second

// Resend makes all chunks that the peer has not acknowledged be sent again.
func (o *Outbox) Resend() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lane != nil {
		o.heard = time.Time{}
		o.lane.rewindAll()
		o.token()
	}
}

// Empty reports whether nothing is left to send and the peer has all large messages.
func (o *Outbox) Empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) == 0 && !o.busy
}

// Close makes every later Append return ErrClosed. What is queued can still be taken.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

// Discard is Close for a link that ends at once: large messages are no longer sent.
func (o *Outbox) Discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.lane != nil {
		o.lane.drop()
	}
}
