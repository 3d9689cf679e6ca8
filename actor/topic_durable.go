package actor

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport"
)

// The events of the store of durable topics, see Config.Topics.
const (
	TopicsGone rpc.EventType = "topics gone" // the store was deleted, and all that was kept in it; nothing can be published or delivered
	TopicsBack rpc.EventType = "topics back" // the store accepts and delivers messages again
)

// Durable returns the topic whose messages are kept in Config.Topics. Publish then returns
// when the store has the message. Each subscriber gets the messages in order, each one until its handler
// has returned nil:
//
//	var Orders = actor.NewTopic[Order]("orders.>").Durable()
//
//	func (b *Billing) Started(ctx *actor.Context) error {
//		return ctx.Subscribe(Orders, topic.Named("billing"), topic.FromStart())
//	}
//
// A handler that returns an error, or panics, gets the message again, after topic.Backoff, and no
// later one before that. After topic.Attempts the message is a dead letter, which is kept like others and
// counted in Stats.DeadLetters, and the next one follows. So does a message that cannot be decoded. If the
// actor ends, a node is killed or NATS is restarted between the handler and the store's record of
// it, the message comes again: it is delivered at least once. Context.Delivery says which message it is,
// and how often it was delivered.
//
// A subscriber that is slow makes nobody wait but itself, and loses nothing: one message of a
// subscription is in its mailbox at a time, and a store reads no more than it says ahead of it.
//
// A durable topic and the other topic of the same name have nothing to do with each other.
func (t Topic[M]) Durable() Topic[M] {
	t.at.durable = true
	return t
}

// Delivery describes how the message that is being handled was delivered, if it is one of a durable topic.
func (c *Context) Delivery() (topic.Delivery, bool) {
	if c.meta == nil || c.meta.stored == nil {
		return topic.Delivery{}, false
	}
	m := c.meta.stored
	return topic.Delivery{Topic: m.Topic, Position: m.Position, Time: m.Time, Attempt: m.Attempt, ID: m.ID, Publisher: m.Publisher}, true
}

// systemTopics is what a system has of durable topics.
type systemTopics struct {
	feeds feeds
	gone  atomic.Bool // the store has said that it was deleted
}

// feeds are the feeds of a system.
type feeds struct {
	running sync.WaitGroup // their goroutines

	mu      sync.Mutex // guards what follows
	all     map[*feed]struct{}
	stopped bool
}

// start starts a feed. It returns false if the system stops.
func (a *feeds) start(f *feed) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	if a.all == nil {
		a.all = map[*feed]struct{}{}
	}
	a.all[f] = struct{}{}
	a.running.Go(func() {
		f.run()
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.all, f)
	})
	return true
}

// stop ends all feeds, and lets no new ones start. It does not wait.
func (a *feeds) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	for f := range a.all {
		f.cancel()
	}
}

// storeSays takes note of what the store of durable topics has answered.
func (s *System) storeSays(err error) {
	lost := errors.Is(err, topic.ErrGone)
	if err != nil && !lost || s.gone.Load() == lost || !s.gone.CompareAndSwap(!lost, lost) {
		return
	}
	if lost {
		s.log.Error("the store of the durable topics is gone", "err", err)
		s.event(Event{Type: TopicsGone, Err: err})
		return
	}
	s.log.Info("the store of the durable topics serves again")
	s.event(Event{Type: TopicsBack})
}

// store publishes a message on a durable topic.
func (at topicAt) store(ctx context.Context, from *Context, m any, set *settings) error {
	s, mt := at.sys, at.sys.types.get(at.typ)
	switch {
	case s.cfg.Topics == nil:
		return errNoTopics(at)
	case set.IsAcked():
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "publish on %s: nobody acks a publication", at.pattern)
	case set.IsKeyed() && !isKey(set.Key):
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "key of %d bytes, want 1 to %d", len(set.Key), transport.MaxTarget)
	case mt.err != nil:
		return mt.err
	}
	if err := s.mayPublish(at.pattern, mt); err != nil {
		return err
	}
	cd := s.codecFor("", set)
	body, refusal := encodeMessage(cd, nil, m, mt)
	if refusal != nil {
		return refusal
	}
	msg := topic.Message{ID: rand.Text(), Topic: at.pattern, TypeID: mt.id, Type: mt.name, Codec: cd.ID(), Body: body, Publisher: s.cfg.Name}
	if set.IsKeyed() {
		msg.ID = "key." + set.Key
	}
	if trace := rpc.TraceOf(ctx); !trace.IsZero() {
		msg.Trace = trace[:]
	}
	if set != nil {
		for _, h := range set.Headers {
			msg.Headers = append(msg.Headers, [2]string{h.Key, h.Value})
		}
	}
	if own := from.transaction(ctx); own != nil {
		return own.publish(msg)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout(ctx))
	defer cancel()
	return s.publishStored(ctx, msg)
}

// publishStored gives a message to the store of durable topics.
func (s *System) publishStored(ctx context.Context, msg topic.Message) error {
	_, err := s.cfg.Topics.Publish(ctx, msg)
	s.storeSays(err)
	return notStored(msg.Topic, err)
}

func errNoTopics(at topicAt) error {
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "topic %s is durable, and the system has no Config.Topics", at.pattern)
}

// mayPublish asks the node's own access rules whether it may publish on a durable topic. What
// comes from the store does not prove who has published it, so no other node asks.
func (s *System) mayPublish(name string, mt *messageType) error {
	list := s.access.Load()
	if list == nil {
		return nil
	}
	who := s.cfg.Principal
	if who == "" {
		who = s.node.OwnPrincipal()
	}
	d := list.Decide(access.Who{Principal: who}, access.What{Topic: name, Op: access.Publish, Message: mt.name})
	if d.Allowed {
		return nil
	}
	s.stats.denied.Add(1)
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", denial{access.Publish.String(), d.Rule})
	err.Message = who + " may not publish on topic " + name
	return err
}

// notStored is the error of a Publish that got err from the store.
func notStored(name string, err error) error {
	if err == nil {
		return nil
	}
	verdict, code := rpc.Unknown, rpc.Unavailable
	if no := (*topic.NotStoredError)(nil); errors.As(err, &no) {
		verdict = rpc.NotRun
	}
	switch {
	case errors.Is(err, topic.ErrGone), verdict == rpc.NotRun:
		code = codeOfStore(err)
	case errors.Is(err, context.Canceled):
		code = rpc.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = rpc.Expired
	}
	return rpc.Errorf(code, verdict, "publish on %s: %w", name, err)
}

// codeOfStore is the code of what a store has refused.
func codeOfStore(err error) rpc.Code {
	switch {
	case errors.Is(err, topic.ErrFull):
		return rpc.Overloaded
	case errors.Is(err, topic.ErrTooLarge):
		return rpc.TooLarge
	case errors.Is(err, topic.ErrAway), errors.Is(err, context.DeadlineExceeded):
		return rpc.Unavailable
	}
	return rpc.Failed
}
