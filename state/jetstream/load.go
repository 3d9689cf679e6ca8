package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"

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
	err := s.home.Read(ctx, unread, try)
	if err == nil {
		return nil
	}
	return known(e, err)
}

// unread reports whether an error says that what is stored cannot be decoded.
func unread(err error) bool { return errors.As(err, new(*state.FormatError)) }

// known returns e with an error of a read, and what it says.
func known(e *state.Error, err error) error {
	e.Err = err
	switch {
	case errors.Is(err, state.ErrLost):
		e.Kind = state.ErrLost
	case unread(err):
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

// Walk implements [state.Store]. The order is that of the last commits. After a lost answer or the
// restart of a server it goes on behind what it has read, until ctx ends. An id that cannot be
// decoded is an error at the end, behind all others.
func (s *Store) Walk(ctx context.Context, kind string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var bad error // the first one that cannot be decoded
		for m, err := range s.home.Walk(ctx, kind, false) {
			if err != nil {
				yield("", known(&state.Error{Op: "walk", Key: state.Key{Kind: kind}}, err))
				return
			}
			if m.Header.Get(deletedHeader) != "" {
				continue
			}
			id, err := s.home.ID(kind, m.Subject)
			if err == nil && !yield(id, nil) {
				return
			}
			if err != nil && bad == nil {
				bad = &state.Error{Op: "walk", Key: state.Key{Kind: kind}, Kind: state.ErrFormat, Err: err}
			}
		}
		if bad != nil {
			yield("", bad)
		}
	}
}
