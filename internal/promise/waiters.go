package promise

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Waiters has what goroutines wait with: it spares an allocation for each Wait, and a timer.
// Each system has its own, because a channel that was made in a bubble of testing/synctest must
// not be used in another one. The zero value is ready. All methods may be called concurrently.
//
// A time-out is the same for all and seldom passes, so no timer is set for each Wait: one timer
// looks at all that wait, some 64 times in a time-out, and only while there are any.
type Waiters struct {
	// Timeout is how long a limited Wait takes at most; up to a thirty-second of it more. It must
	// not change once Wait was called.
	Timeout time.Duration

	pool     sync.Pool
	ticks    atomic.Uint64 // how often sweep has looked
	sweeping atomic.Bool   // the timer is set

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	all   []weak.Pointer[waiter] // those that were made; the pool lets go of some
}

// waiter wakes one goroutine, and can be used again.
type waiter struct {
	wake  chan bool     // has room for both: true if the promise is decided, false if the time is over
	until atomic.Uint64 // the tick at which the time is over; 0: never; over: it was
}

const (
	looks     = 64               // in a time-out
	shortLook = time.Millisecond // bounds of the time between two
	longLook  = 250 * time.Millisecond
	over      = math.MaxUint64
)

func (p *Waiters) get() *waiter {
	if p == nil {
		return newWaiter()
	}
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	w := newWaiter()
	p.mu.Lock()
	p.all = append(p.all, weak.Make(w))
	p.mu.Unlock()
	return w
}

func newWaiter() *waiter { return &waiter{wake: make(chan bool, 2)} }

func (p *Waiters) put(w *waiter) {
	if p != nil {
		p.pool.Put(w)
	}
}

// limit has w woken with false when the time-out has passed, until unlimit is called with the
// same tick.
func (p *Waiters) limit(w *waiter) (until uint64) {
	pause := p.pause()
	until = p.ticks.Load() + uint64((p.Timeout+pause-1)/pause) + 1 // the next tick may come at once
	w.until.Store(until)
	if !p.sweeping.Load() { // sweep has another look after it has set this
		p.start()
	}
	return until
}

// unlimit reports false if the time is over: then wake has a false, or will have it in a moment.
func (w *waiter) unlimit(until uint64) bool {
	if w.until.CompareAndSwap(until, 0) {
		return true
	}
	w.until.Store(0)
	return false
}

func (p *Waiters) pause() time.Duration { return min(max(p.Timeout/looks, shortLook), longLook) }

// start sets the timer if nobody else has.
func (p *Waiters) start() {
	if p.sweeping.Swap(true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		p.timer = time.AfterFunc(p.pause(), p.sweep)
	} else {
		p.timer.Reset(p.pause())
	}
}

// sweep wakes those whose time is over, and sets the timer again if others wait.
func (p *Waiters) sweep() {
	now := p.ticks.Add(1)
	if p.wakeAll(now) {
		p.mu.Lock()
		p.timer.Reset(p.pause())
		p.mu.Unlock()
		return
	}
	p.sweeping.Store(false)
	if p.wakeAll(now) { // who waits since then may have found the timer set
		p.start()
	}
}

// Close stops the timer, unless somebody waits with a time-out.
func (p *Waiters) Close() {
	p.mu.Lock()
	stopped := p.timer != nil && p.timer.Stop()
	p.mu.Unlock()
	if !stopped {
		return
	}
	p.sweeping.Store(false)
	if p.wakeAll(p.ticks.Load()) {
		p.start()
	}
}

// wakeAll wakes those whose time is over at a tick, and reports whether others wait.
func (p *Waiters) wakeAll(now uint64) (waiting bool) {
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
			waiting = true
		case w.until.CompareAndSwap(until, over): // a later Wait has a later tick
			w.wake <- false
		}
	}
	clear(p.all[len(kept):])
	p.all = kept
	return waiting
}
