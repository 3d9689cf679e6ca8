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
		a := &ask[int]{state: finished} // as while end runs: the state is set, and the promise is not
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		go func() {
			time.Sleep(time.Second)
			a.promise.Resolve(7, nil)
		}()
		if n, err := a.await(ctx, new(System), false); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
