package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natshome"
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
	subject := s.home.Subject(key.Kind, key.ID)
	err := s.read(ctx, e, func(ctx context.Context) (err error) {
		st, seq, err = s.last(ctx, key, subject)
		if err == nil && seq == 0 {
			return s.home.Whole(ctx)
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

// read calls try, with a ctx that ends soon, until it succeeds, returns an error that another
// attempt does not cure, or ctx ends. Its error is e, with what is known.
func (s *Store) read(ctx context.Context, e *state.Error, try func(ctx context.Context) error) error {
	unread := func(err error) bool { return errors.As(err, new(*state.FormatError)) }
	e.Err = s.home.Read(ctx, unread, try)
	switch {
	case e.Err == nil:
		return nil
	case errors.Is(e.Err, state.ErrLost):
		e.Kind = state.ErrLost
	case unread(e.Err):
		e.Kind = state.ErrFormat
	default:
		e.Kind = state.ErrUnavailable
	}
	return e
}

// last returns the last commit of key, as the stream's leader has it, and its sequence number, or 0
// if there is none. If it cannot be decoded, the error is a *state.FormatError, and the number is
// there.
func (s *Store) last(ctx context.Context, key state.Key, subject string) (state.Stored, uint64, error) {
	raw, err := s.home.Last(ctx, subject)
	if err != nil || raw == nil {
		return state.Stored{}, 0, err
	}
	st, err := state.ParseStored(raw.Data)
	if err == nil && st.Key != key {
		err = &state.FormatError{Version: state.FormatVersion, Data: raw.Data, Why: fmt.Sprintf("it is the record of %v", st.Key)}
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
		prefix := s.home.Subject(kind, "")
		var consumer natsjs.Consumer
		err := s.read(ctx, e, func(ctx context.Context) (err error) {
			if err := s.home.Whole(ctx); err != nil {
				return err
			}
			consumer, err = s.js.CreateConsumer(ctx, s.name, natsjs.ConsumerConfig{
				FilterSubject:     prefix + "*",
				AckPolicy:         natsjs.AckNonePolicy,
				HeadersOnly:       true,
				Replicas:          1,
				MemoryStorage:     true,
				InactiveThreshold: 10 * natshome.TryFor, // in case it cannot be deleted
			})
			return err
		})
		if err != nil {
			yield("", err)
			return
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), natshome.TryFor)
			defer cancel()
			_ = s.js.DeleteConsumer(ctx, s.name, consumer.CachedInfo().Name)
		}()
		for left := consumer.CachedInfo().NumPending; left > 0; {
			var ids []string
			patient, cancel := context.WithTimeout(ctx, fetchFor)
			err := s.read(patient, e, func(context.Context) error {
				got, rest, err := s.fetch(consumer, kind, left)
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
func (s *Store) fetch(consumer natsjs.Consumer, kind string, left uint64) (ids []string, rest uint64, err error) {
	batch, err := consumer.Fetch(int(min(walked, left)), natsjs.FetchMaxWait(natshome.TryFor))
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
			id, bad = s.home.ID(kind, m.Subject())
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
