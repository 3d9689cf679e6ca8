package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// NATS counts each delivery of an item to an actor. Some are no attempts: of an item that
// was not due yet, and of one that nobody pulled. How many an item has had of these is
// kept in a stream of its own, one number an item, which is read only for what NATS
// delivers a second time.

// putBack has NATS deliver items again, of which no consumer has seen this delivery.
func (q *Queue) putBack(hs []holding) {
	each(hs, func(h holding) error {
		if h.lost() {
			return nil
		}
		ctx, cancel := context.WithDeadline(q.ctx, h.until)
		defer cancel()
		err := q.mark(ctx, h)
		if !h.lost() {
			_ = h.msg.NakWithDelay(max(0, time.Until(h.due))) // if that is lost, it comes when the lease has ended there
		}
		return err
	})
}

func (q *Queue) freeSubject(seq uint64) string {
	return q.prefix + "_free." + strconv.FormatUint(seq, 10)
}

// mark notes one more delivery of an item that is no attempt. If it fails, the item has an
// attempt too many.
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

// freeOf returns how many deliveries of an item were no attempts.
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

// unmark forgets what mark noted of an item that is done.
func (q *Queue) unmark(seq uint64) {
	ctx, cancel := context.WithTimeout(q.ctx, tryFor)
	defer cancel()
	_ = q.free.Purge(ctx, natsjs.WithPurgeSubject(q.freeSubject(seq))) // else the bound of the stream ends it
}

// dueAt is until when an item is delayed, or zero.
func dueAt(header nats.Header) time.Time {
	if ms, err := strconv.ParseInt(header.Get(headerAt), 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}
