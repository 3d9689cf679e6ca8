package actor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/tandem-go/tandem/rpc"
)

// life is where a system is in its life. It only ever goes on to a later stage:
//
//	joining ──► serving ──► parting ──► draining ──► down
//	   └───────────────────────┴── a start that fails, Shutdown, or the loss of its name
//
// While it joins it has its name, takes over the records of earlier starts, opens its
// roads and runs Config.Setup; no request of another node is answered. While it parts the
// others learn that they should ask another one, and what reaches it is served. While it
// drains it refuses what is new, and finishes the rest.
type life struct {
	stage atomic.Uint32
	minds stage // from which on messages within the system are for putMindful; never changes
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

// enter goes on to s, and reports false if the system is there already, or beyond.
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

// draining reports whether the system takes nothing new from outside.
func (s *System) draining() bool { return s.life.reached(draining) }

// ErrFenced is wrapped by System.Err of a system that has ended because another process
// has its name or its records: the requests that it ran last may be unknown to that one.
var ErrFenced = errors.New("actor: another process has taken over this node's name")

// Done is closed when the system has ended: after Shutdown, or because it had lost its
// name to another process.
func (s *System) Done() <-chan struct{} { return s.down }

// Err is nil until Done is closed, and after a Shutdown that somebody called. Else it says
// why the system has ended; it wraps ErrFenced then.
func (s *System) Err() error {
	select {
	case <-s.down:
		return s.endErr
	default:
		return nil
	}
}

// join makes the node known: last, when all of it is there. The name comes first, for
// whoever has it may take the records over.
func (s *System) join() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.StartWait)
	defer cancel()
	s.started.Do(func() {})
	addrs, err := s.node.Listen(ctx, true) // which disturbs nobody, and may show that the holder of the name is dead
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
	ctx, cancel = context.WithTimeout(s.ctx, s.cfg.StartWait) // Setup has had its own time
	defer cancel()
	return s.members.offer(ctx, addrs)
}

// setUp has the application spawn what it hosts, and begins to serve.
func (s *System) setUp() error {
	if s.cfg.Setup != nil {
		if err := s.cfg.Setup(s); err != nil {
			return fmt.Errorf("actor: Config.Setup: %w", err)
		}
	}
	if !s.life.enter(serving) {
		return errShutdown // by Setup
	}
	return nil
}

// fenced ends a system whose name or records are another process's now.
func (s *System) fenced(err error) {
	s.fence.Do(func() {
		err = fmt.Errorf("%w: %w", ErrFenced, err)
		s.log.Error("another process has this node's name; this one ends", "err", err)
		s.event(Event{Type: NodeFenced, Peer: s.cfg.Name, Err: err})
		go func() { // which is over when Done is closed
			ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownWait)
			defer cancel()
			_ = s.shutdown(ctx, err)
		}()
	})
}

// errShutdown is what the callers of a system that drains get, errLeaving those on other
// nodes.
var (
	errShutdown = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the system is shutting down")
	errLeaving  = rpc.Errorf(rpc.Leaving, rpc.NotRun, "the node is shutting down")
)
