package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/queue"
)

// NATS takes an ack from whomever it comes, confirms one of an item that is done, and may
// forget a delivery when a leader changes. So its acks prove nothing, and none is sent.
// What ends an item is the deletion of its message: a change that goes through the
// stream's log, like a push, and of which exactly one can succeed.

var (
	errClosed       = errors.New("queue/jetstream: closed")
	errNotConfirmed = errors.New("queue/jetstream: NATS has not confirmed it")
)

// remove takes an item out of the stream. nil: this call has, and no other ever will.
// queue.ErrDone: it was not there any more. errNotConfirmed: nobody can say.
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
			return actor.ErrGone
		case !f.Again || f.Cause == jserror.Missing: // an earlier attempt has removed it, or another's ack
			return errNotConfirmed
		}
		if !pause(ctx) {
			return errNotConfirmed
		}
	}
}

// deleteMsg deletes a message. It is that of nats.go, which does not give the error's code.
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

// ack ends an item that the front holds.
func (q *Queue) ack(ctx context.Context, h holding) error {
	err := q.remove(ctx, q.prefix, h.seq)
	if err == nil && h.free > 0 {
		q.run(func() { q.unmark(h.seq) })
	}
	return err
}

// settle acks or extends. The answer to an ack waits until NATS has confirmed it.
func (f *front[T]) settle(ctx *actor.Context, m actor.Dequeue[T]) (actor.Dequeued[T], error) {
	r, err := f.offer.Answer(ctx, m)
	if err != nil {
		return r, err
	}
	failed := map[int]bool{}
	doubtful := false
	for _, x := range r.Failed {
		failed[x.Index] = true
		doubtful = doubtful || x == actor.FailureOf(x.Index, queue.ErrDone)
	}
	var acks []holding
	var indexes []int // of their tokens
	for i, t := range m.Tokens {
		if failed[i] || m.Op == actor.OpNack || m.Op == actor.OpRelease {
			continue
		}
		item := f.offer.Token(t).Item
		h := f.held[item]
		if m.Op == actor.OpAck {
			delete(f.held, item)
		}
		switch {
		case h.lost():
			r.Failed = append(r.Failed, actor.FailureOf(i, queue.ErrDone))
			doubtful = true
		case m.Op == actor.OpAck:
			acks, indexes = append(acks, h), append(indexes, i)
		}
	}
	if len(acks) == 0 && !doubtful {
		return r, nil
	}
	return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
		for _, x := range r.Failed {
			if x == actor.FailureOf(x.Index, queue.ErrDone) && f.q.has(ctx, f.offer.Token(m.Tokens[x.Index]).Item) {
				x = actor.FailureOf(x.Index, queue.ErrLapsed)
			}
			reply.Failed = append(reply.Failed, x)
		}
		for n, err := range each(acks, func(h holding) error { return f.q.ack(ctx, h) }) {
			if err != nil {
				reply.Failed = append(reply.Failed, actor.FailureOf(indexes[n], err))
			}
		}
		return nil
	})
}

// has reports whether an item is still in the stream; true if nobody can say.
func (q *Queue) has(ctx context.Context, seq uint64) bool {
	_, err := q.items.GetMsg(ctx, seq)
	return !errors.Is(err, natsjs.ErrMsgNotFound)
}

const (
	maxAcks   = 64              // on their way at once, of one request or round
	tryFor    = 2 * time.Second // one request to NATS, which is made again
	pauseTime = 100 * time.Millisecond
)

// pause waits before a request is made again; false: ctx ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pauseTime):
		return true
	}
}

// each does something with all of hs, several at a time, and returns the errors by their
// indexes.
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
