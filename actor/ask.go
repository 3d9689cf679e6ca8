package actor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// ask is a request within the system: the promise of its reply, and where it is in
// its life, so that a caller who gives up learns whether it ran.
type ask[R any] struct {
	promise  rpc.Promise[R]
	deadline time.Time // zero for none

	// elsewhere has it made anew at another instance of its service, or reports that
	// this is not to be. nil: it is to one actor.
	elsewhere func(*rpc.Error) bool

	mu       sync.Mutex // guards what follows
	state    askState
	onCancel func()
	timer    *time.Timer // ends it at its deadline, if nobody waits in Call
	unhook   func() bool // takes back what watches the caller's context
}

type askState uint8

const (
	asked    askState = iota // waits in the mailbox
	started                  // its handler runs
	deserted                 // was given up while its handler runs
	finished                 // has its outcome, or was given up before
)

// Start is called by the actor's run loop. False: it must not run.
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

// Lapsed reports whether it will not run, whenever its turn comes.
func (a *ask[R]) Lapsed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state != asked || !a.deadline.IsZero() && !time.Now().Before(a.deadline)
}

// Refuse ends it with an error before its handler ran, unless another instance gets it.
func (a *ask[R]) Refuse(err *rpc.Error) {
	if a.elsewhere == nil || !a.elsewhere(err) {
		a.fail(err)
	}
}

// Fail ends it with an error.
func (a *ask[R]) Fail(err *rpc.Error) { a.fail(err) }

// goesOn takes note that it goes on elsewhere, where cancel ends it for its caller. False:
// it is over.
func (a *ask[R]) goesOn(cancel func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state >= deserted {
		return false
	}
	a.state, a.onCancel = started, cancel
	return true
}

func (a *ask[R]) fail(err *rpc.Error) {
	var none R
	a.end(none, err)
}

// end gives it its outcome.
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

// answer ends it with a reply whose type is checked now: for a Receiver.
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

// GiveUp ends it for its caller with code. Before its handler started it provably
// never runs; later the handler's context ends.
func (a *ask[R]) GiveUp(code rpc.Code, message string) {
	a.mu.Lock()
	verdict, cancel := rpc.Unknown, a.onCancel
	switch a.state {
	case asked:
		verdict, cancel, a.state = rpc.NotRun, nil, finished
	case started:
		a.state = deserted
	default: // its outcome is there, or about to be
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

// await returns the outcome to the caller, who alone waits for it. When ctx ends, or expired
// fires, the caller gives up.
func (a *ask[R]) await(ctx context.Context, waiters *rpc.Waiters, expired <-chan time.Time) (R, error) {
	f := a.promise.Future()
	if f.Wait(waiters, ctx.Done(), expired) {
		return f.Take() // the handler's context, which may be kept, knows a
	}
	if ctx.Err() != nil {
		a.GiveUp(contextCode(ctx), context.Cause(ctx).Error())
	} else {
		a.GiveUp(rpc.Expired, "no reply within the system's time-out")
	}
	_, _ = f.Await(context.Background()) // what came first, which may be on its way still
	return f.Take()
}

// Deadline is when it ends for its caller.
func (a *ask[R]) Deadline() (time.Time, bool) { return a.deadline, !a.deadline.IsZero() }

// OnCancel arranges that fn is called if the caller gives up while the handler runs;
// at once if it has already.
func (a *ask[R]) OnCancel(fn func()) {
	a.mu.Lock()
	over := a.state == deserted
	a.onCancel = fn
	a.mu.Unlock()
	if over {
		fn()
	}
}

// watch ends it when ctx does, or at its deadline: for Ask, whose caller need not be
// waiting.
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
	over := a.state >= deserted
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
