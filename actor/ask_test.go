package actor

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

// A caller who gives up when the outcome is about to come gets the outcome.
func TestAwaitBesideTheOutcome(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := &ask[int]{state: finished} // as between the two halves of end
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		go func() {
			time.Sleep(time.Second)
			a.promise.Resolve(7, nil)
		}()
		if n, err := a.await(ctx, nil, nil); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
