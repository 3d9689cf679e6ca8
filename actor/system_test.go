package actor_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

func TestConfigErrors(t *testing.T) {
	road := memnet.New(memnet.Config{})
	_, err := actor.NewSystem(actor.Config{Name: "a b", Cluster: "c.d", Roads: 9, Timeout: -1, SendWait: -1, AckWait: -1,
		Transports: []transport.Transport{nil, road.Transport("x", true), road.Transport("x", true)},
		Kinds:      []*actor.Kind{nil, TreeKind, TreeKind, actor.KindNamed("k")}})
	for _, want := range []string{"Config.Name", "Config.Cluster", "without Config.Registry", "Transports[0] is nil", `two roads named "x"`, "Config.Roads", "Timeout", "SendWait",
		"AckWait", "Kinds[0] is nil", `two kinds named "test.tree"`, `KindNamed("k")`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := actor.NewSystem(actor.Config{Registry: static.New()}); err == nil {
		t.Error("a registry without a road")
	}
}

// Two systems of one process share no names.
func TestTwoSystems(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		here, there := spawn(t, a, "x", AccountKind), spawn(t, b, "x", AccountKind)
		if here == there || here.Equal(there) {
			t.Error("refs of two systems are one")
		}
		for ref, n := range map[actor.Ref]int64{here: 1, there: 2, a.Ref("x@b"): 4, b.Ref("x@a"): 8} {
			if err := actor.Tell(t.Context(), ref, Deposit{n}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for ref, want := range map[actor.Ref]int64{here: 9, a.Ref("x@b"): 6} {
			if n, err := actor.Call(t.Context(), ref, Balance{}); n != want || err != nil {
				t.Errorf("%v: %d, %v; want %d", ref, n, err, want)
			}
		}
	})
}
