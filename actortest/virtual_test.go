package actortest_test

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
)

// whereabouts is answered with the node of the actor.
type whereabouts struct{ actor.Returns[string] }

func (whereabouts) WireName() string { return "actortest.whereabouts" }

// The nodes of a cluster host virtual actors together: when the holder of one was killed, another node has it.
func TestClusterOfVirtualActors(t *testing.T) {
	kind := actor.Define("placed", func() struct{} { return struct{}{} },
		actor.Answer(func(_ struct{}, ctx *actor.Context, _ whereabouts) (string, error) { return ctx.System().Name(), nil })).With(actor.Virtual())
	actortest.Bubble(t, func(t *testing.T) {
		c := actortest.NewCluster(t, actortest.ClusterConfig{Nodes: 3, Kinds: []*actor.Kind{kind}})
		at := map[string]bool{}
		for _, from := range c.Nodes() {
			node, err := actor.Call(t.Context(), from.System().Virtual(kind, "x"), whereabouts{})
			if err != nil {
				t.Fatal(err)
			}
			at[node] = true
		}
		if len(at) != 1 {
			t.Fatalf("it is at %v", at)
		}
		var others []*actortest.Node
		for _, n := range c.Nodes() {
			if at[n.Name()] {
				n.Kill()
			} else {
				others = append(others, n)
			}
		}
		time.Sleep(actortest.KilledLease + time.Second)
		for _, from := range others {
			node, err := actor.Call(t.Context(), from.System().Virtual(kind, "x"), whereabouts{})
			if err != nil || at[node] {
				t.Errorf("from %s: %s, %v", from.Name(), node, err)
			}
		}
	})
}
