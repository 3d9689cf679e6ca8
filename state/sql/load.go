package sql

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/tandem-go/tandem/state"
)

// Load implements [state.Store]. The same statement makes sure that the table is still the one that
// was opened, so a Load after a loss says so.
func (s *Store) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	e := &state.Error{Op: "load", Key: key}
	if err := key.Valid(); err != nil {
		e.Kind, e.Err = state.ErrInvalid, err
		return state.Record{}, state.Revision{}, e
	}
	var v view
	var st state.Stored
	err := s.read(ctx, e, func(ctx context.Context) (err error) {
		if v, err = s.look(ctx, key); err == nil {
			st, err = v.stored(key)
		}
		return err
	})
	switch {
	case err != nil:
		e.Found.Seq = v.seq
		return state.Record{}, state.Revision{Seq: v.seq}, err
	case v.seq == 0:
		e.Kind = state.ErrNone
		return state.Record{}, state.Revision{}, e
	}
	rev := st.Revision(v.seq)
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
	if err := s.loss.err(); err != nil {
		return fail(state.ErrLost, err)
	}
	var last error // the last one that says more than that the time ran out
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		step, cancel := context.WithTimeout(ctx, tryFor)
		err := step.Err()
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
		case errors.As(err, new(*SchemaError)):
			return fail(state.ErrUnavailable, err)
		}
		if f := s.dialect.fateOf(err); f != retry && f != doubt {
			return fail(state.ErrUnavailable, err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, wait) {
			return fail(state.ErrUnavailable, fmt.Errorf("%w: %w", last, ctx.Err()))
		}
	}
}

// Walk implements [state.Store]. The ids are in order. They are read some hundreds at a time, so
// what is committed meanwhile is yielded or not.
func (s *Store) Walk(ctx context.Context, kind string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		e := &state.Error{Op: "walk", Key: state.Key{Kind: kind}}
		last := ""
		for more := true; more; {
			var ids []string
			err := s.read(ctx, e, func(ctx context.Context) (err error) {
				ids, err = s.batch(ctx, kind, last)
				if err == nil && len(ids) == walked {
					return nil
				}
				if lost := s.whole(ctx); lost != nil { // they are the last ones, if the table is still the store's
					return lost
				}
				return err
			})
			if err != nil {
				yield("", err)
				return
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
				last = id
			}
			more = len(ids) == walked
		}
	}
}

// batch returns the ids of a kind that follow on one.
func (s *Store) batch(ctx context.Context, kind, after string) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, s.text.walk, []byte(kind), []byte(after), s.home.identity[:], s.home.generation)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, string(id))
	}
	return ids, rows.Err()
}
