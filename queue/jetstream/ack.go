package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
)

// NATS accepts an ack from anybody, confirms acks of items that are done, and may forget a
// delivery when a leader changes. So an ack to NATS proves nothing, and this package sends
// none. It ends an item by deleting its message: that is a change that goes through the
// stream's log, like a push, and exactly one deletion can succeed.

var (
	errClosed       = errors.New("queue/jetstream: closed")
	errNotConfirmed = errors.New("queue/jetstream: NATS has not confirmed it")
)

// remove deletes a message from a stream. It returns nil if this call has deleted it, so no
// other call ever will; queue.ErrDone if the message was not there any more; and
// errNotConfirmed if the result is unknown.
func (q *Queue) remove(ctx context.Context, stream string, seq uint64) error {
	var attempts jserror.Attempts
	for first := true; ; first = false {
		step, cancel := context.WithTimeout(ctx, tryFor)
		f := attempts.Add(q.deleteMsg(step, stream, seq))
		cancel()
		switch {
		case f.Proof == jserror.Done:
			return nil
		case first && f.Proof == jserror.NotDone && f.Cause == jserror.Missing:
			return queue.ErrDone
		case f.Cause == jserror.Gone:
			return queuestore.ErrGone
		case !f.Again || f.Cause == jserror.Missing: // an earlier attempt has removed it, or another's ack
			return errNotConfirmed
		}
		if !pause(ctx) {
			return errNotConfirmed
		}
	}
}

// deleteMsg deletes a message as DeleteMsg of nats.go does, which does not return the code of
// the server's error.
func (q *Queue) deleteMsg(ctx context.Context, stream string, seq uint64) error {
	reply, err := q.js.Conn().RequestWithContext(ctx, q.api+"STREAM.MSG.DELETE."+stream, fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, seq))
	if err != nil {
		return err
	}
	var said struct {
		Error   *natsjs.APIError `json:"error"`
		Success bool             `json:"success"`
	}
	switch err := json.Unmarshal(reply.Data, &said); {
	case err != nil:
		return err
	case said.Error != nil:
		return said.Error
	case !said.Success:
		return natsjs.ErrMsgDeleteUnsuccessful
	}
	return nil
}

// ack ends an item that the actor holds.
func (q *Queue) ack(ctx context.Context, h holding) error {
	err := q.remove(ctx, q.prefix, h.seq)
	if err == nil && h.free > 0 {
		q.run(func() { q.unmark(h.seq) })
	}
	return err
}

// finish carries out the acks of a consumer, and completes the answers to its acks and
// extensions. An ack is answered when NATS has confirmed it.
func (b *backend) finish(o queuestore.Order, r queuestore.Reply) queuestore.Rest {
	failed := map[int]bool{}
	unclear := false
	for _, x := range r.Failed {
		failed[x.Index] = true
		unclear = unclear || x.Cause() == queue.ErrDone
	}
	var acks []holding
	var indexes []int // of their tokens
	for i, t := range o.Tokens {
		if failed[i] || o.Op == queuestore.Nack || o.Op == queuestore.Release {
			continue
		}
		item := b.local.Token(t).Item
		h := b.held[item]
		if o.Op == queuestore.Ack {
			delete(b.held, item)
		}
		switch {
		case h.lost():
			r.Failed = append(r.Failed, queuestore.FailureOf(i, queue.ErrDone))
			unclear = true
		case o.Op == queuestore.Ack:
			acks, indexes = append(acks, h), append(indexes, i)
		}
	}
	if len(acks) == 0 && !unclear {
		return nil
	}
	return func(ctx context.Context, reply *queuestore.Reply) error {
		for _, x := range r.Failed {
			if x.Cause() == queue.ErrDone && b.q.has(ctx, b.local.Token(o.Tokens[x.Index]).Item) {
				x = queuestore.FailureOf(x.Index, queue.ErrLeaseExpired)
			}
			reply.Failed = append(reply.Failed, x)
		}
		for n, err := range each(acks, func(h holding) error { return b.q.ack(ctx, h) }) {
			if err != nil {
				reply.Failed = append(reply.Failed, queuestore.FailureOf(indexes[n], err))
			}
		}
		return nil
	}
}

// has reports whether an item is still in the stream. If that is unknown it returns true.
func (q *Queue) has(ctx context.Context, seq uint64) bool {
	_, err := q.items.GetMsg(ctx, seq)
	return !errors.Is(err, natsjs.ErrMsgNotFound)
}

const (
	maxAcks   = 64              // most outstanding requests to NATS of one call of each
	tryFor    = 2 * time.Second // bounds one request to NATS, which is then sent again
	pauseTime = 100 * time.Millisecond
)

// pause waits before a request is sent again. It returns false if ctx ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pauseTime):
		return true
	}
}

// each calls do with each of hs, several at a time, and returns the errors in the order of
// hs.
func each(hs []holding, do func(holding) error) []error {
	errs := make([]error, len(hs))
	var all sync.WaitGroup
	slots := make(chan struct{}, maxAcks)
	for i, h := range hs {
		slots <- struct{}{}
		all.Go(func() {
			errs[i] = do(h)
			<-slots
		})
	}
	all.Wait()
	return errs
}
