package jetstream

import (
	"context"
	"strconv"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
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
				got.add(batch, err, began.Add(q.cfg.Queue.Lease))
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

func (g *fetched) add(batch natsjs.MessageBatch, err error, until time.Time) {
	if err != nil {
		return
	}
	for m := range batch.Messages() {
		g.msgs = append(g.msgs, holding{msg: m, until: until})
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
	for _, h := range g.msgs {
		f.take(h)
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
		f.waiting[level] = f.q.run(func() {
			lease := f.q.cfg.Queue.Lease
			wait, cancel := context.WithTimeout(f.q.ctx, min(fetchWait, lease/3)) // so that most of the lease is left then
			defer cancel()
			began := time.Now()
			got := fetched{mine: true, level: level}
			batch, err := c.Fetch(1, natsjs.FetchContext(wait))
			got.add(batch, err, began.Add(lease))
			if len(got.msgs) == 0 && time.Since(began) < min(pauseTime, lease/10) { // NATS is away
				time.Sleep(pauseTime)
			}
			got.deliver(self)
		})
	}
}

// take offers a message that has come from NATS.
func (f *front[T]) take(h holding) {
	m := h.msg
	md, err := m.Metadata()
	if err != nil {
		return
	}
	attempts := int(md.NumDelivered) - 1
	header := m.Headers()
	if at, err := strconv.ParseInt(header.Get(headerAt), 10, 64); err == nil {
		if early := time.Until(time.UnixMilli(at)); early > 0 {
			_ = m.NakWithDelay(early)
			return
		}
		attempts = max(0, attempts-1) // the one that was early
	}
	seq := md.Sequence.Stream
	h.attempt = attempts + 1
	if old, ok := f.held[seq]; ok { // NATS has not heard that it is held
		old.msg, old.until = m, h.until
		f.held[seq] = old
		return
	}
	var v T
	if err := f.q.cfg.Codec.Decode(m.Data(), &v); err != nil {
		f.q.cfg.Logger.Error("an item of the queue cannot be decoded: it becomes a dead letter", "queue", f.q.prefix, "seq", seq, "err", err)
		f.q.run(func() { f.q.bury(h) })
		return
	}
	f.held[seq] = h
	priority, _ := strconv.Atoi(header.Get(headerPriority))
	f.offer.Restore(seq, attempts, queue.Item[T]{Value: v, ID: header.Get(headerID), Priority: priority})
}
