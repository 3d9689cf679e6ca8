package jetstream

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/queuestore"
)

const (
	maxFetch  = 256             // items requested at once
	fetchWait = 5 * time.Second // how long a request for the first item may wait at NATS
)

// fetch requests items if consumers wait for some. At first it requests those that NATS has
// already, by priority; if there are none, await requests the next one that comes.
func (b *backend) fetch() {
	n := min(b.local.Credit(), maxFetch)
	if n == 0 || b.round || b.waiting == [levels]bool{true, true, true} { // the outstanding requests get what comes
		return
	}
	q := b.q
	b.round = q.run(func() { // none of these requests waits for long
		got := fetched{round: true}
		for level := range q.consumers {
			if n > len(got.msgs) {
				began := time.Now()
				batch, err := q.consumers[level].FetchNoWait(n - len(got.msgs))
				got.add(q, batch, err, began.Add(q.cfg.Queue.Lease))
			}
		}
		got.wait = len(got.msgs) == 0
		got.deliver(b)
	})
}

// fetched is the result of a request for items.
type fetched struct {
	msgs  []holding
	round bool // it is the result of a round, which ends with it
	wait  bool // NATS had no items: the first one has to be awaited
	level int  // if not round, the level that was awaited
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

// deliver gives the items to the actor, or back to NATS if the actor cannot take them.
func (g *fetched) deliver(f *backend) {
	if f.inTurn(func(f *backend) { f.fetched(*g) }) == nil {
		return
	}
	for _, h := range g.msgs {
		h.nak()
	}
}

func (b *backend) fetched(g fetched) {
	if g.round {
		b.round = false
	} else {
		b.waiting[g.level] = false
	}
	if err := b.q.Err(); err != nil {
		for _, item := range b.local.Withdraw() {
			delete(b.held, item)
		}
		b.local.Dismiss(err)
		return
	}
	var early []holding
	for _, h := range g.msgs {
		if time.Now().Before(h.due) {
			early = append(early, h)
		} else {
			b.take(h)
		}
	}
	if len(early) > 0 {
		b.q.run(func() { b.q.putBack(early) })
	}
	b.local.Serve()
	b.keepOn()
	if g.wait && b.local.Credit() > 0 {
		b.await()
		return
	}
	b.fetch()
}

// await requests the next item of each level, and waits for it.
func (b *backend) await() {
	for level, c := range b.q.consumers {
		if b.waiting[level] {
			continue
		}
		q := b.q
		b.waiting[level] = q.run(func() {
			lease := q.cfg.Queue.Lease
			wait, cancel := context.WithTimeout(q.ctx, min(fetchWait, lease/3)) // so that most of the lease is left when it ends
			defer cancel()
			began := time.Now()
			got := fetched{level: level}
			batch, err := c.Fetch(1, natsjs.FetchContext(wait))
			got.add(q, batch, err, began.Add(lease))
			if len(got.msgs) == 0 && time.Since(began) < min(pauseTime, lease/10) { // NATS is away
				time.Sleep(pauseTime)
			}
			got.deliver(b)
		})
	}
}

// take adds an item that has come from NATS to the actor's queue.
func (b *backend) take(h holding) {
	if old, ok := b.held[h.seq]; ok { // NATS does not know that it is held here
		old.msg, old.until = h.msg, h.until
		b.held[h.seq] = old
		return
	}
	b.held[h.seq] = h
	it := b.q.item(h.msg.Headers(), h.msg.Data())
	it.Attempts = h.attempt - 1
	if err := b.local.Restore(h.seq, it); err != nil {
		delete(b.held, h.seq)
		b.q.cfg.Logger.Error("an item of the queue cannot be decoded: it becomes a dead letter", "queue", b.q.prefix, "seq", h.seq, "err", err)
		b.q.run(func() { b.q.addDead(h) })
	}
}

// item returns the item in a message of one of the queue's streams.
func (q *Queue) item(header nats.Header, body []byte) queuestore.Item {
	it := queuestore.Item{ID: header.Get(headerID), Decode: func(into any) error { return q.cfg.Codec.Decode(body, into) }}
	it.Priority, _ = strconv.Atoi(header.Get(headerPriority))
	if trace, err := hex.DecodeString(header.Get(headerTrace)); err == nil {
		it.Trace = string(trace)
	}
	return it
}
