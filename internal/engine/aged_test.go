package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/transport"
)

// A request that a bus has held back is judged by its age when it arrives.
func TestHeldBackRequestIsAged(t *testing.T) {
	const timeout = 5 * time.Second
	for _, c := range []struct {
		name  string
		held  time.Duration
		stamp bool
		left  time.Duration // when it is received; 0: it never runs
	}{
		{"in time", 3 * time.Second, true, 2 * time.Second},
		{"too late", 5*time.Second + time.Millisecond, true, 0},
		{"without a stamp", 3 * time.Second, false, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
				var left time.Duration
				b.serve = func(in *server.Inbound) {
					if at, ok := in.Deadline(); ok && in.Start() {
						left = time.Until(at)
						in.Reply(in.TypeID, in.Codec, in.TakeBody())
					}
				}
				a.echoes("b", "first")
				time.Sleep(3 * time.Second) // a heartbeat has been answered
				synctest.Wait()
				left = 0
				r.setTap(func(h hop) fate {
					if !c.stamp {
						h.Sent = time.Time{}
					}
					if h.Verb == transport.VerbCancel || h.Verb == transport.VerbAck || h.Verb == transport.VerbProbe {
						return drop // otherwise they would tell the server that nobody waits any more
					}
					return pass
				})
				r.net.Hold("bus", "a", "b")
				a.send(request("b", "held", timeout))
				time.Sleep(c.held)
				r.net.Release("bus", "a", "b")
				synctest.Wait()
				if left.Round(10*time.Millisecond) != c.left {
					t.Errorf("%v were left, want %v", left, c.left)
				}
			})
		})
	}
}
