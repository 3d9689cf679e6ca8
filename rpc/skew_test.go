package rpc

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/transport"
)

func TestSkew(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var s skew
	expect := func(what string, stamp, now, want time.Duration) {
		t.Helper()
		if got := s.age(stamp, now); got != want {
			t.Errorf("%s: %v old, want %v: %+v", what, got, want, s)
		}
	}
	expect("nothing is known", ms(10), ms(9000), 0)

	// The peer's clock is 5000 ms ahead; the first answer took 100 ms.
	s.heard(ms(1000), ms(1100), ms(6050))
	expect("sent just now", ms(6100), ms(1100), 0)
	expect("sent 500 ms ago, of which 50 may be an error", ms(6100), ms(1600), ms(450))

	// A quicker answer says it better, and a slow one behind it takes nothing back but drift.
	s.heard(ms(2000), ms(2002), ms(7001))
	expect("known within 2 ms", ms(7000), ms(2500), ms(499))
	s.heard(ms(3000), ms(3900), ms(8010))
	expect("and still", ms(7000), ms(2500), ms(498))

	// Then this node's machine slept for a minute: its clock stood still.
	s.heard(ms(4000), ms(4010), ms(69005))
	expect("the clocks have come apart", ms(69100), ms(4200), ms(95))

	// The future is not old.
	expect("from the future", ms(99999), ms(4200), 0)
}

// What a bus has held back is as old there as it is.
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
				b.serve = func(in *Inbound) {
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
						return drop // or they would say that nobody waits any more
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
