package promise

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Waiters has what goroutines wait with for an outcome: it spares an allocation for each Wait, and a timer.
// Each system has its own, because a channel that was made in a bubble of testing/synctest must
// not be used in another one. All other methods than Init may be called concurrently.
//
// A time-out is the same for all and seldom passes, so no timer is set for each Wait. One timer
// fires when the first of those that waited last time would be late, wakes whose time is over, and is
// set again to the first of the others: about once in a time-out, and only while somebody waits.
type Waiters struct {
	timeout time.Duration
	base    time.Time // of the times in waiter.until

	pool  sync.Pool
	timed atomic.Bool // the timer is set

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	all   []weak.Pointer[Waiter] // those that were made; some are garbage
}

// Waiter wakes one goroutine when there is an outcome, and can then be used for the next one.
type Waiter struct {
	of    *Waiters
	wake  chan bool    // has room for both: true if there is an outcome, false if the time is over
	until atomic.Int64 // when the time is over; 0: never; over: it was
}

const over = math.MaxInt64

// Init sets the time-out of limited waits, which is positive. It is called before anything else.
func (p *Waiters) Init(timeout time.Duration) { p.timeout, p.base = timeout, time.Now() }

// Get returns a Waiter. It may be put back, or become garbage.
func (p *Waiters) Get() *Waiter {
	if w, ok := p.pool.Get().(*Waiter); ok {
		return w
	}
	w := &Waiter{of: p, wake: make(chan bool, 2)}
	p.mu.Lock()
	p.all = append(p.all, weak.Make(w))
	p.mu.Unlock()
	return w
}

// Put gives a Waiter back. Wake was not called since the last Wait that returned true.
func (p *Waiters) Put(w *Waiter) { p.pool.Put(w) }

// Wake says that there is an outcome. It is called once for each, and does not block.
func (w *Waiter) Wake() { w.wake <- true }

// Wait reports true when Wake has been called, once for each call, and false if stop, which may be
// nil, was closed before, or, if limited, the time-out has passed. Only one goroutine at a time may
// call it.
func (w *Waiter) Wait(stop <-chan struct{}, limited bool) (woken bool) {
	var until int64
	if limited {
		until = w.limit()
	}
	late := false // the time is over, and w was woken for that
	if stop == nil {
		woken = <-w.wake
		late = !woken
	} else {
		select {
		case woken = <-w.wake:
			late = !woken
		case <-stop:
		}
	}
	if limited && !w.unlimit(until) {
		for !late { // what was sent for that must not reach a later Wait
			if <-w.wake {
				woken = true
			} else {
				late = true
			}
		}
	}
	return woken
}

// limit has w woken with false when the time-out has passed, until unlimit is called with the
// same time. A timer that is set fires before that, because all have the same time-out.
func (w *Waiter) limit() (until int64) {
	p := w.of
	until = int64(time.Since(p.base) + p.timeout)
	w.until.Store(until)
	if !p.timed.Load() { // sweep has another look after it has set this
		p.start(p.timeout)
	}
	return until
}

// unlimit reports false if the time is over: then wake has a false, or will have it in a moment.
func (w *Waiter) unlimit(until int64) bool {
	if w.until.CompareAndSwap(until, 0) {
		return true
	}
	w.until.Store(0)
	return false
}

// start sets the timer if nobody else has.
func (p *Waiters) start(in time.Duration) {
	if p.timed.Swap(true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		p.timer = time.AfterFunc(in, p.sweep)
	} else {
		p.timer.Reset(in)
	}
}

// sweep wakes those whose time is over, and sets the timer again if others wait.
func (p *Waiters) sweep() {
	if next, waiting := p.wakeAll(); waiting {
		p.mu.Lock()
		p.timer.Reset(next)
		p.mu.Unlock()
		return
	}
	p.rest()
}

// rest notes that the timer is not set, unless somebody waits.
func (p *Waiters) rest() {
	p.timed.Store(false)
	if next, waiting := p.wakeAll(); waiting { // who waits since then may have found the timer set
		p.start(next)
	}
}

// Close stops the timer, unless somebody waits with a time-out.
func (p *Waiters) Close() {
	p.mu.Lock()
	stopped := p.timer != nil && p.timer.Stop()
	p.mu.Unlock()
	if stopped {
		p.rest()
	}
}

// wakeAll wakes those whose time is over. It reports whether others wait, and when the first of
// their times will be over.
func (p *Waiters) wakeAll() (next time.Duration, waiting bool) {
	now := int64(time.Since(p.base))
	first := int64(over)
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.all[:0]
	for _, pointer := range p.all {
		w := pointer.Value()
		if w == nil {
			continue
		}
		kept = append(kept, pointer)
		switch until := w.until.Load(); {
		case until == 0 || until == over:
		case until > now:
			first = min(first, until)
		case w.until.CompareAndSwap(until, over): // a later Wait has a later time
			w.wake <- false
		}
	}
	clear(p.all[len(kept):])
	p.all = kept
	return time.Duration(first - now), first != over
}
