package actor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Shutdown takes the system out of its cluster and closes it. The others are told first,
// and what they send meanwhile is served. Then it refuses new work from outside, as
// rpc.Leaving, lets actors finish what is in their mailboxes and what that causes, and
// goes on answering copies of requests until the replies are acked (Config.Linger at
// most). In the end it says its last word: which requests have run, so that those who miss
// an answer learn it, and it closes the transports. When ctx ends first, or
// Config.ShutdownWait if it has no deadline, what still waits is handed back, the handlers'
// contexts end, and the error says so. A second call waits for the first.
//
// A handler that calls it, with its own context, would wait for itself: so there it returns
// nil at once, and the system ends when the handler has returned; Done says when.
//
// An actor that keeps telling itself is not waited for: once all others are idle, what it
// tells itself is refused, as rpc.Leaving. Handlers that run on after their context has
// ended are not waited for either.
func (s *System) Shutdown(ctx context.Context) error {
	if from := handling(ctx); from != nil && from.System() == s {
		go func() { // which is over when Done is closed
			ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownWait)
			defer cancel()
			_ = s.shutdown(ctx, nil)
		}()
		return nil
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.ShutdownWait)
		defer cancel()
	}
	return s.shutdown(ctx, nil)
}

// Bounds of what a shutdown waits for, beside ctx.
const (
	partWait = time.Second     // for the registry, and for peers to hear that the node leaves
	lastWait = 2 * time.Second // for them to hear its last word, and for the registry to take it
)

// shutdown is Shutdown. why is the system's Err afterwards.
func (s *System) shutdown(ctx context.Context, why error) error {
	if !s.life.enter(parting) {
		select {
		case <-s.down:
			return s.downErr
		case <-ctx.Done():
			return rpc.FromContext(ctx, rpc.Unknown)
		}
	}
	s.part(ctx)
	s.life.enter(draining)
	errs := []error{s.drain(ctx)}
	s.stopAll()
	s.cancel(errShutdown)
	linger, cancel := context.WithTimeout(ctx, s.cfg.Linger)
	if left := s.node.Linger(linger); left > 0 {
		s.log.Warn("replies were not acked before the system closed", "requests", left)
	}
	cancel()
	errs = append(errs, s.close(ctx))
	s.downErr, s.endErr = errors.Join(errs...), why
	close(s.down)
	return s.downErr
}

// part tells the others that the node leaves. Those who do not hear of it are refused.
func (s *System) part(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, partWait)
	defer cancel()
	if err := s.members.withhold(ctx); err != nil {
		s.log.Warn("the registry was not told that this node leaves", "err", err)
	}
	s.node.Farewell(ctx)
}

// drain waits until no actor runs.
func (s *System) drain(ctx context.Context) error {
	s.streams.close()
	s.lines.dissolve()
	for s.busy.Load() > 0 && ctx.Err() == nil {
		select {
		case <-s.quiet:
		case <-ctx.Done():
		}
	}
	if n := s.busy.Load(); n > 0 {
		return rpc.Errorf(rpc.Expired, rpc.Unknown, "shutdown ran out of time: %d actors were busy, what waited was handed back", n)
	}
	return nil
}

// stopAll stops the actors, and lets no new ones begin.
func (s *System) stopAll() {
	s.refs.shut()
	for _, c := range s.refs.all() {
		if c != nil {
			c.stop()
		}
	}
}

// close says the last word and closes everything.
func (s *System) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	said, heard := context.WithTimeout(ctx, lastWait/2)
	words := s.node.LastWords(said)
	heard()
	err := errors.Join(s.members.leave(ctx, words), s.node.Close())
	s.life.enter(down)
	s.members.close()
	s.services.close()
	s.jobs.close()
	s.workers.close()
	s.events.close()
	s.letters.close()
	s.sums.close()
	s.faults.close()
	s.audit.close()
	return err
}

// abandon undoes a start that has failed, and returns why it has.
func (s *System) abandon(err error) error {
	if !s.life.enter(parting) { // shut down before it was there
		<-s.down
		return errors.Join(err, s.endErr)
	}
	s.life.enter(draining)
	s.streams.close()
	s.lines.dissolve()
	s.stopAll()
	s.cancel(err)
	if err := s.close(context.Background()); err != nil {
		s.log.Warn("a start that failed was not undone altogether", "err", err)
	}
	s.endErr = err
	close(s.down)
	return err
}

// idle takes note that a run loop has ended.
func (s *System) idle() {
	if s.busy.Add(-1) == 0 && s.draining() {
		select {
		case s.quiet <- struct{}{}:
		default:
		}
	}
}

// loops are the actors that have told themselves something while the system drains, and
// whose run loops have not ended since.
type loops struct {
	mu  sync.Mutex // guards what follows
	all map[*cell]struct{}
}

// only reports, when c is about to tell itself something, whether nothing else runs than
// actors that do.
func (l *loops) only(c *cell) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*cell]struct{}{}
	}
	l.all[c] = struct{}{}
	return c.self.sys.busy.Load() <= int64(len(l.all))
}

// end takes note that c's run loop ends.
func (l *loops) end(c *cell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, c)
}

// closedTo returns why nothing may be sent to an actor of a system that drains, if that is
// so; from is the handler that sends it.
func (s *System) closedTo(from *Context, c *cell) error {
	switch {
	case from == nil:
		return errShutdown
	case from.isIn(c) && s.loops.only(c):
		return errLeaving
	}
	return nil
}
