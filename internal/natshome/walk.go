package natshome

import (
	"cmp"
	"context"
	"errors"
	"iter"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// pageSize is the most messages that a walk gets at once.
	pageSize = 256
	// maxRounds is how often a walk sets out for the last message that is there. There is no end to
	// that while messages are stored all the time. One round is enough, unless a consumer says that
	// nothing is left just when a message replaces another one ahead of it.
	maxRounds = 4
)

// Walk yields the last messages of all subjects of a kind, in the order in which they were stored,
// with their headers, and with their bodies if asked for. A subject that has a message from the
// beginning to the end is yielded at least once, also if another message replaces it meanwhile. An
// error is the last thing that it yields: it wraps Plan.Lost, or the error of ctx, or is Final. Lost
// answers and restarts of servers cost time only.
//
// The messages come from the stream's leader, so what was replaced before the beginning is not
// yielded, except by a former leader that was cut off and does not know it yet.
func (h *Home) Walk(ctx context.Context, kind string, bodies bool) iter.Seq2[*natsjs.RawStreamMsg, error] {
	return func(yield func(*natsjs.RawStreamMsg, error) bool) {
		w := &walk{home: h, filter: h.Subject(kind, "") + "*", bodies: bodies}
		defer w.close(ctx)
		nothing := func(error) bool { return false }
		err := h.Read(ctx, nothing, h.Whole)
		for err == nil {
			var page []*natsjs.RawStreamMsg
			err = h.Read(ctx, nothing, func(ctx context.Context) (err error) {
				page, err = w.page(ctx)
				return err
			})
			if err == nil && page == nil {
				return
			}
			for _, m := range page {
				if !yield(m, nil) {
					return
				}
			}
		}
		yield(nil, err)
	}
}

// walk is one Walk. It belongs to one goroutine. Its consumer hands out each message once, and does
// not know whether it arrives. So it is given up after anything unusual, and the next one begins
// behind the last message that has arrived.
type walk struct {
	home   *Home
	filter string
	bodies bool

	after  uint64 // sequence number of the last message that has arrived
	aim    uint64 // of the last message that was there when this round began
	rounds int    // with this one

	consumer natsjs.Consumer // nil: there is none
	arrived  uint64          // how many messages have arrived from it
	left     uint64          // how many it has, as it said last: it may be wrong by a few
}

// page returns the next messages, or none if nothing is left and nothing was lost.
func (w *walk) page(ctx context.Context) ([]*natsjs.RawStreamMsg, error) {
	if w.left == 0 {
		if over, err := w.over(ctx); err != nil || over {
			return nil, err
		}
	}
	if w.consumer == nil {
		if err := w.open(ctx); err != nil {
			return nil, err
		}
	}
	page, err := w.fetch(ctx)
	if err != nil {
		w.consumer, w.left = nil, 0 // if it is still there, the server deletes it
	}
	if len(page) > 0 {
		return page, nil
	}
	return nil, err
}

// over asks the stream's leader whether nothing is left, since the consumer says so, or there is none.
// If there is something, it may begin another round.
func (w *walk) over(ctx context.Context) (bool, error) {
	last, err := w.home.Last(ctx, w.filter)
	if err != nil {
		return false, err
	}
	some := last != nil && last.Sequence > w.after
	reached := w.consumer != nil && w.after >= w.aim // the end of this round
	switch {
	case !some, reached && w.rounds == maxRounds:
		return true, w.home.Whole(ctx)
	case reached, w.rounds == 0:
		w.rounds, w.aim = w.rounds+1, last.Sequence
	}
	return false, nil
}

// open creates a consumer of the messages behind those that have arrived.
func (w *walk) open(ctx context.Context) error {
	c, err := w.home.js.CreateConsumer(ctx, w.home.plan.Stream, natsjs.ConsumerConfig{
		FilterSubject:     w.filter,
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:       w.after + 1,
		AckPolicy:         natsjs.AckNonePolicy,
		HeadersOnly:       !w.bodies,
		Replicas:          1,
		MemoryStorage:     true,
		InactiveThreshold: 10 * TryFor, // then the server deletes it by itself
	})
	if err != nil {
		return err
	}
	leads, err := w.withLeader(ctx, c)
	if err == nil && leads {
		w.consumer, w.arrived, w.left = c, 0, c.CachedInfo().NumPending
		return nil
	}
	w.remove(ctx, c)
	return cmp.Or(err, errReplica)
}

// withLeader reports whether a consumer is where the stream's leader is. JetStream puts it on any
// server that has the stream, and there is no way to ask for a certain one.
func (w *walk) withLeader(ctx context.Context, c natsjs.Consumer) (bool, error) {
	of := c.CachedInfo().Cluster
	if of == nil { // there is one server
		return true, nil
	}
	s, err := w.home.js.Stream(ctx, w.home.plan.Stream)
	if err != nil {
		return false, err
	}
	leader := s.CachedInfo().Cluster
	return leader != nil && leader.Leader == of.Leader, nil
}

var (
	errReplica = errors.New("the consumer is on a server that does not lead the stream")
	errNothing = errors.New("no message came, and some are left")
	errHole    = errors.New("a message has not arrived")
)

// fetch returns the messages that the consumer has now, at most pageSize. After an error, these are
// all that have arrived in order.
func (w *walk) fetch(ctx context.Context) (page []*natsjs.RawStreamMsg, err error) {
	batch, err := w.consumer.FetchNoWait(pageSize)
	for err == nil {
		select {
		case m, more := <-batch.Messages():
			if more {
				page, err = w.arrive(page, m)
				continue
			}
			if err = batch.Error(); err == nil && page == nil {
				err = errNothing
			}
			return page, err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return page, err // the batch has room for all its messages, and ends by itself
}

// arrive appends a message to those of a page, if it is the next one.
func (w *walk) arrive(page []*natsjs.RawStreamMsg, m natsjs.Msg) ([]*natsjs.RawStreamMsg, error) {
	meta, err := m.Metadata()
	if err == nil && meta.Sequence.Consumer != w.arrived+1 {
		err = errHole
	}
	if err != nil {
		return page, err
	}
	w.arrived, w.after, w.left = w.arrived+1, meta.Sequence.Stream, meta.NumPending
	w.home.Saw(w.after)
	return append(page, &natsjs.RawStreamMsg{Subject: m.Subject(), Sequence: w.after, Header: m.Headers(), Data: m.Data(), Time: meta.Timestamp}), nil
}

// close deletes the consumer.
func (w *walk) close(ctx context.Context) {
	if w.consumer == nil || w.home.Reachable() != nil {
		return // the server deletes it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), TryFor)
	defer cancel()
	w.remove(ctx, w.consumer)
}

// remove deletes a consumer. If that fails, the server does it later.
func (w *walk) remove(ctx context.Context, c natsjs.Consumer) {
	_ = w.home.js.DeleteConsumer(ctx, w.home.plan.Stream, c.CachedInfo().Name)
}
