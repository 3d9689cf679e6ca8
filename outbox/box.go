package outbox

import (
	"cmp"
	"slices"
	"time"
)

// Box is the content of an outbox. T is what a message carries.
type Box[T any] struct {
	cfg    Config
	name   string
	last   uint64 // the latest number that was given
	queues map[string]*queue[T]
	count  int
	bytes  int
}

// queue is the messages to one receiver, the next one first.
type queue[T any] struct {
	messages []*Message[T]
	bytes    int
	served   bool // somebody sends what is in it
}

// Message is a message in an outbox.
type Message[T any] struct {
	Outbox  string    // the name of the outbox that it was put into, perhaps at an earlier start, or that of another outbox
	Number  uint64    // in that outbox
	To      string    // the address of its receiver
	Until   time.Time // when it is given up; zero: never
	Carries T

	size  int
	stage stage

	// SentSince is when it may have arrived for the first time; zero: it certainly has not.
	SentSince time.Time
	began     time.Time // when the current attempt began
	tries     int       // attempts that ended without a result, in a row
	doubts    int       // how often the receiver has said that it cannot know what became of the message
}

// stage is how far a message has come:
//
//	storing ──Stored──► waiting ──Next──► sent ──Settle──► over
//	   │                   ▲                │
//	   │                   └─── Settle ─────┘ (try again)
//	   └────Abandon────────────────────────────────────► over
type stage uint8

const (
	storing stage = iota // it is not certain yet that it is kept
	waiting              // to be sent, or sent again
	sent                 // an attempt is under way
	over                 // it is not in the box any more
)

// New returns an empty box of that name, which no other start of any box may have. cfg has its
// defaults filled in.
func New[T any](cfg Config, name string) *Box[T] {
	return &Box[T]{cfg: cfg, name: name, queues: map[string]*queue[T]{}}
}

// Add puts a message of size bytes, to the receiver with that address, behind all others to it. It is
// not sent before Stored. The error is ErrFull or ErrTooLarge.
func (b *Box[T]) Add(to string, size int, until time.Time, carries T) (*Message[T], error) {
	size += overhead
	if size > min(b.cfg.TargetBytes, b.cfg.Bytes) {
		return nil, ErrTooLarge
	}
	count, bytes := 0, 0
	if q := b.queues[to]; q != nil {
		count, bytes = len(q.messages), q.bytes
	}
	if b.count >= b.cfg.Messages || b.bytes+size > b.cfg.Bytes || count >= b.cfg.TargetMessages || bytes+size > b.cfg.TargetBytes {
		return nil, ErrFull
	}
	b.last++
	m := &Message[T]{Outbox: b.name, Number: b.last, To: to, Until: until, Carries: carries, size: size}
	b.push(m)
	return m, nil
}

// Restore puts a message into the box that is kept elsewhere, under the name of another outbox, whatever
// the limits are. Those of an earlier start of this box have to be restored in the order in which they
// were added, and before any is added. since is when the message may have been sent for the first time;
// zero: it certainly was not.
func (b *Box[T]) Restore(outbox string, number uint64, to string, size int, until, since time.Time, carries T) *Message[T] {
	m := &Message[T]{Outbox: outbox, Number: number, To: to, Until: until, SentSince: since, Carries: carries, size: size + overhead, stage: waiting}
	b.push(m)
	return m
}

func (b *Box[T]) push(m *Message[T]) {
	q := b.queues[m.To]
	if q == nil {
		q = new(queue[T])
		b.queues[m.To] = q
	}
	q.messages = append(q.messages, m)
	q.bytes += m.size
	b.count++
	b.bytes += m.size
}

// Stored says that a message that was added is kept, and may be sent.
func (b *Box[T]) Stored(m *Message[T]) {
	if m.stage == storing {
		m.stage = waiting
	}
}

// Abandon removes a message that was added, because it could not be stored.
func (b *Box[T]) Abandon(m *Message[T]) {
	if m.stage == storing {
		b.remove(m)
	}
}

func (b *Box[T]) remove(m *Message[T]) {
	m.stage = over
	q := b.queues[m.To]
	if q.messages[0] == m {
		q.messages[0] = nil
		q.messages = q.messages[1:]
	} else {
		q.messages = slices.DeleteFunc(q.messages, func(o *Message[T]) bool { return o == m })
	}
	q.bytes -= m.size
	b.count--
	b.bytes -= m.size
	if len(q.messages) == 0 && !q.served {
		delete(b.queues, m.To)
	}
}

// Serve reports whether somebody has to begin to send what is there for a receiver: there is a message
// to be sent, and nobody does so yet. Who gets true calls Next until that returns nil.
func (b *Box[T]) Serve(to string) bool {
	q := b.queues[to]
	if q == nil || q.served || q.messages[0].stage != waiting {
		return false
	}
	q.served = true
	return true
}

// Next begins an attempt at the first message to a receiver, and returns the message. It returns nil if
// nothing is to be sent now: then nobody sends to that receiver any more, until Serve.
func (b *Box[T]) Next(to string, now time.Time) *Message[T] {
	q := b.queues[to]
	if q == nil {
		return nil
	}
	if len(q.messages) == 0 || q.messages[0].stage != waiting {
		q.served = false
		if len(q.messages) == 0 {
			delete(b.queues, to)
		}
		return nil
	}
	m := q.messages[0]
	m.stage, m.began = sent, now
	return m
}

// Drain removes everything, and returns it in the order in which it was added.
func (b *Box[T]) Drain() []*Message[T] {
	var all []*Message[T]
	for _, q := range b.queues {
		for _, m := range q.messages {
			m.stage = over
			all = append(all, m)
		}
	}
	b.queues, b.count, b.bytes = map[string]*queue[T]{}, 0, 0
	slices.SortStableFunc(all, func(x, y *Message[T]) int {
		if x.Outbox != y.Outbox { // those of earlier starts first
			return cmp.Compare(b.own(x), b.own(y))
		}
		return cmp.Compare(x.Number, y.Number)
	})
	return all
}

func (b *Box[T]) own(m *Message[T]) int {
	if m.Outbox == b.name {
		return 1
	}
	return 0
}

// Len returns how many messages are in the box, how many bytes they count for, and to how many receivers
// they go.
func (b *Box[T]) Len() (messages, bytes, targets int) { return b.count, b.bytes, len(b.queues) }

// Receivers returns the addresses to which there are messages.
func (b *Box[T]) Receivers() []string {
	var all []string
	for to := range b.queues {
		all = append(all, to)
	}
	slices.Sort(all)
	return all
}
