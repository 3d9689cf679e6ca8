package rpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

func (s *site) tell(to, body string) error {
	return s.Tell(context.Background(), request(to, body, patience))
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// Tells start on the bus, go over to the direct road when it opens, fall back when
// it dies, and go over again: always in order, none twice, and where no link dies
// none lost.
func TestTellsKeepOrderAcrossRoads(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net.SetFaults("bus", "", "", memnet.Faults{MinDelay: 20 * time.Millisecond, MaxDelay: 40 * time.Millisecond})
		r.net.Partition("direct", "", "")
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		var want []string
		tell := func(n int) {
			for range n {
				body := fmt.Sprint(len(want))
				if err := a.tell("b", body); err != nil {
					t.Fatalf("tell %s: %v", body, err)
				}
				want = append(want, body)
				time.Sleep(time.Millisecond)
			}
		}
		tell(100)
		r.net.Heal("direct", "", "")
		for a.saw(RoadChanged) < 2 {
			tell(10)
		}
		tell(100)
		time.Sleep(time.Second)
		if got := b.told(); !slices.Equal(got, want) {
			t.Errorf("bus to direct: %d told, %d arrived:\n%v", len(want), len(got), got)
		}
		if s := b.Stats(); s.TellsDropped != 0 || s.TellsMissed != 0 {
			t.Errorf("stats: %+v", s)
		}
		for range 5 {
			r.net.Reset("direct", "a", "b")
			tell(300)
		}
		time.Sleep(time.Second)
		last := -1
		for _, body := range b.told() {
			var n int
			fmt.Sscan(body, &n)
			if n <= last {
				t.Fatalf("%d came after %d", n, last)
			}
			last = n
		}
		if got, s := len(b.told()), b.Stats(); got < len(want)-20 || uint64(len(want)-got) > s.TellsMissed {
			t.Errorf("%d of %d arrived, %d counted as missed", got, len(want), s.TellsMissed)
		}
	})
}

func TestTellsAreNotDuplicated(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		r.setTap(func(hop) fate { return twice })
		for _, body := range numbers(100) {
			if err := a.tell("b", body); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := b.told(); !slices.Equal(got, numbers(100)) {
			t.Errorf("arrived: %v", got)
		}
		if s := b.Stats(); s.TellsServed != 100 || s.TellsDropped != 100 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// Requests keep the order of their first attempts when their road dies.
func TestRequestsKeepOrderAcrossRoads(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		a.echoes("b", "warm up")
		synctest.Wait()
		var order []string
		b.serve = nil
		b.Node.cfg.Handler = inOrder{func(in *Inbound) {
			order = append(order, string(in.TakeBody()))
			in.Start()
			in.Reply(1, 1, nil)
		}}
		n := 0
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbRequest && h.road == "direct" {
				if n++; n == 10 {
					return cut
				}
			}
			return pass
		})
		var all []*Future[string]
		for _, body := range numbers(20) {
			f, _ := a.send(request("b", body, patience))
			all = append(all, f)
		}
		for _, f := range all {
			if _, err := f.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(order, numbers(20)) {
			t.Errorf("order: %v", order)
		}
	})
}

// inOrder handles requests in their links' readers.
type inOrder struct{ fn func(*Inbound) }

func (h inOrder) HandleRequest(in *Inbound)    { h.fn(in) }
func (h inOrder) HandleTells([]*Inbound)       {}
func (h inOrder) LoseTells([]*Inbound, *Error) {}
func (inOrder) Durability(string) Durability   { return Durability{} }

// A link that says nothing for three heartbeats is closed, and what it carried goes
// out on the other road.
func TestHeartbeatsCloseSilentLink(t *testing.T) {
	for _, silence := range []struct{ from, to string }{{"a", "b"}, {"b", "a"}} {
		t.Run(silence.from+" to "+silence.to, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
				b.handle(func(_ *Inbound, body string) string { return body })
				a.echoes("b", "warm up")
				time.Sleep(time.Minute)
				if a.saw(LinkDown) != 0 {
					t.Error("a link that lives was closed")
				}
				r.net.PartitionOneWay("direct", silence.from, silence.to)
				began := time.Now()
				a.echoes("b", "x")
				if took := time.Since(began); took < 4*time.Second || took > 9*time.Second {
					t.Errorf("took %v, want about %d heartbeats", took, DeadAfter)
				}
				if a.saw(LinkDown) == 0 || b.ran("x") != 1 {
					t.Errorf("%d links down, ran %d times", a.saw(LinkDown), b.ran("x"))
				}
			})
		})
	}
}

// A request whose copy, or whose reply, the bus loses is found by probing.
func TestProbes(t *testing.T) {
	for _, loses := range []transport.Verb{transport.VerbRequest, transport.VerbReply} {
		t.Run(loses.String(), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
				b.handle(func(_ *Inbound, body string) string { return body })
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
				if took := time.Since(began); took < probeMin || took > probeMin+probeMin/10 {
					t.Errorf("took %v, want %v", took, probeMin)
				}
				if b.ran("x") != 1 {
					t.Errorf("ran %d times", b.ran("x"))
				}
			})
		})
	}
}

// A long-running handler is asked about now and then, and not run again.
func TestProbesOfRunning(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		b.handle(func(_ *Inbound, body string) string { time.Sleep(20 * time.Second); return body })
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

// Whatever a bus loses, doubles and delays, every request ends with its own answer
// and runs once.
func TestLossyBus(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus, func(c *Config) { c.Window = 64 }), r.start("b", "b1", bus)
		b.handle(func(_ *Inbound, body string) string { return body })
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

// The bus loses an open, or its answer: it is asked again.
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
				if took := time.Since(began); took != 2*openRetry {
					t.Errorf("took %v, want %v", took, 2*openRetry)
				}
				a.echoes("b", "y")
				if s := b.Stats(); s.Served != 2 {
					t.Errorf("stats: %+v", s)
				}
			})
		})
	}
}

// Roads slower than any retry of ours still work, and repeated opens do not run a
// request twice when it moves to another road.
func TestSlowRoads(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		for _, delay := range []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond} {
			t.Run(fmt.Sprint(roads, delay), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					r.net.SetFaults("", "", "", memnet.Faults{MinDelay: delay, MaxDelay: delay})
					a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
					b.handle(func(_ *Inbound, body string) string { return body })
					for i := range 5 {
						a.echoes("b", fmt.Sprint("x", i))
					}
					f, _ := a.send(request("b", "y", patience))
					time.Sleep(delay + delay/2) // the reply is under way
					r.net.Reset("", "a", "b")
					if got, err := f.Await(t.Context()); got != "y" || err != nil {
						t.Errorf("over a link that died: %q, %v", got, err)
					}
					time.Sleep(time.Minute)
					for body, n := range b.runs {
						if n != 1 {
							t.Errorf("%s ran %d times", body, n)
						}
					}
				})
			})
		}
	}
}

// A link that lives keeps its session, however long nobody asks anything.
func TestIdleSessionLives(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "x")
		time.Sleep(10 * DefaultSessionLease)
		a.echoes("b", "y")
		if s := b.Stats(); s.SessionsExpired != 0 || a.Stats().Lost != 0 {
			t.Errorf("server: %+v", s)
		}
	})
}

// A session that no link holds ends with its lease, but not before what runs in it.
func TestSessionLease(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		b.handle(func(_ *Inbound, body string) string { time.Sleep(3 * DefaultSessionLease); return body })
		f, _ := a.send(request("b", "x", time.Hour))
		time.Sleep(time.Second)
		r.net.Partition("", "a", "b")
		time.Sleep(2 * DefaultSessionLease)
		if s := b.Stats(); s.SessionsExpired != 0 {
			t.Errorf("a session with a running request expired")
		}
		r.net.Heal("", "a", "b")
		if got, err := f.Await(t.Context()); got != "x" || err != nil || b.ran("x") != 1 {
			t.Errorf("after the cut: %q, %v; ran %d times", got, err, b.ran("x"))
		}
		r.net.Partition("", "a", "b")
		time.Sleep(2 * DefaultSessionLease)
		if s := b.Stats(); s.SessionsExpired != 1 || s.Records != 0 || s.HeldBytes != 0 {
			t.Errorf("after the lease: %+v", s)
		}
	})
}

// The server dies and comes back while a link to its former life still seems to
// live: traffic goes on over the road that answers, long before heartbeats bury the
// dead one.
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

// What a farewell asks of clients ends with the server that said it.
func TestFarewellEndsWithItsServer(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		b.Farewell(t.Context())
		synctest.Wait()
		b.Close()
		synctest.Wait() // or a might still send on the dying link
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

// The other road joins only if it proves the same principal.
func TestJoinNeedsThePrincipal(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		byRoad := func(c *Config) {
			c.Principals = func(road string, p transport.Peer) string { return road + p.Principal }
		}
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, byRoad)
		b.handle(func(_ *Inbound, body string) string { return body })
		a.echoes("b", "x")
		time.Sleep(time.Second)
		if a.saw(JoinDenied) != 1 || b.Stats().JoinsDenied != 1 {
			t.Errorf("%d joins denied", b.Stats().JoinsDenied)
		}
		a.echoes("b", "y")
		// A stranger that knows the grant does not get in either.
		b.Node.mu.Lock()
		var grants []transport.Grant
		for g := range b.Node.sessions {
			grants = append(grants, g)
		}
		b.Node.mu.Unlock()
		c := r.dialRaw("c", "direct", "b")
		for _, g := range grants {
			if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: g})); Code(e.Code) != Denied {
				t.Errorf("a stranger joins: %+v", e)
			}
			if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Grant: g, Target: "t"})); Code(e.Code) != SessionLost {
				t.Errorf("a stranger asks: %+v", e)
			}
		}
	})
}

// A copy that slept in a buffer until its server had started anew, or its request
// was over, does not run.
func TestLateCopiesDoNotRun(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		b.handle(func(_ *Inbound, body string) string { return body })
		a.echoes("b", "warm up")
		synctest.Wait()
		r.net.Reset("direct", "a", "b")
		r.net.Hold("direct", "", "")
		synctest.Wait()
		r.net.Hold("bus", "a", "b")
		f, call := a.send(request("b", "x", patience))
		synctest.Wait()
		call.GiveUp(Canceled, "enough")
		_, err := f.Await(t.Context())
		wantErr(t, "given up", err, Canceled, Unknown)
		r.net.Heal("", "", "")
		a.echoes("b", "y")
		time.Sleep(time.Minute)
		if n := b.ran("x"); n > 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

// Replies over the limit are sent once and not kept; a principal whose records and replies
// fill its share is refused, and acks make room again.
func TestKeptReplies(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus, func(c *Config) { c.Keep, c.MemoryBytes = 100, 4000 })
		b.handle(func(_ *Inbound, body string) string {
			if body == "large" {
				return strings.Repeat("x", 101)
			}
			return strings.Repeat("x", 60)
		})
		c := r.dialRaw("c", "bus", "b")
		grant := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		req := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Body: []byte("large"), Timeout: time.Minute}
		if e := one(t, c.say(t, req)); e.Code != 0 || len(e.Body) != 101 {
			t.Errorf("a large reply: %+v", e)
		}
		if e := one(t, c.say(t, req)); Code(e.Code) != ReplyDropped || e.Flags&transport.FlagRan == 0 {
			t.Errorf("a large reply again: %+v", e)
		}
		for _, row := range []struct {
			seq  uint64
			code Code
			kept int64
		}{{2, 0, 2*recordSize + 60}, {3, 0, 3*recordSize + 120}, {4, 0, 4*recordSize + 180}, {5, Overloaded, 5*recordSize + 180}} { // one alone may have half
			req.Seq, req.Body = row.seq, []byte("small")
			e := one(t, c.say(t, req))
			if refused := e.Flags&transport.FlagNotRun != 0; Code(e.Code) != row.code || refused != (row.code != 0) {
				t.Errorf("%d: %+v", row.seq, e)
			}
			if got := b.Stats().HeldBytes; got != row.kept+int64(len(e.Message)) {
				t.Errorf("%d: %d bytes kept, want %d", row.seq, got, row.kept+int64(len(e.Message)))
			}
		}
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 6}, Body: transport.AppendSeqBytes(nil, []uint64{3, 4})})
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 2}})
		if got := b.Stats().HeldBytes; got != 2*(recordSize+60) {
			t.Errorf("%d bytes kept after the acks", got)
		}
		req.Seq = 6
		if e := one(t, c.say(t, req)); e.Code != 0 {
			t.Errorf("after the acks: %+v", e)
		}
		if s := b.Stats(); s.Records != 3 || s.BadMarks != 0 {
			t.Errorf("after the acks: %+v", s)
		}
	})
}

// Disturbed links have what is outstanding sent again.
func TestDisturbed(t *testing.T) {
	for _, who := range []string{"a", "b"} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
			b.handle(func(_ *Inbound, body string) string { return body })
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

// A late answer to a request of a session that was lost is not taken for the answer to
// one of the next session: a server that the registry has given up may go on answering.
func TestLateAnswersDoNotCross(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		b.handle(func(_ *Inbound, body string) string {
			if body == "other" {
				time.Sleep(10 * time.Second)
			}
			time.Sleep(5 * time.Second)
			return body
		})
		move := func(epoch string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.places["b"] = Place{Epoch: epoch}
		}
		first, _ := a.send(request("b", "first", patience))
		time.Sleep(time.Second)
		move("b2")
		r.net.Reset("direct", "a", "b")
		_, err := first.Await(t.Context())
		wantErr(t, "a request of the lost session", err, OutcomeUnknown, Unknown)
		move("b1")
		a.echoes("b", "other")
		time.Sleep(time.Minute)
	})
}

// A peer whose links die as soon as they are open is not dialled without a pause.
func TestLinksThatDieAtOnce(t *testing.T) {
	for _, road := range [][]string{direct, bus} {
		t.Run(road[0], func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, _ := r.start("a", "a1", road), r.start("b", "b1", road)
				r.setTap(func(h hop) fate {
					if h.Verb == transport.VerbOpened {
						return cut
					}
					return pass
				})
				f, _ := a.send(request("b", "x", 10*time.Second))
				_, err := f.Await(t.Context())
				wantErr(t, "a request that never left", err, Expired, NotRun)
				if n := a.Stats().LinksLost; n < 5 || n > 100 {
					t.Errorf("%d links in 10 s", n)
				}
			})
		})
	}
}

// A server that had no room for a session is asked again when there may be.
func TestSessionsFull(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				r.start("b", "b1", roads, func(c *Config) { c.MaxSessions, c.SessionLease = 1, 10*time.Second })
				first := r.start("first", "f1", roads)
				first.echoes("b", "x")
				a := r.start("a", "a1", roads)
				f, _ := a.send(request("b", "too early", time.Second))
				if _, err := f.Await(t.Context()); Ran(err) != NotRun {
					t.Errorf("a request without a session: %v, ran: %v", err, Ran(err))
				}
				first.Close()
				for range 5 { // the next begins when this one has just ended, between two opens
					f, _ := a.send(request("b", "still too early", 700*time.Millisecond))
					_, _ = f.Await(t.Context())
				}
				a.echoes("b", "waits for the other's lease to end")
			})
		})
	}
}

// Senders that a full link holds up wait, and do not wake each other all the time.
func TestTellsAtAFullLink(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		r.net.Hold("direct", "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var owned sync.WaitGroup
		body := strings.Repeat("x", 64<<10)
		var sent atomic.Int64
		for range 3 {
			owned.Go(func() {
				for {
					if err := a.Tell(ctx, request("b", body, patience)); err != nil {
						wantErr(t, "a message for which there is no room", err, Expired, NotRun)
						return
					}
					sent.Add(1)
				}
			})
		}
		owned.Wait()
		r.net.Heal("direct", "a", "b")
		synctest.Wait()
		if told := int64(len(b.told())); told != sent.Load() || told < 10 {
			t.Errorf("%d messages came, %d were sent", told, sent.Load())
		}
	})
}

// A change to a better road waits for what is still on a slow one, however long that
// takes: the first ping of the fence being lost changes nothing.
func TestFenceOnASlowBus(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex // guards order
		var order []string
		a := r.start("a", "a1", twoRoads)
		r.start("b", "b1", twoRoads, func(c *Config) {
			c.Handler = inOrder{func(in *Inbound) {
				in.Start()
				body := in.TakeBody()
				mu.Lock()
				order = append(order, string(body))
				mu.Unlock()
				in.Reply(1, 1, body)
			}}
		})
		a.echoes("b", "warm up")
		time.Sleep(time.Second)
		r.net.SetFaults("bus", "", "", memnet.Faults{MinDelay: 2600 * time.Millisecond, MaxDelay: 2600 * time.Millisecond})
		r.net.Reset("direct", "a", "b") // the bus takes over, and TCP comes back at once
		var all []*Future[string]
		for _, body := range numbers(50) {
			f, _ := a.send(request("b", body, patience))
			all = append(all, f)
			time.Sleep(100 * time.Millisecond)
		}
		for _, f := range all {
			if _, err := f.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if want := append([]string{"warm up"}, numbers(50)...); !slices.Equal(order, want) {
			t.Errorf("order: %v", order)
		}
	})
}

// A lost ack frame is made good by the next heartbeat.
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
		time.Sleep(DefaultHeartbeat)
		if n := b.Stats().Records; n != 0 {
			t.Errorf("%d records after it", n)
		}
	})
}

// A one-way message of a session that its client has left does not come after those of
// the next one.
func TestTellOfALeftSession(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		c := r.dialRaw("c", "bus", "b")
		left := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		next := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 2})).Grant
		tell := func(grant transport.Grant, seq uint64, body string) {
			c.say(t, transport.Envelope{Verb: transport.VerbTell, Grant: grant, Seq: seq, Target: "t", Body: []byte(body)})
		}
		tell(left, 1, "one")
		tell(next, 1, "two")
		tell(left, 2, "late")
		tell(next, 2, "three")
		if got := b.told(); !slices.Equal(got, []string{"one", "two", "three"}) || b.Stats().TellsDropped != 1 {
			t.Errorf("told %v, %d dropped", got, b.Stats().TellsDropped)
		}
	})
}

// A cancel reaches the handler also if an ack mark, which a given up request is part of,
// has come before it on another road.
func TestCancelBehindItsMark(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		canceled := make(chan struct{})
		b.mu.Lock()
		b.serve = func(in *Inbound) {
			in.Start()
			in.OnCancel(func() { close(canceled) })
			<-canceled
			in.Fail(Errorf(Canceled, HasRun, "cancelled"))
		}
		b.mu.Unlock()
		c := r.dialRaw("c", "bus", "b")
		grant := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		c.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Timeout: time.Hour})
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 2}})
		c.say(t, transport.Envelope{Verb: transport.VerbCancel, Grant: grant, Seq: 1})
		synctest.Wait()
		select {
		case <-canceled:
		default:
			t.Error("the handler was not told")
			close(canceled)
		}
	})
}

// A cancel that is lost with its link is sent again on the next.
func TestCancelLostWithItsLink(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
			canceled := make(chan struct{})
			b.mu.Lock()
			b.serve = func(in *Inbound) {
				in.Start()
				in.OnCancel(func() { close(canceled) })
				<-canceled
				in.Fail(Errorf(Canceled, HasRun, "cancelled"))
			}
			b.mu.Unlock()
			_, call := a.send(request("b", "x", time.Hour))
			time.Sleep(time.Second)
			r.setTap(func(h hop) fate {
				if h.Verb == transport.VerbCancel {
					return cut
				}
				return pass
			})
			call.GiveUp(Canceled, "enough")
			r.setTap(nil)
			time.Sleep(time.Minute)
			select {
			case <-canceled:
			default:
				t.Errorf("%v: the handler was not told", roads)
				close(canceled)
			}
		})
	}
}

// A lost cancel does not keep a node dialling for ever.
func TestLostCancelIsDropped(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		b.handle(func(_ *Inbound, body string) string { <-b.ctx.Done(); return body })
		_, call := a.send(request("b", "x", time.Hour))
		time.Sleep(time.Second)
		b.crash(false)
		call.GiveUp(Canceled, "enough")
		time.Sleep(2 * DefaultSessionLease)
		p := a.peer("b")
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.dialers["direct"].running || len(p.recancel) > 0 {
			t.Errorf("still dialling: %v, %d cancels", p.dialers["direct"].running, len(p.recancel))
		}
	})
}
