package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/reminder"
)

// Set implements [reminder.Store].
func (s *Store) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	c := s.newChange("set", r.Actor, r.Name, id)
	c.next = func(e reminder.Entry) (reminder.Entry, error) { return e.Set(r.Clone(), c.ID, time.Now()) }
	return c.run(ctx)
}

// Forget implements [reminder.Store].
func (s *Store) Forget(ctx context.Context, a reminder.Actor, name string, id reminder.ID) error {
	c := s.newChange("forget", a, name, id)
	c.next = func(e reminder.Entry) (reminder.Entry, error) { return e.Forget(a, name, c.ID) }
	_, err := c.run(ctx)
	return err
}

// change is one Set or Forget that is under way. It belongs to one goroutine.
//
// It reads the record, and writes the next one in its place, again and again until that is stored. A
// write names the sequence number of the record that was read. So a write of unknown fate can be made
// again while that is still the last one, and is refused for good once it is not; whether it was stored
// before can be told by its ID.
type change struct {
	s              *Store
	reminder.Error // with Op, Actor, Name and ID
	next           func(reminder.Entry) (reminder.Entry, error)

	doubt   bool           // an earlier call may have stored it
	unknown bool           // a write may be stored, now or later
	before  reminder.Entry // what that write was to replace
	rev     uint64         // and its sequence number
}

func (s *Store) newChange(op string, a reminder.Actor, name string, id reminder.ID) *change {
	c := &change{s: s, Error: reminder.Error{Op: op, Actor: a, Name: name, ID: id}, doubt: true}
	if id == (reminder.ID{}) {
		c.ID, c.doubt = reminder.NewID(), false
	}
	return c
}

// fail returns the error of the change, with what is known.
func (c *change) fail(kind, cause error) error {
	e := c.Error
	e.Kind, e.Err = kind, cause
	return &e
}

// end returns the error after a write that was not stored, for the given reason. That says nothing of
// writes before it whose fate is unknown.
func (c *change) end(kind, cause error) error {
	if c.doubt || c.unknown {
		kind = reminder.ErrUnknown
	}
	return c.fail(kind, cause)
}

// run makes attempts until one has a result, or ctx ends.
func (c *change) run(ctx context.Context) (e reminder.Entry, err error) {
	if _, err := c.next(e); err != nil {
		return e, c.fail(reminder.ErrInvalid, err)
	}
	if err := c.s.home.Lost(); err != nil {
		return e, c.fail(reminder.ErrLost, err)
	}
	err = natshome.Retry(ctx, func() (err error) {
		e, err = c.try(ctx)
		return err
	})
	if again, ok := err.(natshome.Again); ok {
		return reminder.Entry{}, c.end(reminder.ErrNotStored, again.Err)
	}
	return e, err
}

// try reads the record and writes the next one.
func (c *change) try(ctx context.Context) (none reminder.Entry, err error) {
	if err := c.s.home.Reachable(); errors.As(err, new(natshome.Final)) {
		return none, c.end(reminder.ErrNotStored, err)
	} else if err != nil {
		return none, natshome.Again{Err: err}
	}
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	at := placeOf(c.Actor, c.Name)
	now, rev, err := c.s.last(step, at)
	switch {
	case errors.Is(err, reminder.ErrLost):
		return none, c.fail(reminder.ErrLost, err)
	case errors.As(err, new(*reminder.FormatError)) && c.Op == "set":
		return none, c.end(reminder.ErrNotStored, fmt.Errorf("%w: %w", reminder.ErrFormat, err))
	case errors.As(err, new(*reminder.FormatError)): // Forget replaces it by what can be decoded
		now = reminder.Entry{}
	case err != nil:
		return none, natshome.Again{Err: err}
	}
	switch {
	case now.Has(c.ID):
		return now, nil
	case c.unknown && rev < c.rev:
		return none, natshome.Again{Err: fmt.Errorf("the last record was %d, and now it is %d", c.rev, rev)} // of a former leader
	case c.unknown && rev > c.rev && !now.Follows(&c.before):
		return none, c.fail(reminder.ErrUnknown, fmt.Errorf("it was changed more than %d times since", reminder.MaxChanges))
	case rev > c.rev: // what was written after c.rev is refused from now on, and was not stored
		c.unknown = false
	}
	e, err := c.next(now)
	if err != nil {
		return none, c.end(reminder.ErrInvalid, err)
	}
	found, err := c.s.write(step, at, &e, rev)
	if found.Proof == jserror.Unknown {
		c.unknown, c.before, c.rev = true, now, rev
	}
	switch {
	case err == nil:
		return e, nil
	case errors.As(err, new(natshome.Final)):
		return none, c.end(reminder.ErrNotStored, err)
	case found.Cause == jserror.Conflict:
		return none, natshome.Again{Err: err}
	case found.Again:
		if found.Cause == jserror.Away && step.Err() == nil { // nobody listens: is there a stream?
			if lost := c.s.lost(ctx); lost != nil {
				return none, c.fail(reminder.ErrLost, lost)
			}
		}
		return none, natshome.Again{Err: err}
	case found.Cause == jserror.Full:
		return none, c.end(reminder.ErrFull, err)
	case found.Cause == jserror.TooLarge:
		return none, c.end(reminder.ErrTooLarge, fmt.Errorf("%d bytes: %w", e.Size(), err)) // nats.go sends nothing then
	}
	return none, c.end(reminder.ErrNotStored, err)
}

// lost returns an error if the store is known to have lost reminders.
func (s *Store) lost(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	if err := s.home.Whole(ctx); errors.Is(err, reminder.ErrLost) {
		return err
	}
	return nil
}

// write makes one attempt to store a record if the last one at its place is rev, and says what is proved
// of that.
func (s *Store) write(ctx context.Context, place string, e *reminder.Entry, rev uint64) (jserror.Finding, error) {
	m := &nats.Msg{Subject: s.record(place), Data: e.Append(make([]byte, 0, e.Size()))}
	var opts []natsjs.PublishOpt
	if e.Ended() {
		opts = append(opts, natsjs.WithMsgTTL(reminder.KeepEnded))
	}
	_, found, err := s.home.Publish(ctx, m, rev, new(jserror.Attempts), opts...)
	return found, err
}
