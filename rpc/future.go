package rpc

import (
	"context"
	"sync"
	"time"
)

// Future is the reply of a request that is under way. It is decided once and keeps
// its result. All methods may be called concurrently and any number of times.
type Future[R any] struct {
	decode  func(*Reply) (R, error) // turns raw into the result; nil if there is nothing to decode
	decoded sync.Once

	mu      sync.Mutex // guards what follows
	decided bool
	raw     *Reply        // what to decode, once
	done    chan struct{} // made on demand, closed when decided
	waiter  *waiter       // the one goroutine in Await that needs no done channel
	then    []func(R, error)
	onEnd   func()
	of      Giver // what the future is of; nil: nothing that can be given up
	value   R
	err     error
}

// Reply is an undecoded result.
type Reply struct {
	TypeID uint64
	Codec  uint8
	Node   string
	Body   []byte
}

// waiter is a reusable way to wake one goroutine.
type waiter struct{ wake chan struct{} }

// Waiters spares an allocation per wait. Each system has its own, because a channel
// that was made in a bubble of testing/synctest must not be used in another.
type Waiters struct{ pool sync.Pool }

func (p *Waiters) get() *waiter {
	if p != nil {
		if w, ok := p.pool.Get().(*waiter); ok {
			return w
		}
	}
	return &waiter{wake: make(chan struct{}, 1)}
}

func (p *Waiters) put(w *waiter) {
	if p != nil {
		p.pool.Put(w)
	}
}

// Promise is the deciding side of a Future. Its zero value is undecided, and must
// not be copied once it is used.
type Promise[R any] struct{ future Future[R] }

// NewPromise returns an undecided promise. decode, which may be nil, turns what
// Complete is given into the result; it runs in a goroutine that wants the result,
// at most once.
func NewPromise[R any](decode func(*Reply) (R, error)) *Promise[R] {
	return &Promise[R]{future: Future[R]{decode: decode}}
}

// Future returns the promise's other side.
func (p *Promise[R]) Future() *Future[R] { return &p.future }

// Resolve decides the future with v or err. It reports false, and does nothing, if
// it was decided before.
func (p *Promise[R]) Resolve(v R, err error) bool {
	return p.future.decide(func() { p.future.value, p.future.err = v, err })
}

// Complete decides the future with a reply that is still to be decoded, or with err.
func (p *Promise[R]) Complete(r *Reply, err error) {
	p.future.decide(func() { p.future.raw, p.future.err = r, err })
}

// OnEnd arranges that fn is called when the future is decided, at once if it is. fn
// must not block, and there is one at most.
func (p *Promise[R]) OnEnd(fn func()) {
	f := &p.future
	f.mu.Lock()
	decided := f.decided
	f.onEnd = fn
	f.mu.Unlock()
	if decided {
		fn()
	}
}

// Giver is what a future is of: something that can be given up, as Call.GiveUp does.
type Giver interface {
	GiveUp(code Code, message string)
}

// Of says what Future.Cancel gives up.
func (p *Promise[R]) Of(g Giver) {
	f := &p.future
	f.mu.Lock()
	f.of = g
	f.mu.Unlock()
}

// Cancel gives the request up, as the end of its context would: the future ends as
// Canceled, with what is known of whether it ran, and the handler's context ends. It
// does nothing if the future is decided, or if it is of no request.
func (f *Future[R]) Cancel() {
	f.mu.Lock()
	of := f.of
	f.mu.Unlock()
	if of != nil {
		of.GiveUp(Canceled, "the future was cancelled")
	}
}

func (f *Future[R]) decide(set func()) bool {
	f.mu.Lock()
	if f.decided {
		f.mu.Unlock()
		return false
	}
	f.decided = true
	set()
	done, w, then, onEnd := f.done, f.waiter, f.then, f.onEnd
	f.waiter, f.then, f.onEnd, f.of = nil, nil, nil, nil
	f.mu.Unlock()
	if w != nil {
		w.wake <- struct{}{}
	}
	if done != nil {
		close(done)
	}
	if onEnd != nil {
		onEnd()
	}
	for _, fn := range then {
		go f.call(fn)
	}
	return true
}

// Done returns a channel that is closed once the future is decided.
func (f *Future[R]) Done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done == nil {
		f.done = make(chan struct{})
		if f.decided {
			close(f.done)
		}
	}
	return f.done
}

// Await waits for the result. If ctx ends first it returns an error of verdict
// Unknown, and the request goes on: its own deadline and context are those it was
// made with. A result that is there beats a context that has ended.
func (f *Future[R]) Await(ctx context.Context) (R, error) {
	if !f.Wait(nil, ctx.Done(), nil) {
		var none R
		return none, FromContext(ctx, Unknown)
	}
	return f.result()
}

// Wait reports true once the future is decided, and false if stop was closed or
// timeout fired before. Each argument may be nil.
func (f *Future[R]) Wait(waiters *Waiters, stop <-chan struct{}, timeout <-chan time.Time) bool {
	f.mu.Lock()
	if f.decided {
		f.mu.Unlock()
		return true
	}
	if f.waiter != nil || f.done != nil { // not the only one: share the channel
		f.mu.Unlock()
		select {
		case <-f.Done():
			return true
		case <-stop:
		case <-timeout:
		}
		return f.isDecided()
	}
	w := waiters.get()
	f.waiter = w
	f.mu.Unlock()
	if stop == nil && timeout == nil {
		<-w.wake
		waiters.put(w)
		return true
	}
	select {
	case <-w.wake:
		waiters.put(w)
		return true
	case <-stop:
	case <-timeout:
	}
	f.mu.Lock()
	mine := f.waiter == w
	if mine {
		f.waiter = nil
	}
	f.mu.Unlock()
	if !mine { // decided meanwhile: the token is there or on its way
		<-w.wake
	}
	waiters.put(w)
	return !mine
}

func (f *Future[R]) isDecided() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decided
}

// result returns the result of a decided future, decoding it first if nobody has.
// The decoder runs without a lock of the future: it may be the application's code.
func (f *Future[R]) result() (R, error) {
	if f.decode != nil {
		f.decoded.Do(func() {
			if f.raw != nil {
				f.err = errDecoder // unless it returns
				f.value, f.err = f.decode(f.raw)
				f.raw = nil
			}
		})
	}
	return f.value, f.err
}

// Take is Await of a future that is decided, for the one who alone has it: the future
// forgets the result, which others may hold the memory of for longer.
func (f *Future[R]) Take() (R, error) {
	v, err := f.result()
	var none R
	f.value = none
	return v, err
}

// errDecoder is the result of a future whose decoder panicked in an earlier awaiter.
var errDecoder = Errorf(Undecodable, HasRun, "the decoder of the reply panicked")

// Then arranges that fn is called with the result, once, in a goroutine of its own.
func (f *Future[R]) Then(fn func(R, error)) {
	f.mu.Lock()
	if !f.decided {
		f.then = append(f.then, fn)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	go f.call(fn)
}

func (f *Future[R]) call(fn func(R, error)) {
	v, err := f.result()
	fn(v, err)
}
