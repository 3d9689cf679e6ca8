package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Probe is a request whose handler works until Work is over, and then fails if Fail is set.
type Probe struct {
	actor.Returns[string]
	Work time.Duration
	Fail bool
	Text string
}

func (Probe) WireName() string { return "test.probe" }

// probed is an actor whose handler answers with the request's name.
var probed = actor.Define("test.probed", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Probe) (string, error) {
	time.Sleep(m.Work)
	if m.Fail {
		return "", rpc.Errorf(rpc.Failed, rpc.HasRun, "it failed")
	}
	return ctx.RequestID().String(), nil
}))

// story is the steps of a life, one a line, without their times.
func story(steps []inspect.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s: %s", s.Node, s.Side, s.What)
		if s.Road != "" {
			fmt.Fprintf(&b, " on %s", s.Road)
		}
		if s.Detail != "" {
			fmt.Fprintf(&b, " in %s", s.Detail)
		}
		if s.Code != "" {
			fmt.Fprintf(&b, " %s [%s]", s.Code, s.Ran)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// lived returns what all nodes know of a request.
func lived(t *testing.T, from *actor.System, id string) inspect.Life {
	t.Helper()
	life, err := from.WhyAll(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return life
}

// The life of a request that was cut off has both copies and their roads, that it ran once, and the
// replay. Both nodes tell the same.
func TestWhyOfARequestThatWasCutOff(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		net.SetFaults("", "", "", memnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Millisecond})
		spawn(t, b, "x", probed)
		x := a.Ref("x@b")
		if _, err := actor.Call(t.Context(), x, Probe{}); err != nil {
			t.Fatal(err)
		}
		net.PartitionOneWay("direct", "b", "a") // the answer does not come
		asked := actor.Ask(t.Context(), x, Probe{})
		time.Sleep(10 * time.Millisecond)
		if net.Reset("direct", "a", "b") == 0 {
			t.Fatal("there was no link")
		}
		id, err := asked.Await(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // until the ack
		const want = `a client: asked
a client: sent on direct
b server: received on direct
b server: started
b server: decided
b server: replied on direct
a client: link lost on direct
a client: sent again on bus
b server: replayed on bus
a client: answered again on bus
b server: acked
b record: kept in session: acked
`
		for _, from := range []*actor.System{a, b} {
			life := lived(t, from, id)
			if got := story(life.Steps); got != want {
				t.Errorf("%s:\n%swant\n%s", from.Name(), got, want)
			}
			if len(life.Unasked) > 0 {
				t.Errorf("not asked: %v", life.Unasked)
			}
			for _, s := range life.Steps {
				if s.Side != inspect.Record && (s.Type == "" || s.Peer == "" || s.Peer == s.Node) {
					t.Errorf("%+v", s)
				}
				if s.Request != id || s.Target != "x" || s.Time.IsZero() != (s.What == inspect.Started) { // nobody has noted when an ordinary request started
					t.Errorf("%+v", s)
				}
			}
		}
	})
}

// A request whose node is killed ends as unknown, with the name by which its life is found; the killed node
// is named as one that could not be asked.
func TestWhyOfARequestWhoseNodeIsKilled(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "x", probed)
		asked := actor.Ask(t.Context(), a.Ref("x@b"), Probe{Work: time.Second})
		time.Sleep(100 * time.Millisecond)
		net.Partition("", "b", "")
		net.Reset("", "b", "")
		_, err := asked.Await(t.Context())
		var e *rpc.Error
		if !errors.As(err, &e) || e.Verdict != rpc.Unknown || e.Request.IsZero() {
			t.Fatalf("%#v", err)
		}
		life := lived(t, a, e.Request.String())
		if len(life.Unasked) != 1 || life.Unasked[0].Node != "b" || life.Unasked[0].Reason == "" {
			t.Errorf("not asked: %v", life.Unasked)
		}
		last := life.Steps[len(life.Steps)-1]
		if last.What != inspect.Ended || last.Ran != "unknown" || last.Code != e.Code.String() {
			t.Errorf("%s", story(life.Steps))
		}
		if !slices.ContainsFunc(life.Steps, func(s inspect.Step) bool { return s.What == inspect.LinkLost && s.Road == "direct" }) {
			t.Errorf("%s", story(life.Steps))
		}
		net.Heal("", "b", "")
	})
}

// A request under a key that another one has shows whose outcome it got.
func TestWhyOfAKey(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		net.SetFaults("", "", "", memnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Millisecond})
		spawn(t, b, "x", probed)
		x := a.Ref("x@b")
		first := actor.Ask(t.Context(), x, Probe{Work: time.Second}, rpc.Key("order-17"))
		time.Sleep(100 * time.Millisecond)
		second := actor.Ask(t.Context(), x, Probe{Work: time.Second}, rpc.Key("order-17"))
		id, err := first.Await(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := second.Await(t.Context()); got != id || err != nil {
			t.Fatal(got, err)
		}
		if got, err := actor.Call(t.Context(), x, Probe{Work: time.Second}, rpc.Key("order-17")); got != id || err != nil {
			t.Fatal(got, err)
		}
		life := lived(t, b, "order-17")
		ran, waited, recorded, kept := 0, 0, 0, 0
		for _, s := range life.Steps {
			switch s.What {
			case inspect.Started:
				ran++
			case inspect.WaitsFor:
				waited++
				if s.Other != id {
					t.Errorf("it waits for %q, want %s", s.Other, id)
				}
			case inspect.GotRecorded:
				recorded++
			}
			if s.Key != "order-17" && (s.Side != inspect.Record || s.Request == "") {
				t.Errorf("%+v", s)
			}
			if s.Detail == "keys: done" && s.Key == "order-17" {
				kept++
			}
		}
		if ran != 1 || waited != 1 || recorded != 1 || kept != 1 {
			t.Errorf("%d ran, %d waited, %d got a recorded outcome, %d are kept:\n%s", ran, waited, recorded, kept, story(life.Steps))
		}
	})
}

// A refusal has its code and its verdict on both sides, and names the request to the caller.
func TestWhyOfARefusal(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		_, err := actor.Call(t.Context(), a.Ref("nobody@b"), Probe{})
		var e *rpc.Error
		if !errors.As(err, &e) || e.Code != rpc.NotFound || e.Request.IsZero() {
			t.Fatalf("%#v", err)
		}
		synctest.Wait()
		life := lived(t, b, e.Request.String())
		decided := 0
		for _, s := range life.Steps {
			if s.What == inspect.Decided && s.Node == "b" && s.Code == "not found" && s.Ran == "not run" {
				decided++
			}
			if s.What == inspect.Started {
				t.Error("it started")
			}
		}
		if last := life.Steps[len(life.Steps)-1]; decided != 1 || last.Code != "not found" {
			t.Errorf("%s", story(life.Steps))
		}
	})
}

// A retry has a name of its own, and leads to the attempts before it and after it.
func TestWhyFollowsRetries(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		x := spawn(t, b, "x", probed, actor.Mailbox(mailbox.Config{Capacity: 1, Policy: mailbox.Refuse}))
		tell(t, x, Probe{Work: time.Second})
		synctest.Wait()
		tell(t, x, Probe{Work: time.Second})
		id, err := actor.Call(ctx, a.Ref("x@b"), Probe{}, rpc.WithRetry(rpc.Retry{Attempts: 20, MinPause: time.Second, MaxPause: time.Second}))
		if err != nil {
			t.Fatal(err)
		}
		life := lived(t, a, id)
		t.Log(story(life.Steps))
		ids := map[string]bool{}
		for _, s := range life.Steps {
			ids[s.Request] = true
		}
		if len(ids) < 2 {
			t.Errorf("%d attempts, want more than one:\n%s", len(ids), story(life.Steps))
		}
	})
}

// A node keeps no more requests than it is told, and of many ordinary ones only some. With a negative number it
// keeps none.
func TestRequestsAreBounded(t *testing.T) {
	few := func(n int) func(*actor.Config) { return func(cfg *actor.Config) { cfg.RecentRequests = n } }
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "x", probed)
		for range 2000 {
			if _, err := actor.Call(t.Context(), a.Ref("x@b"), Probe{}); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			if _, err := actor.Call(t.Context(), a.Ref("nobody@b"), Probe{}); err == nil {
				t.Fatal("nobody answered")
			}
		}
		for _, sys := range []*actor.System{a, b} {
			unusual, usual := 0, 0
			for r := range sys.Requests(inspect.RequestFilter{}) {
				if r.Unusual {
					unusual++
				} else {
					usual++
				}
			}
			if unusual != 100 || usual == 0 || usual > 50 {
				t.Errorf("%s: %d unusual requests, want 100, and %d others, want 1 to 50", sys.Name(), unusual, usual)
			}
		}
	}, few(200))
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		_, err := actor.Call(t.Context(), a.Ref("nobody@b"), Probe{})
		var e *rpc.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		if life := lived(t, a, e.Request.String()); len(life.Steps) > 0 {
			t.Errorf("%s", story(life.Steps))
		}
		for r := range a.Requests(inspect.RequestFilter{}) {
			t.Errorf("%+v", r)
		}
	}, few(-1))
}

// Who may not inspect an actor learns nothing of requests to it, and who may inspect none is refused. A list is complete
// and in order, over several pages.
func TestWhyIsForThoseWhoMayInspect(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "open", probed)
		spawn(t, b, "secret", probed)
		ids := map[string]string{}
		for _, name := range []string{"open", "secret"} {
			id, err := actor.Call(t.Context(), a.Ref(name+"@b"), Probe{}, rpc.Key(name))
			if err != nil {
				t.Fatal(err)
			}
			ids[name] = id
		}
		allow := func(actors ...string) {
			if err := b.SetAccess(access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Ops: access.Inspect, Actors: actors}}}); err != nil {
				t.Fatal(err)
			}
		}
		allow("open")
		for name, want := range map[string]int{"open": 1, "secret": 0} {
			steps, err := a.WhyOf(t.Context(), "b", ids[name])
			if err != nil || min(len(steps), 1) != want {
				t.Errorf("%s: %s, %v", name, story(steps), err)
			}
		}
		for r, err := range a.RequestsOf(t.Context(), "b", inspect.RequestFilter{}) {
			if err != nil || r.Target != "open" {
				t.Errorf("%+v, %v", r, err)
			}
		}
		if err := b.SetAccess(access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Ops: access.Call}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.WhyOf(t.Context(), "b", ids["open"]); rpc.CodeOf(err) != rpc.Denied {
			t.Error(err)
		}
		for _, err := range a.RequestsOf(t.Context(), "b", inspect.RequestFilter{}) {
			if rpc.CodeOf(err) != rpc.Denied {
				t.Error(err)
			}
		}
	})
}

// An id has a limit, and what is no id leads to nothing.
func TestWhyOfBadIDs(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		for _, row := range []struct {
			id   string
			code rpc.Code
		}{{"", rpc.Invalid}, {strings.Repeat("x", 1024), 0}, {strings.Repeat("x", 1025), rpc.Invalid}, {"-", 0}, {"0000000000000000-0", 0}} {
			life, err := a.WhyAll(t.Context(), row.id)
			if rpc.CodeOf(err) != row.code || len(life.Steps) > 0 {
				t.Errorf("%.20q: %v, %v", row.id, life, err)
			}
		}
	})
}
