package rpc

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The memory of a request serves another one when its client has acked it and its handler
// is through with it, whichever comes first, and not before.
func TestReuseOfRequests(t *testing.T) {
	for _, freedFirst := range []bool{true, false} {
		bubble(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
			var first atomic.Pointer[Inbound]
			b.serve = func(in *Inbound) {
				first.CompareAndSwap(nil, in)
				echo(in)
			}
			spare := func() bool {
				synctest.Wait()
				for _, s := range b.sessions {
					s.mu.Lock()
					defer s.mu.Unlock()
					return slices.Contains(s.stock, first.Load())
				}
				return false
			}
			free := func() { first.Load().Free() }
			ack := func() { time.Sleep(2 * ackIdle) }
			a.echoes("b", "x")
			steps := []func(){ack, free}
			if freedFirst {
				slices.Reverse(steps)
			}
			steps[0]()
			if spare() {
				t.Errorf("freed first: %v: used again after one of two", freedFirst)
				return
			}
			steps[1]()
			if !spare() {
				t.Errorf("freed first: %v: not used again after both", freedFirst)
			}
		})
	}
}
