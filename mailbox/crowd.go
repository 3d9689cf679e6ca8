package mailbox

import "runtime"

// Box.state holds two flags, and above them how many more batches are to be taken before the
// producers are not a crowd any more.
const (
	isBusy   = 1 << iota // a consumer runs, or a put has asked for one
	isClosed             // Close was called
	crowd                // 1 of the count; a smaller state says that there is no crowd
)

const (
	crowdLasts = 64   // batches
	politeness = 1000 // how often a goroutine lets others run before it waits for the lock
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

// wakes makes the box busy. It reports whether it was idle.
func (b *Box[T]) wakes() bool {
	s := b.state.Load()
	if s&isBusy != 0 {
		return false
	}
	b.state.Store(s | isBusy)
	return true
}

// note takes note of how many producers got the room for which they waited when a batch was
// taken. Several at once are a crowd, and remain one until crowdLasts batches were taken in a
// row without.
func (b *Box[T]) note(waited int) {
	s := b.state.Load()
	switch {
	case waited > 1:
		b.state.Store(s&(crowd-1) | crowdLasts*crowd)
	case s >= crowd:
		b.state.Store(s - crowd)
	}
}

// lock locks the box, with regard to a crowd. Push and PushWith contain the same, because a
// call would cost them too much.
func (b *Box[T]) lock() {
	if b.state.Load() < crowd || !b.lockInCrowd() {
		b.mu.Lock()
	}
}

// lockInCrowd tries to lock the box, and lets other goroutines run in between. It reports
// whether it has locked it.
//
// Producers that send all the time meet at the lock again and again. A mutex makes those that
// find it locked wait, which costs more than all the rest of a put, and once one of them has
// waited for a millisecond, it is handed from one to the next. But it is locked for a few
// instructions only, so it is free when the goroutine runs again.
func (b *Box[T]) lockInCrowd() bool {
	for range politeness {
		if b.mu.TryLock() {
			return true
		}
		runtime.Gosched()
	}
	return false
}
