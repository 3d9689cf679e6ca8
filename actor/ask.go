package actor

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
)

// ask is a request within the system: the promise of its reply, and the request's state,
// which tells a caller who cancels whether it ran.
type ask[R any] struct {
	promise  promise.Promise[R]
	deadline time.Time // zero for none

	// For Call: what its goroutine waits with, and whether nothing else than that goroutine refers to
	// the request once the promise is decided.
	waiter *promise.Waiter
	sole   bool

	// elsewhere retries the request at another instance of its service. It returns false if
	// there is to be no retry. nil: the request is for one actor.
	elsewhere func(*rpc.Error) bool

	mu       sync.Mutex // guards what follows
	state    askState
	onCancel func()
	timer    *time.Timer // ends the request at its deadline, if nobody waits in Call
	unhook   func() bool // stops watching the caller's context
}

type askState uint8

const (
	asked     askState = iota // waits in the mailbox
	started                   // its handler runs
	abandoned                 // the caller cancelled while the handler runs
	finished                  // it has its outcome, or the caller cancelled before its turn
)

// Start is called by the actor's run loop. It returns false if the request must not run.
func (a *ask[R]) Start() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != asked {
		return false
	}
	if !a.deadline.IsZero() && !time.Now().Before(a.deadline) {
		a.state = finished
		var none R
		a.promise.Resolve(none, rpc.Errorf(rpc.Expired, rpc.NotRun, "the deadline passed before its turn"))
		return false
	}
	a.state = started
	return true
}

// WillNotRun reports whether Start will return false, because the request has ended, was cancelled
// or has expired.
func (a *ask[R]) WillNotRun() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state != asked || !a.deadline.IsZero() && !time.Now().Before(a.deadline)
}

// Fail ends the request with an error, unless its handler did not run and another instance gets it.
func (a *ask[R]) Fail(err *rpc.Error) {
	if err.Verdict != rpc.NotRun || a.elsewhere == nil || !a.elsewhere(err) {
		a.fail(err)
	}
}

// goesOn notes that the request goes on at another instance, where cancel cancels it. It
// returns false if the request has ended.
func (a *ask[R]) goesOn(cancel func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state >= abandoned {
		return false
	}
	a.state, a.onCancel = started, cancel
	return true
}

func (a *ask[R]) fail(err *rpc.Error) {
	var none R
	a.end(none, err)
}

// end gives the request its outcome.
func (a *ask[R]) end(v R, err error) {
	a.mu.Lock()
	a.state = finished
	timer, unhook := a.timer, a.unhook
	a.onCancel = nil
	a.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	if unhook != nil {
		unhook()
	}
	a.promise.Resolve(v, err)
}

// answer ends the request with a reply of a Receiver, whose type is not checked before.
func (a *ask[R]) answer(v any) error {
	r, ok := v.(R)
	if !ok {
		err := rpc.Errorf(rpc.WrongReply, rpc.HasRun, "the handler answered with a %T, the caller wants a %s", v, fmt.Sprintf("%T", *new(R)))
		a.fail(err)
		return err
	}
	a.end(r, nil)
	return nil
}

// GiveUp ends the request with code for a caller who cancels. If its handler has not started
// it never runs; otherwise the handler's context ends.
func (a *ask[R]) GiveUp(code rpc.Code, message string) {
	a.mu.Lock()
	verdict, cancel := rpc.Unknown, a.onCancel
	switch a.state {
	case asked:
		verdict, cancel, a.state = rpc.NotRun, nil, finished
	case started:
		a.state = abandoned
	default: // it has its outcome, or is about to get it
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	var none R
	a.promise.Resolve(none, rpc.Errorf(code, verdict, "%s", message))
	if cancel != nil {
		cancel()
	}
}

// Cancel ends the request for a caller who has cancelled its future.
func (a *ask[R]) Cancel() { a.GiveUp(rpc.Canceled, "the future was cancelled") }

// asks has spare requests of Calls within a system, by the types of their replies. Each system has
// its own, because they have Waiters.
type asks [32]sync.Pool

func (p *asks) of(reply reflect.Type) *sync.Pool { return &p[spread(typeWord(reply))%uint8(len(p))] }

// newAsk returns the request of a Call.
func newAsk[R any](s *System) *ask[R] {
	if a, ok := s.asks.of(reflect.TypeFor[R]()).Get().(*ask[R]); ok {
		return a
	}
	return &ask[R]{waiter: s.waiters.Get()}
}

// free keeps the request of a Call for another one, or only its Waiter if others may refer to it.
func (a *ask[R]) free(s *System) {
	if !a.sole {
		s.waiters.Put(a.waiter)
		return
	}
	a.promise.Reuse()
	a.deadline, a.sole, a.state = time.Time{}, false, asked
	s.asks.of(reflect.TypeFor[R]()).Put(a)
}

// await waits for the outcome and returns it. The request is cancelled when ctx ends or, if limited,
// when the system's time-out has passed. Only one goroutine may call it, once, and a must not be used
// any more.
func (a *ask[R]) await(ctx context.Context, s *System, limited bool) (R, error) {
	p := &a.promise
	if p.Wait(a.waiter, ctx.Done(), limited) {
		r, err := p.Take() // a keeps no reference to it: the handler's Context may be kept, and refers to a
		a.free(s)
		return r, err
	}
	if ctx.Err() != nil {
		a.GiveUp(contextCode(ctx), context.Cause(ctx).Error())
	} else {
		a.GiveUp(rpc.Expired, "no reply within the system's time-out")
	}
	p.Wait(a.waiter, nil, false) // for the first outcome, which another goroutine may be about to set
	s.waiters.Put(a.waiter)
	return p.Take()
}

// Deadline is when the request ends for its caller.
func (a *ask[R]) Deadline() (time.Time, bool) { return a.deadline, !a.deadline.IsZero() }

// OnCancel has fn called if the caller cancels while the handler runs, and at once if it has
// already cancelled.
func (a *ask[R]) OnCancel(fn func()) {
	a.mu.Lock()
	over := a.state == abandoned
	a.onCancel = fn
	a.mu.Unlock()
	if over {
		fn()
	}
}

// watch cancels the request when ctx ends, or at its deadline. It is for Ask, whose caller
// need not be waiting.
func (a *ask[R]) watch(ctx context.Context) {
	end := func(code rpc.Code, message string) func() {
		return func() { a.GiveUp(code, message) }
	}
	timer := time.AfterFunc(time.Until(a.deadline), end(rpc.Expired, "no reply within the deadline"))
	var unhook func() bool
	if ctx.Done() != nil {
		unhook = context.AfterFunc(ctx, func() { a.GiveUp(contextCode(ctx), context.Cause(ctx).Error()) })
	}
	a.mu.Lock()
	over := a.state >= abandoned
	a.timer, a.unhook = timer, unhook
	a.mu.Unlock()
	if over {
		timer.Stop()
		if unhook != nil {
			unhook()
		}
	}
}

func contextCode(ctx context.Context) rpc.Code { return rpc.FromContext(ctx, rpc.Unknown).Code }
