package actor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Shutdown takes the system out of its cluster and closes it. It first tells the other nodes,
// and serves what they still send. Then it refuses new requests from outside as rpc.Leaving,
// lets actors finish the messages in their mailboxes and those that these cause, and
// goes on answering copies of requests until the replies are acked (for Config.AckWait at
// most). At the end it sends its last word, which says which requests have run, for clients
// that miss an answer, and closes the transports. If ctx ends first, or Config.ShutdownWait
// has passed and ctx has no deadline, the messages that still wait are handed back, the
// handlers' contexts end, and the error says so. A second call waits for the first.
//
// Called by a handler with its own context, Shutdown would wait for itself. So it returns nil
// at once there, and the system ends after the handler has returned; Done says when.
//
// Shutdown does not wait for an actor that sends itself messages without end, or gets them of its
// timers: once all others are idle, the messages are refused as rpc.Leaving, and the timers end. Nor does it wait for handlers that run
// on after their context has ended.
func (s *System) Shutdown(ctx context.Context) error {
	if from := handling(ctx); from != nil && from.System() == s {
		go func() { // it ends when Done is closed
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

// Further bounds of the phases of a shutdown.
const (
	partWait = time.Second     // for the registry and the peers to learn that the node leaves
	lastWait = 2 * time.Second // for them to get its last word
)

// shutdown is Shutdown. Afterwards the system's Err is why.
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
	if by, ok := ctx.Deadline(); ok {
		s.endBy.Store(&by)
	}
	s.life.enter(draining)
	errs := []error{s.drain(ctx)}
	s.stopAll()
	if n := s.settle(ctx); n > 0 && errs[0] == nil {
		errs[0] = rpc.Errorf(rpc.Expired, rpc.Unknown, "shutdown ran out of time: %d actors had not ended", n)
	}
	s.cancel(errShutdown)
	acked, cancel := context.WithTimeout(ctx, s.cfg.AckWait)
	if left := s.node.Server.AwaitAcks(acked); left > 0 {
		s.log.Warn("replies were not acked before the system closed", "requests", left)
	}
	cancel()
	errs = append(errs, s.close(ctx))
	s.downErr, s.endErr = errors.Join(errs...), why
	close(s.down)
	return s.downErr
}

// part tells the other nodes that this one leaves. Requests of those that it does not reach
// are refused later.
func (s *System) part(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, partWait)
	defer cancel()
	if err := s.members.withhold(ctx); err != nil {
		s.log.Warn("the registry was not told that this node leaves", "err", err)
	}
	s.node.AnnounceLeaving(ctx)
}

// drain waits until no actor runs.
func (s *System) drain(ctx context.Context) error {
	s.streams.close()
	s.feeds.stop()
	s.reminding.stop()
	s.waitLists.nudgeAll()
	s.keeps.hasten()
	for _, c := range s.refs.all() {
		c.hasten()
	}
	stop := s.virtuals.handOver()
	n := s.settle(ctx)
	stop()
	s.outbox.drain(ctx)
	if n > 0 {
		return rpc.Errorf(rpc.Expired, rpc.Unknown, "shutdown ran out of time: %d actors were busy, what waited was handed back", n)
	}
	return nil
}

// settle waits until nothing runs any more, or ctx ends. It returns how much still runs.
func (s *System) settle(ctx context.Context) int64 {
	for s.busy.Load() > 0 && ctx.Err() == nil {
		select {
		case <-s.quiet:
		case <-ctx.Done():
		}
	}
	return s.busy.Load()
}

// stopAll stops the actors, and lets no new ones start. Children are stopped by their parents.
func (s *System) stopAll() {
	s.refs.shut()
	for _, c := range s.refs.all() {
		if c.parent() == nil {
			c.end(errShutdown)
		}
	}
}

// close sends the last word and closes everything.
func (s *System) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	released, enough := context.WithTimeout(ctx, lastWait/2)
	s.virtuals.close(released)
	enough()
	said, heard := context.WithTimeout(ctx, lastWait/2)
	words := s.node.LastWords(said)
	heard()
	err := errors.Join(s.members.leave(ctx, words), s.node.Close())
	s.life.enter(down)
	s.members.close()
	s.feeds.running.Wait()
	s.services.close()
	s.jobs.close()
	s.workers.close()
	s.clock.close()
	s.waiters.Close()
	s.events.close()
	s.letters.close()
	s.letterLog.close()
	s.faults.close()
	s.audit.close()
	s.admission.log.close()
	return err
}

// abandon undoes a start that has failed, and returns why it failed.
func (s *System) abandon(err error) error {
	if !s.life.enter(parting) { // Shutdown was called before the start was complete
		<-s.down
		return errors.Join(err, s.endErr)
	}
	s.life.enter(draining)
	s.streams.close()
	s.feeds.stop()
	s.waitLists.nudgeAll()
	by := time.Now().Add(lastWait)
	s.endBy.Store(&by)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.outbox.drain(gone)
	s.stopAll()
	ctx, cancel := context.WithDeadline(context.Background(), by)
	s.settle(ctx)
	cancel()
	s.cancel(err)
	if err := s.close(context.Background()); err != nil {
		s.log.Warn("a start that failed was not undone altogether", "err", err)
	}
	s.endErr = err
	close(s.down)
	return err
}

// idle notes that a run loop, or something else that counts as busy, has ended.
func (s *System) idle() {
	if s.busy.Add(-1) == 0 && s.draining() {
		select {
		case s.quiet <- struct{}{}:
		default:
		}
	}
}

// loops are the actors that have sent themselves a message while the system drains, or have got one
// of a timer, and whose run loops have not ended since.
type loops struct {
	mu  sync.Mutex // guards what follows
	all map[*cell]struct{}
}

// only notes that c is about to send itself a message, or to get one of a timer. It reports whether all actors that run
// have done that.
func (l *loops) only(c *cell) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*cell]struct{}{}
	}
	l.all[c] = struct{}{}
	return c.self.sys.busy.Load() <= int64(len(l.all))
}

// end notes that c's run loop ends.
func (l *loops) end(c *cell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, c)
}

// closedTo returns why from, a handler or nil, may not send to actor c of a system that
// drains. It returns nil if it may.
func (s *System) closedTo(from *Context, c *cell) error {
	switch {
	case from == nil:
		return errShutdown
	case from.isIn(c) && s.loops.only(c):
		return errLeaving
	}
	return nil
}
