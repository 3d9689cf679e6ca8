package jetstream

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/jserror"
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

// deadReserve is what of the server's largest message is left for the headers that an
// item has as a dead letter, or as one that was revived.
const deadReserve = 256

// push puts an item into the stream, and answers when it is there.
func (f *front[T]) push(ctx *actor.Context, m actor.Enqueue[T]) (none actor.Enqueued, _ error) {
	answer := actor.Defer[actor.Enqueued](ctx)
	if err := f.q.Err(); err != nil {
		return none, answer.Refuse(rpc.Failed, err)
	}
	body, err := f.q.cfg.Codec.Append(nil, m.Item)
	if err != nil {
		return none, answer.Refuse(rpc.Undecodable, err)
	}
	msg, id := f.q.message(m.ID, m.Priority, m.Delay, body)
	if size, most := msg.Size()-len(msg.Subject), f.q.js.Conn().MaxPayload()-deadReserve; int64(size) > most && f.q.js.Conn().IsConnected() {
		return none, answer.Refuse(rpc.TooLarge, fmt.Errorf("an item of %d bytes with its headers, and the queue takes %d: NATS has max_payload %d", size, most, most+deadReserve))
	}
	select {
	case f.pushing <- struct{}{}:
	default:
		return none, answer.Refuse(rpc.Overloaded, queue.ErrCrowded)
	}
	if !f.q.run(func() {
		defer func() { <-f.pushing }()
		ctx, cancel := f.q.until(ctx)
		defer cancel()
		ctx, stop := inTime(ctx)
		defer stop()
		ack, found, err := f.q.publish(ctx, msg)
		switch found.Proof {
		case jserror.Done:
			f.q.pushed.Store(true)
			_ = answer.Answer(actor.Enqueued{Duplicate: ack.Duplicate && id == m.ID})
		case jserror.NotDone:
			_ = refuse(answer, found.Cause, err)
		default:
			_ = answer.Fail(errNotConfirmed)
		}
	}) {
		return none, answer.Refuse(rpc.Unavailable, errClosed)
	}
	return none, nil
}

// message makes the message of an item, under its id or one made up, so that a publish
// may be made again.
func (q *Queue) message(id string, priority int, delay time.Duration, body []byte) (*nats.Msg, string) {
	msg := nats.NewMsg(q.subject(levelOf(priority)))
	msg.Data = body
	if id == "" {
		id = rand.Text()
	}
	msg.Header.Set(natsjs.MsgIDHeader, id)
	msg.Header.Set(headerID, id)
	if priority != 0 {
		msg.Header.Set(headerPriority, strconv.Itoa(priority))
	}
	if delay > 0 {
		msg.Header.Set(headerAt, strconv.FormatInt(time.Now().Add(delay).UnixMilli(), 10))
	}
	return msg, id
}

// refuse answers a push whose item provably is not stored.
func refuse(answer *actor.Deferred[actor.Enqueued], why jserror.Cause, err error) error {
	switch why {
	case jserror.Full:
		return answer.Refuse(rpc.Overloaded, queue.ErrFull)
	case jserror.TooLarge:
		return answer.Refuse(rpc.TooLarge, err)
	case jserror.Busy:
		return answer.Refuse(rpc.Overloaded, err)
	case jserror.Away, jserror.Gone:
		return answer.Refuse(rpc.Unavailable, err)
	}
	return answer.Refuse(rpc.Failed, err)
}

// inTime ends a little before ctx's deadline, so that what is known then still reaches
// the caller.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	at, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, at.Add(-min(time.Until(at)/10, 500*time.Millisecond)))
}

// publish stores a message, which has an id, and tries until it knows that it is stored
// or will not be. It does not try again once the stream may have forgotten the id of the
// first attempt.
func (q *Queue) publish(ctx context.Context, m *nats.Msg) (ack *natsjs.PubAck, f jserror.Finding, err error) {
	var attempts jserror.Attempts
	again, cancel := context.WithTimeout(ctx, min(q.cfg.Queue.Remember, 2*time.Minute)*3/4-tryFor)
	defer cancel()
	for {
		step, stop := context.WithTimeout(ctx, tryFor)
		ack, err = q.js.PublishMsg(step, m)
		stop()
		f = attempts.Add(err)
		if !f.Again || !pause(again) {
			return ack, f, err
		}
	}
}
