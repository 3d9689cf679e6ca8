package natshome

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// TryFor bounds one request, which is then made again: when a server dies, or a cluster has no
// leader, a request is never answered.
const TryFor = 2 * time.Second

const (
	firstWait = 2 * time.Millisecond // between the first two attempts, doubled each time
	maxWait   = 100 * time.Millisecond
)

// Final is an error after which another attempt cannot succeed.
type Final struct{ Err error }

// Error returns the text of the cause.
func (f Final) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f Final) Unwrap() error { return f.Err }

// Again is the result of an attempt after which another one is made.
type Again struct {
	Err error
	Now bool // at once: the attempt has found out what another one has to do otherwise
}

// Error returns the text of the cause.
func (a Again) Error() string { return a.Err.Error() }

// Retry calls try until its error is not an Again, and returns that. There are pauses, which grow. When ctx
// ends before, it returns an Again that wraps the error of ctx, and what the attempts have said.
func Retry(ctx context.Context, try func() error) error {
	var last error // the last one that says more than that the time ran out
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		err := try()
		again, ok := err.(Again)
		if !ok {
			return err
		}
		if last == nil || !errors.Is(again.Err, context.DeadlineExceeded) && ctx.Err() == nil {
			last = again.Err
		}
		if again.Now && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return Again{Err: fmt.Errorf("%w: %w", last, ctx.Err())}
		case <-time.After(wait):
		}
	}
}

// Read calls try, with a ctx that ends after TryFor, until it succeeds, returns an error that wraps
// a Final, Plan.Lost, or one of those in stop, or until ctx ends.
func (h *Home) Read(ctx context.Context, stop func(error) bool, try func(ctx context.Context) error) error {
	if err := h.Lost(); err != nil {
		return err
	}
	err := Retry(ctx, func() error {
		step, cancel := context.WithTimeout(ctx, TryFor)
		defer cancel()
		err := step.Err()
		if err == nil {
			err = h.Reachable()
		}
		if err == nil {
			err = try(step)
		}
		if err == nil || errors.As(err, new(Final)) || errors.Is(err, h.plan.Lost) || stop(err) {
			return err
		}
		return Again{Err: err}
	})
	if again, ok := err.(Again); ok {
		return again.Err
	}
	return err
}
