package actor_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// noted is a one-way message with a number.
type noted struct{ N int }

func (noted) WireName() string { return "virtual.noted" }

// One-way messages that have come to the wrong node are sent on in their order.
func TestVirtualSentOnInOrder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var got []int
		kind := actor.Define("notes", func() *counter { return new(counter) }, actor.Answer((*counter).where),
			actor.Handle(func(_ *counter, _ *actor.Context, m noted) error { got = append(got, m.N); return nil })).With(actor.Virtual())
		a, b, claims := twoNodes(t, kind)
		id := heldByOther(t, claims, b, "")
		for i := range 100 {
			if err := actor.Tell(t.Context(), a.Virtual(kind, id), noted{i}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if at, err := actor.Call(t.Context(), a.Virtual(kind, id), where{}); at != "b" || err != nil {
			t.Errorf("it is on %s, %v", at, err)
		}
		if len(got) != 100 || !slices.IsSorted(got) {
			t.Errorf("got %v", got)
		}
		if st := a.Stats().Virtual; st.Moved == 0 || st.Begun > 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A request does not overtake the messages that its sender has sent before it, and which are sent on.
func TestVirtualAskedBehindWhatIsSentOn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var got []int
		kind := actor.Define("notes", func() *counter { return new(counter) }, actor.Answer((*counter).where),
			actor.Handle(func(_ *counter, _ *actor.Context, m noted) error { got = append(got, m.N); return nil }),
			actor.Answer(func(*counter, *actor.Context, total) (int, error) { return len(got), nil })).With(actor.Virtual())
		a, b, claims := twoNodes(t, kind)
		for i := range 20 {
			ref := a.Virtual(kind, heldByOther(t, claims, b, fmt.Sprint(i)))
			want := len(got)
			for n := range 5 {
				if err := actor.Tell(t.Context(), ref, noted{n}); err != nil {
					t.Fatal(err)
				}
				want++
			}
			if n, err := actor.Call(t.Context(), ref, total{}); n != want || err != nil {
				t.Fatalf("%d of %d messages, %v", n, want, err)
			}
		}
	})
}

// twoNodes starts nodes a and b, which host a kind.
func twoNodes(t *testing.T, kind *actor.Kind) (a, b *actor.System, claims placement.Claims) {
	t.Helper()
	net, reg := memnet.New(memnet.Config{Seed: 1}), newLeases()
	claims = memory.New()
	node := func(name string) *actor.System {
		return newSystem(t, actor.Config{Name: name, Registry: reg.view(), Claims: claims, Kinds: []*actor.Kind{kind}, Logger: quiet,
			Transports: []transport.Transport{net.Transport("direct", true)}})
	}
	a, b = node("a"), node("b")
	synctest.Wait()
	return a, b, claims
}

// heldByOther returns an id that begins with prefix, of which node a takes itself for the node, and gives it to b.
func heldByOther(t *testing.T, claims placement.Claims, b *actor.System, prefix string) string {
	t.Helper()
	key, hosts := placement.Key{Kind: "notes", ID: prefix}, placement.NewHosts("", []placement.Host{{Node: "a"}, {Node: "b"}})
	for at := ""; at != "a"; at, _ = hosts.Choose(key) {
		key.ID += "x"
	}
	if _, err := claims.Create(t.Context(), key, placement.Claim{Node: "b", Epoch: b.Epoch(), ID: "x"}); err != nil {
		t.Fatal(err)
	}
	return key.ID
}

// A bounded number of messages waits to be sent on; one more is refused, and nothing is lost.
func TestVirtualManySentOn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var got []int
		kind := actor.Define("notes", func() *counter { return new(counter) }, actor.Answer((*counter).where),
			actor.Handle(func(_ *counter, _ *actor.Context, m noted) error { got = append(got, m.N); return nil })).With(actor.Virtual())
		net, claims, reg := memnet.New(memnet.Config{Seed: 1}), memory.New(), newLeases()
		node := func(name string) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: reg.view(), Claims: claims, Kinds: []*actor.Kind{kind}, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true)}})
		}
		a, b := node("a"), node("b")
		synctest.Wait()
		key, hosts := placement.Key{Kind: "notes"}, placement.NewHosts("", []placement.Host{{Node: "a"}, {Node: "b"}})
		for at := ""; at != "a"; at, _ = hosts.Choose(key) {
			key.ID += "x"
		}
		if _, err := claims.Create(t.Context(), key, placement.Claim{Node: "b", Epoch: b.Epoch(), ID: "x"}); err != nil {
			t.Fatal(err)
		}
		net.Partition("direct", "a", "b")
		const most = 4 * 1024
		ref := a.Virtual(kind, key.ID)
		for i := range most {
			if err := actor.Tell(t.Context(), ref, noted{i}); err != nil {
				t.Fatal(i, err)
			}
			if i == 0 {
				synctest.Wait() // until it is to be sent on
			}
		}
		if err := actor.Tell(t.Context(), ref, noted{most}); rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("one more: %v", err)
		}
		net.Heal("direct", "a", "b")
		time.Sleep(time.Minute)
		synctest.Wait() // the race detector takes it for a happens-before, and no sleep
		if len(got) != most || !slices.IsSorted(got) {
			t.Errorf("got %d messages", len(got))
		}
		if err := actor.Tell(t.Context(), ref, noted{most}); err != nil {
			t.Error(err)
		}
	})
}
