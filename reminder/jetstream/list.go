package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
)

const (
	// When a server dies, or a cluster has no leader, a request is never answered.
	tryFor = 2 * time.Second // bounds one request, which is then made again

	firstWait = 2 * time.Millisecond // between the first two attempts, doubled each time
	maxWait   = 100 * time.Millisecond
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
		stream, err := s.js.Stream(ctx, s.home.name) // one of our own, because Info changes it
		var info *natsjs.StreamInfo
		if err == nil {
			info, err = stream.Info(ctx, natsjs.WithSubjectFilter(s.home.record(within(a)+"*")))
		}
		if err != nil {
			return s.notThere(ctx, err)
		}
		if subjects = info.State.Subjects; len(subjects) == 0 {
			return s.whole(ctx)
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
			entry, _, err = s.last(ctx, strings.TrimPrefix(subject, s.home.prefix+"."))
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
	raw, err := s.home.records.GetLastMsgForSubject(ctx, s.home.record(place))
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return reminder.Entry{}, 0, nil
	}
	if err != nil {
		return reminder.Entry{}, 0, s.notThere(ctx, err)
	}
	e, err := reminder.ParseEntry(raw.Data)
	if err == nil && raw.Subject != s.home.record(placeOf(e.Actor, e.Name)) {
		err = &reminder.FormatError{Version: reminder.FormatVersion, Data: raw.Data, Why: fmt.Sprintf("it is the reminder %q of %v", e.Name, e.Actor)}
	}
	if err == nil {
		s.saw(raw.Sequence)
	}
	return e, raw.Sequence, err
}

// notThere returns what an error of a read of records means.
func (s *Store) notThere(ctx context.Context, err error) error {
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if lost := s.whole(ctx); lost != nil {
			return lost
		}
	}
	return err
}

// read calls try, with a ctx that ends after tryFor, until it succeeds, returns an error that
// another attempt does not cure, or ctx ends. Its error is e, with what is known.
func (s *Store) read(ctx context.Context, e *reminder.Error, try func(ctx context.Context) error) error {
	fail := func(kind, cause error) error {
		e.Kind, e.Err = kind, cause
		return e
	}
	if err := s.isLost(); err != nil {
		return fail(reminder.ErrLost, err)
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
		case errors.Is(err, reminder.ErrLost):
			return fail(reminder.ErrLost, err)
		case errors.As(err, new(*reminder.FormatError)):
			return fail(reminder.ErrFormat, err)
		case errors.As(err, new(final)):
			return fail(reminder.ErrUnavailable, err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fail(reminder.ErrUnavailable, fmt.Errorf("%w: %w", last, ctx.Err()))
		case <-time.After(wait):
		}
	}
}
