package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

func TestRequestReply(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "first")
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { a.echoes("b", fmt.Sprint(i)) })
			all.Go(func() { b.echoes("a", fmt.Sprint(i)) })
		}
		all.Wait()
		synctest.Wait()
		if s := a.Stats(); s.Requests != 101 || s.Replies != 101 || s.Outstanding != 0 || s.Served != 100 || s.Resent != 0 {
			t.Errorf("stats of the client: %+v", s)
		}
		time.Sleep(time.Second) // until the idle client has sent its acks
		if s := b.Stats(); s.Records != 0 || s.HeldBytes != 0 {
			t.Errorf("%d records and %d bytes are kept after the acks", s.Records, s.HeldBytes)
		}
	})
}

// errFunds is an error of an application.
var errFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")

// An error arrives complete: code, verdict, the user's code, the pause before a retry, and the
// node that it is from.
func TestErrorsArrive(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		for _, row := range []struct {
			name string
			end  func(*server.Inbound)
			want rpc.Error
		}{
			{"refused", func(in *server.Inbound) {
				in.Fail(&rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, Message: "full", RetryAfter: time.Second})
			}, rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, Message: "full", RetryAfter: time.Second, Node: "b"}},
			{"moved", func(in *server.Inbound) {
				in.Fail(&rpc.Error{Code: rpc.Moved, Verdict: rpc.NotRun, Message: "it is there", Elsewhere: "c/f3a1/7"})
			}, rpc.Error{Code: rpc.Moved, Verdict: rpc.NotRun, Message: "it is there", Elsewhere: "c/f3a1/7", Node: "b"}},
			{"failed", func(in *server.Inbound) {
				in.Start()
				in.Fail(&rpc.Error{Code: rpc.Failed, Verdict: rpc.HasRun, User: errFunds.User, Message: "no: insufficient funds"})
			},
				rpc.Error{Code: rpc.Failed, Verdict: rpc.HasRun, User: errFunds.User, Message: "no: insufficient funds", Node: "b"}},
			{"unknown", func(in *server.Inbound) { in.Start(); in.Fail(&rpc.Error{Code: rpc.Internal}) }, rpc.Error{Code: rpc.Internal, Node: "b"}},
		} {
			b.serve = row.end
			_, err := a.ask("b", row.name)
			var got *rpc.Error
			if !errors.As(err, &got) || got.Request.IsZero() {
				t.Fatalf("%s: %+v, want an error with the name of the request", row.name, got)
			}
			if row.want.Request = got.Request; *got != row.want {
				t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
			}
		}
	})
}

// If a bus sends everything twice at once and again later, nothing runs twice.
func TestDuplicatesRunOnce(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(10 * time.Millisecond); return body })
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbRequest || h.Verb == transport.VerbReply {
				late := *h.Envelope
				late.Body = slices.Clone(late.Body)
				late.Mark.Except = slices.Clone(late.Mark.Except)
				time.AfterFunc(time.Second, func() { _, _ = h.link.(*tappedLink).Link.Send(&late) })
			}
			return twice
		})
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() { a.echoes("b", fmt.Sprint(i)) })
		}
		all.Wait()
		time.Sleep(5 * time.Second)
		for i := range 200 {
			if n := b.ran(fmt.Sprint(i)); n != 1 {
				t.Errorf("request %d ran %d times", i, n)
			}
		}
		if s := b.Stats(); s.Served != 200 || s.Attached+s.Replayed+s.Refused < 400 {
			t.Errorf("stats of the server: %+v", s)
		}
	})
}

// When a server is restarted, the outcome of requests that were sent is unknown at once, and
// those that provably never left run in the new session.
func TestServerRestart(t *testing.T) {
	for _, roads := range [][]string{direct, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
				a.echoes("b", "warm up")
				hang := make(chan struct{})
				b.handle(func(_ *server.Inbound, body string) string { <-hang; return body })
				sent, _ := a.send(request("b", "sent", patience))
				synctest.Wait()
				b.crash(false)
				never, _ := a.send(request("b", "never left", patience))
				synctest.Wait()
				select {
				case <-sent.Done():
					t.Error("decided while nobody knows that the server is gone for good")
				default:
				}
				close(hang)

				began := time.Now()
				b = r.start("b", "b2", roads)
				b.handle(func(_ *server.Inbound, body string) string { return body })
				_, err := sent.Await(t.Context())
				wantErr(t, "what was sent", err, rpc.OutcomeUnknown, rpc.Unknown)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				// The link was down when the request was made: it waits for another one, or it
				// did not run.
				if got, err := never.Await(t.Context()); err != nil {
					wantErr(t, "what never left", err, rpc.Unavailable, rpc.NotRun)
				} else if got != "never left" {
					t.Errorf("what never left: %q", got)
				}
				a.echoes("b", "after")
				if b.ran("sent") != 0 || b.ran("after") != 1 {
					t.Errorf("the new server ran sent %d, after %d times", b.ran("sent"), b.ran("after"))
				}
				if a.saw(rpc.SessionGone) != 1 {
					t.Errorf("%d sessions gone", a.saw(rpc.SessionGone))
				}
			})
		})
	}
}

// Messages that are still in a link's send queue when its server dies have not left.
func TestQueuedRequestOutlivesItsServer(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net = memnet.New(memnet.Config{Window: 1}) // a link has one message in flight
		a := r.start("a", "a1", direct)
		r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		synctest.Wait()
		r.net.Hold("direct", "a", "b")
		first, _ := a.send(request("b", "handed", patience))
		synctest.Wait()
		second, _ := a.send(request("b", "queued", patience))
		synctest.Wait()
		b := r.start("b", "b2", direct)
		r.net.Reset("direct", "a", "b")
		r.net.Release("direct", "a", "b")
		b.handle(func(_ *server.Inbound, body string) string { return body })
		_, err := first.Await(t.Context())
		wantErr(t, "the one that may have left", err, rpc.OutcomeUnknown, rpc.Unknown)
		if got, err := second.Await(t.Context()); got != "queued" || err != nil {
			t.Errorf("the one in the queue: %q, %v", got, err)
		}
		if b.ran("handed") != 0 || b.ran("queued") != 1 {
			t.Errorf("ran: handed %d, queued %d", b.ran("handed"), b.ran("queued"))
		}
	})
}

// What a server answers to copies, probes, acks and cancels, as a client sees it.
func TestServerDecides(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(time.Second); return body })
		c := r.dialRaw("c", "bus", "b")
		grant := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		req := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 5, Target: "t", Body: []byte("x"), Timeout: time.Minute}
		other := req
		other.Body = []byte("y")

		if got := c.say(t, req); len(got) != 0 {
			t.Errorf("first copy: %+v", got)
		}
		if e := one(t, c.say(t, other)); rpc.Code(e.Code) != rpc.IDReused {
			t.Errorf("another request under a running one's number: %+v", e)
		}
		if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbProbe, Grant: grant, Seq: 5})); e.Verb != transport.VerbStatus || e.Code != 2 {
			t.Errorf("probe of a running one: %+v", e)
		}
		if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbProbe, Grant: grant, Seq: 6})); e.Verb != transport.VerbStatus || e.Code != 0 {
			t.Errorf("probe of an unseen one: %+v", e)
		}
		time.Sleep(time.Second)
		for _, what := range []transport.Envelope{req, {Verb: transport.VerbProbe, Grant: grant, Seq: 5}} {
			if e := one(t, c.say(t, what)); e.Verb != transport.VerbReply || e.Code != 0 || string(e.Body) != "x" {
				t.Errorf("%v of a decided one: %+v", what.Verb, e)
			}
		}
		if e := one(t, c.say(t, other)); rpc.Code(e.Code) != rpc.IDReused {
			t.Errorf("another request under a decided one's number: %+v", e)
		}
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 6}, Body: transport.AppendSeqBytes(nil, []uint64{3})})
		for _, seq := range []uint64{5, 4, 0} {
			req.Seq = seq
			if e := one(t, c.say(t, req)); rpc.Code(e.Code) != rpc.Stale || e.Flags&transport.FlagNotRun != 0 {
				t.Errorf("an acked number %d: %+v", seq, e)
			}
		}
		c.say(t, transport.Envelope{Verb: transport.VerbCancel, Grant: grant, Seq: 7})
		req.Seq = 7
		if e := one(t, c.say(t, req)); rpc.Code(e.Code) != rpc.Stale {
			t.Errorf("a first copy behind its cancel: %+v", e)
		}
		req.Seq = 3
		c.say(t, req)
		time.Sleep(2 * time.Second)
		if b.ran("x") != 2 || b.ran("y") != 0 {
			t.Errorf("x ran %d times, y %d", b.ran("x"), b.ran("y"))
		}
	})
}

func TestCloseEndsPending(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		small := r.start("c", "c1", twoRoads, func(c *Config) { c.Window = 1 })
		a.echoes("b", "warm up")
		leave := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-leave; return body })
		sent, _ := a.send(request("b", "x", patience))
		blocked := make(chan error, 1)
		small.send(request("b", "first", patience))
		go func() {
			_, err := small.ask("b", "in line")
			blocked <- err
		}()
		synctest.Wait()
		for _, s := range []*site{a, small} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err := sent.Await(t.Context())
		wantErr(t, "pending", err, rpc.Unavailable, rpc.Unknown)
		wantErr(t, "in line", <-blocked, rpc.Unavailable, rpc.NotRun)
		for _, to := range []string{"b", "never met"} {
			_, err = a.ask(to, "late")
			wantErr(t, "after Close, to "+to, err, rpc.Unavailable, rpc.NotRun)
			wantErr(t, "tell after Close, to "+to, a.Client.Tell(t.Context(), request(to, "x", patience)), rpc.Unavailable, rpc.NotRun)
		}
		close(leave)
	})
}

func TestAwaitAcks(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		if n := b.Server.AwaitAcks(t.Context()); n != 0 {
			t.Errorf("nobody asked anything, and %d records are not acked", n)
		}
		a.echoes("b", "x")
		began := time.Now()
		if n := b.Server.AwaitAcks(t.Context()); n != 0 || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%d records are not acked after %v", n, time.Since(began))
		}
		a.echoes("b", "y")
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbAck {
				return drop
			}
			return pass
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n := b.Server.AwaitAcks(ctx); n != 1 || ctx.Err() == nil {
			t.Errorf("with acks lost, %d records are not acked, ctx: %v", n, ctx.Err())
		}
		r.setTap(nil)
		leave := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-leave; return body })
		last, _ := a.send(request("b", "z", patience))
		synctest.Wait()
		b.AnnounceLeaving(t.Context()) // after this the client acks without delay
		began = time.Now()
		close(leave)
		if got, err := last.Await(t.Context()); got != "z" || err != nil {
			t.Errorf("what ran at the announcement: %q, %v", got, err)
		}
		if n := b.Server.AwaitAcks(t.Context()); n != 0 || time.Since(began) != 0 {
			t.Errorf("after the announcement, %d records are not acked, %v", n, time.Since(began))
		}
	})
}
