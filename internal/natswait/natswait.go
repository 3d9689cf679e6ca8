// Package natswait waits for NATS when something on it is opened: a registry, a store, a queue
// or a road. Programs and servers start in any order. So it waits for a server that is not
// there yet, for a leader of JetStream, or for enough servers for a replicated stream, and
// tells the user only if that takes long.
//
//	err := natswait.For{What: "the registry shop", Logger: log}.Until(ctx, nc, func(ctx context.Context) error {
//		_, err := js.KeyValue(ctx, "shop_nodes")
//		return err
//	})
package natswait

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Defaults.
const (
	DefaultWait = 30 * time.Second // if neither ctx nor For sets a limit
	DefaultTry  = 2 * time.Second  // of one attempt: a server that has just died never answers

	firstPause = 50 * time.Millisecond // between two attempts, doubled each time
	lastPause  = time.Second           // and this is the longest
)

// For says what to wait for, and how long.
type For struct {
	What   string        // what is being opened, with an article: "the registry shop"
	Wait   time.Duration // limit where ctx has no deadline; default DefaultWait
	Try    time.Duration // limit of one attempt; default DefaultTry
	Logger *slog.Logger  // gets one line for each change of what is missing; default slog.Default()
}

// Error is what Until returns when it gives up. It wraps the cause.
type Error struct {
	What   string
	Reason // of the last attempt
	Waited time.Duration
	Err    error
}

// Error names what is missing, for how long it was waited for, and what to do.
func (e *Error) Error() string {
	s := fmt.Sprintf("cannot open %s: %s", e.What, e.Why)
	if e.Again {
		s += fmt.Sprintf(", still after %v", e.Waited.Round(time.Millisecond))
	}
	if e.Do != "" {
		s += "; " + e.Do
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Stop marks an error of try that waiting does not cure. Until returns err itself.
func Stop(err error) error { return stop{err} }

type stop struct{ error }

// Until calls try until it returns nil, with pauses that grow. It returns an *Error when ctx
// has ended (or, if ctx has no deadline, after f.Wait), or at once if waiting does not cure
// the error; see Explain.
func (f For) Until(ctx context.Context, nc *nats.Conn, try func(ctx context.Context) error) error {
	if f.Logger == nil {
		f.Logger = slog.Default()
	}
	if f.Wait <= 0 {
		f.Wait = DefaultWait
	}
	if f.Try <= 0 {
		f.Try = DefaultTry
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.Wait)
		defer cancel()
	}
	began, logged := time.Now(), ""
	var why Reason // of the last attempt that had all its time
	var cause error
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		before := lastError(nc)
		err := f.once(ctx, try)
		if s := (stop{}); errors.As(err, &s) {
			return s.error
		}
		if err == nil {
			if logged != "" {
				f.Logger.Info("NATS: what was missing is there", "for", f.What, "after", time.Since(began).Round(time.Millisecond))
			}
			return nil
		}
		if cause == nil || ctx.Err() == nil { // else it was interrupted, and its error says less than the one before
			why, cause = Explain(nc, before, err), err
		}
		if ctx.Err() != nil || !why.Again {
			return &Error{f.What, why, time.Since(began), cause}
		}
		if why.Why != logged {
			logged = why.Why
			f.Logger.Warn("waiting for NATS: "+why.Why, "for", f.What, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (f For) once(ctx context.Context, try func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.Try)
	defer cancel()
	return try(ctx)
}

func lastError(nc *nats.Conn) error {
	if nc == nil {
		return nil
	}
	return nc.LastError()
}
