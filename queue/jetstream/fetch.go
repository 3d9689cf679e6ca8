package jetstream

import (
	"context"
	"strconv"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

const (
	maxFetch  = 256             // items asked for at once
	fetchWait = 5 * time.Second // how long one request for a first item waits at NATS at most
)

// fetch asks for items if there are consumers in line: at first for those that are there,
// by their priorities, and if there are none for the first that comes.
func (f *front[T]) fetch(ctx *actor.Context) {
	n := min(f.offer.Credit(), maxFetch)
	if n == 0 || f.round || f.waiting == [levels]bool{true, true, true} { // what comes will be noticed
		return
	}
	q, self := f.q, ctx.Self()
	f.round = q.run(func() { // no step waits for long
		got := fetched{mine: true, round: true}
		for level := range q.consumers {
			if n > len(got.msgs) {
				began := time.Now()
				batch, err := q.consumers[level].FetchNoWait(n - len(got.msgs))
				got.add(q, batch, err, began.Add(q.cfg.Queue.Lease))
			}
		}
		got.wait = len(got.msgs) == 0
		got.deliver(self)
	})
}

// fetched is what a request for items has brought.
type fetched struct {
	mine  bool // not from elsewhere
	msgs  []holding
	round bool // it ends the round
	wait  bool // there was nothing: the first is to be waited for
	level int  // if not round: it is of the wait at this level
}

func (g *fetched) add(q *Queue, batch natsjs.MessageBatch, err error, until time.Time) {
	if err != nil {
		q.suspect()
		return
	}
	var again []holding
	var at []int
	for m := range batch.Messages() {
		md, err := m.Metadata()
		if err != nil {
			continue
		}
		h := holding{msg: m, seq: md.Sequence.Stream, until: until, due: dueAt(m.Headers()), attempt: int(md.NumDelivered)}
		if md.NumDelivered > 1 {
			again, at = append(again, h), append(at, len(g.msgs))
		}
		g.msgs = append(g.msgs, h)
	}
	if err := batch.Error(); err != nil && jserror.Of(err).Cause != jserror.Other {
		q.suspect()
	}
	ctx, cancel := context.WithDeadline(q.ctx, time.Now().Add(time.Until(until)/2))
	defer cancel()
	free := make([]int, len(again))
	byseq := make(map[uint64]int, len(again))
	for i, h := range again {
		byseq[h.seq] = i
	}
	each(again, func(h holding) (err error) {
		free[byseq[h.seq]], err = q.freeOf(ctx, h.seq)
		return err
	})
	for i, n := range free {
		h := &g.msgs[at[i]]
		h.free, h.attempt = n, max(1, h.attempt-n)
	}
}

// deliver gives the front what has come, or back to NATS.
func (g *fetched) deliver(self actor.Ref) {
	if tellSelf(self, *g) == nil {
		return
	}
	for _, h := range g.msgs {
		h.nak()
	}
}

func (f *front[T]) fetched(ctx *actor.Context, g fetched) error {
	switch {
	case !g.mine:
		return nil
	case g.round:
		f.round = false
	default:
		f.waiting[g.level] = false
	}
	if err := f.q.Err(); err != nil {
		for _, item := range f.offer.Withdraw() {
			delete(f.held, item)
		}
		f.offer.Dismiss(ctx, rpc.Failed, err)
		return nil
	}
	var early []holding
	for _, h := range g.msgs {
		if time.Now().Before(h.due) {
			early = append(early, h)
		} else {
			f.take(h)
		}
	}
	if len(early) > 0 {
		f.q.run(func() { f.q.putBack(early) })
	}
	f.offer.Serve(ctx)
	f.keepOn(ctx)
	if g.wait && f.offer.Credit() > 0 {
		f.await(ctx)
		return nil
	}
	f.fetch(ctx)
	return nil
}

// await asks for the first item of each level.
func (f *front[T]) await(ctx *actor.Context) {
	self := ctx.Self()
	for level, c := range f.q.consumers {
		if f.waiting[level] {
			continue
		}
		q := f.q
		f.waiting[level] = q.run(func() {
			lease := q.cfg.Queue.Lease
			wait, cancel := context.WithTimeout(q.ctx, min(fetchWait, lease/3)) // so that most of the lease is left then
			defer cancel()
			began := time.Now()
			got := fetched{mine: true, level: level}
			batch, err := c.Fetch(1, natsjs.FetchContext(wait))
			got.add(q, batch, err, began.Add(lease))
			if len(got.msgs) == 0 && time.Since(began) < min(pauseTime, lease/10) { // NATS is away
				time.Sleep(pauseTime)
			}
			got.deliver(self)
		})
	}
}

// take offers a message that has come from NATS.
func (f *front[T]) take(h holding) {
	if old, ok := f.held[h.seq]; ok { // NATS has not heard that it is held
		old.msg, old.until = h.msg, h.until
		f.held[h.seq] = old
		return
	}
	header := h.msg.Headers()
	var v T
	if err := f.q.cfg.Codec.Decode(h.msg.Data(), &v); err != nil {
		f.q.cfg.Logger.Error("an item of the queue cannot be decoded: it becomes a dead letter", "queue", f.q.prefix, "seq", h.seq, "err", err)
		f.q.run(func() { f.q.bury(h) })
		return
	}
	f.held[h.seq] = h
	priority, _ := strconv.Atoi(header.Get(headerPriority))
	f.offer.Restore(h.seq, h.attempt-1, queue.Item[T]{Value: v, ID: header.Get(headerID), Priority: priority})
}
