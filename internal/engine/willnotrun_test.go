package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// When WillNotRun has reported true once, it stays so, and Start ends the request, even if a copy
// brings more time in between.
func TestWillNotRun(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		came := make(chan *server.Inbound, 1)
		b.serve = func(in *server.Inbound) { came <- in }
		for what, row := range map[string]struct {
			lapse      func(*client.Call)
			afterwards rpc.Code
		}{
			"deadline": {func(*client.Call) {
				r.setTap(func(h hop) fate { // b is not told that a has cancelled
					if h.from == "a" {
						return drop
					}
					return pass
				})
				time.Sleep(time.Second)
			}, rpc.Expired},
			"cancelled": {func(c *client.Call) { c.GiveUp(rpc.Canceled, "") }, rpc.Canceled},
		} {
			var copied transport.Envelope
			r.setTap(func(h hop) fate {
				if h.Verb == transport.VerbRequest {
					copied = h.Envelope.Clone()
				}
				return pass
			})
			f, call := a.send(request("b", what, time.Second))
			in := <-came
			if in.WillNotRun() {
				t.Errorf("%s: lapsed at once", what)
			}
			row.lapse(call)
			synctest.Wait()
			if !in.WillNotRun() {
				t.Errorf("%s: not lapsed", what)
			}
			again := copied.Clone()
			again.Timeout, again.Sent = time.Hour, time.Time{}
			b.connOf(t, "a").Receive(&again) // another copy, which says that there is more time
			if !in.WillNotRun() || in.Start() {
				t.Errorf("%s: it runs after all", what)
			}
			r.setTap(nil)
			_, err := f.Await(t.Context())
			if rpc.CodeOf(err) != row.afterwards {
				t.Errorf("%s: %v", what, err)
			}
		}
		f, _ := a.send(request("b", "alive", patience))
		in := <-came
		if !in.Start() || !in.WillNotRun() { // it was cancelled only after it had started
			t.Error("a live one")
		}
		in.Reply(1, 1, nil)
		if _, err := f.Await(t.Context()); err != nil {
			t.Error(err)
		}
		tell := &server.Inbound{}
		if tell.WillNotRun() {
			t.Error("a one-way message lapsed")
		}
	})
}
