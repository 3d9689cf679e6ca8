package actor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport"
)

// feed is one actor's subscription to a durable topic. Its goroutine takes one message at a time from
// the store, puts it into the actor's mailbox, and waits for the handler's outcome.
type feed struct {
	by       *cell
	at       topicAt
	set      topic.Settings
	mt       *messageType
	reader   topic.Reader
	ctx      context.Context // ends with the subscription
	cancel   context.CancelFunc
	attempts int
	clock    *time.Timer
}

// feedPause is how long a feed waits when the mailbox has no room, or the store says that it is gone.
const feedPause = 100 * time.Millisecond

// feed makes a subscription of c to a durable topic, or replaces it.
func (c *cell) feed(ctx context.Context, at topicAt, set topic.Settings) error {
	s := c.self.sys
	mt := s.types.get(at.typ)
	switch {
	case s.cfg.Topics == nil:
		return errNoTopics(at)
	case set.Group != "" || set.Full != 0:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "subscribe to %s: a durable topic has neither topic.Group nor topic.WhenFull; see topic.Named", at.pattern)
	case mt.err != nil:
		return mt.err
	case strings.HasPrefix(c.self.addr.name, hidden):
		return errGone
	case s.draining():
		return errShutdown
	}
	if old := c.feedOf(at); old != nil && old.set == set {
		return nil
	}
	opening, stop := context.WithTimeout(ctx, s.cfg.SendWait)
	defer stop()
	reader, err := s.cfg.Topics.Open(opening, topic.Reading{Pattern: at.pattern, TypeID: mt.id, Name: set.Name, From: set.From})
	s.storeSays(err)
	if err != nil {
		return rpc.Errorf(codeOfStore(err), rpc.NotRun, "subscribe to %s: %w", at.pattern, err)
	}
	f := &feed{by: c, at: at, set: set, mt: mt, reader: reader, attempts: set.Attempts, clock: time.NewTimer(topic.HoldEvery)}
	if f.attempts == 0 {
		f.attempts = topic.DefaultAttempts
	}
	f.ctx, f.cancel = context.WithCancel(s.ctx)
	if !c.keepFeed(f) {
		f.cancel()
		reader.Close()
		return errGone
	}
	return nil
}

// keepFeed starts a feed, in the place of one of the same topic. It returns false if the actor is gone, or the system stops.
func (c *cell) keepFeed(f *feed) bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.life.now() >= ending || !c.self.sys.feeds.start(f) {
		return false
	}
	a.dropFeed(f.at)
	h := a.hearing()
	h.feeds = append(h.feeds, f)
	return true
}

// dropFeed ends the subscription to a durable topic. a.mu is held.
func (a *annex) dropFeed(at topicAt) {
	h := a.hearing()
	h.feeds = slices.DeleteFunc(h.feeds, func(f *feed) bool {
		if f.is(at) {
			f.cancel()
		}
		return f.is(at)
	})
}

func (f *feed) is(at topicAt) bool { return f.at.pattern == at.pattern && f.at.typ == at.typ }

// feedOf returns the subscription to a durable topic, or nil.
func (c *cell) feedOf(at topicAt) *feed {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hearing()
	if i := slices.IndexFunc(h.feeds, func(f *feed) bool { return f.is(at) }); i >= 0 {
		return h.feeds[i]
	}
	return nil
}

// endFeed ends the subscription to a durable topic. It does not wait.
func (c *cell) endFeed(at topicAt) {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropFeed(at)
}

// run is the goroutine of a feed.
func (f *feed) run() {
	defer f.reader.Close()
	defer f.clock.Stop()
	s := f.by.self.sys
	for {
		m, err := f.reader.Next(f.ctx)
		if f.ctx.Err() != nil {
			return
		}
		s.storeSays(err)
		if err != nil {
			if !f.pause(10 * feedPause) {
				return
			}
			continue
		}
		if !f.deliver(m) {
			return
		}
	}
}

// pause waits. It returns false if the subscription has ended.
func (f *feed) pause(d time.Duration) bool {
	f.clock.Reset(d)
	select {
	case <-f.ctx.Done():
		return false
	case <-f.clock.C:
		return true
	}
}

// deliver has the actor handle a message, and says to the store what has become of it. It returns
// false if the subscription has ended; then the message was handled, or goes back.
func (f *feed) deliver(m topic.Message) bool {
	for {
		d := &delivery{done: make(chan *rpc.Error, 1)}
		it, refusal := f.item(&m, d)
		if refusal == nil {
			refusal = f.offer(it, d)
		}
		switch next, delay := judge(refusal, m.Attempt, f.attempts); next {
		case isDone:
			f.reader.Ack()
			return f.ctx.Err() == nil
		case isOver:
			return false
		case isPutOff:
			f.reader.Retry(delay)
			return f.ctx.Err() == nil
		case isDead:
			f.bury(&m, refusal)
			f.reader.Ack()
			return f.ctx.Err() == nil
		}
		f.reader.Hold()
		if !f.pause(feedPause) {
			return false
		}
	}
}

// fate is what becomes of a message after an attempt.
type fate uint8

const (
	isDone   fate = iota
	isPutOff      // the store delivers it again, after a pause
	isDead        // it becomes a dead letter
	isBack        // it was not handled, and goes into the mailbox again
	isOver        // it was not handled, and the actor takes no more
)

// judge decides what becomes of a message by the outcome of an attempt. Only a message that was handled
// becomes a dead letter, or one that cannot be decoded, which never will be.
func judge(err *rpc.Error, attempt, attempts int) (fate, time.Duration) {
	switch {
	case err == nil:
		return isDone, 0
	case err == errGone, err == errStopped, err == errFeedOver:
		return isOver, 0
	case err.Code == rpc.Undecodable, err.Code == rpc.TooLarge:
		return isDead, 0
	case err.Verdict == rpc.NotRun:
		return isBack, 0
	case attempt >= attempts:
		return isDead, 0
	}
	return isPutOff, topic.Backoff(attempt)
}

// errFeedOver is the outcome of a message that was withdrawn, because the subscription has ended.
var errFeedOver = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the subscription has ended")

// item returns a message as it lies in a mailbox.
func (f *feed) item(m *topic.Message, d *delivery) (item, *rpc.Error) {
	msg, refusal := parcel{f.mt, m.Codec, m.Body}.decode(f.by)
	if refusal != nil {
		return item{}, f.by.self.sys.unreadable(refusal)
	}
	mt := &meta{stored: m}
	for _, h := range m.Headers {
		mt.headers = append(mt.headers, transport.Header{Key: h[0], Value: h[1]})
	}
	copy(mt.trace[:], m.Trace)
	if f.by.kind.incoming != nil {
		mt.cause = &cause{topic: m.Topic}
	}
	return item{msg: msg, req: d, meta: mt}, nil
}

// unreadable is the error of a message of a durable topic that cannot be decoded, whatever its code.
func (s *System) unreadable(err *rpc.Error) *rpc.Error {
	if err.Code == rpc.TooLarge {
		return err
	}
	return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
}

// offer puts a message into the mailbox, and returns the outcome of its handler.
func (f *feed) offer(it item, d *delivery) *rpc.Error {
	if err := f.by.put(f.ctx, nil, it, true); err != nil {
		if f.ctx.Err() != nil {
			return errFeedOver
		}
		if e := (*rpc.Error)(nil); errors.As(err, &e) {
			return e
		}
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%w", err)
	}
	over := f.ctx.Done()
	for {
		f.clock.Reset(topic.HoldEvery)
		select {
		case err := <-d.done:
			return err
		case <-f.clock.C:
			f.reader.Hold()
		case <-over:
			if over = nil; d.state.CompareAndSwap(deliveryWaits, deliveryEnded) {
				return errFeedOver
			}
		case <-f.by.self.sys.ctx.Done(): // the handler has had all the time that there was
			select {
			case err := <-d.done:
				return err
			default:
				return errFeedOver
			}
		}
	}
}

// bury makes a dead letter of a message.
func (f *feed) bury(m *topic.Message, why *rpc.Error) {
	it, refusal := f.item(m, nil)
	if it.req = nil; refusal != nil {
		it = item{msg: publication{Topic: m.Topic, Type: m.TypeID, Codec: m.Codec, Body: m.Body}}
	}
	reason := rpc.Errorf(why.Code, why.Verdict, "topic %s, position %d, attempt %d: %w", m.Topic, m.Position, m.Attempt, why)
	f.by.self.sys.lost(f.by.self.addr, it, nil, reason, "")
}

// delivery is the request behind a message of a durable topic. The feed waits for its outcome.
//
//	waits ──Start──► runs ──handled, Fail──► ended
//	  │ ▲──PutBack─────┘                       ▲
//	  └──withdrawn, Fail──────────────────────┘
type delivery struct {
	state atomic.Uint32
	done  chan *rpc.Error // has room for the outcome; nil: handled
}

const (
	deliveryWaits uint32 = iota
	deliveryRuns
	deliveryEnded
)

// Start implements request.
func (d *delivery) Start() bool { return d.state.CompareAndSwap(deliveryWaits, deliveryRuns) }

// PutBack implements request.
func (d *delivery) PutBack() bool { return d.state.CompareAndSwap(deliveryRuns, deliveryWaits) }

// WillNotRun implements request.
func (d *delivery) WillNotRun() bool { return d.state.Load() == deliveryEnded }

// Fail implements request.
func (d *delivery) Fail(err *rpc.Error) { d.end(err) }

// answer is called with a reply of the handler, which nobody gets.
func (d *delivery) answer(any) error {
	d.end(nil)
	return nil
}

func (d *delivery) end(err *rpc.Error) {
	if d.state.Swap(deliveryEnded) != deliveryEnded {
		d.done <- err
	}
}

// Deadline implements request.
func (d *delivery) Deadline() (time.Time, bool) { return time.Time{}, false }

// OnCancel implements request.
func (d *delivery) OnCancel(func()) {}

// unproven is the origin of a message of a durable topic.
var unproven = &server.Origin{Principal: transport.Anonymous}
