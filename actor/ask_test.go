package actor

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

// If the outcome is about to be set when the caller cancels, the caller gets the outcome.
func TestOutcomeBeatsCancel(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var s System
		s.waiters.Init(time.Minute)
		a := newAsk[int](&s)
		a.state.Store(finished) // as while end runs: the state is set, and the outcome is not
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		go func() {
			time.Sleep(time.Second)
			a.deliver(7, nil)
		}()
		if n, err := a.await(ctx, &s, false); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
