package actor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// PassOn has its actor send a Probe on, and answers with both requests' names.
type PassOn struct {
	actor.Returns[[2]string]
	To string
}

func (PassOn) WireName() string { return "test.pass" }

var passing = actor.Define("test.passing", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m PassOn) ([2]string, error) {
	id, err := actor.Call(ctx, ctx.System().Ref(m.To), Probe{})
	return [2]string{ctx.RequestID().String(), id}, err
}))

// abc runs a test with nodes a, b and c, between which a message takes a millisecond.
func abc(t *testing.T, run func(t *testing.T, f *fleet, a, b, c *actor.System)) {
	withFleet(t, nil, func(t *testing.T, f *fleet) {
		run(t, f, f.start("a", "", ""), f.start("b", "", ""), f.start("c", "", ""))
	})
}

// All requests in one trace are found by its id, whichever node is asked, in the order of their causes.
func TestWhyOfATrace(t *testing.T) {
	abc(t, func(t *testing.T, f *fleet, a, b, c *actor.System) {
		spawn(t, b, "x", passing)
		spawn(t, c, "y", probed)
		trace := rpc.Trace{0: 7, 15: 9, 16: 1, 24: 1}
		ids, err := actor.Call(rpc.WithTrace(t.Context(), trace), a.Ref("x@b"), PassOn{To: "y@c"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, from := range []*actor.System{a, c, f.client} {
			for _, id := range []string{"07000000000000000000000000000009", "00-07000000000000000000000000000009-0100000000000000-01"} {
				life := lived(t, from, id)
				var calls []string
				for _, s := range life.Steps {
					if s.What == inspect.Sent || s.What == inspect.Decided || s.What == inspect.Received {
						calls = append(calls, fmt.Sprint(s.Node, " ", s.What, " ", s.Target))
					}
					if s.Trace != "07000000000000000000000000000009" && s.Side != inspect.Record || s.Request != ids[0] && s.Request != ids[1] {
						t.Errorf("%+v", s)
					}
				}
				if got, want := strings.Join(calls, ", "), "a sent x, b received x, b sent y, c received y, c decided y, b decided x"; got != want {
					t.Errorf("%s: %s\nwant %s", from.Name(), got, want)
				}
			}
		}
	})
}

// A request under a key that another node's request has already is told together with that one.
func TestWhyOfAKeyFromAnotherSession(t *testing.T) {
	abc(t, func(t *testing.T, f *fleet, a, b, c *actor.System) {
		spawn(t, c, "x", probed)
		first := actor.Ask(t.Context(), a.Ref("x@c"), Probe{Work: time.Second}, rpc.Key("order-17"))
		time.Sleep(100 * time.Millisecond)
		second := actor.Ask(t.Context(), b.Ref("x@c"), Probe{Work: time.Second}, rpc.Key("order-17"))
		id, err := first.Await(t.Context())
		if got, err2 := second.Await(t.Context()); err != nil || err2 != nil || got != id {
			t.Fatal(id, err, got, err2)
		}
		life := lived(t, b, "order-17")
		peers, ran := map[string]bool{}, 0
		for _, s := range life.Steps {
			if s.Node == "c" && s.Side == inspect.Server {
				peers[s.Peer] = true
			}
			if s.What == inspect.Started {
				ran++
			}
			if s.What == inspect.WaitsFor && (s.Peer != "b" || s.Other != id) {
				t.Errorf("%+v", s)
			}
		}
		if !peers["a"] || !peers["b"] || ran != 1 {
			t.Errorf("%s", story(life.Steps))
		}
	})
}

// What became of a job is found by its token, which itself is nowhere in what is told; and neither is a session's grant,
// which anybody could derive the names of requests from.
func TestWhyOfAJobTellsNoSecret(t *testing.T) {
	abc(t, func(t *testing.T, f *fleet, a, b, c *actor.System) {
		spawn(t, b, "x", probed)
		token, err := actor.Submit(t.Context(), a.Ref("x@b"), Probe{Work: time.Second, Text: "top secret"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := token.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		life := lived(t, c, token.String())
		var job []string
		asked := false
		for _, s := range life.Steps {
			if s.Side == inspect.OfJob {
				job = append(job, string(s.What))
			}
			asked = asked || s.Side == inspect.Client && s.Node == "a"
		}
		if got := strings.Join(job, ", "); got != "accepted, started, has its outcome, told" || !asked {
			t.Errorf("%s; %s", got, story(life.Steps))
		}
		if last := life.Steps[len(life.Steps)-1]; !strings.HasPrefix(last.Detail, "jobs: done") && !strings.HasPrefix(last.Detail, "session") {
			t.Errorf("%+v", last)
		}
		all := []any{life}
		for _, sys := range []*actor.System{a, b, c} {
			for r := range sys.Requests(inspect.RequestFilter{}) {
				all = append(all, r)
			}
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		_, secret, _ := strings.Cut(token.String(), ":")
		for _, hidden := range []string{secret, "top secret"} {
			if strings.Contains(string(text), hidden) {
				t.Errorf("%q is in %s", hidden, text)
			}
		}
	})
}

// What the store has of a durable request is told after the node was restarted, by its key.
func TestWhyAfterARestart(t *testing.T) {
	store := new(storetest.Memory)
	durable := probed.With(actor.Durable())
	withFleet(t, nil, func(t *testing.T, f *fleet) {
		start := func() *actor.System {
			return f.start("b", "", "", func(c *actor.Config) {
				c.Store, c.Kinds = store, []*actor.Kind{durable}
				c.Setup = func(s *actor.System) error { _, err := s.Spawn("x", durable); return err }
			})
		}
		a, b := f.client, start()
		id, err := actor.Call(t.Context(), a.Ref("x@b"), Probe{}, rpc.Key("order-17"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		start()
		if got, err := actor.Call(t.Context(), a.Ref("x@b"), Probe{}, rpc.Key("order-17")); got != id || err != nil {
			t.Fatal(got, err)
		}
		found := false
		for _, s := range lived(t, a, "order-17").Steps {
			found = found || s.What == inspect.Kept && s.Detail == "store: done" && !s.Time.IsZero()
		}
		if !found {
			t.Error(story(lived(t, a, "order-17").Steps))
		}
	})
}

// A copy that comes while the request runs is told, with its road, and the answer goes to both.
func TestWhyOfACopyThatWaits(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		net.SetFaults("", "", "", memnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Millisecond})
		spawn(t, b, "x", probed)
		x := a.Ref("x@b")
		if _, err := actor.Call(t.Context(), x, Probe{}); err != nil {
			t.Fatal(err)
		}
		id, err := actor.Call(t.Context(), x, Probe{Work: time.Second}, rpc.Hedge(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		got := story(lived(t, a, id).Steps)
		for _, want := range []string{"a client: sent on direct\n", "a client: hedged on bus\n", "b server: copy came on bus\n", "b server: replied on direct\n", "b server: replied on bus\n"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%s is not once in\n%s", want, got)
			}
		}
	})
}

// The most that a node may be told to remember is accepted, and one more is not.
func TestRecentRequestsHaveALimit(t *testing.T) {
	for n, ok := range map[int]bool{1 << 20: true, 1<<20 + 1: false} {
		sys, err := actor.NewSystem(actor.Config{Logger: quiet, RecentRequests: n})
		if ok != (err == nil) || err != nil && !errors.Is(err, actor.ErrConfig) {
			t.Errorf("%d: %v", n, err)
		}
		if err == nil {
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}
