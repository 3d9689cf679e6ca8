package promise

import "sync"

// Waiters spares an allocation for each Wait. Each system has its own, because a channel
// that was made in a bubble of testing/synctest must not be used in another one. The
// zero value is ready, and may be used concurrently.
type Waiters struct{ pool sync.Pool }

// waiter wakes one goroutine, and can be used again.
type waiter struct{ wake chan struct{} }

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
