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

// OpenError says why Open gave up: what is missing, and what to do about it.
type OpenError struct {
	Queue   string // its prefix in NATS
	Missing string
	Do      string
	Err     error // the last attempt's
}

// Error says all of it.
func (e *OpenError) Error() string {
	return fmt.Sprintf("queue/jetstream: opening %s: missing: %s; %s (%v)", e.Queue, e.Missing, e.Do, e.Err)
}

// Unwrap returns the last attempt's error.
func (e *OpenError) Unwrap() error { return e.Err }

// ensure makes or updates the streams and consumers, and waits for JetStream within
// Config.StartWait.
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

// make makes or updates the streams and consumers, once. The stream of the items is a work
// queue to NATS, too, though no consumer acks: a server that was killed may have an item
// again that was deleted, and in a work queue NATS sees by its consumers that it is done.
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

// stream makes or updates a stream. One that is made anew goes on with numbers that no
// earlier one of that name has had, so that what is done about an item of before, however
// late, is about nothing.
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
		if !errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // else another made it meanwhile
			return s, err
		}
	}
	return nil, err
}
