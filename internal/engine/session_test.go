// How sessions are opened and joined, and how long they last.

package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A request under a grant that the server does not know never runs, whatever its flags are.
func TestUnknownGrantNeverRuns(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		c := r.dialRaw("c", "bus", "b")
		for _, flags := range []transport.Flags{0, transport.FlagResend} {
			e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbRequest, Flags: flags, Grant: transport.Grant{1}, Seq: 1, Target: "t", Body: []byte("x")}))
			if rpc.Code(e.Code) != rpc.SessionLost || e.Flags&transport.FlagNotRun != 0 {
				t.Errorf("flags %v: answer %+v", flags, e)
			}
		}
		if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: transport.Grant{1}})); rpc.Code(e.Code) != rpc.SessionLost {
			t.Errorf("joining an unknown session: %+v", e)
		}
		for _, verb := range []transport.Verb{transport.VerbTell, transport.VerbAck, transport.VerbCancel} {
			if got := c.say(t, transport.Envelope{Verb: verb, Grant: transport.Grant{1}, Seq: 1, Body: []byte("x")}); len(got) != 0 {
				t.Errorf("%v under an unknown grant: %+v", verb, got)
			}
		}
		if b.ran("x") != 0 || len(b.received()) != 0 || b.Stats().SessionsOpened != 0 {
			t.Errorf("something ran: %+v", b.Stats())
		}
	})
}

// A session lives as long as it has a link, however long nothing is requested.
func TestIdleSessionLives(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "x")
		time.Sleep(10 * rpc.DefaultSessionLease)
		a.echoes("b", "y")
		if s := b.Stats(); s.SessionsExpired != 0 || a.Stats().Lost != 0 {
			t.Errorf("server: %+v", s)
		}
	})
}

// That holds for a lease of any length too, also if heartbeats come late, and if those of the
// client come as rarely as the link allows. Without a link, the session ends.
func TestIdleSessionLivesWithAShortLease(t *testing.T) {
	const beat = 2 * time.Second
	for _, lease := range []time.Duration{1, beat, 4*beat - 1, 4 * beat} {
		for _, clients := range []time.Duration{beat, 3*beat - time.Millisecond} {
			t.Run(fmt.Sprintf("%v, heartbeats each %v", lease, clients), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					r.net.SetFaults("", "", "", memnet.Faults{MaxDelay: time.Second})
					a := r.start("a", "a1", bus, func(c *Config) { c.Heartbeat = clients })
					b := r.start("b", "b1", bus, func(c *Config) { c.Heartbeat, c.SessionLease = beat, lease })
					a.echoes("b", "x")
					time.Sleep(time.Hour)
					a.echoes("b", "y")
					if s := b.Stats(); s.SessionsExpired != 0 || s.SessionsOpened != 1 {
						t.Errorf("with a link: %+v", s)
					}
					r.net.Partition("", "a", "b")
					time.Sleep(2*3*beat + 2*4*beat) // until the link is closed, and the lease has ended
					if s := b.Stats(); s.SessionsExpired != 1 {
						t.Errorf("without a link: %+v", s)
					}
				})
			})
		}
	}
}

// A session without a link ends with its lease, but not before its running requests have ended.
func TestSessionLease(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(3 * rpc.DefaultSessionLease); return body })
		f, _ := a.send(request("b", "x", time.Hour))
		time.Sleep(time.Second)
		r.net.Partition("", "a", "b")
		time.Sleep(2 * rpc.DefaultSessionLease)
		if s := b.Stats(); s.SessionsExpired != 0 {
			t.Errorf("a session with a running request expired")
		}
		r.net.Heal("", "a", "b")
		if got, err := f.Await(t.Context()); got != "x" || err != nil || b.ran("x") != 1 {
			t.Errorf("after the cut: %q, %v; ran %d times", got, err, b.ran("x"))
		}
		r.net.Partition("", "a", "b")
		time.Sleep(2 * rpc.DefaultSessionLease)
		if s := b.Stats(); s.SessionsExpired != 1 || s.Records != 0 || s.HeldBytes != 0 {
			t.Errorf("after the lease: %+v", s)
		}
	})
}

// If a server is restarted while an old link to it still seems to live, requests are sent over
// the road that answers, long before missing heartbeats end the old link.
func TestRestartBesideASilentLink(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		a.echoes("b", "warm up")
		synctest.Wait()
		r.net.Partition("bus", "b", "")
		b.Close()
		began := time.Now()
		r.start("b", "b2", twoRoads)
		r.net.SetFaults("direct", "", "", memnet.Faults{MinDelay: 20 * time.Millisecond, MaxDelay: 20 * time.Millisecond})
		for {
			f, _ := a.send(request("b", "x", 10*time.Second))
			if _, err := f.Await(t.Context()); err == nil {
				break
			}
			if time.Since(began) > patience {
				t.Fatal("never")
			}
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the first answer took %v", took)
		}
	})
}

// After a server has announced that it leaves, its clients ack without delay, but they no
// longer do so with its next start.
func TestAnnouncedLeavingEndsWithItsServer(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		b.AnnounceLeaving(t.Context())
		synctest.Wait()
		b.Close()
		synctest.Wait() // otherwise a might still send on the dying link
		r.start("b", "b2", direct)
		a.echoes("b", "warm up")
		acks := 0
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbAck {
				acks++
			}
			return pass
		})
		for range 100 {
			a.echoes("b", "x")
		}
		if acks > 0 {
			t.Errorf("%d ack frames for 100 requests in a row", acks)
		}
	})
}

// A link on another road joins a session only if it has the same principal.
func TestJoinNeedsThePrincipal(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		byRoad := func(c *Config) {
			c.Principals = func(road string, p transport.Peer) string { return road + p.Principal }
		}
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, byRoad)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		a.echoes("b", "x")
		time.Sleep(time.Second)
		if a.saw(rpc.JoinDenied) != 1 || b.Stats().JoinsDenied != 1 {
			t.Errorf("%d joins denied", b.Stats().JoinsDenied)
		}
		a.echoes("b", "y")
		// A client of another principal that knows the grant is refused, too.
		grants := b.Server.View().Sessions
		c := r.dialRaw("c", "direct", "b")
		for _, g := range grants {
			if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: g})); rpc.Code(e.Code) != rpc.Denied {
				t.Errorf("a stranger joins: %+v", e)
			}
			if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Grant: g, Target: "t"})); rpc.Code(e.Code) != rpc.SessionLost {
				t.Errorf("a stranger asks: %+v", e)
			}
		}
	})
}

// A late answer to a request of a lost session is not taken for an answer to a request of the
// next session, even if a server that has left the registry continues to answer.
func TestLateAnswersDoNotCross(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		b.handle(func(_ *server.Inbound, body string) string {
			if body == "other" {
				time.Sleep(10 * time.Second)
			}
			time.Sleep(5 * time.Second)
			return body
		})
		move := func(epoch string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.places["b"] = client.Place{Epoch: epoch}
		}
		first, _ := a.send(request("b", "first", patience))
		time.Sleep(time.Second)
		move("b2")
		r.net.Reset("direct", "a", "b")
		_, err := first.Await(t.Context())
		wantErr(t, "a request of the lost session", err, rpc.OutcomeUnknown, rpc.Unknown)
		move("b1")
		a.echoes("b", "other")
		time.Sleep(time.Minute)
	})
}

// If a server has no room for a session, the client asks again later.
func TestSessionsFull(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				r.start("b", "b1", roads, func(c *Config) { c.MaxSessions, c.SessionLease = 1, 10*time.Second })
				first := r.start("first", "f1", roads)
				first.echoes("b", "x")
				a := r.start("a", "a1", roads)
				f, _ := a.send(request("b", "too early", time.Second))
				if _, err := f.Await(t.Context()); rpc.Ran(err) != rpc.NotRun {
					t.Errorf("a request without a session: %v, ran: %v", err, rpc.Ran(err))
				}
				first.Close()
				for range 5 { // each begins just after the one before has ended, between two opens
					f, _ := a.send(request("b", "still too early", 700*time.Millisecond))
					_, _ = f.Await(t.Context())
				}
				a.echoes("b", "waits for the other's lease to end")
			})
		})
	}
}
