package actor_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A ref reaches the instances that it selects and no others, by every verb.
func TestSelections(t *testing.T) {
	withFleet(t, []string{"1.4.0 eu", "1.9.2 us", "2.0.1 eu", "2.1.0 us", "blue eu"}, func(t *testing.T, f *fleet) {
		for _, row := range []struct {
			which []actor.Selector
			name  string
			want  string
		}{
			{nil, "mailer", "1.4.0 eu, 1.9.2 us, 2.0.1 eu, 2.1.0 us, blue eu"},
			{[]actor.Selector{actor.Version("^2")}, "mailer?version=^2", "2.0.1 eu, 2.1.0 us"},
			{[]actor.Selector{actor.Version(">= 1.5  <2.1")}, "mailer?version=>=1.5,<2.1", "1.9.2 us, 2.0.1 eu"},
			{[]actor.Selector{actor.Zone("eu"), actor.Version("^2")}, "mailer?version=^2&zone=eu", "2.0.1 eu"},
			{[]actor.Selector{actor.Zone("us")}, "mailer?zone=us", "1.9.2 us, 2.1.0 us"},
			{[]actor.Selector{actor.PreferZone("us"), actor.Version("~1")}, "mailer?version=~1&prefer=us", "1.9.2 us"},
			{[]actor.Selector{actor.PreferZone("moon"), actor.Version("^1")}, "mailer?version=^1&prefer=moon", "1.4.0 eu, 1.9.2 us"},
			{[]actor.Selector{actor.Version("blue")}, "mailer?version=blue", "blue eu"},
		} {
			ref := f.client.Service("mailer", row.which...)
			if ref.Name() != row.name || ref != f.client.Ref(ref.String()) || ref != f.client.Service(row.name) {
				t.Errorf("%v, want %s@*", ref, row.name)
			}
			got := f.hits(ref, 40)
			if all := strings.Join(slices.Sorted(maps.Keys(got)), ", "); all != row.want {
				t.Errorf("%v reached %s, want %s", ref, all, row.want)
			}
		}
		two := f.client.Service("mailer", actor.Version("^2"), actor.Zone("us"))
		if who, err := actor.Ask(t.Context(), two, Which{}).Await(t.Context()); who != "2.1.0 us" || err != nil {
			t.Errorf("Ask: %q, %v", who, err)
		}
		if token, err := actor.Submit(t.Context(), two, Which{}); err != nil {
			t.Error(err)
		} else if who, err := token.Await(t.Context()); who != "2.1.0 us" || err != nil {
			t.Errorf("Submit: %q, %v", who, err)
		}
		for range 10 {
			if err := actor.Tell(t.Context(), two, Leaflet{}); err != nil {
				t.Error(err)
			}
		}
		if ref, err := f.client.Instance("mailer?version=^2&zone=us", ""); ref.String() != "worker@n3" || err != nil {
			t.Errorf("Instance: %v, %v", ref, err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if f.mu.Lock(); len(f.posts) != 1 || f.posts["2.1.0 us"] != 10 {
			t.Errorf("one-way messages came to %v", f.posts)
		}
		f.mu.Unlock()
	})
}

// What makes no sense fails at every use, with an error that says why. A text that makes no sense
// is no ref.
func TestMalformedSelections(t *testing.T) {
	withFleet(t, []string{"1.4.0 eu"}, func(t *testing.T, f *fleet) {
		dead := letters(t, f.client)
		for want, ref := range map[string]actor.Ref{
			"no constraint":    f.client.Service("mailer", actor.Version("^^2")),
			"is empty":         f.client.Service("mailer", actor.Zone("")),
			"not both":         f.client.Service("mailer", actor.Zone("eu"), actor.PreferZone("us")),
			"given twice":      f.client.Service("mailer?version=^1", actor.Version("^2")),
			"service":          f.client.Service("my mailer", actor.Version("^2")),
			"unknown key":      f.client.Service("mailer?weight=3"),
			"1 to 255 bytes":   f.client.Service("mailer", actor.Version(strings.Repeat("1.0.0||", 31)+"2"), actor.Zone(strings.Repeat("z", 60))),
			"is no plain text": f.client.Service("mailer", actor.Zone("a\x00")),
		} {
			want = strings.Replace(want, "no plain", "not plain", 1)
			_, err := actor.Call(t.Context(), ref, Which{})
			wantErr(t, want, err, rpc.Invalid, rpc.NotRun)
			wantText(t, err, want)
			wantErr(t, want, actor.Tell(t.Context(), ref, Leaflet{}), rpc.Invalid, rpc.NotRun)
			wantErr(t, want, second(actor.Ask(t.Context(), ref, Which{}).Await(t.Context())), rpc.Invalid, rpc.NotRun)
			wantErr(t, want, second(actor.Submit(t.Context(), ref, Which{})), rpc.Invalid, rpc.NotRun)
			if again := f.client.Ref(ref.String()); !again.IsZero() {
				t.Errorf("%v is a ref", again)
			}
			var r actor.Ref
			if err := r.UnmarshalText([]byte(ref.String())); err == nil {
				t.Errorf("%v was read", r)
			}
		}
		if got := dead(); len(got) != 0 {
			t.Errorf("dead letters: %v", got)
		}
	})
}

// If nothing matches, the error says what there is, at once. What has matched before is waited for.
func TestNothingSelected(t *testing.T) {
	withFleet(t, []string{"1.4.0 eu", "1.9.2"}, func(t *testing.T, f *fleet) {
		began := time.Now()
		_, err := actor.Call(t.Context(), f.client.Service("mailer", actor.Version("^2")), Which{})
		wantErr(t, "no such version", err, rpc.NotFound, rpc.NotRun)
		wantText(t, err, "no instance of service mailer with version=^2; there are 1 of version 1.4.0 in zone eu, 1 of version 1.9.2")
		_, err = actor.Call(t.Context(), f.client.Service("milkman", actor.Version("^2")), Which{})
		wantErr(t, "no such service", err, rpc.NotFound, rpc.NotRun)
		if time.Since(began) > time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
		two := f.node("n9", "2.0.0 eu")
		synctest.Wait()
		f.hits(f.client.Service("mailer", actor.Version("^2")), 1)
		if err := two.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_, err = actor.Call(soon(t, time.Second), f.client.Service("mailer", actor.Version("2.x"), actor.Zone("eu")), Which{})
		wantErr(t, "gone", err, rpc.Expired, rpc.NotRun)
		wantErr(t, "gone, for Ask", second(actor.Ask(t.Context(), f.client.Service("mailer", actor.Version("^2")), Which{}).Await(t.Context())), rpc.Unavailable, rpc.NotRun)
		time.AfterFunc(3*time.Second, func() { f.node("n9", "2.0.1 eu") })
		if who, err := actor.Call(t.Context(), f.client.Service("mailer", actor.Version("^2")), Which{}); who != "2.0.1 eu" || err != nil {
			t.Errorf("%q, %v", who, err)
		}
	})
}

// A request never leaves what it selects, whatever fails: the only instances of version 2 are cut
// off, in turn, and callers of version 2 are never answered by version 1. Those who do not select get
// answers all the time.
func TestSelectionHoldsUnderFaults(t *testing.T) {
	withFleet(t, []string{"1.0.0", "1.0.1", "2.0.0", "2.0.1"}, func(t *testing.T, f *fleet) {
		var all sync.WaitGroup
		var answered, failed int
		all.Go(func() {
			for range 300 {
				who, err := actor.Call(soon(t, 2*time.Second), f.client.Service("mailer", actor.Version("^2")), Which{})
				if err != nil {
					failed++
				} else if answered++; !strings.HasPrefix(who, "2.") {
					t.Errorf("answered by %s", who)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		for i := range 6 {
			time.Sleep(200 * time.Millisecond)
			node := []string{"n2", "n3"}[i%2]
			f.net.Partition("direct", node, "")
			if i >= 4 {
				f.net.Partition("bus", node, "")
			}
			time.Sleep(300 * time.Millisecond)
			f.net.Heal("", node, "")
		}
		all.Wait()
		if f.asked["1.0.0"]+f.asked["1.0.1"] > 0 || answered < 290 {
			t.Errorf("%d answered, %d failed; asked: %v", answered, failed, f.asked)
		}
	})
}

// All nodes go from version 1 to version 2, one after another. Callers of "^1", of "^2" and of any
// version fail only while there is no such instance, and every request runs once.
func TestRollingDeploy(t *testing.T) {
	withFleet(t, []string{}, func(t *testing.T, f *fleet) {
		nodes := make([]*actor.System, 4)
		for i := range nodes {
			nodes[i] = f.node(fmt.Sprint("n", i), "1.2.3")
		}
		synctest.Wait()
		done := make(chan struct{})
		var all sync.WaitGroup
		calls := map[string]*int{}
		caller := func(name string, until <-chan struct{}, which ...actor.Selector) {
			n := new(int)
			calls[name] = n
			all.Go(func() {
				for {
					select {
					case <-until:
						return
					default:
					}
					who, err := actor.Call(t.Context(), f.client.Service("mailer", which...), Which{})
					if *n++; err != nil || which != nil && !strings.HasPrefix(who, name) {
						t.Errorf("caller of %s: %q, %v", name, who, err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		oneEnds := make(chan struct{})
		caller("", done)
		caller("1.", oneEnds, actor.Version("^1"))
		for i, old := range nodes {
			if i == len(nodes)-1 {
				close(oneEnds)
				time.Sleep(100 * time.Millisecond)
			}
			if err := old.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.node(fmt.Sprint("n", i), "2.0.0")
			if synctest.Wait(); i == 0 {
				caller("2.", done, actor.Version("^2"))
			}
			time.Sleep(500 * time.Millisecond)
		}
		close(done)
		all.Wait()
		sum := 0
		for name, n := range calls {
			if sum += *n; *n < 200 {
				t.Errorf("caller of %q made %d calls", name, *n)
			}
		}
		if f.asked["1.2.3"]+f.asked["2.0.0"] != sum {
			t.Errorf("%d calls, handled: %v", sum, f.asked)
		}
	})
}

// One actor has several names, and actors of several kinds have one. A request goes to one that has a
// handler for it.
func TestAliasesAndGroups(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		said := actor.Define("test.sayer", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, _ Say) (string, error) { return ctx.Self().String(), nil }))
		both := actor.Define("test.both", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, _ Say) (string, error) { return ctx.Self().String(), nil }),
			actor.Answer(func(_ int, ctx *actor.Context, _ Toil) (string, error) { return ctx.Self().String(), nil }))
		spawn(t, a, "ann", said, actor.Expose("staff", "desk", "staff"), actor.Expose("ann"))
		spawn(t, b, "bob", both, actor.Expose("staff"))
		spawn(t, b, "eve", both, actor.Expose("staff", "desk"))
		synctest.Wait()
		for service, want := range map[string]string{"staff": "ann@a bob@b eve@b", "desk": "ann@a eve@b", "ann": "ann@a"} {
			got := map[string]bool{}
			for range 30 {
				who, err := actor.Call(t.Context(), a.Service(service), Say{})
				if err != nil {
					t.Fatal(err)
				}
				got[who] = true
			}
			if all := strings.Join(slices.Sorted(maps.Keys(got)), " "); all != want {
				t.Errorf("%s: %s, want %s", service, all, want)
			}
		}
		for range 30 { // ann has no handler for it
			if who, err := actor.Call(t.Context(), b.Service("staff"), Toil{}); err != nil || who == "ann@a" {
				t.Fatalf("%q, %v", who, err)
			}
		}
		if err := a.Stop(t.Context(), a.Ref("ann")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_, err := actor.Call(soon(t, time.Second), b.Service("ann"), Say{})
		wantErr(t, "all names go with the actor", err, rpc.NotFound, rpc.NotRun)
		if who, err := actor.Call(t.Context(), b.Service("desk"), Say{}); err != nil || who != "eve@b" {
			t.Errorf("%q, %v", who, err)
		}
	})
}

// Over real roads, versions, weights and a mirror are as in memory, and a ref that selects travels in a message.
func TestVersionsOverRealRoads(t *testing.T) {
	eachRoad(t, func(t *testing.T, roads func() []transport.Transport) {
		reg := static.New()
		kind := actor.Define("test.courier", func() int { return 0 },
			actor.Answer(func(_ int, ctx *actor.Context, m Via) (string, error) {
				if !m.To.IsZero() {
					return actor.Call(ctx, m.To, Via{})
				}
				return ctx.Self().Node(), nil
			}))
		for name, version := range map[string]string{"one": "1.0.0", "two": "2.0.0"} {
			spawn(t, newSystem(t, actor.Config{Name: name, Version: version, Transports: roads(), Registry: reg, Logger: quiet}), "courier", kind, actor.Expose("courier"))
		}
		sys := newSystem(t, actor.Config{Name: "a", Transports: roads(), Registry: reg, Logger: quiet})
		first, second := sys.Service("courier", actor.Version("^1")), sys.Service("courier", actor.Version("^2"))
		for range 10 {
			if who, err := actor.Call(t.Context(), first, Via{To: second}); who != "two" || err != nil {
				t.Errorf("%q, %v", who, err)
			}
			if who, err := actor.Call(t.Context(), second, Via{To: first}); who != "one" || err != nil {
				t.Errorf("%q, %v", who, err)
			}
		}
		if err := sys.SetWeights("courier", map[string]int{"^1": 1}); err != nil {
			t.Fatal(err)
		}
		if err := sys.SetMirror("courier", actor.Mirror{To: second.Name(), Percent: 100}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if who, err := actor.Call(t.Context(), sys.Service("courier"), Via{}); who != "one" || err != nil {
				t.Errorf("%q, %v", who, err)
			}
		}
		for sys.Stats().Mirror.Answered < 10 {
			if t.Context().Err() != nil || sys.Stats().Mirror.Failed > 0 {
				t.Fatalf("%+v", sys.Stats().Mirror)
			}
			runtime.Gosched()
		}
	})
}

// Via is sent on to To, or answered with the node.
type Via struct {
	actor.Returns[string]
	To actor.Ref
}
