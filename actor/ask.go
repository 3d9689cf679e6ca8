package actor

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
)

// ask is a request within the system: its state, which decides who gives it its outcome, and a way to
// hand the outcome to its caller.
type ask[R any] struct {
	deadline time.Time // zero for none
	state    atomic.Uint32

	// For Ask: the future. The others are nil then.
	future *promise.Promise[R]

	// For Call: what its goroutine waits with, the outcome, which is set before that goroutine is
	// woken, and whether nobody else refers to the request any more once it is.
	waiter *promise.Waiter
	value  R
	err    error
	sole   bool

	// elsewhere retries the request at another instance of its service. It returns false if
	// there is to be no retry. nil: the request is for one actor.
	elsewhere func(*rpc.Error) bool

	mu       sync.Mutex // guards what follows
	onCancel func()
	limit    *limit[R] // for Ask: what ends the request early
}

// limit ends a request at its deadline and with its caller's context. The runtime may keep a stopped
// timer until its time comes, and with it what the timer's function refers to. Therefore the
// function refers to this, and no longer to the request once that has its outcome.
type limit[R any] struct {
	of     atomic.Pointer[ask[R]]
	timer  *time.Timer
	unhook func() bool // stops watching the caller's context; nil if that never ends
}

// lift is called when the request has its outcome.
func (l *limit[R]) lift() {
	l.of.Store(nil)
	l.timer.Stop()
	if l.unhook != nil {
		l.unhook()
	}
}

// askState is how far a request within the system has come:
//
//	asked ──Start──► started ──GiveUp──► abandoned
//	  │ ◄──PutBack───── │                    │
//	  └─────────────────┴──── end ───────────┴──► finished
//
// Who takes it from asked or started to one of the last two gives the request its outcome. GiveUp takes
// it from asked to finished, because its handler will not run then.
type askState = uint32

const (
	asked     askState = iota // waits in the mailbox
	started                   // its handler runs
	abandoned                 // the caller cancelled while the handler runs
	finished                  // its handler runs no more, or never will
)

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

// free keeps the request of a Call that has ended for another Call.
func (a *ask[R]) free(s *System) {
	*a = ask[R]{waiter: a.waiter}
	s.asks.of(reflect.TypeFor[R]()).Put(a)
}

// asking is a request with its future.
type asking[R any] struct {
	ask    ask[R]
	future promise.Promise[R]
}

// newAsking returns the request of an Ask. It ends at its deadline, and when ctx ends.
func newAsking[R any](ctx context.Context, s *System) *ask[R] {
	a := new(asking[R])
	a.ask.future, a.ask.deadline = &a.future, s.deadline(ctx)
	a.future.Of(&a.ask)
	a.ask.watch(ctx)
	return &a.ask
}

// Start is called by the actor's run loop. It returns false if the request must not run.
func (a *ask[R]) Start() bool {
	if a.isLate() && a.state.CompareAndSwap(asked, finished) {
		var none R
		a.deliver(none, rpc.Errorf(rpc.Expired, rpc.NotRun, "the deadline passed before its turn"))
		return false
	}
	return a.state.CompareAndSwap(asked, started)
}

// WillNotRun reports whether Start will return false, because the request has ended, was cancelled
// or has expired.
func (a *ask[R]) WillNotRun() bool { return a.state.Load() != asked || a.isLate() }

func (a *ask[R]) isLate() bool { return !a.deadline.IsZero() && !time.Now().Before(a.deadline) }

// PutBack has the request wait for another turn. It returns false if the caller has cancelled.
func (a *ask[R]) PutBack() bool {
	a.mu.Lock()
	a.onCancel = nil
	a.mu.Unlock()
	return a.state.CompareAndSwap(started, asked)
}

// Fail ends the request with an error, unless another instance or activation gets it, because its handler
// did not run, or runs once whoever gets it.
func (a *ask[R]) Fail(err *rpc.Error) {
	if err.Verdict == rpc.HasRun || a.elsewhere == nil || !a.elsewhere(err) {
		a.fail(err)
	}
}

// goesOn notes that the request goes on at another instance, where cancel cancels it. It
// returns false if the request has ended.
func (a *ask[R]) goesOn(cancel func()) bool {
	a.mu.Lock()
	a.onCancel = cancel
	a.mu.Unlock()
	return a.state.CompareAndSwap(asked, started) || a.state.Load() == started
}

func (a *ask[R]) fail(err *rpc.Error) {
	var none R
	a.end(none, err)
}

// end gives the request its outcome, unless it has one.
func (a *ask[R]) end(v R, err error) {
	if a.state.Swap(finished) < abandoned {
		a.deliver(v, err)
	}
}

// deliver hands the outcome to the caller, who may use a for another request from then on.
func (a *ask[R]) deliver(v R, err error) {
	if a.future == nil {
		a.value, a.err = v, err
		a.waiter.Wake()
		return
	}
	a.mu.Lock()
	limit := a.limit
	a.onCancel = nil
	a.mu.Unlock()
	if limit != nil {
		limit.lift()
	}
	a.future.Resolve(v, err)
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
	verdict := rpc.NotRun
	if !a.state.CompareAndSwap(asked, finished) {
		if !a.state.CompareAndSwap(started, abandoned) {
			return // it has its outcome, or is about to get it
		}
		verdict = rpc.Unknown
	}
	a.mu.Lock()
	cancel := a.onCancel
	a.mu.Unlock()
	var none R
	a.deliver(none, rpc.Errorf(code, verdict, "%s", message))
	if cancel != nil && verdict == rpc.Unknown {
		cancel()
	}
}

// Cancel ends the request for a caller who has cancelled its future.
func (a *ask[R]) Cancel() { a.GiveUp(rpc.Canceled, "the future was cancelled") }

// await waits for the outcome of a Call and returns it. The request is cancelled when ctx ends or, if
// limited, when the system's time-out has passed. It is called once, and a is not used after that.
func (a *ask[R]) await(ctx context.Context, s *System, limited bool) (R, error) {
	if a.waiter.Wait(ctx.Done(), limited) {
		if a.sole {
			v, err := a.value, a.err
			a.free(s)
			return v, err
		}
	} else {
		if ctx.Err() != nil {
			a.GiveUp(contextCode(ctx), context.Cause(ctx).Error())
		} else {
			a.GiveUp(rpc.Expired, "no reply within the system's time-out")
		}
		a.waiter.Wait(nil, false) // for the first outcome, which another goroutine may be about to set
	}
	s.waiters.Put(a.waiter)
	v, err := a.value, a.err
	var none R
	a.value = none // the handler's Context may be kept, and refers to a
	return v, err
}

// Deadline is when the request ends for its caller.
func (a *ask[R]) Deadline() (time.Time, bool) { return a.deadline, !a.deadline.IsZero() }

// OnCancel has fn called if the caller cancels while the handler runs, and at once if it has
// already cancelled. fn may be called twice.
func (a *ask[R]) OnCancel(fn func()) {
	a.mu.Lock()
	a.onCancel = fn
	a.mu.Unlock()
	if a.state.Load() == abandoned { // GiveUp looks at onCancel after it has set this
		fn()
	}
}

// watch cancels the request when ctx ends, or at its deadline. It is for Ask, whose caller
// need not be waiting.
func (a *ask[R]) watch(ctx context.Context) {
	l := new(limit[R])
	l.of.Store(a)
	end := func() {
		if a := l.of.Load(); a == nil {
			return
		} else if ctx.Err() != nil {
			a.GiveUp(contextCode(ctx), context.Cause(ctx).Error())
		} else {
			a.GiveUp(rpc.Expired, "no reply within the deadline")
		}
	}
	l.timer = time.AfterFunc(time.Until(a.deadline), end)
	if ctx.Done() != nil {
		l.unhook = context.AfterFunc(ctx, end)
	}
	a.mu.Lock()
	a.limit = l
	a.mu.Unlock()
	if a.state.Load() >= abandoned { // deliver looks at the limit after this was set
		l.lift()
	}
}

func contextCode(ctx context.Context) rpc.Code { return rpc.FromContext(ctx, rpc.Unknown).Code }
