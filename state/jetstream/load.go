package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/state"
)

// Load implements [state.Store]. If there is no record, it makes sure that the stream still has all
// others; so a Load after a loss says so.
func (s *Store) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	e := &state.Error{Op: "load", Key: key}
	if err := key.Valid(); err != nil {
		e.Kind, e.Err = state.ErrInvalid, err
		return state.Record{}, state.Revision{}, e
	}
	var st state.Stored
	var seq uint64
	subject := subject(s.home.prefix, key)
	err := s.read(ctx, e, func(ctx context.Context) (err error) {
		st, seq, err = s.last(ctx, key, subject)
		if err == nil && seq == 0 {
			return s.whole(ctx)
		}
		return err
	})
	switch {
	case err != nil:
		e.Found.Seq = seq
		return state.Record{}, state.Revision{Seq: seq}, err
	case seq == 0:
		e.Kind = state.ErrNone
		return state.Record{}, state.Revision{}, e
	}
	rev := st.Revision(seq)
	if st.Deleted {
		e.Kind, e.Found = state.ErrNone, rev
		return st.Record, rev, e
	}
	return st.Record, rev, nil
}

// read calls try, with a ctx that ends after tryFor, until it succeeds, returns an error that
// another attempt does not cure, or ctx ends. Its error is e, with what is known.
func (s *Store) read(ctx context.Context, e *state.Error, try func(ctx context.Context) error) error {
	fail := func(kind, cause error) error {
		e.Kind, e.Err = kind, cause
		return e
	}
	if err := s.isLost(); err != nil {
		return fail(state.ErrLost, err)
	}
	var last error // the last one that says more than that the time ran out
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		step, cancel := context.WithTimeout(ctx, tryFor)
		err := step.Err()
		if err == nil {
			err = s.reachable()
		}
		if err == nil {
			err = try(step)
		}
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, state.ErrLost):
			return fail(state.ErrLost, err)
		case errors.As(err, new(*state.FormatError)):
			return fail(state.ErrFormat, err)
		case errors.As(err, new(final)):
			return fail(state.ErrUnavailable, err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fail(state.ErrUnavailable, fmt.Errorf("%w: %w", last, ctx.Err()))
		case <-time.After(wait):
		}
	}
}

// last returns the last commit of key, as the stream's leader has it, and its sequence number, or 0
// if there is none. If it cannot be decoded, the error is a *state.FormatError, and the number is
// there.
func (s *Store) last(ctx context.Context, key state.Key, subject string) (state.Stored, uint64, error) {
	raw, err := s.home.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return state.Stored{}, 0, nil
	}
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if lost := s.whole(ctx); lost != nil {
			err = lost
		}
	}
	if err != nil {
		return state.Stored{}, 0, err
	}
	st, err := state.ParseStored(raw.Data)
	if err == nil && st.Key != key {
		err = &state.FormatError{Version: state.FormatVersion, Data: raw.Data, Why: fmt.Sprintf("it is the record of %v", st.Key)}
	}
	if err == nil {
		s.saw(raw.Sequence)
	}
	return st, raw.Sequence, err
}

// walked is how many messages a walk asks for at once. They come without their bodies.
const walked = 256

// fetchFor is how long a walk tries to get the next messages. The consumer must still be there.
const fetchFor = 8 * time.Second

// Walk implements [state.Store]. The order is that of the last commits. A replica of the stream
// that lags behind may answer, so what was committed just before may be missing.
func (s *Store) Walk(ctx context.Context, kind string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		key := state.Key{Kind: kind}
		e := &state.Error{Op: "walk", Key: key}
		prefix := subject(s.home.prefix, key)
		var consumer natsjs.Consumer
		err := s.read(ctx, e, func(ctx context.Context) (err error) {
			if err := s.whole(ctx); err != nil {
				return err
			}
			consumer, err = s.js.CreateConsumer(ctx, s.home.name, natsjs.ConsumerConfig{
				FilterSubject:     prefix + "*",
				AckPolicy:         natsjs.AckNonePolicy,
				HeadersOnly:       true,
				Replicas:          1,
				MemoryStorage:     true,
				InactiveThreshold: 10 * tryFor, // in case it cannot be deleted
			})
			return err
		})
		if err != nil {
			yield("", err)
			return
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryFor)
			defer cancel()
			_ = s.js.DeleteConsumer(ctx, s.home.name, consumer.CachedInfo().Name)
		}()
		for left := consumer.CachedInfo().NumPending; left > 0; {
			var ids []string
			patient, cancel := context.WithTimeout(ctx, fetchFor)
			err := s.read(patient, e, func(context.Context) error {
				got, rest, err := fetch(consumer, prefix, left)
				ids, left = append(ids, got...), rest
				return err
			})
			cancel()
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}

var errNothing = errors.New("no message came, and some are left")

// fetch returns the ids of the next messages that are records, and how many messages are left
// behind them.
func fetch(consumer natsjs.Consumer, prefix string, left uint64) (ids []string, rest uint64, err error) {
	batch, err := consumer.Fetch(int(min(walked, left)), natsjs.FetchMaxWait(tryFor))
	if err != nil {
		return nil, left, err
	}
	none := true
	rest = left
	for m := range batch.Messages() { // all of them are received, or the batch's goroutine would leak
		meta, bad := m.Metadata()
		if bad == nil {
			none, rest = false, meta.NumPending
		}
		if bad == nil && m.Headers().Get(deletedHeader) == "" {
			var id string
			id, bad = unescape(strings.TrimPrefix(m.Subject(), prefix))
			ids = append(ids, id)
		}
		if bad != nil {
			err = bad
		}
	}
	if err == nil {
		err = batch.Error()
	}
	if err == nil && none {
		err = errNothing
	}
	return ids, rest, err
}
