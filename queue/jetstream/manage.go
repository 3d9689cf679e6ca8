package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
)

// waitingToken is the last part of a token of an item that waits: {deadQueue, number, this}.
const waitingToken = 1

// pausedFor is how long a pause lasts at NATS, which wants an end of it.
const pausedFor = 100 * 365 * 24 * time.Hour

// pause has NATS deliver nothing of the queue to any actor, or ends that. What waits here
// for consumers goes back.
func (f *front[T]) pause(ctx *actor.Context, on bool) (actor.Dequeued[T], error) {
	if on {
		f.putBack()
	}
	q, self := f.q, ctx.Self()
	return f.later(ctx, func(ctx context.Context, _ *actor.Dequeued[T]) error {
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
			_ = tellSelf(self, keep{mine: true})
		}
		return nil
	})
}

// taken returns the numbers of the items that consumers of this actor have.
func (f *front[T]) taken() map[uint64]bool {
	all := map[uint64]bool{}
	for seq := range f.held {
		if f.offer.Leased(seq) {
			all[seq] = true
		}
	}
	return all
}

// evict takes an item out of what waits here for consumers.
func (f *front[T]) evict(seq uint64) error {
	err := f.offer.Evict(seq)
	if err == nil {
		delete(f.held, seq)
	}
	if errors.Is(err, queue.ErrDone) {
		return nil // it is not here
	}
	return err
}

// cancel ends items that wait.
func (f *front[T]) cancel(ctx *actor.Context, tokens [][3]uint64) (actor.Dequeued[T], error) {
	errs := make([]error, len(tokens))
	for i, t := range tokens {
		if t[0] != deadQueue || t[2] != waitingToken {
			errs[i] = queue.ErrForeign
		} else {
			errs[i] = f.evict(t[1])
		}
	}
	return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
		for i, t := range tokens {
			if errs[i] == nil {
				errs[i] = f.q.remove(ctx, f.q.prefix, t[1])
			}
			if errs[i] != nil {
				reply.Failed = append(reply.Failed, actor.FailureOf(i, errs[i]))
			}
		}
		return nil
	})
}

// purge ends all items but those that consumers of this actor have.
func (f *front[T]) purge(ctx *actor.Context) (actor.Dequeued[T], error) {
	taken := f.taken()
	for seq := range f.held {
		_ = f.evict(seq)
	}
	return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
		for more := true; more; {
			var some []holding
			more = false
			err := f.q.walk(ctx, f.q.prefix+".*", func(m *natsjs.RawStreamMsg) bool {
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
			for _, err := range each(some, func(h holding) error { return f.q.remove(ctx, f.q.prefix, h.seq) }) {
				switch {
				case err == nil:
					reply.Count++
				case !errors.Is(err, queue.ErrDone):
					return err
				}
			}
		}
		return nil
	})
}

// walk goes through the messages of a subject in the stream of the items, by their
// numbers, until each returns false.
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

// list answers with what no consumer of this actor has: by priority and number, and the
// delayed ones behind.
func (f *front[T]) list(ctx *actor.Context, n int) (actor.Dequeued[T], error) {
	taken := f.taken()
	n = min(max(1, n), actor.MaxPull)
	return f.later(ctx, func(ctx context.Context, reply *actor.Dequeued[T]) error {
		var delayed []actor.Handout[T]
		bytes := 0
		for level := range levelNames {
			err := f.q.walk(ctx, f.q.subject(level), func(m *natsjs.RawStreamMsg) bool {
				if taken[m.Sequence] {
					return true
				}
				bytes += len(m.Data)
				h := actor.Handout[T]{Token: [3]uint64{deadQueue, m.Sequence, waitingToken}, ID: m.Header.Get(headerID), Age: time.Since(m.Time)}
				h.Priority, _ = strconv.Atoi(m.Header.Get(headerPriority))
				_ = f.q.cfg.Codec.Decode(m.Data, &h.Message) // one that cannot be is listed all the same
				if early := time.Until(dueAt(m.Header)); early > 0 {
					h.Age = -early
					delayed = append(delayed, h)
				} else {
					reply.Items = append(reply.Items, h)
				}
				return len(reply.Items) < n && len(delayed) <= actor.MaxPull && bytes < maxList
			})
			if err != nil {
				return err
			}
		}
		reply.Items = append(reply.Items, delayed...)
		reply.Items = reply.Items[:min(n, len(reply.Items))]
		return nil
	})
}
