package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/topic"
)

const (
	ackWait   = 5 * topic.HoldEvery // after which NATS delivers a message again that nobody holds
	idleLife  = 5 * time.Minute     // how long NATS keeps the consumer of a reader without a name that is gone
	pullFor   = 30 * time.Second    // how long a request for messages waits at NATS
	heartbeat = 5 * time.Second     // how often NATS says that it knows of the request
	ahead     = 64                  // how many messages a reader with a name asks for in one request; it gets them one by one
	giveBack  = time.Second         // how long Close waits for what NATS has sent already
)

// reader is a topic.Reader. Its consumer is recreated where the reader stands when NATS has lost it.
type reader struct {
	s       *Store
	filter  string
	durable string // name of the consumer; empty: the reader has no name, and reads ahead

	// Only the goroutine that reads uses these.
	consumer natsjs.Consumer
	stream   time.Time  // when the stream was created that the reader stands in
	begin    uint64     // where a consumer is recreated: behind the last message that was handled
	since    *time.Time // the same until a message was handled, if it is a time; else nil
	seen     uint64     // of a reader without a name: the number that its consumer has given the last message
	msg      natsjs.Msg // in hand; nil: none
	hand     topic.Message
	due      time.Time // if not zero: when the message in hand is to be returned again
	acked    uint64    // position of the last message that was acked

	mu     sync.Mutex // guards what follows
	iter   natsjs.MessagesContext
	closed bool // the store is closed
}

// Open implements topic.Store. It tries until ctx ends, for Config.StartWait at most.
func (s *Store) Open(ctx context.Context, r topic.Reading) (topic.Reader, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	rd := &reader{s: s, filter: s.subject(r.TypeID, r.Pattern)}
	if r.Name != "" {
		rd.durable = consumerName(r)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartWait)
	defer cancel()
	for {
		err := rd.place(ctx, r.From)
		if err == nil {
			err = rd.connect(ctx)
		}
		if err == nil {
			break
		}
		s.suspect()
		if gone := s.Err(); gone != nil {
			return nil, gone
		}
		if f := jserror.Of(err); !f.Again || !pause(ctx) {
			return nil, because(f.Cause, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.readers[rd] = struct{}{}
	return rd, nil
}

// consumerName is the name of the consumer that keeps the position of a name.
func consumerName(r topic.Reading) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%s %016x %s", r.Name, r.TypeID, r.Pattern))
	end := hex.EncodeToString(hash[:8])
	if !validName.MatchString(r.Name) || len(r.Name) > 128 {
		return end
	}
	return r.Name + "_" + end
}

// place fixes where the reader begins, once.
func (r *reader) place(ctx context.Context, from topic.From) error {
	if !r.stream.IsZero() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	info, err := r.s.known(ctx)
	if err != nil {
		return err
	}
	r.stream = info.Created
	switch {
	case from.Start:
		r.begin = 1
	case !from.Time.IsZero():
		r.since = &from.Time
	default:
		r.begin = info.State.LastSeq + 1
	}
	return nil
}

// connect finds the consumer, or creates it, and begins to ask for messages.
func (r *reader) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*tryFor)
	defer cancel()
	if created := r.s.created(); !created.Equal(r.stream) { // the loss of the stream was accepted
		r.stream, r.begin, r.since, r.acked = created, 1, nil, 0
	}
	if _, err := r.s.known(ctx); err != nil {
		return err
	}
	c, made, err := r.make(ctx)
	if err != nil {
		return err
	}
	if _, err := r.s.known(ctx); err != nil {
		if made && errors.Is(err, errReplaced) { // a position in the old stream says nothing about this one
			_ = r.s.js.DeleteConsumer(ctx, r.s.name, c.CachedInfo().Name)
		}
		return err
	}
	if r.durable != "" {
		if at := c.CachedInfo().AckFloor.Stream; at >= r.begin && at > 0 {
			r.begin, r.since = at+1, nil
		}
	}
	batch, most := ahead, max(r.s.cfg.WindowBytes, int(r.s.js.Conn().MaxPayload()))
	if r.durable == "" {
		batch = r.s.cfg.Window
	}
	iter, err := c.Messages(natsjs.PullMaxMessagesWithBytesLimit(batch, most), natsjs.PullExpiry(pullFor), natsjs.PullHeartbeat(r.s.cfg.heartbeat))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		iter.Stop()
		return errClosed
	}
	r.consumer, r.iter, r.seen = c, iter, 0
	return nil
}

// created is when the stream was created whose messages are delivered.
func (s *Store) created() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.CachedInfo().Created
}

// known returns the state of the stream. It is an error if that is not the stream that was opened, or
// whose beginning was accepted.
func (s *Store) known(ctx context.Context) (*natsjs.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, s.name)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	if !info.Created.Equal(s.created()) {
		s.suspect()
		return nil, errReplaced
	}
	return info, nil
}

var errReplaced = fmt.Errorf("topic/jetstream: the stream was replaced: %w", topic.ErrAway)

// make returns the consumer, and whether it had to be made.
func (r *reader) make(ctx context.Context) (c natsjs.Consumer, made bool, err error) {
	cfg := natsjs.ConsumerConfig{
		FilterSubject: r.filter, DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: max(r.begin, 1),
		AckPolicy: natsjs.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: idleLife,
	}
	if r.since != nil {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = natsjs.DeliverByStartTimePolicy, 0, r.since
	}
	if r.durable == "" {
		r.forget()
		c, err = r.s.js.CreateConsumer(ctx, r.s.name, cfg)
		return c, true, err
	}
	c, err = r.s.js.Consumer(ctx, r.s.name, r.durable)
	if !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return c, false, err
	}
	cfg.Durable, cfg.AckPolicy, cfg.AckWait, cfg.MaxAckPending, cfg.MaxDeliver = r.durable, natsjs.AckExplicitPolicy, r.s.cfg.ackWait, 1, -1
	cfg.MemoryStorage, cfg.Replicas, cfg.InactiveThreshold = false, 0, 0
	if r.consumer != nil {
		r.s.cfg.Logger.Error("a consumer of the durable topics was gone, and is recreated where its subscription stands", "consumer", r.durable, "position", r.begin)
	}
	c, err = r.s.js.CreateConsumer(ctx, r.s.name, cfg)
	if errors.Is(err, natsjs.ErrConsumerExists) || errors.Is(err, natsjs.ErrConsumerNameAlreadyInUse) { // another reader of the name has created it meanwhile
		c, err = r.s.js.Consumer(ctx, r.s.name, r.durable)
		return c, false, err
	}
	return c, true, err
}

// forget deletes the consumer of a reader without a name, if there is one. NATS deletes it by itself
// later otherwise.
func (r *reader) forget() {
	if r.consumer == nil || r.durable != "" || !r.s.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryFor)
	defer cancel()
	_ = r.s.js.DeleteConsumer(ctx, r.s.name, r.consumer.CachedInfo().Name)
	r.consumer = nil
}

// Next implements topic.Reader.
func (r *reader) Next(ctx context.Context) (topic.Message, error) {
	if r.msg != nil {
		return r.again(ctx)
	}
	for {
		if err := ctx.Err(); err != nil {
			return topic.Message{}, err
		}
		if err := r.s.Err(); err != nil {
			return topic.Message{}, err
		}
		iter := r.asking()
		if iter == nil {
			if err := r.connect(ctx); err != nil {
				r.s.suspect()
				pause(ctx)
			}
			continue
		}
		msg, err := iter.Next(natsjs.NextContext(ctx))
		if err != nil {
			if ctx.Err() == nil {
				r.drop()
			}
			continue
		}
		md, err := msg.Metadata()
		if err != nil {
			continue
		}
		if r.durable == "" {
			if r.seen++; md.Sequence.Consumer != r.seen { // one was lost on its way here
				r.drop()
				continue
			}
		} else if md.Sequence.Stream == r.acked { // the ack was lost
			_ = msg.Ack()
			continue
		}
		r.msg, r.hand = msg, r.s.parse(msg, md)
		return r.hand, nil
	}
}

// again returns the message in hand when its time has come.
func (r *reader) again(ctx context.Context) (topic.Message, error) {
	t := time.NewTimer(time.Until(r.due))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return topic.Message{}, ctx.Err()
	case <-t.C:
		r.hand.Attempt++
		return r.hand, nil
	}
}

// asking returns what asks NATS for messages, or nil if nothing does.
func (r *reader) asking() natsjs.MessagesContext {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.iter
}

// drop ends the requests to NATS. The next ones begin behind the last message that was handled.
func (r *reader) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.iter != nil {
		r.iter.Stop()
		r.iter = nil
	}
}

// interrupt ends a Next that waits, because the store is gone or closed. Any goroutine may call it.
func (r *reader) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = r.s.closed
	if r.iter != nil {
		r.iter.Stop()
	}
}

// Ack implements topic.Reader. If the ack is lost, the message is delivered again.
func (r *reader) Ack() {
	if r.msg == nil {
		return
	}
	if r.durable != "" {
		_ = r.msg.Ack()
	}
	r.begin, r.since, r.acked, r.msg = r.hand.Position+1, nil, r.hand.Position, nil
}

// Retry implements topic.Reader.
func (r *reader) Retry(delay time.Duration) {
	if r.msg == nil {
		return
	}
	if r.durable == "" {
		r.due = time.Now().Add(delay)
		return
	}
	_ = r.msg.NakWithDelay(delay)
	r.msg = nil
}

// Hold implements topic.Reader.
func (r *reader) Hold() {
	if r.msg != nil && r.durable != "" {
		_ = r.msg.InProgress()
	}
}

// Close implements topic.Reader.
func (r *reader) Close() {
	r.s.mu.Lock()
	delete(r.s.readers, r)
	r.s.mu.Unlock()
	iter := r.asking()
	if r.durable == "" {
		r.drop()
		r.forget()
		return
	}
	if r.msg != nil {
		_ = r.msg.Nak()
		r.msg = nil
	}
	if iter == nil {
		return
	}
	iter.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), giveBack)
	defer cancel()
	for {
		msg, err := iter.Next(natsjs.NextContext(ctx))
		if err != nil {
			break
		}
		_ = msg.Nak()
	}
	r.drop()
}
