package actor

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// The requests from the oldest one on that has not ended are bounded: one more waits until half of them have ended, or its
// context. One that cannot wait does not.
func TestRequestNames(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var names requestNames
		to, other := new(openRequests), new(openRequests)
		begin := func(to *openRequests, waits bool) requestName {
			t.Helper()
			r, err := names.begin(t.Context(), to, waits)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		var open []requestName
		for range maxOpen {
			open = append(open, begin(to, true))
		}
		for i, r := range open[1:] { // all but the oldest one
			if r.once.Below != open[0].once.Number || r.once.Number != open[i].once.Number+1 {
				t.Fatalf("%+v", r.once)
			}
			r.end()
			r.end() // a second time it does nothing
		}
		begin(other, true).end()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := names.begin(ctx, to, true); err == nil || err.Verdict != rpc.NotRun || err.Code != rpc.Canceled {
			t.Errorf("beyond the limit: %v", err)
		}
		asked := begin(to, false)
		began := make(chan requestName)
		for range 3 {
			go func() { began <- begin(to, true) }()
		}
		synctest.Wait()
		select {
		case <-began:
			t.Error("it has not waited")
		default:
		}
		open[0].end()
		for range 3 {
			r := <-began
			if r.once.Below != asked.once.Number {
				t.Errorf("%+v after %+v", r.once, asked.once)
			}
			r.end()
		}
		asked.end()
		for _, o := range []*openRequests{to, other} {
			if o.len() > 0 || cap(o.all) > maxSpareNames {
				t.Errorf("%d are open, with memory for %d", o.len(), cap(o.all))
			}
		}
	})
}
