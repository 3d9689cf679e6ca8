package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/queue"
)

// OpenError is the error of Open when NATS or JetStream is not available in time. It says what
// is missing, and what to do about it.
type OpenError struct {
	Queue   string // its prefix in NATS
	Missing string
	Do      string
	Err     error // of the last attempt
}

// Error returns a text with all of this.
func (e *OpenError) Error() string {
	return fmt.Sprintf("queue/jetstream: opening %s: missing: %s; %s (%v)", e.Queue, e.Missing, e.Do, e.Err)
}

// Unwrap returns the error of the last attempt.
func (e *OpenError) Unwrap() error { return e.Err }

// ensure creates or updates the streams and consumers, and waits up to Config.StartWait for
// JetStream.
func (q *Queue) ensure(ctx context.Context) (h handles, err error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.StartWait)
	defer cancel()
	err = natswait.For{What: "the queue " + q.prefix, Logger: q.cfg.Logger}.Until(ctx, q.js.Conn(), func(ctx context.Context) (err error) {
		h, err = q.make(ctx)
		return err
	})
	if why := (*natswait.Error)(nil); errors.As(err, &why) {
		err = &OpenError{Queue: q.prefix, Missing: why.Why, Do: why.Do, Err: why.Err}
	}
	return h, err
}

// handles are the streams and consumers of a queue, as they were when they were opened.
type handles struct {
	items, dead, free natsjs.Stream
	consumers         [levels]natsjs.Consumer
}

// make creates or updates the streams and consumers, once. The stream of the items has the
// policy WorkQueue, although no consumer acks. After a server was killed, it may have an item
// again that was deleted; under this policy NATS sees by the consumers that the item is done.
func (q *Queue) make(ctx context.Context) (h handles, err error) {
	c := q.cfg.Queue
	h.items, err = q.stream(ctx, natsjs.StreamConfig{
		Name: q.prefix, Subjects: []string{q.prefix + ".*"}, Retention: natsjs.WorkQueuePolicy, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Capacity), Discard: natsjs.DiscardNew, Duplicates: c.Remember,
	})
	if err != nil {
		return h, err
	}
	discard := natsjs.DiscardNew
	if c.DeadPolicy == queue.DropOldest {
		discard = natsjs.DiscardOld
	}
	h.dead, err = q.stream(ctx, natsjs.StreamConfig{
		Name: q.prefix + "_dead", Subjects: []string{q.deadSubject()}, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Dead), Discard: discard, Duplicates: min(c.Remember, 2*time.Minute),
	})
	if err != nil {
		return h, err
	}
	h.free, err = q.stream(ctx, natsjs.StreamConfig{
		Name: q.prefix + "_free", Subjects: []string{q.prefix + "_free.*"}, Storage: natsjs.FileStorage,
		Replicas: q.cfg.Replicas, MaxMsgs: int64(c.Capacity), MaxMsgsPerSubject: 1, Discard: natsjs.DiscardOld,
	})
	if err != nil {
		return h, err
	}
	for i, name := range levelNames {
		h.consumers[i], err = h.items.CreateOrUpdateConsumer(ctx, natsjs.ConsumerConfig{
			Durable: name, FilterSubject: q.subject(i), AckPolicy: natsjs.AckExplicitPolicy, AckWait: c.Lease, MaxDeliver: -1, MaxAckPending: -1,
		})
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// stream creates or updates a stream. A stream that is created begins with a sequence number
// that no earlier stream of that name has had. So a late operation on an item of an earlier
// stream finds nothing.
func (q *Queue) stream(ctx context.Context, cfg natsjs.StreamConfig) (s natsjs.Stream, err error) {
	for range 2 {
		s, err = q.js.Stream(ctx, cfg.Name)
		switch {
		case err == nil:
			cfg.FirstSeq = s.CachedInfo().Config.FirstSeq
			return q.js.UpdateStream(ctx, cfg)
		case !errors.Is(err, natsjs.ErrStreamNotFound):
			return nil, err
		}
		cfg.FirstSeq = uint64(time.Now().UnixMicro())
		s, err = q.js.CreateStream(ctx, cfg)
		if !errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // otherwise another process has created it meanwhile
			return s, err
		}
	}
	return nil, err
}
