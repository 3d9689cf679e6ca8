package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Headers of an item.
const (
	headerID       = "Tandem-Id"
	headerPriority = "Tandem-Priority"
	headerAt       = "Tandem-At"       // not to be delivered earlier, in ms since 1970
	headerAttempts = "Tandem-Attempts" // of a dead letter
	headerReason   = "Tandem-Reason"
)

// push puts an item into the stream, and answers when it is there.
func (f *front[T]) push(ctx *actor.Context, m actor.Enqueue[T]) (none actor.Enqueued, _ error) {
	answer := actor.Defer[actor.Enqueued](ctx)
	body, err := f.q.cfg.Codec.Append(nil, m.Item)
	if err != nil {
		return none, answer.Refuse(rpc.Undecodable, err)
	}
	select {
	case f.pushing <- struct{}{}:
	default:
		return none, answer.Refuse(rpc.Overloaded, queue.ErrCrowded)
	}
	msg := nats.NewMsg(f.q.subject(levelOf(m.Priority)))
	msg.Data = body
	id := m.ID
	if id == "" {
		id = rand.Text() // so that a publish may be made again
	}
	msg.Header.Set(natsjs.MsgIDHeader, id)
	msg.Header.Set(headerID, id)
	if m.Priority != 0 {
		msg.Header.Set(headerPriority, strconv.Itoa(m.Priority))
	}
	if m.Delay > 0 {
		msg.Header.Set(headerAt, strconv.FormatInt(time.Now().Add(m.Delay).UnixMilli(), 10))
	}
	if !f.q.run(func() {
		defer func() { <-f.pushing }()
		ctx, cancel := f.q.until(ctx)
		defer cancel()
		ack, err := f.q.publish(ctx, msg)
		var said *natsjs.APIError
		switch {
		case err == nil:
			_ = answer.Answer(actor.Enqueued{Duplicate: ack.Duplicate && m.ID != ""})
		case errors.As(err, &said) && said.ErrorCode == codeStoreFailed:
			_ = answer.Refuse(rpc.Overloaded, queue.ErrFull)
		case errors.As(err, &said), errors.Is(err, nats.ErrMaxPayload):
			_ = answer.Refuse(rpc.Unavailable, err)
		default:
			_ = answer.Fail(errNotConfirmed)
		}
	}) {
		return none, answer.Refuse(rpc.Unavailable, errClosed)
	}
	return none, nil
}

// codeStoreFailed is what a full stream answers.
const codeStoreFailed natsjs.ErrorCode = 10077

// publish stores a message, which has an id, and tries until it knows that it is stored
// or will not be.
func (q *Queue) publish(ctx context.Context, m *nats.Msg) (ack *natsjs.PubAck, err error) {
	err = persist(ctx, func(ctx context.Context) error {
		ack, err = q.js.PublishMsg(ctx, m)
		return err
	})
	return ack, err
}
