package natskv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/registry"
)

const (
	firstBackoff = 50 * time.Millisecond // after a failure to open a watch; it doubles each time
	lastBackoff  = 2 * time.Second       // the longest one
	openTimeout  = 4 * time.Second       // bounds opening a watch
)

var (
	errReconnected = errors.New("natskv: connection was re-established")
	errWatchEnded  = errors.New("natskv: watch ended")
	errStalled     = errors.New("natskv: watch has stalled")
)

// follow updates the view from the bucket until ctx ends. It is the only goroutine that watches.
// After every reconnect it reads all records again, because the watch may have missed something
// meanwhile: markers do not stay for ever, and the consumer behind the watch may have died with
// its server. complete is closed when all records are known for the first time; failed gets the
// error if that can never happen.
func (r *Registry) follow(ctx context.Context, complete chan<- struct{}, failed chan<- error) {
	defer close(r.followed)
	conn := r.js.Conn()
	status := conn.StatusChanged()
	defer conn.RemoveStatusListener(status)

	wait, logged := firstBackoff, ""
	for {
		before := conn.LastError()
		err := r.session(ctx, status, func() {
			if logged != "" {
				r.log.Info("the registry's watch is back")
			}
			wait, logged = firstBackoff, ""
			if complete != nil {
				close(complete)
				complete = nil
			}
		})
		if ctx.Err() != nil {
			return
		}
		if conn.IsClosed() {
			r.log.Error("the registry's NATS connection was closed for good: its cache no longer changes, and this node's lease will run out", "err", conn.LastError())
			failed <- r.bucket.fault(before, nats.ErrConnectionClosed)
			<-ctx.Done()
			return
		}
		if errors.Is(err, errReconnected) {
			r.noted(fmt.Errorf("%w: %w", registry.ErrUnavailable, err))
			r.log.Info("reading the registry again after a reconnect")
			continue
		}
		fault := fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
		if !errors.Is(err, errStalled) && !errors.Is(err, errWatchEnded) {
			fault = r.bucket.fault(before, err)
		}
		r.noted(fault)
		if complete != nil && errors.Is(fault, registry.ErrDenied) {
			failed <- fault
			<-ctx.Done()
			return
		}
		if why := natswait.Explain(conn, before, err).Why; errors.Is(err, errStalled) || why != logged {
			r.log.Warn("the registry's watch broke off, and is opened again", "err", fault)
			logged = why
		}
		select {
		case <-ctx.Done():
		case <-status:
		case <-time.After(wait):
		}
		wait = min(2*wait, lastBackoff)
	}
}

// session opens one watch, updates the view from it, and returns why the watch has ended. It calls
// complete when all records have been read.
func (r *Registry) session(ctx context.Context, status <-chan nats.Status, complete func()) error {
	conn := r.js.Conn()
	reconnects := conn.Stats().Reconnects
	same := func() bool { return conn.Stats().Reconnects == reconnects }

	w, end, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	r.apply(func(v *view) []registry.Event { v.beginSnapshot(); return nil })

	stalled, endProbe := r.probe(ctx)
	defer endProbe()
	grace := time.NewTimer(time.Hour) // reset below, when a record has a grace period
	defer grace.Stop()
	whole := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-status:
			if !same() {
				return errReconnected
			}
		case <-stalled:
			return errStalled
		case now := <-grace.C:
			if whole && conn.IsConnected() && same() { // while NATS is away nothing expires
				r.apply(func(v *view) []registry.Event { return v.expire(now) })
			}
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errWatchEnded
			case e != nil:
				r.take(e)
			default:
				until := time.Now().Add(r.cfg.Lease)
				r.apply(func(v *view) []registry.Event { v.endSnapshot(until); return nil })
				whole = true
				complete()
			}
		}
		r.mu.Lock()
		next := r.view.next()
		r.mu.Unlock()
		if !next.IsZero() {
			grace.Reset(max(time.Until(next), 10*time.Millisecond))
		}
	}
}

// open finds the bucket, or recreates it if it is gone, and watches it. end stops the watch and
// waits for it.
func (r *Registry) open(ctx context.Context) (w jetstream.KeyWatcher, end func(), err error) {
	life, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(openTimeout, cancel) // Watch itself has no timeout
	kv, err := r.bucket.open(life)
	if err == nil {
		w, err = kv.Watch(life, "*") // only names, and not the departures that were moved
	}
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("opening bucket %s: %w", r.bucket.name, err)
	}
	end = func() {
		// w.Stop is not called, because it would wait 5 s for a server that has just died to
		// delete the consumer. When life ends, nats.go deletes it in the background.
		cancel()
		for range w.Updates() { // unblocks the watcher's callback; closed when that is done
		}
	}
	if !late.Stop() {
		end()
		return nil, nil, fmt.Errorf("opening bucket %s: %w", r.bucket.name, context.DeadlineExceeded)
	}
	return w, end, nil
}

// take passes one entry of the watch to the view.
func (r *Registry) take(e jetstream.KeyValueEntry) {
	name, rev := e.Key(), e.Revision()
	switch e.Operation() {
	case jetstream.KeyValuePut:
		n, err := decode(name, e.Value())
		if err != nil {
			r.mu.Lock()
			r.view.streamed = rev
			r.mu.Unlock()
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
	case jetstream.KeyValueDelete:
		r.apply(func(v *view) []registry.Event { return v.marker(name, rev, registry.Left, time.Time{}) })
	case jetstream.KeyValuePurge: // what an expired TTL leaves behind
		until := r.grace(time.Now())
		r.apply(func(v *view) []registry.Event { return v.marker(name, rev, registry.Expired, until) })
	}
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

var errFull = fmt.Errorf("%w: the records of other nodes fill natskv.Config.MaxRecords or MaxBytes", registry.ErrTooLarge)

const leftOutPause = time.Minute

// leftOut logs that a record is not served. There is one line for all such records of a minute.
// Only the goroutine of follow calls it.
func (r *Registry) leftOut(name string, why error) {
	r.unsaid++
	if now := time.Now(); r.said.IsZero() || now.Sub(r.said) >= leftOutPause {
		r.log.Warn("the registry holds records that are not served", "count", r.unsaid, "latest", name, "err", why)
		r.said, r.unsaid = now, 0
	}
}
