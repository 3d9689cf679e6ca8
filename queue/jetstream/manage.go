package jetstream

import (
	"context"
	"errors"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
)

// waitingToken is the last part of the token of an item that no consumer has: such tokens are
// {deadQueue, sequence number, waitingToken}.
const waitingToken = 1

// pausedFor is how long NATS pauses; it requires an end of the pause.
const pausedFor = 100 * 365 * 24 * time.Hour

// pause makes NATS deliver no items of the queue to any actor, or ends that. Items that wait
// here for consumers go back.
func (b *backend) pause(on bool) queuestore.Rest {
	if on {
		b.putBack()
	}
	q := b.q
	return func(ctx context.Context, _ *queuestore.Reply) error {
		for _, name := range levelNames {
			var err error
			if on {
				_, err = q.items.PauseConsumer(ctx, name, time.Now().Add(pausedFor))
			} else {
				_, err = q.items.ResumeConsumer(ctx, name)
			}
			if err != nil {
				return err
			}
		}
		if !on {
			_ = b.inTurn((*backend).keepUp)
		}
		return nil
	}
}

// taken returns the numbers of the items that consumers of this actor have.
func (b *backend) taken() map[uint64]bool {
	all := map[uint64]bool{}
	for seq := range b.held {
		if b.local.Leased(seq) {
			all[seq] = true
		}
	}
	return all
}

// evict removes an item from those that wait here for consumers.
func (b *backend) evict(seq uint64) error {
	err := b.local.Evict(seq)
	if err == nil {
		delete(b.held, seq)
	}
	if errors.Is(err, queue.ErrDone) {
		return nil // it is not here
	}
	return err
}

// cancel ends items that no consumer has.
func (b *backend) cancel(tokens [][3]uint64) queuestore.Rest {
	errs := make([]error, len(tokens))
	for i, t := range tokens {
		if t[0] != deadQueue || t[2] != waitingToken {
			errs[i] = queue.ErrForeign
		} else {
			errs[i] = b.evict(t[1])
		}
	}
	return func(ctx context.Context, reply *queuestore.Reply) error {
		for i, t := range tokens {
			if errs[i] == nil {
				errs[i] = b.q.remove(ctx, b.q.prefix, t[1])
			}
			if errs[i] != nil {
				reply.Failed = append(reply.Failed, queuestore.FailureOf(i, errs[i]))
			}
		}
		return nil
	}
}

// purge ends all items except those that consumers of this actor have.
func (b *backend) purge() queuestore.Rest {
	taken := b.taken()
	for seq := range b.held {
		_ = b.evict(seq)
	}
	return func(ctx context.Context, reply *queuestore.Reply) error {
		for more := true; more; {
			var some []holding
			more = false
			err := b.q.walk(ctx, b.q.prefix+".*", func(m *natsjs.RawStreamMsg) bool {
				if !taken[m.Sequence] {
					taken[m.Sequence] = true
					some = append(some, holding{seq: m.Sequence})
				}
				more = len(some) == maxFetch
				return !more
			})
			if err != nil {
				return err
			}
			for _, err := range each(some, func(h holding) error { return b.q.remove(ctx, b.q.prefix, h.seq) }) {
				switch {
				case err == nil:
					reply.Count++
				case !errors.Is(err, queue.ErrDone):
					return err
				}
			}
		}
		return nil
	}
}

// walk calls each with the messages of a subject in the stream of the items, by their sequence
// numbers, until it returns false.
func (q *Queue) walk(ctx context.Context, subject string, each func(*natsjs.RawStreamMsg) bool) error {
	for seq := uint64(1); ; {
		m, err := q.items.GetMsg(ctx, seq, natsjs.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, natsjs.ErrMsgNotFound):
			return nil
		case err != nil:
			return err
		case !each(m):
			return nil
		}
		seq = m.Sequence + 1
	}
}

// list answers with the first items that no consumer of this actor has: those that are due, by
// priority and sequence number, and after them the delayed ones.
func (b *backend) list(n int) queuestore.Rest {
	taken := b.taken()
	n = min(max(1, n), queuestore.MaxItems)
	return func(ctx context.Context, reply *queuestore.Reply) error {
		var delayed []queuestore.Item
		bytes := 0
		for level := range levelNames {
			err := b.q.walk(ctx, b.q.subject(level), func(m *natsjs.RawStreamMsg) bool {
				if taken[m.Sequence] {
					return true
				}
				bytes += len(m.Data)
				it := b.q.item(m.Header, m.Data)
				it.Token, it.Age = [3]uint64{deadQueue, m.Sequence, waitingToken}, time.Since(m.Time)
				if early := time.Until(dueAt(m.Header)); early > 0 {
					it.Age = -early
					delayed = append(delayed, it)
				} else {
					reply.Items = append(reply.Items, it)
				}
				return len(reply.Items) < n && len(delayed) <= queuestore.MaxItems && bytes < maxList
			})
			if err != nil {
				return err
			}
		}
		reply.Items = append(reply.Items, delayed...)
		reply.Items = reply.Items[:min(n, len(reply.Items))]
		return nil
	}
}
