package jetstream

import (
	"context"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
)

// backend is the part of the queue in one actor: the items that the actor has fetched and
// that have not ended. The actor's own queue decides which consumer gets which item, and for
// how long; the backend reports the results to NATS. Its state belongs to the actor's turn.
type backend struct {
	q       *Queue
	local   queuestore.Queue   // the actor's own queue
	held    map[uint64]holding // the items, by sequence number in the stream
	pushing chan struct{}      // holds a token for each outstanding push

	round   bool         // a round of fetching is running
	waiting [levels]bool // a request for the first item of that level is outstanding
	keeping bool         // keepUp is scheduled
	pulled  bool         // there was a pull since the last keepUp

	touching atomic.Bool // a round of touch is running
}

// holding is an item that the actor has fetched.
//
// When NATS is told that an item comes back, or is still held, it does not check who says
// so, nor who has the item by then. So the actor tells it such things only before the time
// until, before which NATS certainly gives the item to nobody else, unless it forgets a
// delivery. That time is one lease after the actor last requested the item, or last told
// NATS, which confirmed it in time, that it still has it. An ack needs no such care: see
// ack.go.
type holding struct {
	msg     natsjs.Msg
	seq     uint64 // in the stream
	until   time.Time
	due     time.Time    // when the delay of its push ends; zero if it has none
	free    int          // deliveries to actors that did not count as attempts
	attempt int          // the attempt that its next delivery is
	why     queue.Reason // how its last delivery ended
}

// lost reports whether another actor may have the item by now.
func (h *holding) lost() bool { return !time.Now().Before(h.until) }

// nak gives the item back at once, unless another actor may have it by now.
func (h *holding) nak() {
	if !h.lost() {
		_ = h.msg.Nak()
	}
}

// maxPushes is how many pushes of an actor may be outstanding at NATS; more are refused.
const maxPushes = 4096

// Backend implements [queuestore.Store], for actor.StoredQueueKind.
func (q *Queue) Backend(newQueue func(queue.Config) queuestore.Queue) queuestore.Backend {
	return &backend{q: q, held: map[uint64]holding{}, pushing: make(chan struct{}, maxPushes),
		local: newQueue(queue.Config{Lease: q.cfg.Queue.Lease, Waiters: q.cfg.Queue.Waiters})}
}

func (b *backend) Err() error { return b.q.Err() }

// Consumed ends in NATS the items that a consumer has ended, and fetches items for a consumer
// that pulls.
func (b *backend) Consumed(o queuestore.Order, r queuestore.Reply) queuestore.Rest {
	switch o.Op {
	case queuestore.Ack, queuestore.Nack, queuestore.Release, queuestore.Extend:
		return b.finish(o, r)
	case queuestore.Pull:
		b.pulled = true
	}
	b.fetch()
	return nil
}

func (b *backend) Manage(o queuestore.Order) queuestore.Rest {
	switch o.Op {
	case queuestore.Pause, queuestore.Resume:
		return b.pause(o.Op == queuestore.Pause)
	case queuestore.Purge:
		return b.purge()
	case queuestore.Waiting:
		return b.list(o.Max)
	case queuestore.Cancel:
		return b.cancel(o.Tokens)
	case queuestore.Stats:
		return b.stats()
	case queuestore.Dead:
		return func(ctx context.Context, reply *queuestore.Reply) (err error) {
			reply.Items, err = b.q.listDead(ctx, o.Max)
			return err
		}
	case queuestore.Revive, queuestore.Discard:
		return func(ctx context.Context, reply *queuestore.Reply) error {
			for i, t := range o.Tokens {
				if err := b.q.endDead(ctx, t, o.Op == queuestore.Revive); err != nil {
					reply.Failed = append(reply.Failed, queuestore.FailureOf(i, err))
				}
			}
			return nil
		}
	}
	return nil
}

// Run implements [queuestore.Backend]. The context of do ends a little before the deadline of
// ctx, so that the result of do still reaches the caller.
func (b *backend) Run(ctx context.Context, do func(context.Context)) error {
	if !b.q.run(func() {
		ctx, cancel := b.q.until(ctx)
		defer cancel()
		ctx, stop := inTime(ctx)
		defer stop()
		do(ctx)
	}) {
		return errClosed
	}
	return nil
}

// until returns a context that ends with ctx, or with Close.
func (q *Queue) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(q.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// Back gives an item back to NATS because it was nacked or its lease has ended, or makes it a
// dead letter.
func (b *backend) Back(t queue.Token, delay time.Duration, why queue.Reason) {
	h := b.held[t.Item]
	h.why = why
	delete(b.held, t.Item)
	if h.lost() {
		return // NATS delivers it again, here or elsewhere
	}
	if h.attempt >= b.q.cfg.Queue.Attempts {
		b.q.run(func() { b.q.addDead(h) })
		return
	}
	_ = h.msg.NakWithDelay(delay) // if it is lost, NATS delivers the item after its lease there
}

// keepUp renews the leases of the items that are held here. Items that wait for consumers
// while there are none go back, because another actor may have consumers.
func (b *backend) keepUp() {
	if !b.keeping {
		return
	}
	b.keeping = false
	if !b.pulled && b.local.Stats().Depth > 0 && b.local.Credit() == 0 {
		b.putBack()
	}
	b.pulled = b.local.Credit() > 0
	b.touch()
	b.keepOn()
}

// touch tells NATS which items are held here, unless an earlier round is still running.
func (b *backend) touch() {
	q := b.q
	var items []uint64
	var hs []holding
	for item, h := range b.held {
		items, hs = append(items, item), append(hs, h)
	}
	if len(hs) == 0 || b.touching.Swap(true) {
		return
	}
	q.run(func() {
		defer b.touching.Store(false)
		until := time.Now().Add(q.cfg.Queue.Lease)
		ctx, cancel := context.WithTimeout(q.ctx, q.cfg.Queue.Lease/3)
		defer cancel()
		for i, err := range each(hs, func(h holding) error {
			_, err := q.js.Conn().RequestWithContext(ctx, h.msg.Reply(), inProgress)
			return err
		}) {
			if err != nil || !time.Now().Before(hs[i].until) { // if it was lost before, NATS has renewed the lease of its new holder
				items[i] = 0
			}
		}
		_ = b.inTurn(func(b *backend) { b.touched(items, until) })
	})
}

// inProgress is the message that Msg.InProgress sends. That method does not wait for an answer.
var inProgress = []byte("+WPI")

// touched notes that the leases of these items were renewed.
func (b *backend) touched(items []uint64, until time.Time) {
	for _, item := range items {
		if h, ok := b.held[item]; ok && h.until.Before(until) {
			h.until = until
			b.held[item] = h
		}
	}
}

// putBack gives the items that no consumer has back to NATS.
func (b *backend) putBack() {
	var hs []holding
	for _, item := range b.local.Withdraw() {
		hs = append(hs, b.held[item])
		delete(b.held, item)
	}
	b.q.run(func() { b.q.putBack(hs) })
}

// keepOn schedules keepUp as long as items are held.
func (b *backend) keepOn() {
	if b.keeping || len(b.held) == 0 {
		return
	}
	b.keeping = true
	time.AfterFunc(b.q.cfg.Queue.Lease/3, func() { _ = b.inTurn((*backend).keepUp) })
}

// inTurn calls do in a turn of the actor, with the backend that the actor has then. It may
// block, so it must be called outside of the actor's turn. An error says that do will never
// be called.
func (b *backend) inTurn(do func(*backend)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*tryFor)
	defer cancel()
	return b.local.Do(ctx, func(now queuestore.Backend) { do(now.(*backend)) })
}
