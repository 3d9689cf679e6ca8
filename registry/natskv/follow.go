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
	"github.com/tandem-go/tandem/registry/internal/leased"
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
	conn := r.bucket.js.Conn()
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
			r.Trouble()
			r.log.Info("reading the registry again after a reconnect")
			continue
		}
		fault := fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
		if !errors.Is(err, errStalled) && !errors.Is(err, errWatchEnded) {
			fault = r.bucket.fault(before, err)
		}
		r.Trouble()
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
	conn := r.bucket.js.Conn()
	reconnects := conn.Stats().Reconnects
	same := func() bool { return conn.Stats().Reconnects == reconnects }

	w, end, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	s := r.Begin(complete)
	defer s.End()
	stalled, endProbe := r.probe(ctx)
	defer endProbe()
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
		case now := <-s.Due():
			if conn.IsConnected() && same() { // while NATS is away nothing expires
				s.Expire(now)
			} else {
				s.Delay()
			}
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errWatchEnded
			case e != nil:
				take(s, e)
			default:
				s.Whole(0)
			}
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

// take reports one entry of the watch to the session.
func take(s *leased.Session, e jetstream.KeyValueEntry) {
	switch name, rev := e.Key(), e.Revision(); e.Operation() {
	case jetstream.KeyValuePut:
		s.Record(name, e.Value(), rev)
	case jetstream.KeyValueDelete:
		s.Left(name, rev)
	case jetstream.KeyValuePurge: // what an expired TTL leaves behind
		s.Expired(name, rev)
	}
}
