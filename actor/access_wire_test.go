package actor

// These tests write envelopes and messages of the system's own actors directly, as a hostile
// peer would.

import (
	"iter"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A message that is denied does not end a stream that another principal has opened.
func TestRefusalsOfOthersCutNoStream(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, byOne)
		next, stop := iter.Pull2(Stream(t.Context(), g.a.Ref("door@b"), ticks{}))
		defer stop()
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		var holder string
		for st := range g.b.streams.all {
			holder = st.self.self.addr.String()
		}
		frame := rpc.WithCodec(codec.Msgpack(codec.Limits{}))
		_, err := Call(t.Context(), g.c.Ref(holder), streamNext{N: 1}, frame)
		wantDenied(t, "a batch", err)
		_, err = Call(t.Context(), g.c.Ref(holder), streamSign{Stop: true}, frame)
		wantDenied(t, "its end", err)
		if err := Tell(t.Context(), g.c.Ref(holder), knock{}); err != nil {
			t.Error(err)
		}
		for want := 1; want < 5; want++ {
			if n, err, _ := next(); n != want || err != nil {
				t.Fatalf("item %d: %d, %v", want, n, err)
			}
		}
		// The principal that opened the stream loses it with the first message that it may not send any more.
		g.setAccess(t, access.Rules{Default: access.Deny})
		for err == nil || rpc.Ran(err) == rpc.NotRun {
			if _, err, _ = next(); err == nil {
				continue
			}
			if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.HasRun {
				t.Errorf("its own client: %v", err)
			}
		}
	})
}

// The rules for a job are those of its actor and message. They are checked before the job is
// decoded.
func TestJobsAreJudgedByTheirActor(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		if _, err := g.b.Spawn("porch", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		g.setAccess(t, access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Ops: access.Submit, Actors: []string{"porch"}}}})
		decoded.Lock()
		decoded.n = 0
		decoded.Unlock()
		_, err := Submit(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}})
		wantDenied(t, "a job of another actor", err)
		synctest.Wait()
		decoded.Lock()
		n := decoded.n
		decoded.Unlock()
		if came := g.door.visits(); n != 0 || len(came) > 0 {
			t.Errorf("%d bodies were decoded, %v", n, came)
		}
		token, err := Submit(t.Context(), g.c.Ref("porch@b"), touchy{Secret: secret{"x"}})
		if err != nil {
			t.Errorf("a job that it may submit: %v", err)
		}
		g.setAccess(t, access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Ops: access.Redeem, Actors: []string{"door"}}}})
		_, err = token.Poll(t.Context())
		wantDenied(t, "the token of a job of another actor", err)
	})
}

// stranger is a peer that writes envelopes itself.
type stranger struct {
	link transport.Link
	mu   sync.Mutex
	got  []transport.Envelope
}

func (s *stranger) Receive(e *transport.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, e.Clone())
}
func (*stranger) Flush()       {}
func (*stranger) Drained()     {}
func (*stranger) Disturbed()   {}
func (*stranger) Closed(error) {}

// say sends e, and returns the envelopes that have come since.
func (s *stranger) say(t *testing.T, e transport.Envelope) []transport.Envelope {
	t.Helper()
	s.mu.Lock()
	s.got = nil
	s.mu.Unlock()
	if _, err := s.link.Send(&e); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

// No flag of an envelope lets a message pass the rules: with every combination of flags, as a
// request and one-way, the message does not reach an actor that its sender may not use.
func TestNoFlagPassesTheAccessList(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		at := new(door)
		sys, err := NewSystem(Config{Name: "b", Registry: reg, Logger: slog.New(slog.DiscardHandler), Transports: []transport.Transport{net.Transport("one", true)},
			Access: access.Rules{List: []access.Rule{{Effect: access.Deny, Actors: []string{"door"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Shutdown(t.Context())
		for _, name := range []string{"door", "porch"} {
			if _, err := sys.Spawn(name, doorKind(at)); err != nil {
				t.Fatal(err)
			}
		}
		road, s := net.TransportAs("one", true, "tls:mallory"), new(stranger)
		defer road.Close()
		if _, err := road.Start(t.Context(), transport.Local{Cluster: DefaultCluster, Node: "mallory", Epoch: "1", Logger: slog.New(slog.DiscardHandler)},
			func(transport.Link) transport.Receiver { return new(stranger) }); err != nil {
			t.Fatal(err)
		}
		n, err := reg.Lookup(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		s.link, err = road.Dial(t.Context(), transport.Endpoint{Node: "b", Epoch: n.Epoch, Addr: n.Addrs["one"]}, func(transport.Link) transport.Receiver { return s })
		if err != nil {
			t.Fatal(err)
		}
		s.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})
		body, err := codec.Msgpack(codec.Limits{}).Append(nil, knock{1})
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(0)
		for _, to := range []string{"door", "porch"} {
			for _, verb := range []transport.Verb{transport.VerbRequest, transport.VerbTell} {
				for flags := range transport.Flags(1 << 7) {
					if flags&transport.FlagRecover != 0 {
						continue // it never runs
					}
					seq++
					e := transport.Envelope{Verb: verb, Seq: seq, Flags: flags, Target: to, TypeID: sys.types.get(reflect.TypeFor[knock]()).id, Codec: codec.IDMsgpack, Body: body}
					got := s.say(t, e)
					came := at.visits()
					// An envelope with the flag of a receipt is a receipt, and no message.
					runs := to == "porch" && (verb == transport.VerbTell || flags&transport.FlagReceipt == 0)
					if (len(came) > 0) != runs {
						t.Errorf("%v to %s with flags %07b: %v", verb, to, flags, came)
					}
					if verb == transport.VerbTell && len(got) > 0 {
						t.Errorf("a tell with flags %07b is answered: %+v", flags, got)
					}
				}
			}
		}
	})
}

// The system's own actors accept only the messages that they declare, and only as requests. A
// one-way message cannot cancel somebody's job, take tokens, or close a stream.
func TestSystemActorsTakeRequestsOnly(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx := t.Context()
		tok, err := Submit(ctx, g.a.Ref("door@b"), slowJob{})
		if err != nil {
			t.Fatal(err)
		}
		own, err := Submit(ctx, g.b.Ref("door@b"), slowJob{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.b.Spawn("second", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		next, stop := iter.Pull2(Stream(ctx, g.a.Ref("second@b"), ticks{}))
		next()
		var hiddenStream string
		for st := range g.b.streams.all {
			hiddenStream = st.self.self.addr.String()
		}
		dead := g.b.DeadLetters(ctx)
		told := 0
		tell := func(to string, m any) {
			t.Helper()
			told++
			if err := Tell(ctx, g.c.Ref(to), m); err != nil {
				t.Fatal(err)
			}
			if err := Tell(ctx, g.c.Ref(to), m, rpc.Acked()); rpc.CodeOf(err) != rpc.Unhandled || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%T, acked: %v", m, err)
			}
		}
		for _, token := range []string{tok.String(), own.String()} {
			_, id, _ := splitToken(token)
			tell("$jobs@b", cancelJob{ID: id})
			tell("$jobs@b", pollJob{ID: id})
			tell("$jobs@b", awaitJob{ID: id})
		}
		job, err := g.c.jobOf(g.c.Ref("door@b").to, openDoor{}, reflect.TypeFor[openDoor](), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			tell("$jobs@b", job)
		}
		tell(hiddenStream, streamSign{Stop: true})
		tell(hiddenStream, streamNext{N: 2})
		tell("jobs@b", enqueue[int]{Item: 1})
		tell("jobs@b", dequeue[int]{Op: queuestore.Pull})
		tell("jobs@b", oversee[int]{Op: queuestore.Purge})
		synctest.Wait()
		for range told {
			if d := <-dead; rpc.CodeOf(d.Reason) != rpc.Unhandled {
				t.Errorf("%+v", d)
			}
		}
		if mine := g.b.jobs.mine; len(mine) != 2 || mine["by one"] != 1 || mine[g.b.node.OwnPrincipal()] != 1 {
			t.Errorf("tokens: %v", mine)
		}
		if _, err, _ := next(); err != nil {
			t.Errorf("the stream: %v", err)
		}
		stop()
		// They do not accept what they do not declare, either. It ends before it is in a mailbox.
		synctest.Wait()
		handled := g.b.Stats().Handled
		_, err = Call(ctx, g.c.Ref("$jobs@b"), openDoor{}, rpc.WithCodec(g.c.control))
		if now := g.b.Stats().Handled; now != handled {
			t.Errorf("%d messages went through the job server's mailbox", now-handled)
		}
		if rpc.CodeOf(err) != rpc.Unhandled || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("what the job server does not declare: %v", err)
		}
		g.door.finish <- struct{}{}
		g.door.finish <- struct{}{}
		for _, tok := range []rpc.Token[string]{tok, own} {
			if v, err := tok.Await(ctx); err != nil || v != "slow" {
				t.Errorf("a job that was told to be cancelled: %q, %v", v, err)
			}
		}
	})
}
