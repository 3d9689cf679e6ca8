package natshome

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// lostAfter is how long messages must be missing before that is believed, since a former
	// leader may answer with old data. Until then nothing is said to be there or not.
	lostAfter = 2 * time.Second
	// behindAfter is the same if all that is wrong is that the stream ends too early: a former
	// leader that was cut off looks just like that, until it notices, after about 10 s.
	behindAfter = 15 * time.Second
)

// loss is what is known of the loss of messages. It ends in lost, which is for ever.
type loss struct {
	// turn holds one element while nobody looks. Whoever has it owns the fields below.
	turn  chan struct{}
	since time.Time // when messages were first found missing; zero if they are there
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

// Lost returns an error that wraps Plan.Lost once messages are known to be lost. It does not look.
func (h *Home) Lost() error {
	select {
	case <-h.loss.lost:
		return h.loss.err
	default:
		return nil
	}
}

// Whole finds out whether the stream still has all messages. It returns nil if it has, a Final error
// that wraps Plan.Lost once it is certain that it has not, and another error if that is not known.
// ctx should end soon.
//
// Many may ask at the same time. Those who asked before a look began share its answer.
func (h *Home) Whole(ctx context.Context) error {
	l := h.loss
	number := l.asked.Add(1)
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := h.Lost(); err != nil {
		return Final{err}
	}
	if number <= l.good {
		return nil
	}
	if err := h.Reachable(); err != nil {
		return err
	}
	asked := l.asked.Load()
	_, gap, err := h.plan.look(ctx, h.js, h.place, h.high.Load())
	switch {
	case err != nil:
		return err
	case gap.why == "":
		l.since, l.good = time.Time{}, asked
		return nil
	case l.since.IsZero():
		l.since = time.Now()
	}
	patience := l.after
	if gap.behind {
		patience = l.behind
	}
	if time.Since(l.since) < patience {
		return fmt.Errorf("%s may be lost: %s", h.plan.What, gap.why)
	}
	l.err = fmt.Errorf("%w: %s", h.plan.Lost, gap.why)
	close(l.lost)
	h.plan.Logger.Error(fmt.Sprintf("the %s are lost; see the documentation of package %s for what to do", h.plan.What, h.plan.Package), "stream", h.plan.Stream, "why", gap.why)
	return Final{l.err}
}

// Believed returns how long something must be missing before that is believed.
func (h *Home) Believed() time.Duration { return h.loss.after }
