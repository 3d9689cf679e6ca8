package actor

import (
	"iter"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// What one principal may not send to the stream of another one does not end it.
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
		// Who has opened it loses it with the first message that it may not send any more.
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

// Who may submit some jobs may submit no others: that is asked before a job is decoded.
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

// stranger is a peer that speaks the wire itself.
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

// say sends e and returns what has come since.
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

// No flag of an envelope takes a message past the access list: with any of them, and as a
// request or one-way, it does not reach an actor that its sender may not use.
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
						continue // which never runs
					}
					seq++
					e := transport.Envelope{Verb: verb, Seq: seq, Flags: flags, Target: to, TypeID: sys.types.of(reflect.TypeFor[knock]()).id, Codec: codec.IDMsgpack, Body: body}
					got := s.say(t, e)
					came := at.visits()
					// What has the flag of a receipt is one, and no message.
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
