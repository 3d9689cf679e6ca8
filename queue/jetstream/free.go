package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// NATS counts each delivery of an item to an actor. Two kinds of them do not count as
// attempts: the item was not due yet, or no consumer pulled it. The number of these "free"
// deliveries is kept in another stream, one message for an item. That stream is read only
// for items that NATS delivers a second time.

// putBack makes NATS deliver items again. No consumer got them in this delivery.
func (q *Queue) putBack(hs []holding) {
	each(hs, func(h holding) error {
		if h.lost() {
			return nil
		}
		ctx, cancel := context.WithDeadline(q.ctx, h.until)
		defer cancel()
		err := q.mark(ctx, h)
		if !h.lost() {
			_ = h.msg.NakWithDelay(max(0, time.Until(h.due))) // if it is lost, NATS delivers the item after its lease there
		}
		return err
	})
}

func (q *Queue) freeSubject(seq uint64) string {
	return q.prefix + "_free." + strconv.FormatUint(seq, 10)
}

// mark records one more free delivery of an item. If that fails, the item has one attempt too
// many.
func (q *Queue) mark(ctx context.Context, h holding) error {
	for {
		step, cancel := context.WithTimeout(ctx, tryFor)
		_, err := q.js.Publish(step, q.freeSubject(h.seq), strconv.AppendInt(nil, int64(h.free+1), 10))
		cancel()
		if err == nil || !pause(ctx) {
			return err
		}
	}
}

// freeOf returns how many free deliveries an item has had.
func (q *Queue) freeOf(ctx context.Context, seq uint64) (n int, err error) {
	for {
		step, cancel := context.WithTimeout(ctx, tryFor)
		m, err := q.free.GetLastMsgForSubject(step, q.freeSubject(seq))
		cancel()
		switch {
		case err == nil:
			return strconv.Atoi(string(m.Data))
		case errors.Is(err, natsjs.ErrMsgNotFound):
			return 0, nil
		case !pause(ctx):
			return 0, err
		}
	}
}

// unmark deletes what mark has recorded of an item that is done.
func (q *Queue) unmark(seq uint64) {
	ctx, cancel := context.WithTimeout(q.ctx, tryFor)
	defer cancel()
	_ = q.free.Purge(ctx, natsjs.WithPurgeSubject(q.freeSubject(seq))) // if it fails, the limit of the stream removes the message some day
}

// dueAt returns when the delay of an item ends, or zero if it has none.
func dueAt(header nats.Header) time.Time {
	if ms, err := strconv.ParseInt(header.Get(headerAt), 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}
