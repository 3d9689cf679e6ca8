package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errStuck is wrapped by the error of a check that has not returned in time.
var errStuck = errors.New("no answer")

// single has a check run once at a time, however many ask for it, so that one that hangs does not pile up.
type single struct {
	mu  sync.Mutex // guards what follows
	now *flight    // nil: none runs
}

// flight is one run of a check.
type flight struct {
	since time.Time
	done  chan struct{}
	err   error // set before done is closed
}

// do runs f, or waits for the run that is under way. It returns an error that wraps errStuck if that has not returned for wait.
func (s *single) do(ctx context.Context, wait time.Duration, f func(context.Context) error) error {
	s.mu.Lock()
	if s.now == nil {
		run := &flight{since: time.Now(), done: make(chan struct{})}
		s.now = run
		go func() { // it ends when f returns
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
			defer cancel()
			run.err = call(ctx, f)
			s.mu.Lock()
			s.now = nil
			s.mu.Unlock()
			close(run.done)
		}()
	}
	run := s.now
	s.mu.Unlock()
	late := time.NewTimer(wait - time.Since(run.since))
	defer late.Stop()
	select {
	case <-run.done:
		return run.err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
	}
	select {
	case <-run.done:
		return run.err
	default:
		return fmt.Errorf("%w for %v", errStuck, time.Since(run.since).Round(time.Millisecond))
	}
}

// call calls f. A panic in it is its error: a check that is wrong must not end the process.
func call(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v", p)
		}
	}()
	return f(ctx)
}
