package engine

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// openRaw opens a session at b, and returns the client and its grant.
func (r *rig) openRaw(name, road string) (*raw, transport.Grant) {
	r.t.Helper()
	c := r.dialRaw(name, road, "b")
	return c, one(r.t, c.say(r.t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
}

// requestIn returns a request of a session.
func requestIn(g transport.Grant, seq uint64, body string) transport.Envelope {
	return transport.Envelope{Verb: transport.VerbRequest, Grant: g, Seq: seq, Target: "t", TypeID: 1, Codec: 1, Body: []byte(body), Timeout: time.Minute}
}

// A number has a meaning only in its session: two clients that use the same numbers for the
// same content do not affect each other.
func TestSessionsShareNothing(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		c, ofC := r.openRaw("c", "bus")
		d, ofD := r.openRaw("d", "bus")
		for i, who := range []struct {
			client *raw
			grant  transport.Grant
		}{{c, ofC}, {d, ofD}} {
			if e := one(t, who.client.say(t, requestIn(who.grant, 1, "x"))); e.Code != 0 || string(e.Body) != "x" || b.ran("x") != i+1 {
				t.Errorf("client %d: %+v; x ran %d times", i, e, b.ran("x"))
			}
		}
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: ofC, Mark: transport.Mark{Below: 9}})
		c.say(t, transport.Envelope{Verb: transport.VerbCancel, Grant: ofC, Seq: 9})
		for _, seq := range []uint64{5, 9} {
			if e := one(t, d.say(t, requestIn(ofD, seq, "y"))); e.Code != 0 {
				t.Errorf("number %d, which another client has acked: %+v", seq, e)
			}
		}
	})
}

// A grant is valid only on the links on which it was opened. A request under another grant does
// not run, whatever else is open on its link.
func TestGrantsAreNotMixedUp(t *testing.T) {
	for _, road := range []string{"direct", "bus"} {
		t.Run(road, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				b := r.start("b", "b1", twoRoads)
				b.handle(func(_ *server.Inbound, body string) string { return body })
				c, own := r.openRaw("c", road)
				_, others := r.openRaw("d", road)
				for what, g := range map[string]transport.Grant{"unknown": {1}, "another client's": others} {
					if e := one(t, c.say(t, requestIn(g, 1, "x"))); rpc.Code(e.Code) != rpc.SessionLost || e.Flags&(transport.FlagNotRun|transport.FlagRan) != 0 {
						t.Errorf("under a grant that is %s: %+v", what, e)
					}
				}
				if b.ran("x") != 0 {
					t.Errorf("it ran %d times", b.ran("x"))
				}
				if e := one(t, c.say(t, requestIn(own, 1, "x"))); e.Code != 0 || string(e.Body) != "x" {
					t.Errorf("under its own grant: %+v", e)
				}
			})
		})
	}
}

// When many outcomes are kept, refusals among them, each copy gets the outcome of its own
// request.
func TestEachCopyGetsItsOwnOutcome(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.serve = func(in *server.Inbound) {
			body := string(in.TakeBody())
			if in.Seq%3 == 0 {
				in.Fail(rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%s", body))
			} else if in.Start() {
				in.Reply(1, 1, []byte(body))
			}
		}
		c, grant := r.openRaw("c", "bus")
		for range 3 {
			for seq := uint64(1); seq <= 20; seq++ {
				body := fmt.Sprint("body ", seq)
				e := one(t, c.say(t, requestIn(grant, seq, body)))
				if refused := seq%3 == 0; e.Seq != seq || refused != (rpc.Code(e.Code) == rpc.Overloaded && e.Flags&transport.FlagNotRun != 0) ||
					refused && e.Message != body || !refused && string(e.Body) != body {
					t.Errorf("number %d: %+v", seq, e)
				}
			}
		}
		if s := b.Stats(); s.Served != 20 || s.Replayed != 40 {
			t.Errorf("served %d, replayed %d", s.Served, s.Replayed)
		}
	})
}

// Two copies are one request only if everything that decides what the request does is the same.
func TestFingerprintCoversTheWholeRequest(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		c, grant := r.openRaw("c", "bus")
		first := requestIn(grant, 1, "x")
		c.say(t, first)
		for what, change := range map[string]func(*transport.Envelope){
			"target": func(e *transport.Envelope) { e.Target = "u" },
			"type":   func(e *transport.Envelope) { e.TypeID++ },
			"codec":  func(e *transport.Envelope) { e.Codec++ },
			"body":   func(e *transport.Envelope) { e.Body = []byte("y") },
		} {
			other := first
			change(&other)
			if e := one(t, c.say(t, other)); rpc.Code(e.Code) != rpc.IDReused {
				t.Errorf("another %s under the same number: %+v", what, e)
			}
		}
		copied := first
		copied.Flags, copied.Timeout = transport.FlagResend, time.Second
		if e := one(t, c.say(t, copied)); e.Code != 0 || string(e.Body) != "x" || b.ran("x") != 1 {
			t.Errorf("a copy with less time: %+v; ran %d times", e, b.ran("x"))
		}
	})
}

// A copy that is refused because the window has no room leaves no record. The refusal says
// nothing about other copies: one that comes later may find room and run.
func TestRefusalsWithoutARecord(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus, func(c *Config) { c.Window = 1 }) // the server has room for two
		end := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-end; return body })
		c, grant := r.openRaw("c", "bus")
		c.say(t, requestIn(grant, 1, "a"))
		c.say(t, requestIn(grant, 2, "b"))
		third := requestIn(grant, 3, "c")
		if e := one(t, c.say(t, third)); rpc.Code(e.Code) != rpc.Overloaded || e.Flags&(transport.FlagNotRun|transport.FlagRan) != 0 {
			t.Errorf("a copy without room: %+v", e)
		}
		close(end)
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 3}})
		if e := one(t, c.say(t, third)); e.Code != 0 || b.ran("c") != 1 {
			t.Errorf("the next copy: %+v; ran %d times", e, b.ran("c"))
		}
	})
}

// A copy that is sent later says how much time is left, so all copies have the same deadline.
func TestCopiesSayWhatIsLeft(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		a.echoes("b", "warm up")
		synctest.Wait()
		var left []time.Duration
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbRequest {
				left = append(left, h.Timeout)
			}
			return pass
		})
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(5 * time.Second); return body })
		f, _ := a.send(request("b", "x", 10*time.Second))
		time.Sleep(4 * time.Second)
		r.net.Reset("direct", "a", "b")
		if _, err := f.Await(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !slices.Equal(left, []time.Duration{10 * time.Second, 6 * time.Second}) {
			t.Errorf("the copies say that %v is left", left)
		}
	})
}

// A hedged request whose handler is slow is sent twice, under one number, and runs once.
func TestHedgeOfARunningRequest(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		a.echoes("b", "warm up")
		time.Sleep(time.Second) // both roads are open
		var seqs []uint64
		var roads []string
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbRequest {
				seqs, roads = append(seqs, h.Seq), append(roads, h.road)
			}
			return pass
		})
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(400 * time.Millisecond); return body })
		req := request("b", "x", patience)
		req.Rare = &client.Rare{Hedge: 100 * time.Millisecond}
		f, _ := a.send(req)
		if got, err := f.Await(t.Context()); got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		time.Sleep(time.Second)
		if len(seqs) != 2 || seqs[0] != seqs[1] || !slices.Equal(roads, twoRoads) {
			t.Errorf("copies: numbers %v, roads %v", seqs, roads)
		}
		if s := b.Stats(); b.ran("x") != 1 || s.Attached != 1 {
			t.Errorf("ran %d times, %d copies attached", b.ran("x"), s.Attached)
		}
	})
}

// Acks do not cover outstanding requests: the record of a slow request remains while quick ones
// around it are acked. When its link dies, the request gets its outcome on the next one.
func TestAcksSpareWhatIsOutstanding(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		acks := 0
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbAck {
				acks++
			}
			return pass
		})
		b.handle(func(_ *server.Inbound, body string) string {
			if body == "slow" {
				time.Sleep(2 * time.Second)
			}
			return body
		})
		a.echoes("b", "before")
		f, _ := a.send(request("b", "slow", patience))
		for range 3 {
			a.echoes("b", "quick")
			time.Sleep(500 * time.Millisecond)
		}
		r.net.Reset("", "a", "b")
		if got, err := f.Await(t.Context()); got != "slow" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if b.ran("slow") != 1 || acks == 0 {
			t.Errorf("it ran %d times; %d acks", b.ran("slow"), acks)
		}
	})
}

// A mark that a bus delivers late does not change what a later mark has acked.
func TestLateMarksTakeNothingBack(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		c, grant := r.openRaw("c", "bus")
		for _, m := range []transport.Mark{{Below: 10, Except: []uint64{3}}, {Below: 4, Except: []uint64{2, 3}}, {Below: 1}} {
			c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: m.Below}, Body: transport.AppendSeqBytes(nil, m.Except)})
		}
		for _, seq := range []uint64{1, 2, 5, 9} {
			if e := one(t, c.say(t, requestIn(grant, seq, "acked"))); rpc.Code(e.Code) != rpc.Stale {
				t.Errorf("number %d: %+v", seq, e)
			}
		}
		for _, seq := range []uint64{3, 10} {
			if e := one(t, c.say(t, requestIn(grant, seq, "not acked"))); e.Code != 0 {
				t.Errorf("number %d: %+v", seq, e)
			}
		}
		if b.ran("acked") != 0 || b.ran("not acked") != 2 {
			t.Errorf("ran: acked %d, not acked %d", b.ran("acked"), b.ran("not acked"))
		}
	})
}

// Requests with the same key are executed once, under whatever numbers they come.
func TestKeyIsOneExecution(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(time.Second); return body })
		keyed := func(body string) *rpc.Future[string] {
			req := request("b", body, patience)
			req.Rare = &client.Rare{Key: "k"}
			f, _ := a.send(req)
			return f
		}
		for _, f := range []*rpc.Future[string]{keyed("x"), keyed("x")} {
			if got, err := f.Await(t.Context()); got != "x" || err != nil {
				t.Errorf("while it runs: %q, %v", got, err)
			}
		}
		if got, err := keyed("x").Await(t.Context()); got != "x" || err != nil {
			t.Errorf("when it is done: %q, %v", got, err)
		}
		_, err := keyed("y").Await(t.Context())
		wantErr(t, "another request under the key", err, rpc.IDReused, rpc.HasRun)
		if b.ran("x") != 1 || b.ran("y") != 0 {
			t.Errorf("x ran %d times, y %d", b.ran("x"), b.ran("y"))
		}
	})
}
