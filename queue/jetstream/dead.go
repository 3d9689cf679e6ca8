package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
)

// deadQueue is the first part of a dead letter's token. The second one is its sequence number
// in the stream of dead letters, which names it for good.
const deadQueue = 0

// addDead moves an item to the dead letters. If that fails, the item goes back to NATS, which
// delivers it again.
func (q *Queue) addDead(h holding) {
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
	if errors.Is(q.ack(ctx, h), queue.ErrDone) && !ack.Duplicate { // a consumer has acked it meanwhile
		_ = q.remove(ctx, q.prefix+"_dead", ack.Sequence)
	}
}

// listDead returns the first dead letters.
func (q *Queue) listDead(ctx context.Context, n int) (all []queuestore.Item, err error) {
	n = min(max(1, n), queuestore.MaxItems)
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
		it := q.item(m.Header, m.Data)
		it.Token, it.Age = [3]uint64{deadQueue, seq}, time.Since(m.Time)
		it.Attempts, _ = strconv.Atoi(m.Header.Get(headerAttempts))
		reason, _ := strconv.Atoi(m.Header.Get(headerReason))
		it.Reason = queue.Reason(reason)
		all = append(all, it)
	}
	return all, nil
}

// maxList is about how many bytes of items are listed at once. The last one may exceed it.
const maxList = 200 << 10

// endDead removes a dead letter. If revive is true, it first adds it to the queue again.
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

// stats combines the statistics of the actor's queue with those of the streams.
func (b *backend) stats() queuestore.Rest {
	s := b.local.Stats()
	return func(ctx context.Context, reply *queuestore.Reply) error {
		items, err := b.q.items.Info(ctx)
		if err != nil {
			return err
		}
		dead, err := b.q.dead.Info(ctx)
		if err != nil {
			return err
		}
		consumer, err := b.q.consumers[1].Info(ctx)
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
	}
}
