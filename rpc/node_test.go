package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
		time.Sleep(time.Second) // an idle client acks
		if s := b.Stats(); s.Records != 0 || s.HeldBytes != 0 {
			t.Errorf("%d records and %d bytes are kept after the acks", s.Records, s.HeldBytes)
		}
	})
}

// An error arrives as what it was: code, verdict, user's code, wish, and who said it.
func TestErrorsArrive(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		for _, row := range []struct {
			name string
			end  func(*Inbound)
			want Error
		}{
			{"refused", func(in *Inbound) {
				in.Refuse(&Error{Code: Overloaded, Verdict: NotRun, Message: "full", RetryAfter: time.Second})
			}, Error{Code: Overloaded, Verdict: NotRun, Message: "full", RetryAfter: time.Second, Node: "b"}},
			{"failed", func(in *Inbound) { in.Start(); in.Fail(HandlerError(fmt.Errorf("no: %w", errFunds))) },
				Error{Code: Failed, Verdict: HasRun, User: errFunds.User, Message: "no: insufficient funds", Node: "b"}},
			{"unknown", func(in *Inbound) { in.Start(); in.Fail(&Error{Code: Internal}) }, Error{Code: Internal, Node: "b"}},
		} {
			b.serve = row.end
			_, err := a.ask("b", row.name)
			var got *Error
			if !errors.As(err, &got) || *got != row.want {
				t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
			}
		}
	})
}

// A bus that sends everything twice, and then again late, runs nothing twice.
func TestDuplicatesRunOnce(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		b.handle(func(_ *Inbound, body string) string { time.Sleep(10 * time.Millisecond); return body })
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

// The link dies with a request or with its reply: the request goes out again on the
// other road at once, under the same number, and runs once.
func TestResendOnTheOtherRoad(t *testing.T) {
	for _, row := range []struct {
		loses    transport.Verb
		replayed uint64
	}{{transport.VerbRequest, 0}, {transport.VerbReply, 1}} {
		t.Run(row.loses.String(), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
				b.handle(func(_ *Inbound, body string) string { return body })
				a.echoes("b", "warm up")
				synctest.Wait()
				before := b.Stats().Replayed
				var seqs []uint64
				var flags []transport.Flags
				var roads []string
				done := false
				r.setTap(func(h hop) fate {
					if h.Verb == transport.VerbRequest {
						seqs, roads, flags = append(seqs, h.Seq), append(roads, h.road), append(flags, h.Flags)
					}
					if h.Verb == row.loses && h.road == "direct" && !done {
						done = true
						return cut
					}
					return pass
				})
				began := time.Now()
				a.echoes("b", "x")
				if took := time.Since(began); took > time.Millisecond {
					t.Errorf("took %v: resent after a time-out, not at once", took)
				}
				if len(seqs) != 2 || seqs[0] != seqs[1] || !slices.Equal(roads, twoRoads) || flags[1]&transport.FlagResend == 0 {
					t.Errorf("copies: numbers %v, roads %v, flags %v", seqs, roads, flags)
				}
				if n := b.ran("x"); n != 1 {
					t.Errorf("ran %d times", n)
				}
				if s := b.Stats(); s.Replayed-before != row.replayed {
					t.Errorf("replayed %d times", s.Replayed-before)
				}
			})
		})
	}
}

// The server starts anew: what was sent is unknown at once, what provably never left
// runs in the new session.
func TestServerRestart(t *testing.T) {
	for _, roads := range [][]string{direct, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
				a.echoes("b", "warm up")
				hang := make(chan struct{})
				b.handle(func(_ *Inbound, body string) string { <-hang; return body })
				sent, _ := a.send(request("b", "sent", patience))
				synctest.Wait()
				b.crash(false)
				never, _ := a.send(request("b", "never left", patience))
				synctest.Wait()
				if sent.isDecided() {
					t.Error("decided while nobody knows that the server is gone for good")
				}
				close(hang)

				began := time.Now()
				b = r.start("b", "b2", roads)
				b.handle(func(_ *Inbound, body string) string { return body })
				_, err := sent.Await(t.Context())
				wantErr(t, "what was sent", err, OutcomeUnknown, Unknown)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				// The road was down when it was made: it waits for one, or never ran.
				if got, err := never.Await(t.Context()); err != nil {
					wantErr(t, "what never left", err, Unavailable, NotRun)
				} else if got != "never left" {
					t.Errorf("what never left: %q", got)
				}
				a.echoes("b", "after")
				if b.ran("sent") != 0 || b.ran("after") != 1 {
					t.Errorf("the new server ran sent %d, after %d times", b.ran("sent"), b.ran("after"))
				}
				if a.saw(SessionGone) != 1 {
					t.Errorf("%d sessions gone", a.saw(SessionGone))
				}
			})
		})
	}
}

// What lies in a link's send queue when its server dies has not left.
func TestQueuedRequestOutlivesItsServer(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net = memnet.New(memnet.Config{Window: 1}) // a link has one message under way
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
		b.handle(func(_ *Inbound, body string) string { return body })
		_, err := first.Await(t.Context())
		wantErr(t, "the one that may have left", err, OutcomeUnknown, Unknown)
		if got, err := second.Await(t.Context()); got != "queued" || err != nil {
			t.Errorf("the one in the queue: %q, %v", got, err)
		}
		if b.ran("handed") != 0 || b.ran("queued") != 1 {
			t.Errorf("ran: handed %d, queued %d", b.ran("handed"), b.ran("queued"))
		}
	})
}

// raw is a client that says what it is told to.
type raw struct {
	link transport.Link
	mu   sync.Mutex
	got  []transport.Envelope
}

func (c *raw) Receive(e *transport.Envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, *e)
}
func (c *raw) Flush()       {}
func (c *raw) Drained()     {}
func (c *raw) Disturbed()   {}
func (c *raw) Closed(error) {}

// say sends e and returns what comes back until nothing moves.
func (c *raw) say(t *testing.T, e transport.Envelope) []transport.Envelope {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	c.got = nil
	c.mu.Unlock()
	if _, err := c.link.Send(&e); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.got), func(e transport.Envelope) bool { return e.Verb == transport.VerbPing })
}

// dialRaw opens a link to a node without a Node of its own.
func (r *rig) dialRaw(name, road, to string) *raw {
	r.t.Helper()
	tr := r.net.Transport(road, road == "direct")
	local := transport.Local{Cluster: "test", Node: name, Epoch: name + "1"}
	c := &raw{}
	if _, err := tr.Start(r.t.Context(), local, func(transport.Link) transport.Receiver { return &raw{} }); err != nil {
		r.t.Fatal(err)
	}
	place, _ := r.resolve(r.t.Context(), to)
	var err error
	c.link, err = tr.Dial(r.t.Context(), transport.Endpoint{Node: to, Epoch: place.Epoch, Addr: place.Addrs[road]},
		func(transport.Link) transport.Receiver { return c })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { tr.Close() })
	return c
}

func one(t *testing.T, got []transport.Envelope) transport.Envelope {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d answers: %+v", len(got), got)
	}
	return got[0]
}

// A request under a grant that the server does not know never runs, whatever it
// claims to be.
func TestUnknownGrantNeverRuns(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *Inbound, body string) string { return body })
		c := r.dialRaw("c", "bus", "b")
		for _, flags := range []transport.Flags{0, transport.FlagResend} {
			e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbRequest, Flags: flags, Grant: transport.Grant{1}, Seq: 1, Target: "t", Body: []byte("x")}))
			if Code(e.Code) != SessionLost || e.Flags&transport.FlagNotRun != 0 {
				t.Errorf("flags %v: answer %+v", flags, e)
			}
		}
		if e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: transport.Grant{1}})); Code(e.Code) != SessionLost {
			t.Errorf("joining an unknown session: %+v", e)
		}
		for _, verb := range []transport.Verb{transport.VerbTell, transport.VerbAck, transport.VerbCancel} {
			if got := c.say(t, transport.Envelope{Verb: verb, Grant: transport.Grant{1}, Seq: 1, Body: []byte("x")}); len(got) != 0 {
				t.Errorf("%v under an unknown grant: %+v", verb, got)
			}
		}
		if b.ran("x") != 0 || len(b.told()) != 0 || b.Stats().SessionsOpened != 0 {
			t.Errorf("something ran: %+v", b.Stats())
		}
	})
}

// The table of DESIGN §6, as a client sees it.
func TestServerDecides(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *Inbound, body string) string { time.Sleep(time.Second); return body })
		c := r.dialRaw("c", "bus", "b")
		grant := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		req := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 5, Target: "t", Body: []byte("x"), Timeout: time.Minute}
		other := req
		other.Body = []byte("y")

		if got := c.say(t, req); len(got) != 0 {
			t.Errorf("first copy: %+v", got)
		}
		if e := one(t, c.say(t, other)); Code(e.Code) != IDReused {
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
		if e := one(t, c.say(t, other)); Code(e.Code) != IDReused {
			t.Errorf("another request under a decided one's number: %+v", e)
		}
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 6}, Body: transport.AppendSeqBytes(nil, []uint64{3})})
		for _, seq := range []uint64{5, 4, 0} {
			req.Seq = seq
			if e := one(t, c.say(t, req)); Code(e.Code) != Stale || e.Flags&transport.FlagNotRun != 0 {
				t.Errorf("an acked number %d: %+v", seq, e)
			}
		}
		c.say(t, transport.Envelope{Verb: transport.VerbCancel, Grant: grant, Seq: 7})
		req.Seq = 7
		if e := one(t, c.say(t, req)); Code(e.Code) != Stale {
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

// A deadline that passes in the queue is a refusal, and like any outcome it stands.
func TestExpiredInQueue(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		var parked []*Inbound
		b.serve = func(in *Inbound) {
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
			if e := one(t, c.say(t, req)); Code(e.Code) != Expired || e.Flags&transport.FlagNotRun == 0 {
				t.Errorf("answer: %+v", e)
			}
		}
	})
}

func TestCancelBeforeStartNeverRuns(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		start := make(chan bool, 1)
		b.serve = func(in *Inbound) {
			time.Sleep(time.Second)
			start <- in.Start()
		}
		f, call := a.send(request("b", "x", patience))
		synctest.Wait()
		call.GiveUp(Canceled, "enough")
		call.GiveUp(Expired, "once is enough")
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled", err, Canceled, Unknown)
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
		b.handle(func(in *Inbound, body string) string {
			in.OnCancel(func() { canceled <- time.Now() })
			<-canceled
			in.OnCancel(func() { canceled <- time.Now() }) // late: at once
			<-canceled
			return body
		})
		f, call := a.send(request("b", "x", patience))
		time.Sleep(time.Second)
		call.GiveUp(Canceled, "enough")
		_, err := f.Await(t.Context())
		wantErr(t, "cancelled", err, Canceled, Unknown)
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
		b.handle(func(in *Inbound, body string) string {
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
		wantErr(t, "late", err, Expired, Unknown)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("ended after %v", took)
		}
		synctest.Wait()
		if cancelled != 3*time.Second {
			t.Errorf("the handler was cancelled after %v", cancelled)
		}
		f, _ = a.send(request("b", "x", -time.Second))
		_, err = f.Await(t.Context())
		wantErr(t, "past deadline", err, Expired, NotRun)
	})
}

func TestTooLarge(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		big := request("b", strings.Repeat("x", DefaultMaxBody+1), patience)
		headers := request("b", "x", patience)
		headers.Rare = &Rare{}
		for range transport.MaxHeaders + 1 {
			headers.Rare.Headers = append(headers.Rare.Headers, transport.Header{Key: "k", Value: "v"})
		}
		for name, req := range map[string]Request{"body": big, "headers": headers} {
			for _, state := range []string{"no link yet", "linked"} {
				f, _ := a.send(req)
				_, err := f.Await(t.Context())
				wantErr(t, name+", "+state, err, TooLarge, NotRun)
				wantErr(t, "tell: "+name+", "+state, a.Tell(t.Context(), req), TooLarge, NotRun)
				a.echoes("b", "small")
			}
		}
		if s := a.Stats(); s.Outstanding != 0 {
			t.Errorf("%d outstanding", s.Outstanding)
		}
		b.handle(func(*Inbound, string) string { return strings.Repeat("x", DefaultMaxBody+1) })
		_, err := a.ask("b", "x")
		wantErr(t, "reply", err, ReplyDropped, HasRun)
	})
}

func TestWindowFull(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		small := func(c *Config) { c.Window = 2 }
		a, b := r.start("a", "a1", direct, small), r.start("b", "b1", direct)
		leave := make(chan struct{})
		b.handle(func(_ *Inbound, body string) string { <-leave; return body })
		for range 2 {
			a.send(request("b", "x", patience))
		}
		done := make(chan error, 3)
		go func() {
			_, err := a.ask("b", "waits")
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Do(ctx, request("b", "gives up", patience), NewPromise[string](nil))
		wantErr(t, "ctx ended in the line", err, Expired, NotRun)
		_, err = a.Do(t.Context(), request("b", "too late", time.Second), NewPromise[string](nil))
		wantErr(t, "deadline passed in the line", err, Expired, NotRun)
		select {
		case err := <-done:
			t.Fatalf("no room, and yet: %v", err)
		default:
		}
		close(leave)
		if err := <-done; err != nil {
			t.Errorf("after room was made: %v", err)
		}
		if b.ran("gives up")+b.ran("too late") != 0 {
			t.Error("what got no room ran")
		}
	})
}

// A large body that ends makes room for several small ones.
func TestPendingBytesFull(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct, func(c *Config) { c.MaxPending = 100 }), r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		leave := make(chan struct{})
		b.handle(func(_ *Inbound, body string) string {
			if body[0] == 'L' {
				<-leave
			} else {
				time.Sleep(time.Minute)
			}
			return body
		})
		a.send(request("b", "L"+strings.Repeat("x", 89), patience))
		synctest.Wait()
		for i := range 4 {
			go a.send(request("b", fmt.Sprint(i, strings.Repeat("x", 20)), patience))
		}
		synctest.Wait()
		if s := b.Stats(); s.Served != 2 {
			t.Fatalf("%d requests were sent with the window's bytes full", s.Served)
		}
		close(leave)
		synctest.Wait()
		if s := b.Stats(); s.Served != 6 {
			t.Errorf("%d of 4 small ones were sent once there was room for all", s.Served-2)
		}
		time.Sleep(time.Minute)
	})
}

func TestNoRoad(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", twoRoads)
		alone := r.start("alone", "a1", nil)
		busOnly := r.start("c", "c1", direct, func(c *Config) { c.Roads = BusOnly })
		r.places["gone"] = Place{Epoch: "x", Addrs: map[string]string{"direct": "mem:direct:99"}}
		r.places["unresolved"] = Place{}
		for _, row := range []struct {
			from *site
			to   string
			code Code
		}{
			{a, "nobody", NotFound}, {a, "gone", Unavailable}, {a, "unresolved", Unavailable}, {alone, "a", Unavailable}, {busOnly, "a", Unavailable},
		} {
			_, err := row.from.ask(row.to, "x")
			wantErr(t, row.from.name+" asks "+row.to, err, row.code, NotRun)
			wantErr(t, row.from.name+" tells "+row.to, row.from.Tell(t.Context(), request(row.to, "x", patience)), row.code, NotRun)
			if row.from.saw(PeerDown) == 0 {
				t.Errorf("%s noted nothing of %s", row.from.name, row.to)
			}
		}
		// A node that comes is reached.
		r.start("nobody", "n1", bus)
		time.Sleep(5 * time.Second) // no attempt of before is under way
		a.echoes("nobody", "x")
	})
}

func TestCloseEndsPending(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		small := r.start("c", "c1", twoRoads, func(c *Config) { c.Window = 1 })
		a.echoes("b", "warm up")
		leave := make(chan struct{})
		b.handle(func(_ *Inbound, body string) string { <-leave; return body })
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
		wantErr(t, "pending", err, Unavailable, Unknown)
		wantErr(t, "in line", <-blocked, Unavailable, NotRun)
		for _, to := range []string{"b", "never met"} {
			_, err = a.ask(to, "late")
			wantErr(t, "after Close, to "+to, err, Unavailable, NotRun)
			wantErr(t, "tell after Close, to "+to, a.Tell(t.Context(), request(to, "x", patience)), Unavailable, NotRun)
		}
		close(leave)
	})
}

func TestLinger(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		if n := b.Linger(t.Context()); n != 0 {
			t.Errorf("nobody asked anything, and %d records linger", n)
		}
		a.echoes("b", "x")
		began := time.Now()
		if n := b.Linger(t.Context()); n != 0 || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%d records linger after %v", n, time.Since(began))
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
		if n := b.Linger(ctx); n != 1 || ctx.Err() == nil {
			t.Errorf("with acks lost, %d records linger, ctx: %v", n, ctx.Err())
		}
		r.setTap(nil)
		leave := make(chan struct{})
		b.handle(func(_ *Inbound, body string) string { <-leave; return body })
		last, _ := a.send(request("b", "z", patience))
		synctest.Wait()
		b.Farewell(t.Context()) // from now on the client acks without delay
		began = time.Now()
		close(leave)
		if got, err := last.Await(t.Context()); got != "z" || err != nil {
			t.Errorf("what ran at the farewell: %q, %v", got, err)
		}
		if n := b.Linger(t.Context()); n != 0 || time.Since(began) != 0 {
			t.Errorf("after the farewell, %d records linger, %v", n, time.Since(began))
		}
	})
}
