package mailbox

import (
	"runtime"
	"testing"

	"github.com/tandem-go/tandem/test/bubble"
)

func (b *Box[T]) isCrowded() bool { return b.state.Load() >= crowd }

// Several producers that wait for room at once make a crowd, until many batches were taken
// without. Its count leaves the flags alone.
func TestCrowd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 2})
		offer(t, b, 1, 2)
		putAside(b, 3)
		wantTake(t, b, 1, 2)
		if b.isCrowded() {
			t.Error("one producer is a crowd")
		}
		offer(t, b, 4, 4)
		putAside(b, 5)
		putAside(b, 6)
		wantTake(t, b, 3, 4)
		for n := range crowdLasts {
			if !b.isCrowded() {
				t.Fatalf("after %d batches the crowd is forgotten", n)
			}
			if n == 0 {
				wantTake(t, b, 5, 6)
				continue
			}
			offer(t, b, n, n)
			wantTake(t, b, n)
		}
		if b.isCrowded() || !b.has(isBusy) || b.has(isClosed) {
			t.Errorf("after the crowd, the state is %b", b.state.Load())
		}
	})
}

// What finds the box of a crowd locked lets others run, and waits for the lock in the end.
func TestLockInCrowd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, long := range []bool{false, true} {
			b := newBox(Config{})
			b.note(2)
			b.mu.Lock()
			done := make(chan struct{})
			go func() {
				defer close(done)
				if wake, ok := b.Push(1); !wake || !ok {
					t.Errorf("long %v: Push = %v, %v", long, wake, ok)
				}
			}()
			for n := 0; long && n < 2*politeness || n < 2; n++ {
				runtime.Gosched()
			}
			b.mu.Unlock()
			<-done
			wantTake(t, b, 1)
		}
	})
}
