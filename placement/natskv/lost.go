package natskv

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/placement"
)

const (
	// lostAfter is how long claims must be missing before that is believed, since a former
	// leader may answer with old data. Until then nothing is said to be there or not.
	lostAfter = 2 * time.Second
	// behindAfter is the same if all that is wrong is that the stream ends too early: a former
	// leader that was cut off looks just like that, until it notices, after about 10 s.
	behindAfter = 15 * time.Second
)

// loss is what is known of the loss of claims. It ends in lost, which is for ever.
type loss struct {
	// turn holds one element while nobody looks. Whoever has it owns the fields below.
	turn  chan struct{}
	since time.Time // when claims were first found missing; zero if they are there
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

// isLost returns an error once claims are known to be lost.
func (c *Claims) isLost() error {
	select {
	case <-c.loss.lost:
		return c.loss.err
	default:
		return nil
	}
}

// whole finds out whether the stream still has all claims. It returns nil if it has, a final error
// that wraps placement.ErrLost once it is certain that it has not, and another error if that is not
// known.
//
// Many may ask at the same time. Those who asked before a look began share its answer.
func (c *Claims) whole(ctx context.Context) error {
	number := c.loss.asked.Add(1)
	select {
	case <-c.loss.turn:
		defer func() { c.loss.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.isLost(); err != nil {
		return final{err}
	}
	if number <= c.loss.good {
		return nil
	}
	if err := c.reachable(); err != nil {
		return err
	}
	asked := c.loss.asked.Load()
	_, gap, err := look(ctx, c.js, c.home, c.high.Load())
	switch {
	case err != nil:
		return err
	case gap.why == "":
		c.loss.since, c.loss.good = time.Time{}, asked
		return nil
	case c.loss.since.IsZero():
		c.loss.since = time.Now()
	}
	patience := c.loss.after
	if gap.behind {
		patience = c.loss.behind
	}
	if time.Since(c.loss.since) < patience {
		return fmt.Errorf("claims may be lost: %s", gap.why)
	}
	c.loss.err = fmt.Errorf("%w: %s", placement.ErrLost, gap.why)
	close(c.loss.lost)
	c.cfg.Logger.Error("the claims of virtual actors are lost; see the documentation of package placement/natskv for what to do", "stream", c.home.names.stream, "why", gap.why)
	return final{c.loss.err}
}

// Check finds out whether the store still has all its claims: nil if it has, an error that wraps
// placement.ErrLost if it has not, and placement.ErrUnavailable if ctx ends before that is known. It is for
// probes; the other methods find out by themselves.
func (c *Claims) Check(ctx context.Context) error {
	return c.read(ctx, &placement.Error{Op: "check"}, c.whole)
}

// saw notes that a message was stored under seq.
func (c *Claims) saw(seq uint64) {
	for old := c.high.Load(); seq > old && !c.high.CompareAndSwap(old, seq); old = c.high.Load() {
	}
}

// reachable returns an error if the connection is known to be down, so that nothing waits in a
// reconnect buffer.
func (c *Claims) reachable() error {
	switch status := c.js.Conn().Status(); status {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		return final{fmt.Errorf("%w: connection is %v", nats.ErrConnectionClosed, status)}
	default:
		return fmt.Errorf("not connected to NATS: connection is %v", status)
	}
}
