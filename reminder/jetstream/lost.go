package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

const (
	// lostAfter is how long records must be missing before that is believed, since a former
	// leader may answer with old data. Until then nothing is said to be there or not.
	lostAfter = 2 * time.Second
	// behindAfter is the same if all that is wrong is that the stream ends too early: a former
	// leader that was cut off looks just like that, until it notices, after about 10 s.
	behindAfter = 15 * time.Second
)

// loss is what is known of the loss of records.
type loss struct {
	since  time.Time     // when records were first found missing; zero if they are there
	err    error         // not nil once they are known to be lost, for ever
	after  time.Duration // lostAfter and behindAfter, but in tests
	behind time.Duration
}

// judge applies what was found missing at the time now, and returns what is known: nil if nothing is
// missing, a final error that wraps reminder.ErrLost once that is certain, else another error.
func (l *loss) judge(g gap, now time.Time) error {
	patience := l.after
	if g.behind {
		patience = l.behind
	}
	switch {
	case l.err != nil:
	case g.why == "":
		l.since = time.Time{}
		return nil
	case l.since.IsZero():
		l.since = now
		fallthrough
	case now.Sub(l.since) < patience:
		return fmt.Errorf("reminders may be lost: %s", g.why)
	default:
		l.err = fmt.Errorf("%w: %s", reminder.ErrLost, g.why)
	}
	return final{l.err}
}

// isLost returns an error once reminders are known to be lost.
func (s *Store) isLost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loss.err
}

// whole finds out whether the stream still has all records. It returns nil if it has, a final error
// that wraps reminder.ErrLost once it is certain that it has not, and another error if that is not
// known.
func (s *Store) whole(ctx context.Context) error {
	if err := s.isLost(); err != nil {
		return final{err}
	}
	if err := s.reachable(); err != nil {
		return err
	}
	_, g, err := look(ctx, s.js, s.home, s.high.Load())
	if err != nil {
		return err
	}
	s.mu.Lock()
	before := s.loss.err
	err = s.loss.judge(g, time.Now())
	lost := before == nil && s.loss.err != nil
	s.mu.Unlock()
	if lost {
		s.cfg.Logger.Error("the reminders of virtual actors are lost; see the documentation of package reminder/jetstream for what to do", "stream", s.home.name, "why", g.why)
	}
	return err
}

// Check finds out whether the store still has all its reminders: nil if it has, an error that wraps
// reminder.ErrLost if it has not, and reminder.ErrUnavailable if ctx ends before that is known. It is for
// probes; the other methods find out by themselves.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, &reminder.Error{Op: "check"}, s.whole)
}

// lost returns an error if the store is known to have lost reminders. It is called when nobody listens
// on a subject of a record.
func (s *Store) lost(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	if err := s.whole(ctx); errors.Is(err, reminder.ErrLost) {
		return err
	}
	return nil
}
