package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/queue"
)

// deadQueue is the first part of a dead letter's token. Dead letters are named by their
// numbers in their stream, for good.
const deadQueue = 0

// bury moves an item to the dead letters; if that does not work, it goes on being
// delivered.
func (q *Queue) bury(h holding) {
	ctx, cancel := context.WithDeadline(q.ctx, h.until)
	defer cancel()
	m := nats.NewMsg(q.deadSubject())
	m.Data = h.msg.Data()
	for _, key := range []string{headerID, headerPriority} {
		if v := h.msg.Headers().Get(key); v != "" {
			m.Header.Set(key, v)
		}
	}
	m.Header.Set(natsjs.MsgIDHeader, strconv.FormatUint(h.seq, 10))
	m.Header.Set(headerAttempts, strconv.Itoa(h.attempt))
	m.Header.Set(headerReason, strconv.Itoa(int(h.why)))
	ack, found, _ := q.publish(ctx, m)
	if found.Proof != jserror.Done {
		h.nak()
		return
	}
	if errors.Is(q.ack(ctx, h), queue.ErrDone) && !ack.Duplicate { // somebody has acked it meanwhile
		_ = q.remove(ctx, q.prefix+"_dead", ack.Sequence)
	}
}

// listDead returns the first dead letters.
func listDead[T any](ctx context.Context, q *Queue, n int) (all []actor.Handout[T], err error) {
	n = min(max(1, n), actor.MaxPull)
	bytes := 0
	for seq := uint64(1); len(all) < n && bytes < maxList; seq++ {
		m, err := q.dead.GetMsg(ctx, seq, natsjs.WithGetMsgSubject(q.deadSubject()))
		switch {
		case errors.Is(err, natsjs.ErrMsgNotFound):
			return all, nil
		case err != nil:
			return nil, err
		}
		seq = m.Sequence
		bytes += len(m.Data)
		h := actor.Handout[T]{Token: [3]uint64{deadQueue, seq}, ID: m.Header.Get(headerID), Age: time.Since(m.Time)}
		h.Attempt, _ = strconv.Atoi(m.Header.Get(headerAttempts))
		h.Priority, _ = strconv.Atoi(m.Header.Get(headerPriority))
		reason, _ := strconv.Atoi(m.Header.Get(headerReason))
		h.Reason = queue.Reason(reason)
		_ = q.cfg.Codec.Decode(m.Data, &h.Message) // one that cannot be is listed all the same
		all = append(all, h)
	}
	return all, nil
}

// maxList is how many bytes of dead letters are listed at once, and some more.
const maxList = 200 << 10

// endDead takes a dead letter out, and puts it back into the queue if it is to be
// revived.
func (q *Queue) endDead(ctx context.Context, token [3]uint64, revive bool) error {
	if token[0] != deadQueue || token[2] != 0 {
		return queue.ErrForeign
	}
	if revive {
		m, err := q.dead.GetMsg(ctx, token[1])
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			return queue.ErrDone
		} else if err != nil {
			return err
		}
		priority, _ := strconv.Atoi(m.Header.Get(headerPriority))
		again := nats.NewMsg(q.subject(levelOf(priority)))
		again.Data, again.Header = m.Data, m.Header
		again.Header.Set(natsjs.MsgIDHeader, "revived-"+strconv.FormatUint(m.Sequence, 10))
		switch _, found, err := q.publish(ctx, again); {
		case found.Proof == jserror.NotDone && found.Cause == jserror.Full:
			return queue.ErrFull
		case err != nil:
			return err
		}
	}
	return q.remove(ctx, q.prefix+"_dead", token[1])
}

// stats are the front's own, and what is in the streams.
func (f *front[T]) stats(ctx *actor.Context) (actor.Dequeued[T], error) {
	s := f.offer.Stats()
	return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
		items, err := f.q.items.Info(ctx)
		if err != nil {
			return err
		}
		dead, err := f.q.dead.Info(ctx)
		if err != nil {
			return err
		}
		consumer, err := f.q.consumers[1].Info(ctx)
		if err != nil {
			return err
		}
		s.Paused = consumer.Paused
		s.Dead = int(dead.State.Msgs)
		s.Depth = max(0, int(items.State.Msgs)-s.InFlight)
		if s.Oldest = 0; s.Depth > 0 {
			s.Oldest = max(0, time.Since(items.State.FirstTime))
		}
		reply.Stats = &s
		return nil
	})
}
