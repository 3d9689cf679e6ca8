package transport

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A message that is larger than a chunk is sent in chunks, so that small messages behind it
// need not wait for all of it. This file decides which chunk is next and which messages must
// wait; it has no lock, clock or I/O. assembly.go puts the chunks together again.

// chunkSize is how many bytes of a large message one frame carries at most.
const chunkSize = 32 << 10

// Bounds of what a peer must assemble at a time. Its Assembly enforces them.
const (
	maxUnfinished    = 64 // messages
	unfinishedFactor = 2  // times the largest message, in bytes
	repliesFactor    = 4  // times the largest message: bytes of large replies that may wait
	requestsFactor   = 16 // the same for large requests; the layer above has lower bounds
	codeAbandoned    = 1  // in a chunk: the rest of this message will not come
	codeAgain        = 1  // in an answer: chunks are missing, send again from here
	laneBit          = 1 << 63
)

// name identifies a message; copies of one message have the same name.
type name struct {
	verb  Verb
	seq   uint64
	grant Grant
}

// held is a message in the lane: a large one, or a small one that must not overtake a large
// one.
type held struct {
	place uint64 // what Append returned
	name
	target string
	fence  bool
	frame  []byte // of a small one: the whole message, preceded by its length
	head   []byte // of a large one: the envelope without its body
	body   []byte // of a large one; this is the sender's memory

	// Of a large one.
	number      uint64 // on this link, from 1; 0: not begun
	sent        int    // bytes sent; set back to where some were lost
	top         int    // the largest value that sent had
	acked       int    // bytes that the peer says it has
	abandoned   bool   // cancelled; the peer hears of it until it confirms
	abandonSent bool   // the peer has heard of it since sent was last set back
}

func (h *held) isLarge() bool { return h.frame == nil }
func (h *held) size() int     { return len(h.head) + len(h.body) }

// rest returns how many bytes of h can be sent now.
func (h *held) rest() int {
	if h.abandoned {
		if h.abandonSent {
			return 0
		}
		return 1
	}
	return h.size() - h.sent
}

// lane holds the large messages of a link until the peer has them, and the small messages
// that must wait for them: those to the same actor, and one-way messages behind a large
// one-way message, because their numbers must arrive in order. A fence waits for everything
// before it.
type lane struct {
	largest int // bytes of the largest message that both ends accept

	list    []*held // in the order in which they were queued
	active  []*held // large messages that need not wait; they send chunks in turn
	waiting int     // of active, those that have not begun; they are at the end
	turn    int
	targets map[string]int // of list
	large   map[name]*held // of list, those that are not given up
	tells   int            // of list

	next    uint64            // place of the next message
	numbers uint64            // messages begun
	flight  int               // bytes sent and not acked
	pace    pace              // how many they may be
	begun   int               // messages begun and not finished
	open    int               // their bytes
	small   int               // bytes of small ones
	bulk    [lastVerb + 1]int // bytes of large ones, by verb
	crowded bool              // one was refused for want of room
	eased   bool              // and there may be room again
	acks    uint64            // how often the peer had something new
}

func newLane(largest int) *lane {
	return &lane{largest: largest, pace: newPace(), targets: make(map[string]int), large: make(map[name]*held)}
}

// holds reports whether e must wait for a message in the lane.
func (l *lane) holds(e *Envelope) bool {
	switch {
	case e.Fence || e.Verb == VerbOpen: // what was sent before belongs to the session before
		return len(l.list) > 0
	case e.Verb == VerbTell && l.tells > 0:
		return true
	}
	return e.Verb.bounded() && l.targets[e.Target] > 0
}

// copyOf returns the large message of which e is another copy, or about which e asks, if that
// message is in the lane.
func (l *lane) copyOf(e *Envelope) *held {
	switch e.Verb {
	case VerbProbe:
		return l.large[name{VerbRequest, e.Seq, e.Grant}]
	case VerbRequest, VerbReply:
		return l.large[name{e.Verb, e.Seq, e.Grant}]
	}
	return nil
}

// room returns nil if a large message of n bytes may be queued.
func (l *lane) room(verb Verb, n int) error {
	limit := requestsFactor * l.largest
	switch verb {
	case VerbTell:
		limit = MaxSendQueue
	case VerbReply:
		limit = repliesFactor * l.largest
	}
	switch queued := l.bulk[verb]; {
	case n > l.largest:
		return fmt.Errorf("%w: %d bytes encoded, limit %d", ErrTooLarge, n, l.largest)
	case queued > 0 && queued+n > limit:
		l.crowded = true
		return ErrFull
	}
	return nil
}

// add queues h, which is large or must wait for a large message, and returns its position.
func (l *lane) add(h *held) uint64 {
	l.next++
	h.place = laneBit | l.next
	free := h.isLarge() && l.targets[h.target] == 0 && (h.verb != VerbTell || l.tells == 0)
	l.list = append(l.list, h)
	l.count(h, 1)
	if free {
		l.active = append(l.active, h)
		l.waiting++
	}
	return h.place
}

func (l *lane) count(h *held, d int) {
	if h.target != "" {
		if l.targets[h.target] += d; l.targets[h.target] == 0 {
			delete(l.targets, h.target)
		}
	}
	if h.verb == VerbTell {
		l.tells += d
	}
	if h.isLarge() {
		l.bulk[h.verb] += d * h.size()
		if d > 0 {
			l.large[h.name] = h
		} else if l.large[h.name] == h {
			delete(l.large, h.name)
		}
	} else {
		l.small += d * len(h.frame)
	}
}

// pick returns the large message that may send a chunk now, or nil. Messages that have begun
// take turns. The next one begins when the peer has room for it.
func (l *lane) pick() *held {
	if l.flight >= l.pace.window {
		return nil
	}
	begun := len(l.active) - l.waiting
	if l.waiting > 0 && l.begun < maxUnfinished && (l.begun == 0 || l.open+l.active[begun].size() <= unfinishedFactor*l.largest) {
		begun++
	}
	for range begun {
		if l.turn >= begun {
			l.turn = 0
		}
		h := l.active[l.turn]
		if h.rest() > 0 {
			return h
		}
		l.turn++
	}
	return nil
}

// ready reports whether there is a chunk to send.
func (l *lane) ready() bool { return l.pick() != nil }

// A piece is a chunk that is to be sent.
type piece struct {
	number     uint64
	from, to   int
	total      int
	head, body []byte // of the whole message
	abandoned  bool
}

// frameBytes is how much of the stream the piece takes.
func (c piece) frameBytes() int { return frameSize + headerSize + c.to - c.from }

// take removes and returns the next chunk of at most size bytes, if there is one.
func (l *lane) take(size int, now time.Time) (c piece, ok bool) {
	h := l.pick()
	if h == nil {
		return c, false
	}
	l.turn++
	if h.number == 0 {
		l.numbers++
		h.number = l.numbers
		l.waiting--
		l.begun++
		l.open += h.size()
	}
	c = piece{number: h.number, from: h.sent, to: h.sent + min(size, h.size()-h.sent), total: h.size(),
		head: h.head, body: h.body, abandoned: h.abandoned}
	if h.abandoned {
		c.to, h.abandonSent = c.from, true
		return c, true
	}
	l.flight += c.to - c.from
	l.pace.sent(now, l.flight, l.flight == c.to-c.from)
	h.sent, h.top = c.to, max(h.top, c.to)
	return c, true
}

// append appends the frame of the piece to dst. It needs no lock, because what a held message
// refers to does not change.
func (c piece) append(dst []byte) []byte {
	n := c.frameBytes() - frameSize
	dst = append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	e := Envelope{Verb: VerbChunk, Seq: c.number, Mark: Mark{Below: uint64(c.total)}, TypeID: uint64(c.from)}
	if c.abandoned {
		e.Code = codeAbandoned
	}
	dst, _ = e.Append(dst) // it has no options that could be too large
	head := len(c.head)
	if c.from < head {
		dst = append(dst, c.head[c.from:min(c.to, head)]...)
	}
	if c.to > head {
		dst = append(dst, c.body[max(c.from-head, 0):c.to-head]...)
	}
	return dst
}

// ack records how much of a message the peer has. If that is all of it, it appends the
// messages that waited for it to small. An error wraps ErrProtocol.
func (l *lane) ack(number, have uint64, again bool, now time.Time, small []byte) ([]byte, error) {
	if number == 0 || number > l.numbers {
		return small, fmt.Errorf("%w: answer about large message %d of %d", ErrProtocol, number, l.numbers)
	}
	var h *held
	for _, a := range l.active[:len(l.active)-l.waiting] {
		if a.number == number {
			h = a
		}
	}
	if h == nil {
		return small, nil // it has said so before
	}
	if have > uint64(h.top) && !(h.abandoned && have == uint64(h.size())) {
		return small, fmt.Errorf("%w: peer has %d bytes of large message %d, of which %d were sent", ErrProtocol, have, number, h.top)
	}
	if n := int(have); n > h.acked {
		l.acks++
		l.pace.acked(now, n-h.acked)
		l.flight -= min(n, h.sent) - h.acked
		h.acked = n
		h.sent = max(h.sent, n)
	}
	if h.acked == h.size() {
		return l.remove(h, small), nil
	}
	if again {
		l.rewind(h)
	}
	return small, nil
}

// rewind makes what was not acked of h be sent again.
func (l *lane) rewind(h *held) {
	l.flight -= h.sent - h.acked
	l.pace.lost()
	h.sent, h.abandonSent = h.acked, false
}

// rewindAll is rewind for all messages.
func (l *lane) rewindAll() {
	for _, h := range l.active[:len(l.active)-l.waiting] {
		l.rewind(h)
	}
}

// cancel is called when the large request of that number was cancelled. If it has not begun, it is removed;
// otherwise no more of it is sent. The messages that need not wait any more are appended to
// small.
func (l *lane) cancel(seq uint64, grant Grant, small []byte) []byte {
	h := l.large[name{VerbRequest, seq, grant}]
	switch {
	case h == nil:
	case h.number == 0:
		return l.remove(h, small)
	default:
		h.abandoned = true
		delete(l.large, h.name)
		if h.abandonSent = h.sent == h.size(); !h.abandonSent { // otherwise the peer may have all of it, and hears nothing, unless some was lost
			l.rewind(h)
		}
	}
	return small
}

// remove removes h, and appends the messages that need not wait any more to small, in order.
func (l *lane) remove(h *held, small []byte) []byte {
	if h.number > 0 {
		l.flight -= h.sent - h.acked
		l.begun--
		l.open -= h.size()
	}
	l.count(h, -1)
	h.head, h.body = nil, nil
	l.eased, l.crowded = l.eased || l.crowded, false
	active := l.active[:0]
	for _, a := range l.active {
		if a != h && a.number > 0 {
			active = append(active, a)
		}
	}
	l.waiting = 0
	list, targets, tells := l.list[:0], make(map[string]bool), false
	for _, o := range l.list {
		if o == h {
			continue
		}
		blocked := targets[o.target] || o.verb == VerbTell && tells || o.fence && len(list) > 0
		if !blocked && !o.isLarge() {
			l.count(o, -1)
			small = append(small, o.frame...)
			continue
		}
		if !blocked && o.number == 0 {
			active = append(active, o)
			l.waiting++
		}
		list = append(list, o)
		if o.target != "" {
			targets[o.target] = true
		}
		tells = tells || o.verb == VerbTell
	}
	clear(l.list[len(list):])
	clear(l.active[min(len(active), len(l.active)):])
	l.list, l.active = list, active
	return small
}

// untouched reports whether no byte of the message at that position was ever sent.
func (l *lane) untouched(place uint64) bool {
	i, found := slices.BinarySearchFunc(l.list, place, func(h *held, place uint64) int { return cmp.Compare(h.place, place) })
	return found && l.list[i].number == 0
}

// drop releases the memory of the held messages. Their positions stay.
func (l *lane) drop() {
	for _, h := range l.list {
		h.head, h.body = nil, nil
		if !h.isLarge() {
			h.frame = h.frame[:0:0]
		}
	}
	l.active, l.waiting = nil, 0
}
