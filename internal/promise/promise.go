// Package promise has the deciding side of rpc.Future, which is a Promise of which only
// a few methods are public.
package promise

import (
	"sync"
	"time"
)

// Promise is a result that comes later. It is decided once and keeps its result. Its zero
// value is undecided, and must not be copied once it is used. All methods may be called
// concurrently and any number of times, except where they say otherwise.
type Promise[R any] struct {
	decode  func(*Reply) (R, error) // turns raw into the result; nil if there is nothing to decode
	decoded sync.Once

	mu      sync.Mutex // guards what follows
	decided bool
	raw     *Reply        // what to decode, once
	done    chan struct{} // made on first use, closed when decided
	waiter  *Waiter       // the one goroutine in Wait that needs no done channel
	then    []func(R, error)
	onEnd   func()
	of      Canceler // nil: nothing that can be cancelled
	value   R
	err     error // until the decoder has returned: what New was given for one that panics
}

// Reply is an undecoded result.
type Reply struct {
	TypeID uint64
	Codec  uint8
	Node   string
	Body   []byte
}

// Canceler is something that is going on and can be cancelled.
type Canceler interface{ Cancel() }

// New returns an undecided promise. decode turns what Complete is given into the result;
// it runs in a goroutine that wants the result, at most once. If it panics, those who ask
// later get the error panicked.
func New[R any](decode func(*Reply) (R, error), panicked error) *Promise[R] {
	return &Promise[R]{decode: decode, err: panicked}
}

// Failed returns a promise that is decided with err.
func Failed[R any](err error) *Promise[R] { return &Promise[R]{decided: true, err: err} }

// Resolve decides the promise with v or err. It reports false, and does nothing, if it
// was decided before.
func (p *Promise[R]) Resolve(v R, err error) bool {
	return p.decide(func() { p.value, p.err = v, err })
}

// Complete decides the promise with a reply that is still to be decoded, or, if r is nil,
// with err.
func (p *Promise[R]) Complete(r *Reply, err error) {
	p.decide(func() {
		if p.raw = r; r == nil {
			p.err = err
		}
	})
}

// OnEnd arranges that fn is called when the promise is decided, at once if it is. fn
// must not block, and there is one at most.
func (p *Promise[R]) OnEnd(fn func()) {
	p.mu.Lock()
	decided := p.decided
	p.onEnd = fn
	p.mu.Unlock()
	if decided {
		fn()
	}
}

// Of says what Cancel cancels.
func (p *Promise[R]) Of(c Canceler) {
	p.mu.Lock()
	p.of = c
	p.mu.Unlock()
}

// Cancel cancels what the promise is of. It does nothing if the promise is decided, or
// if Of was not called.
func (p *Promise[R]) Cancel() {
	p.mu.Lock()
	of := p.of
	p.mu.Unlock()
	if of != nil {
		of.Cancel()
	}
}

func (p *Promise[R]) decide(set func()) bool {
	p.mu.Lock()
	if p.decided {
		p.mu.Unlock()
		return false
	}
	p.decided = true
	set()
	done, w, then, onEnd := p.done, p.waiter, p.then, p.onEnd
	p.waiter, p.then, p.onEnd, p.of = nil, nil, nil, nil
	p.mu.Unlock()
	if w != nil {
		w.wake <- true
	}
	if done != nil {
		close(done)
	}
	if onEnd != nil {
		onEnd()
	}
	for _, fn := range then {
		go p.call(fn)
	}
	return true
}

// Done returns a channel that is closed once the promise is decided.
func (p *Promise[R]) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		if p.decided {
			close(p.done)
		}
	}
	return p.done
}

// Wait reports true once the promise is decided, and false if stop was closed before, or, if
// limited, the time-out of w's Waiters has passed. stop may be nil, and so may w, if not limited.
func (p *Promise[R]) Wait(w *Waiter, stop <-chan struct{}, limited bool) bool {
	p.mu.Lock()
	if p.decided {
		p.mu.Unlock()
		return true
	}
	if p.waiter != nil || p.done != nil { // not the only one: share the channel
		p.mu.Unlock()
		return p.waitBeside(w, stop, limited)
	}
	if w == nil {
		w = newWaiter()
	}
	p.waiter = w
	p.mu.Unlock()
	var until int64
	if limited {
		until = w.limit()
	}
	got, decided := 1, false
	if stop == nil {
		decided = <-w.wake
	} else {
		select {
		case decided = <-w.wake:
		case <-stop:
			got = 0
		}
	}
	// Whatever is sent to w has to be received before w is used again.
	due := 0
	if limited && !w.unlimit(until) {
		due++
	}
	if !decided {
		p.mu.Lock()
		if decided = p.waiter != w; !decided {
			p.waiter = nil
		}
		p.mu.Unlock()
	}
	if decided {
		due++
	}
	for ; got < due; got++ {
		<-w.wake
	}
	return decided
}

// waitBeside is Wait for one of several goroutines.
func (p *Promise[R]) waitBeside(w *Waiter, stop <-chan struct{}, limited bool) bool {
	var timeout <-chan time.Time
	if limited {
		timeout = time.After(w.of.timeout)
	}
	select {
	case <-p.Done():
		return true
	case <-stop:
	case <-timeout:
	}
	return p.isDecided()
}

func (p *Promise[R]) isDecided() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decided
}

// Result returns the result of a promise that is decided, and decodes it first if nobody
// has. The decoder runs without a lock of the promise: it may be the application's code.
func (p *Promise[R]) Result() (R, error) {
	if p.decode != nil {
		p.decoded.Do(func() {
			if p.raw != nil {
				p.value, p.err = p.decode(p.raw)
				p.raw = nil
			}
		})
	}
	return p.value, p.err
}

// Take is Result for the only one who has the promise: it forgets the value, so that
// who holds its memory for longer does not hold the value too.
func (p *Promise[R]) Take() (R, error) {
	v, err := p.Result()
	var none R
	p.value = none
	return v, err
}

// Reuse makes a promise undecided again that was decided by Resolve and whose result was taken. Its
// only owner may call it, but Resolve need not have returned yet: it does not look at the promise any
// more, except at the state of mu, which goes on.
func (p *Promise[R]) Reuse() {
	p.decided, p.err = false, nil
}

// Then arranges that fn is called with the result, once, in a goroutine of its own.
func (p *Promise[R]) Then(fn func(R, error)) {
	p.mu.Lock()
	if !p.decided {
		p.then = append(p.then, fn)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	go p.call(fn)
}

func (p *Promise[R]) call(fn func(R, error)) {
	v, err := p.Result()
	fn(v, err)
}
