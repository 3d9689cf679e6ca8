package jetstream

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/topic"
)

// State is the state of a store.
type State uint8

// The states.
const (
	Opened State = iota // the stream is available
	Away                // NATS does not answer
	Gone                // what was kept is gone, see GoneError
)

// String returns the state's name.
func (s State) String() string { return [...]string{"opened", "away", "gone"}[min(s, Gone)] }

// GoneError says that the stream was deleted while the store was open, or that NATS came back
// without it. It wraps topic.ErrGone. The store refuses everything until Accept or the next Open.
type GoneError struct{ Stream string }

// Error says what is gone.
func (e *GoneError) Error() string {
	return fmt.Sprintf("topic/jetstream: the stream %s was deleted, or NATS came back with an empty store: the messages published before and the positions of all subscriptions are gone", e.Stream)
}

// Unwrap returns topic.ErrGone.
func (e *GoneError) Unwrap() error { return topic.ErrGone }

// lookEvery is how often a store checks its stream. If there is a sign that it is missing, it checks
// at once, but at the earliest lookAgain after the last check.
const (
	lookEvery = 2 * time.Second
	lookAgain = 250 * time.Millisecond
)

// watch is the result of the checks so far.
type watch struct {
	state   State
	created time.Time
	fails   int // checks in a row that got no answer
	misses  int // checks in a row that found that the stream does not exist
}

// judge applies the result of a check: when the stream was created, or an error. It believes that
// the stream does not exist, or that NATS is away, only after two checks in a row.
func (w *watch) judge(created time.Time, err error) State {
	switch {
	case w.state == Gone:
	case err == nil && created.Equal(w.created):
		w.state, w.fails, w.misses = Opened, 0, 0
	case err == nil:
		w.state = Gone
	case jserror.Of(err).Cause == jserror.Gone:
		w.fails = 0
		if w.misses++; w.misses >= 2 {
			w.state = Gone
		}
	default:
		w.misses = 0
		if w.fails++; w.fails >= 2 {
			w.state = Away
		}
	}
	return w.state
}

// suspect makes the store check soon.
func (s *Store) suspect() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// look checks again and again until Close.
func (s *Store) look() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.poke:
		case <-time.After(lookEvery):
		}
		s.lookOnce()
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(lookAgain):
		}
	}
}

func (s *Store) lookOnce() {
	s.looking.Lock()
	defer s.looking.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, tryFor)
	defer cancel()
	var created time.Time
	stream, err := s.js.Stream(ctx, s.name)
	if err == nil {
		created = stream.CachedInfo().Created
	}
	before := s.watch.state
	if s.ctx.Err() != nil || s.watch.judge(created, err) == before {
		return
	}
	switch s.watch.state {
	case Gone:
		s.mu.Lock()
		s.gone = &GoneError{s.name}
		s.mu.Unlock()
		s.interrupt()
		s.cfg.Logger.Error("the messages of the durable topics are gone: nothing is published or delivered until Accept, or until the store is opened again", "stream", s.name)
	case Away:
		s.cfg.Logger.Warn("NATS does not answer for the durable topics", "stream", s.name, "err", err)
	case Opened:
		s.cfg.Logger.Info("NATS answers for the durable topics again", "stream", s.name)
	}
	if s.cfg.Changed != nil {
		s.cfg.Changed(s.watch.state)
	}
}

// Accept accepts that what was kept is gone, see GoneError: it creates the stream if it does not
// exist, and the store serves again. Subscriptions go on with the oldest message of that stream. If
// nothing is gone Accept does nothing. It may wait for NATS as Open does, and returns the same errors.
func (s *Store) Accept(ctx context.Context) error {
	s.looking.Lock()
	defer s.looking.Unlock()
	if s.watch.state != Gone {
		return nil
	}
	if err := s.ensure(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.watch = watch{created: s.stream.CachedInfo().Created}
	s.mu.Unlock()
	s.cfg.Logger.Warn("the loss of what was published was accepted: the durable topics go on", "stream", s.name)
	if s.cfg.Changed != nil {
		s.cfg.Changed(Opened)
	}
	return nil
}
