package actor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/tandem-go/tandem/rpc"
)

// life is the stage of a system's life. It only ever changes to a later stage:
//
//	joining ──► serving ──► parting ──► draining ──► down
//	   └───────────────────────┴── a start that fails, Shutdown, or the loss of its name
//
// While joining, it claims its name, takes over the records of earlier starts, opens its
// roads and runs Config.Setup; no request of another node is answered. While parting, other
// nodes learn that they should send to another node, and requests that still arrive are
// served. While draining, it refuses new requests and finishes the others.
type life struct {
	stage           atomic.Uint32
	checksSendsFrom stage // the stage from which on messages within the system have to go through putChecked; never changes
}

type stage = uint32

const (
	joining stage = iota
	serving
	parting
	draining
	down
)

func (l *life) reached(s stage) bool { return l.stage.Load() >= s }

// enter changes to stage s. It returns false if s, or a later stage, was reached before.
func (l *life) enter(s stage) bool {
	for {
		now := l.stage.Load()
		if now >= s {
			return false
		}
		if l.stage.CompareAndSwap(now, s) {
			return true
		}
	}
}

// draining reports whether the system refuses new requests from outside.
func (s *System) draining() bool { return s.life.reached(draining) }

// ErrFenced is wrapped by System.Err of a system that has ended because another process
// has taken over its name or its records. That process may not know the requests that this
// one ran last.
var ErrFenced = errors.New("actor: another process has taken over this node's name")

// Done is closed when the system has ended: after Shutdown, or because it had lost its
// name to another process.
func (s *System) Done() <-chan struct{} { return s.down }

// Err is nil until Done is closed, and after a call of Shutdown. If the system has ended by
// itself, Err says why, and wraps ErrFenced.
func (s *System) Err() error {
	select {
	case <-s.down:
		return s.endErr
	default:
		return nil
	}
}

// join starts the node: it claims the name first, because only the holder of the name may take
// the records over, and offers its services to others last, when everything is up.
func (s *System) join() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.StartWait)
	defer cancel()
	s.started.Do(func() {})
	addrs, err := s.node.Listen(ctx, true) // direct roads only; that disturbs nobody, and may show that the holder of the name is dead
	if err != nil {
		return err
	}
	if s.cfg.Registry != nil {
		if err := s.members.enter(ctx); err != nil {
			return err
		}
	}
	if err := s.node.TakeOver(ctx); err != nil {
		return err
	}
	more, err := s.node.Listen(ctx, false)
	if err != nil {
		return err
	}
	maps.Copy(addrs, more)
	if err := s.setUp(); err != nil {
		return err
	}
	s.node.Serve()
	if s.cfg.Registry == nil {
		return nil
	}
	ctx, cancel = context.WithTimeout(s.ctx, s.cfg.StartWait) // the time that Setup took does not count
	defer cancel()
	return s.members.offer(ctx, addrs)
}

// setUp calls Config.Setup, and begins to serve.
func (s *System) setUp() error {
	if s.cfg.Setup != nil {
		if err := s.cfg.Setup(s); err != nil {
			return fmt.Errorf("actor: Config.Setup: %w", err)
		}
	}
	if !s.life.enter(serving) {
		return errShutdown // Setup has called Shutdown
	}
	return nil
}

// fenced ends a system whose name or records another process has taken over.
func (s *System) fenced(err error) {
	s.fence.Do(func() {
		err = fmt.Errorf("%w: %w", ErrFenced, err)
		s.log.Error("another process has this node's name; this one ends", "err", err)
		s.event(Event{Type: NodeFenced, Peer: s.cfg.Name, Err: err})
		go func() { // it ends when Done is closed
			ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownWait)
			defer cancel()
			_ = s.shutdown(ctx, err)
		}()
	})
}

// Callers get errShutdown from their own system when it drains, and errLeaving from another
// node that drains.
//
// ErrShutdown is why actors end in a shutdown: see Terminated and the hook Stopping.
var (
	ErrShutdown error = errShutdown

	errShutdown = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the system is shutting down")
	errLeaving  = rpc.Errorf(rpc.Leaving, rpc.NotRun, "the node is shutting down")
)
