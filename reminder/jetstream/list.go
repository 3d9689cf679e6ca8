package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
)

// List implements [reminder.Store]. It takes one request to the leader of the stream for each reminder
// of the actor, those that have ended within the last day included, and two more.
func (s *Store) List(ctx context.Context, a reminder.Actor) ([]reminder.Entry, error) {
	e := &reminder.Error{Op: "list", Actor: a}
	if err := a.Valid(); err != nil {
		e.Kind, e.Err = reminder.ErrInvalid, err
		return nil, e
	}
	var subjects map[string]uint64
	err := s.read(ctx, e, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.records)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			return cmp.Or(s.home.Whole(ctx), err)
		}
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx, natsjs.WithSubjectFilter(s.record(anyName(a))))
		if err != nil {
			return err
		}
		if subjects = info.State.Subjects; len(subjects) == 0 {
			return s.home.Whole(ctx)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]reminder.Entry, 0, len(subjects))
	for subject := range subjects {
		var entry reminder.Entry
		err := s.read(ctx, e, func(ctx context.Context) (err error) {
			entry, _, err = s.last(ctx, strings.TrimPrefix(subject, s.prefix+"."))
			return err
		})
		if err != nil {
			return nil, err
		}
		if !entry.Ended() {
			all = append(all, entry)
		}
	}
	slices.SortFunc(all, func(a, b reminder.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// last returns the record at a place, as the stream's leader has it, and its sequence number, or 0 if
// there is none. If it cannot be decoded, the error is a *reminder.FormatError, and the number is there.
func (s *Store) last(ctx context.Context, place string) (reminder.Entry, uint64, error) {
	raw, err := s.home.Last(ctx, s.record(place))
	if err != nil || raw == nil {
		return reminder.Entry{}, 0, err
	}
	e, err := reminder.ParseEntry(raw.Data)
	if err == nil && placeOf(e.Actor, e.Name) != place {
		err = &reminder.FormatError{Version: reminder.FormatVersion, Data: raw.Data, Why: fmt.Sprintf("it is the reminder %q of %v", e.Name, e.Actor)}
	}
	return e, raw.Sequence, err
}

// read calls try, with a ctx that ends soon, until it succeeds, returns an error that another attempt
// does not cure, or ctx ends. Its error is e, with what is known.
func (s *Store) read(ctx context.Context, e *reminder.Error, try func(ctx context.Context) error) error {
	unread := func(err error) bool { return errors.As(err, new(*reminder.FormatError)) }
	e.Err = s.home.Read(ctx, unread, try)
	switch {
	case e.Err == nil:
		return nil
	case errors.Is(e.Err, reminder.ErrLost):
		e.Kind = reminder.ErrLost
	case unread(e.Err):
		e.Kind = reminder.ErrFormat
	default:
		e.Kind = reminder.ErrUnavailable
	}
	return e
}
