package rpc

import (
	"context"

	"github.com/tandem-go/tandem/internal/promise"
)

// Future is the reply of an outstanding request. It is decided once and keeps its
// result. All methods may be called concurrently and any number of times.
type Future[R any] promise.Promise[R]

func (f *Future[R]) promise() *promise.Promise[R] { return (*promise.Promise[R])(f) }

// Await waits for the result. If ctx ends first, Await returns an error of verdict
// Unknown and the request goes on: it has the deadline and the context that it was made
// with. If both are there, the result and the end of ctx, Await returns the result.
func (f *Future[R]) Await(ctx context.Context) (R, error) {
	p := f.promise()
	if !p.Wait(ctx.Done()) {
		var none R
		return none, FromContext(ctx, Unknown)
	}
	return p.Result()
}

// Done returns a channel that is closed once the future is decided.
func (f *Future[R]) Done() <-chan struct{} { return f.promise().Done() }

// Then arranges that fn is called with the result, once, in a goroutine of its own.
func (f *Future[R]) Then(fn func(R, error)) { f.promise().Then(fn) }

// Cancel gives the request up, as the end of its context would: the future fails with
// the code Canceled and what is known of whether the request ran, and the context of the
// handler ends. Cancel does nothing if the future is decided, or if there is no request
// behind it.
func (f *Future[R]) Cancel() { f.promise().Cancel() }
