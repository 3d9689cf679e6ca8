package actortest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// cluster runs a test with three nodes. Each has a counter, which answers with what it has on
// disk and in memory.
func cluster(test func(t *testing.T, c *actortest.Cluster)) {
	inTest(func(t *testing.T) { // func TestCounter(t *testing.T) {
		actortest.Bubble(t, func(t *testing.T) {
			test(t, actortest.NewCluster(t, actortest.ClusterConfig{Nodes: 3, Setup: func(n *actortest.Node) error {
				_, err := n.Spawn("counter", counterKind(n.Disk()))
				return err
			}}))
		})
	})
}

func ExampleNewCluster() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		a, b := c.Node(0), c.Node(1)
		c.Cut(actortest.Direct, a, b) // so it goes over the bus
		fmt.Println(actor.Call(t.Context(), a.Ref("counter@n1"), Count{}))
		b.Kill()
		b.Start()
		fmt.Println(actor.Call(t.Context(), a.Ref("counter@n1"), Count{}))
	})
	// Output:
	// {1 1} <nil>
	// {2 1} <nil>
}

func ExampleCluster_Cut() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		a, b := c.Node(0), c.Node(1)
		c.Cut(actortest.Both, a, b)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := actor.Call(ctx, a.Ref("counter@n1"), Count{})
		fmt.Println(rpc.Ran(err))
		c.Heal(actortest.Both, a, b)
		_, err = actor.Call(t.Context(), a.Ref("counter@n1"), Count{})
		fmt.Println(err)
	})
	// Output:
	// not run
	// <nil>
}

// Requests arrive, and their replies are lost: the caller cannot know that its call has run.
func ExampleCluster_CutOneWay() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		a, b := c.Node(0), c.Node(1)
		counted, _ := actor.Call(t.Context(), a.Ref("counter@n1"), Count{})
		fmt.Println(counted)
		c.CutOneWay(actortest.Both, b, a)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := actor.Call(ctx, a.Ref("counter@n1"), Count{})
		fmt.Println(rpc.Ran(err))
		c.Heal(actortest.Both, nil, nil)
		counted, _ = actor.Call(t.Context(), a.Ref("counter@n1"), Count{})
		fmt.Println(counted)
	})
	// Output:
	// {1 1}
	// unknown
	// {3 3}
}

func ExampleCluster_Faults() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		c.Faults(actortest.Both, c.Node(0), c.Node(1), memnet.Faults{MinDelay: 3 * time.Second})
		c.Faults(actortest.Bus, c.Node(1), nil, memnet.Faults{Drop: 0.2, Duplicate: 0.1})
		began := time.Now()
		_, err := actor.Call(t.Context(), c.Node(0).Ref("counter@n1"), Count{})
		fmt.Println(err, time.Since(began) >= 3*time.Second)
	})
	// Output: <nil> true
}

// Links that end lose no request.
func ExampleCluster_Reset() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		for range 3 {
			fmt.Println(actor.Call(t.Context(), c.Node(0).Ref("counter@n1"), Count{}))
			c.Reset(actortest.Both, c.Node(0), c.Node(1))
		}
	})
	// Output:
	// {1 1} <nil>
	// {2 2} <nil>
	// {3 3} <nil>
}

func ExampleNode_Kill() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		b := c.Node(1)
		b.Kill()
		fmt.Println(b.Name(), "is up:", b.Up())
		b.Start()
		fmt.Println(b.Name(), "is up:", b.Up())
	})
	// Output:
	// n1 is up: false
	// n1 is up: true
}

// A stopped node says goodbye: those that call it wait for its next start.
func ExampleNode_Stop() {
	cluster(func(t *testing.T, c *actortest.Cluster) {
		a, b := c.Node(0), c.Node(1)
		fmt.Println(b.Stop())
		call := actor.Ask(t.Context(), a.Ref("counter@n1"), Count{})
		time.Sleep(5 * time.Second)
		b.Start()
		fmt.Println(call.Await(t.Context()))
	})
	// Output:
	// <nil>
	// {1 1} <nil>
}

func ExampleNode_Disk() {
	cluster(func(_ *testing.T, c *actortest.Cluster) {
		n := c.Nodes()[0]
		fmt.Println(n.Disk().Write("greeting", []byte("hello")))
		dead := n.Disk()
		n.Kill()
		fmt.Println(dead.Write("greeting", []byte("boo")))
		n.Start()
		fmt.Println(string(n.Disk().Read("greeting")), "from", n.System().Name())
	})
	// Output:
	// <nil>
	// actortest: this start of the node has ended, and cannot write any more
	// hello from n0
}
