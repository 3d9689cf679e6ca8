package mailbox

import "runtime"

// Box.state holds flags, and above them how many batches are still to be taken before the
// producers are not a crowd any more.
const (
	isBusy   = 1 << iota // a consumer runs, or a put has asked for one
	isClosed             // Close was called
	crowded              // 1 of the count; a state below this means that there is no crowd
)

const (
	crowdLasts = 64 // batches
	politeness = 64 // how often a producer lets others run before it waits for the lock
)

func (b *Box[T]) has(flag uint32) bool { return b.state.Load()&flag != 0 }

// is sets or clears a flag.
func (b *Box[T]) is(flag uint32, on bool) {
	s := b.state.Load() &^ flag
	if on {
		s |= flag
	}
	b.state.Store(s)
}

// wakes makes the box busy. It returns whether it was idle.
func (b *Box[T]) wakes() bool {
	s := b.state.Load()
	if s&isBusy != 0 {
		return false
	}
	b.state.Store(s | isBusy)
	return true
}

// note takes note of how many producers waited for the batch to be taken. Several that wait
// at once are a crowd. They meet at the lock again and again, and to wait for a mutex costs
// more than all the rest of a put: yieldingLock is for them. Others lock the mutex at once,
// which is quicker if it is free.
func (b *Box[T]) note(waited int) {
	s := b.state.Load()
	switch {
	case waited > 1:
		b.state.Store(s&(crowded-1) | crowdLasts*crowded)
	case s >= crowded:
		b.state.Store(s - crowded)
	}
}

// yieldingLock locks the box, or lets other goroutines run and tries again. It returns false
// if that did not help.
func (b *Box[T]) yieldingLock() bool {
	for range politeness {
		if b.mu.TryLock() {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// lock locks the box.
func (b *Box[T]) lock() {
	if b.state.Load() < crowded || !b.yieldingLock() {
		b.mu.Lock()
	}
}
