// Requests that their callers cancel, or whose deadlines pass.

package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A request whose deadline passes while it waits in the queue is refused. Like any outcome, the
// refusal is final.
func TestExpiredInQueue(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		var parked []*server.Inbound
		b.serve = func(in *server.Inbound) {
			b.mu.Lock()
			defer b.mu.Unlock()
			parked = append(parked, in)
		}
		c := r.dialRaw("c", "bus", "b")
		grant := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		req := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Timeout: time.Second}
		c.say(t, req)
		time.Sleep(time.Second / 2)
		c.say(t, req) // the latest deadline among copies counts
		time.Sleep(time.Second * 3 / 4)
		if at, ok := parked[0].Deadline(); !ok || time.Until(at) != time.Second/4 {
			t.Errorf("deadline in %v", time.Until(at))
		}
		time.Sleep(time.Second / 4)
		if parked[0].Start() {
			t.Error("started behind its deadline")
		}
		for range 2 {
			if e := one(t, c.say(t, req)); rpc.Code(e.Code) != rpc.Expired || e.Flags&transport.FlagNotRun == 0 {
				t.Errorf("answer: %+v", e)
			}
		}
	})
}

func TestCancelBeforeStartNeverRuns(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		start := make(chan bool, 1)
		b.serve = func(in *server.Inbound) {
			time.Sleep(time.Second)
			start <- in.Start()
		}
		f, call := a.send(request("b", "x", patience))
		synctest.Wait()
		call.GiveUp(rpc.Canceled, "enough")
		call.GiveUp(rpc.Expired, "once is enough")
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled", err, rpc.Canceled, rpc.Unknown)
		if <-start {
			t.Error("it ran after its cancel")
		}
		time.Sleep(time.Second)
		if s := b.Stats(); s.Records != 0 {
			t.Errorf("%d records remain", s.Records)
		}
	})
}

func TestCancelWhileRunning(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		canceled := make(chan time.Time, 2)
		b.handle(func(in *server.Inbound, body string) string {
			in.OnCancel(func() { canceled <- time.Now() })
			<-canceled
			in.OnCancel(func() { canceled <- time.Now() }) // because the request is cancelled already, this one is called at once
			<-canceled
			return body
		})
		f, call := a.send(request("b", "x", patience))
		time.Sleep(time.Second)
		call.GiveUp(rpc.Canceled, "enough")
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled", err, rpc.Canceled, rpc.Unknown)
		time.Sleep(time.Second)
		if s := b.Stats(); b.ran("x") != 1 || s.Records != 0 || s.HeldBytes != 0 {
			t.Errorf("ran %d times, stats %+v", b.ran("x"), s)
		}
	})
}

func TestDeadlines(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		var cancelled time.Duration
		began := time.Now()
		b.handle(func(in *server.Inbound, body string) string {
			ended := make(chan struct{})
			in.OnCancel(func() { close(ended) })
			if at, ok := in.Deadline(); !ok || at.Sub(began) != 3*time.Second {
				t.Errorf("the handler's deadline is in %v", at.Sub(began))
			}
			<-ended
			cancelled = time.Since(began)
			return body
		})
		f, _ := a.send(request("b", "x", 3*time.Second))
		_, err := f.Await(t.Context())
		wantErr(t, "late", err, rpc.Expired, rpc.Unknown)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("ended after %v", took)
		}
		synctest.Wait()
		if cancelled != 3*time.Second {
			t.Errorf("the handler was cancelled after %v", cancelled)
		}
		f, _ = a.send(request("b", "x", -time.Second))
		_, err = f.Await(t.Context())
		wantErr(t, "past deadline", err, rpc.Expired, rpc.NotRun)
	})
}

// A cancel reaches the handler, even if an ack mark that covers the cancelled request came
// before it on another road.
func TestCancelBehindItsMark(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		canceled := make(chan struct{})
		b.mu.Lock()
		b.serve = func(in *server.Inbound) {
			in.Start()
			in.OnCancel(func() { close(canceled) })
			<-canceled
			in.Fail(rpc.Errorf(rpc.Canceled, rpc.HasRun, "cancelled"))
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

// A cancel that is lost with its link is sent again on the next link.
func TestCancelLostWithItsLink(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
			canceled := make(chan struct{})
			b.mu.Lock()
			b.serve = func(in *server.Inbound) {
				in.Start()
				in.OnCancel(func() { close(canceled) })
				<-canceled
				in.Fail(rpc.Errorf(rpc.Canceled, rpc.HasRun, "cancelled"))
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
			call.GiveUp(rpc.Canceled, "enough")
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

// A client does not dial a dead peer for ever because of a cancel that was lost.
func TestLostCancelIsDropped(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		b.handle(func(_ *server.Inbound, body string) string { <-b.host.Context().Done(); return body })
		_, call := a.send(request("b", "x", time.Hour))
		time.Sleep(time.Second)
		b.crash(false)
		call.GiveUp(rpc.Canceled, "enough")
		time.Sleep(2 * rpc.DefaultSessionLease)
		if v := a.with("b"); v.Dialing > 0 {
			t.Errorf("still dialling: %+v", v)
		}
	})
}
