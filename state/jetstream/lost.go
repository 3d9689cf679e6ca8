package jetstream

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/state"
)

const (
	// lostAfter is how long records must be missing before that is believed, since a former
	// leader may answer with old data. Until then nothing is said to be there or not.
	lostAfter = 2 * time.Second
	// behindAfter is the same if all that is wrong is that the stream ends too early: a former
	// leader that was cut off looks just like that, until it notices, after about 10 s.
	behindAfter = 15 * time.Second
)

// loss is what is known of the loss of records. It ends in lost, which is for ever.
type loss struct {
	// turn holds one element while nobody looks. Whoever has it owns the fields below.
	turn  chan struct{}
	since time.Time // when records were first found missing; zero if they are there
	good  uint64    // those who asked up to this number have their answer: nothing was missing

	asked  atomic.Uint64 // how many have asked
	lost   chan struct{} // closed when they are lost
	err    error         // why; read only after lost was closed
	after  time.Duration // lostAfter and behindAfter, but in tests
	behind time.Duration
}

func newLoss() *loss {
	l := &loss{turn: make(chan struct{}, 1), lost: make(chan struct{}), after: lostAfter, behind: behindAfter}
	l.turn <- struct{}{}
	return l
}

// isLost returns an error once records are known to be lost.
func (s *Store) isLost() error {
	select {
	case <-s.loss.lost:
		return s.loss.err
	default:
		return nil
	}
}

// whole finds out whether the stream still has all records. It returns nil if it has, a final error
// that wraps state.ErrLost once it is certain that it has not, and another error if that is not
// known.
//
// Many may ask at the same time. Those who asked before a look began share its answer.
func (s *Store) whole(ctx context.Context) error {
	number := s.loss.asked.Add(1)
	select {
	case <-s.loss.turn:
		defer func() { s.loss.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.isLost(); err != nil {
		return final{err}
	}
	if number <= s.loss.good {
		return nil
	}
	if err := s.reachable(); err != nil {
		return err
	}
	asked := s.loss.asked.Load()
	_, gap, err := look(ctx, s.js, s.home, s.high.Load())
	switch {
	case err != nil:
		return err
	case gap.why == "":
		s.loss.since, s.loss.good = time.Time{}, asked
		return nil
	case s.loss.since.IsZero():
		s.loss.since = time.Now()
	}
	patience := s.loss.after
	if gap.behind {
		patience = s.loss.behind
	}
	if time.Since(s.loss.since) < patience {
		return fmt.Errorf("records may be lost: %s", gap.why)
	}
	s.loss.err = fmt.Errorf("%w: %s", state.ErrLost, gap.why)
	close(s.loss.lost)
	s.cfg.Logger.Error("the state of virtual actors is lost; see the documentation of package state/jetstream for what to do", "stream", s.home.name, "why", gap.why)
	return final{s.loss.err}
}

// Check finds out whether the store still has all its records: nil if it has, an error that wraps
// state.ErrLost if it has not, and state.ErrUnavailable if ctx ends before that is known. It is for
// probes; the other methods find out by themselves.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, &state.Error{Op: "check"}, s.whole)
}

// saw notes that a message was stored under seq.
func (s *Store) saw(seq uint64) {
	for old := s.high.Load(); seq > old && !s.high.CompareAndSwap(old, seq); old = s.high.Load() {
	}
}

// reachable returns an error if the connection is known to be down, so that nothing waits in a
// reconnect buffer.
func (s *Store) reachable() error {
	switch status := s.js.Conn().Status(); status {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		return final{fmt.Errorf("%w: connection is %v", nats.ErrConnectionClosed, status)}
	default:
		return fmt.Errorf("not connected to NATS: connection is %v", status)
	}
}
