// What is done about messages that a bus loses, and about links that have fallen silent.

package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A link that is silent for three heartbeats is closed, and its requests are sent on the other
// road.
func TestHeartbeatsCloseSilentLink(t *testing.T) {
	for _, silence := range []struct{ from, to string }{{"a", "b"}, {"b", "a"}} {
		t.Run(silence.from+" to "+silence.to, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
				b.handle(func(_ *server.Inbound, body string) string { return body })
				a.echoes("b", "warm up")
				time.Sleep(time.Minute)
				if a.saw(rpc.LinkDown) != 0 {
					t.Error("a link that lives was closed")
				}
				r.net.PartitionOneWay("direct", silence.from, silence.to)
				began := time.Now()
				a.echoes("b", "x")
				if took := time.Since(began); took < 4*time.Second || took > 9*time.Second {
					t.Errorf("took %v, want about %d heartbeats", took, DeadAfter)
				}
				if a.saw(rpc.LinkDown) == 0 || b.ran("x") != 1 {
					t.Errorf("%d links down, ran %d times", a.saw(rpc.LinkDown), b.ran("x"))
				}
			})
		})
	}
}

// If the bus loses a request or its reply, the client finds out by a probe.
func TestProbes(t *testing.T) {
	for _, loses := range []transport.Verb{transport.VerbRequest, transport.VerbReply} {
		t.Run(loses.String(), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
				b.handle(func(_ *server.Inbound, body string) string { return body })
				a.echoes("b", "warm up")
				done := false
				r.setTap(func(h hop) fate {
					if h.Verb == loses && !done {
						done = true
						return drop
					}
					return pass
				})
				began := time.Now()
				a.echoes("b", "x")
				if took := time.Since(began); took < silence || took > silence+silence/10 {
					t.Errorf("took %v, want %v", took, silence)
				}
				if b.ran("x") != 1 {
					t.Errorf("ran %d times", b.ran("x"))
				}
			})
		})
	}
}

// While a handler runs for long, the client sends a few probes, and the request is not run
// again.
func TestProbesOfRunning(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(20 * time.Second); return body })
		probes := 0
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbProbe {
				probes++
			}
			return pass
		})
		a.echoes("b", "x")
		if b.ran("x") != 1 || probes < 3 || probes > 8 {
			t.Errorf("ran %d times, %d probes in 20 s", b.ran("x"), probes)
		}
	})
}

// Whatever a bus loses, doubles and delays, every request gets its own answer and runs once.
func TestLossyBus(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus, func(c *Config) { c.Window = 64 }), r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		random := rand.New(rand.NewPCG(1, 2))
		r.setTap(func(h hop) fate {
			switch n := random.IntN(100); {
			case n < 30:
				return drop
			case n < 40:
				return twice
			}
			return pass
		})
		r.net.SetFaults("bus", "", "", memnet.Faults{MaxDelay: 30 * time.Millisecond})
		var all sync.WaitGroup
		for g := range 50 {
			all.Go(func() {
				for i := range 20 {
					body := fmt.Sprint(g, "/", i)
					f, _ := a.send(request("b", body, 10*time.Minute))
					if got, err := f.Await(context.Background()); got != body || err != nil {
						t.Errorf("%s: %q, %v", body, got, err)
					}
				}
			})
		}
		all.Wait()
		r.setTap(nil)
		time.Sleep(time.Minute)
		for body, n := range b.runs {
			if n != 1 {
				t.Errorf("%s ran %d times", body, n)
			}
		}
		if s := a.Stats(); s.Lost != 0 || s.Outstanding != 0 || len(b.runs) != 1000 {
			t.Errorf("%d ran, client: %+v", len(b.runs), s)
		}
		if s := b.Stats(); s.BadMarks != 0 || s.Records > 64 {
			t.Errorf("server: %+v", s)
		}
	})
}

// If the bus loses an open or the answer to it, the open is sent again.
func TestOpenLost(t *testing.T) {
	for _, loses := range []transport.Verb{transport.VerbOpen, transport.VerbOpened} {
		t.Run(loses.String(), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
				n := 0
				r.setTap(func(h hop) fate {
					if h.Verb == loses {
						if n++; n < 3 {
							return drop
						}
					}
					return pass
				})
				began := time.Now()
				a.echoes("b", "x")
				if took := time.Since(began); took != time.Second {
					t.Errorf("took %v, want %v", took, time.Second)
				}
				a.echoes("b", "y")
				if s := b.Stats(); s.Served != 2 {
					t.Errorf("stats: %+v", s)
				}
			})
		})
	}
}

// When a link is disturbed, the outstanding requests are sent again.
func TestDisturbed(t *testing.T) {
	for _, who := range []string{"a", "b"} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
			b.handle(func(_ *server.Inbound, body string) string { return body })
			a.echoes("b", "warm up")
			done := false
			r.setTap(func(h hop) fate {
				if h.Verb == transport.VerbRequest && !done {
					done = true
					return drop
				}
				return pass
			})
			began := time.Now()
			f, _ := a.send(request("b", "x", patience))
			synctest.Wait()
			r.net.Disturb("bus", who)
			if got, err := f.Await(t.Context()); got != "x" || err != nil || time.Since(began) > 10*time.Millisecond {
				t.Errorf("%s disturbed: %q, %v after %v", who, got, err, time.Since(began))
			}
			if b.ran("x") != 1 {
				t.Errorf("ran %d times", b.ran("x"))
			}
		})
	}
}

// The next heartbeat repeats an ack that was lost.
func TestHeartbeatsAck(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbAck {
				return drop
			}
			return pass
		})
		a.echoes("b", "x")
		time.Sleep(time.Second)
		if n := b.Stats().Records; n != 1 {
			t.Fatalf("%d records before the heartbeat", n)
		}
		time.Sleep(rpc.DefaultHeartbeat)
		if n := b.Stats().Records; n != 0 {
			t.Errorf("%d records after it", n)
		}
	})
}

// silence is how long a client waits for an answer on a bus before it sends a probe.
const silence = 500 * time.Millisecond
