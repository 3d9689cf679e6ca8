package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Headers of an item.
const (
	headerID       = "Tandem-Id"
	headerPriority = "Tandem-Priority"
	headerAt       = "Tandem-At"       // when the delay ends, in ms since 1970
	headerAttempts = "Tandem-Attempts" // of a dead letter
	headerReason   = "Tandem-Reason"
	headerTrace    = "Tandem-Trace" // the trace context of the push, in hex
)

// deadReserve is how many bytes of the server's largest message are reserved for the headers
// that an item gets as a dead letter, or when it is revived.
const deadReserve = 256

// Push implements [queuestore.Backend]: it publishes an item to the stream.
func (b *backend) Push(it queue.Item[any]) (rest func(context.Context) (bool, error), err error) {
	body, err := b.q.cfg.Codec.Append(nil, it.Value)
	if err != nil {
		return nil, &queuestore.Refusal{Code: rpc.Undecodable, Why: err}
	}
	msg, id := b.q.message(it.ID, it.Priority, it.Delay, body)
	if it.Trace != "" {
		msg.Header.Set(headerTrace, hex.EncodeToString([]byte(it.Trace)))
	}
	if size, most := msg.Size()-len(msg.Subject), b.q.js.Conn().MaxPayload()-deadReserve; int64(size) > most && b.q.js.Conn().IsConnected() {
		return nil, &queuestore.Refusal{Code: rpc.TooLarge, Why: fmt.Errorf("an item of %d bytes with its headers, and the queue takes %d: NATS has max_payload %d", size, most, most+deadReserve)}
	}
	select {
	case b.pushing <- struct{}{}:
	default:
		return nil, &queuestore.Refusal{Code: rpc.Overloaded, Why: queue.ErrCrowded}
	}
	return func(ctx context.Context) (bool, error) {
		defer func() { <-b.pushing }()
		ack, found, err := b.q.publish(ctx, msg)
		switch found.Proof {
		case jserror.Done:
			b.q.pushed.Store(true)
			return ack.Duplicate && id == it.ID, nil
		case jserror.NotDone:
			return false, refusal(found.Cause, err)
		}
		return false, errNotConfirmed
	}, nil
}

// message returns the message of an item and its id. If the item has none, it gets a generated
// one, so that the message can be published again.
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

// refusal returns the error of a push whose item provably is not stored.
func refusal(why jserror.Cause, err error) error {
	switch why {
	case jserror.Full:
		return &queuestore.Refusal{Code: rpc.Overloaded, Why: queue.ErrFull}
	case jserror.TooLarge:
		return &queuestore.Refusal{Code: rpc.TooLarge, Why: err}
	case jserror.Busy:
		return &queuestore.Refusal{Code: rpc.Overloaded, Why: err}
	case jserror.Away, jserror.Gone:
		return &queuestore.Refusal{Code: rpc.Unavailable, Why: err}
	}
	return &queuestore.Refusal{Code: rpc.Failed, Why: err}
}

// inTime returns a context that ends a little before the deadline of ctx, so that the result
// still reaches the caller.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	at, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, at.Add(-min(time.Until(at)/10, 500*time.Millisecond)))
}

// publish stores a message that has an id. It tries until it knows that the message is stored,
// or never will be. It does not try again once the stream may have forgotten the id of the
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
