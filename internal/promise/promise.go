// Package promise has the deciding side of rpc.Future, which is a Promise of which only
// a few methods are public.
package promise

import "sync"

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
	done, then, onEnd := p.done, p.then, p.onEnd
	p.then, p.onEnd, p.of = nil, nil, nil
	p.mu.Unlock()
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

// Wait reports true once the promise is decided, and false if stop, which may be nil, was closed before.
func (p *Promise[R]) Wait(stop <-chan struct{}) bool {
	select {
	case <-p.Done():
		return true
	case <-stop:
		return p.isDecided()
	}
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
