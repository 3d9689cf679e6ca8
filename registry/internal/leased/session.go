package leased

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// Session is one watch of the store, from the records that it holds at first to the watch's end. The
// goroutine that follows the store owns it, and there is one at a time.
type Session struct {
	r        *Registry
	due      *time.Timer // fires when a grace period ends
	whole    bool        // all records that the store held at first are known
	complete func()      // called then
}

// Begin begins a session, to which the last state of each name must be reported at first. A store may be
// read only after that. complete is called when all is known.
func (r *Registry) Begin(complete func()) *Session {
	r.apply(func(v *view) []registry.Event { v.beginSnapshot(); return nil })
	s := &Session{r: r, due: time.NewTimer(time.Hour), complete: complete}
	s.reset()
	return s
}

// End ends the session.
func (s *Session) End() { s.due.Stop() }

// Due fires when Expire has something to do.
func (s *Session) Due() <-chan time.Time { return s.due.C }

// Expire drops the records whose grace period has ended. It must be called only if the store answers.
func (s *Session) Expire(now time.Time) {
	if s.whole { // until then, what is not known may still come
		s.r.apply(func(v *view) []registry.Event { return v.expire(now) })
	}
	s.reset()
}

// Delay lets Due fire again a little later. It is for a store that does not answer now.
func (s *Session) Delay() { s.reset() }

// reset lets Due fire when the next grace period ends.
func (s *Session) reset() {
	s.r.mu.Lock()
	next := s.r.view.next()
	s.r.mu.Unlock()
	if !next.IsZero() {
		s.due.Reset(max(time.Until(next), 10*time.Millisecond))
	}
}

// Record reports the record of a node.
func (s *Session) Record(name string, value []byte, rev uint64) {
	r := s.r
	n, err := Decode(name, value)
	if err != nil {
		r.apply(func(v *view) []registry.Event { v.streamed = rev; return nil })
		r.leftOut(name, err)
		return
	}
	refused := false
	r.apply(func(v *view) []registry.Event {
		before := v.refused
		c := r.claims[name]
		events := v.watched(n, rev, c != nil && c.node.Epoch == n.Epoch)
		refused = v.refused > before
		return events
	})
	if refused {
		r.leftOut(name, errFull)
	}
}

// Left reports that a node was deregistered or evicted.
func (s *Session) Left(name string, rev uint64) {
	s.r.apply(func(v *view) []registry.Event { return v.marker(name, rev, registry.Left, time.Time{}) })
}

// Expired reports that the lease of a node has ended.
func (s *Session) Expired(name string, rev uint64) {
	now := time.Now()
	until := s.r.grace(now)
	if !s.whole { // as what the session does not find, it may have ended while the store was away
		until = now.Add(s.r.cfg.Lease)
	}
	s.r.apply(func(v *view) []registry.Event { return v.marker(name, rev, registry.Expired, until) })
	s.reset()
}

// Whole reports that the session now has the last state of each name, at revision rev or later. A
// record that it did not get has been gone for an unknown time, and is served for one more lease.
func (s *Session) Whole(rev uint64) {
	until := time.Now().Add(s.r.cfg.Lease)
	s.r.apply(func(v *view) []registry.Event { v.endSnapshot(until); v.reached(rev); return nil })
	s.whole = true
	s.reset()
	s.complete()
}

// Reached reports that the session has all changes up to revision rev.
func (s *Session) Reached(rev uint64) {
	s.r.apply(func(v *view) []registry.Event { v.reached(rev); return nil })
}

// Watched returns the highest revision that was reported to the session. It may be called by any
// goroutine.
func (r *Registry) Watched() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.streamed
}

// grace returns until when a record that expires now is still served; zero if it is not.
func (r *Registry) grace(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble.IsZero() || now.Sub(r.trouble) > r.cfg.Lease {
		return time.Time{}
	}
	return now.Add(r.cfg.Lease)
}

var errFull = fmt.Errorf("%w: the records of other nodes fill Config.MaxRecords or MaxBytes", registry.ErrTooLarge)

const leftOutPause = time.Minute

// leftOut logs that a record is not served. There is one line for all such records of a minute.
// Only the goroutine that follows the store calls it.
func (r *Registry) leftOut(name string, why error) {
	r.unsaid++
	if now := time.Now(); r.said.IsZero() || now.Sub(r.said) >= leftOutPause {
		r.log.Warn("the registry holds records that are not served", "count", r.unsaid, "latest", name, "err", why)
		r.said, r.unsaid = now, 0
	}
}

const (
	firstBackoff = 50 * time.Millisecond // after a session has ended; it doubles each time
	lastBackoff  = 2 * time.Second       // the longest one
)

// Open starts the registry with a watch that is opened again, with a back-off, whenever it has broken off. watch
// begins a session, reports to it, and returns why it has ended; its errors wrap a sentinel of package
// registry. Open returns nil as soon as all records are known. It waits for a store that is away, until ctx ends, or
// for Config.StartWait if ctx has no deadline, and logs what it waits for; then its error wraps
// ErrUnavailable. If waiting cannot help, it returns at once: ErrDenied or ErrClosed.
func (r *Registry) Open(ctx context.Context, watch func(ctx context.Context, complete func()) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.cfg.StartWait)
		defer cancel()
	}
	var latest error // owned by the goroutine that follows the store, and read after its end
	err := r.Start(ctx, func(ctx context.Context, complete chan<- struct{}, failed chan<- error) {
		wait, said := firstBackoff, false
		for ctx.Err() == nil {
			if latest != nil { // the pause before this may have been longer than a lease
				r.Trouble()
			}
			err := watch(ctx, func() {
				if said {
					r.log.Info("the registry's watch is back")
				}
				wait, said = firstBackoff, false
				if complete != nil {
					close(complete)
					complete = nil
				}
			})
			if ctx.Err() != nil {
				return
			}
			r.Trouble()
			latest = err
			if complete != nil && (errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrClosed)) {
				failed <- err
				return
			}
			if !said {
				r.log.Warn("the registry's watch is not open, and is opened again", "err", err)
				said = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, lastBackoff)
		}
	})
	switch {
	case err == nil:
		return nil
	case latest != nil && !errors.Is(err, latest):
		err = fmt.Errorf("%w; the store said: %w", err, latest)
	}
	return fmt.Errorf("%s: opening the registry: %w", r.cfg.Package, err)
}
