package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natswait"
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

// again is the result of an attempt after which another one is made.
type again struct{ error }

// run makes attempts until one has a result, or ctx ends.
func (c *change) run(ctx context.Context) (reminder.Entry, error) {
	none := reminder.Entry{}
	if _, err := c.next(none); err != nil {
		return none, c.fail(reminder.ErrInvalid, err)
	}
	if err := c.s.isLost(); err != nil {
		return none, c.fail(reminder.ErrLost, err)
	}
	var last error // the last one that says more than that the time ran out
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		if err := ctx.Err(); err != nil {
			if last == nil {
				last = err
			}
			return none, c.end(reminder.ErrNotStored, fmt.Errorf("%w: %w", last, err))
		}
		e, err := c.try(ctx)
		more, ok := err.(again)
		if !ok {
			return e, err
		}
		if last == nil || !errors.Is(more.error, context.DeadlineExceeded) && ctx.Err() == nil {
			last = more.error
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// try reads the record and writes the next one.
func (c *change) try(ctx context.Context) (none reminder.Entry, err error) {
	if err := c.s.reachable(); err != nil {
		if errors.As(err, new(final)) {
			return none, c.end(reminder.ErrNotStored, err)
		}
		return none, again{err}
	}
	step, cancel := context.WithTimeout(ctx, tryFor)
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
		return none, again{err}
	}
	switch {
	case now.Has(c.ID):
		return now, nil
	case c.unknown && rev < c.rev:
		return none, again{fmt.Errorf("the last record was %d, and now it is %d", c.rev, rev)} // of a former leader
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
	case found.Proof == jserror.Done:
		return e, nil
	case found.Cause == jserror.Conflict:
		return none, again{err}
	case found.Again:
		if found.Cause == jserror.Away && step.Err() == nil { // nobody listens: is there a stream?
			if lost := c.s.lost(ctx); lost != nil {
				return none, c.fail(reminder.ErrLost, lost)
			}
		}
		return none, again{err}
	case found.Cause == jserror.Full:
		return none, c.end(reminder.ErrFull, err)
	case found.Cause == jserror.TooLarge:
		return none, c.end(reminder.ErrTooLarge, fmt.Errorf("%d bytes: %w", e.Size(), err)) // nats.go sends nothing then
	}
	return none, c.end(reminder.ErrNotStored, err)
}

// write stores a record if the last one at its place is rev, and says what is proved of that.
func (s *Store) write(ctx context.Context, place string, e *reminder.Entry, rev uint64) (jserror.Finding, error) {
	m := &nats.Msg{Subject: s.home.record(place), Data: e.Append(make([]byte, 0, e.Size()))}
	opts := []natsjs.PublishOpt{natsjs.WithExpectLastSequencePerSubject(rev)}
	if e.Ended() {
		opts = append(opts, natsjs.WithMsgTTL(reminder.KeepEnded))
	}
	nc := s.js.Conn()
	before := nc.LastError()
	ack, err := s.js.PublishMsg(ctx, m, opts...)
	if now := nc.LastError(); err != nil && now != before && natswait.DeniedSubject(now) == m.Subject {
		return jserror.Finding{Proof: jserror.NotDone, Cause: jserror.Refused}, now
	}
	if err == nil {
		s.saw(ack.Sequence)
	}
	return jserror.Of(err), err
}
