package actortest_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Count adds to a counter on disk, and is answered with what that and the memory have.
type Count struct{ actor.Returns[Counted] }

type Counted struct{ OnDisk, InMemory int }

type counter struct {
	disk *actortest.Disk
	n    int
}

func (s *counter) count(ctx *actor.Context, _ Count) (Counted, error) {
	s.n++
	kept, _ := strconv.Atoi(string(s.disk.Read("n")))
	kept++
	return Counted{kept, s.n}, s.disk.Write("n", []byte(strconv.Itoa(kept)))
}

func counterKind(d *actortest.Disk) *actor.Kind {
	return actor.Define("test.counter", func() *counter { return &counter{disk: d} }, actor.Answer((*counter).count))
}

// counters is a Setup with one counter.
func counters(n *actortest.Node) error {
	_, err := n.Spawn("counter", counterKind(n.Disk()))
	return err
}

func clustered(t *testing.T, cfg actortest.ClusterConfig, test func(t *testing.T, c *actortest.Cluster)) {
	actortest.Bubble(t, func(t *testing.T) { test(t, actortest.NewCluster(t, cfg)) })
}

// counts asks a counter and checks the answer.
func counts(t *testing.T, from *actortest.Node, want Counted) {
	t.Helper()
	if got, err := actor.Call(t.Context(), from.Ref("counter@n1"), Count{}); got != want || err != nil {
		t.Errorf("counted %v, %v; want %v", got, err, want)
	}
}

// A node that is killed loses its memory and keeps its disk; its name is free for the next
// start. One that is stopped does the same, with a goodbye.
func TestKillStopStart(t *testing.T) {
	clustered(t, actortest.ClusterConfig{Setup: counters}, func(t *testing.T, c *actortest.Cluster) {
		a, b := c.Node(0), c.Node(1)
		counts(t, a, Counted{1, 1})
		counts(t, a, Counted{2, 2})
		old := b.Disk()
		b.Kill()
		if b.Up() {
			t.Error("it is up after Kill")
		}
		if err := old.Write("n", []byte("1000")); !errors.Is(err, actortest.ErrDiskGone) {
			t.Errorf("the dead node writes: %v", err)
		}
		b.Start()
		counts(t, a, Counted{3, 1})
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		b.Start()
		counts(t, a, Counted{4, 1})
	})
}

// A killed node is in the registry until its lease is over: a call waits for it, and when it is
// known to be gone, the error says that nothing ran.
func TestKilledNodeIsForgotten(t *testing.T) {
	clustered(t, actortest.ClusterConfig{Nodes: 3, Setup: counters}, func(t *testing.T, c *actortest.Cluster) {
		counts(t, c.Node(0), Counted{1, 1})
		c.Node(1).Kill()
		time.Sleep(actortest.KilledLease + time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := actor.Call(ctx, c.Node(0).Ref("counter@n1"), Count{}); rpc.Ran(err) != rpc.NotRun {
			t.Errorf("the caller gets %v", err)
		}
	})
}

// The reply to a durable request outlives the node that gave it.
func TestStoreOutlivesTheNode(t *testing.T) {
	kind := actor.Define("test.durable", func() *counter { return new(counter) },
		actor.Answer(func(s *counter, _ *actor.Context, _ Count) (Counted, error) { s.n++; return Counted{0, s.n}, nil })).With(actor.Durable())
	clustered(t, actortest.ClusterConfig{Kinds: []*actor.Kind{kind}, Store: true, Setup: func(n *actortest.Node) error {
		_, err := n.Spawn("counter", kind)
		return err
	}}, func(t *testing.T, c *actortest.Cluster) {
		call := func() (Counted, error) {
			return actor.Call(t.Context(), c.Node(0).Ref("counter@n1"), Count{}, rpc.Key("once"))
		}
		for range 2 {
			if got, err := call(); got.InMemory != 1 || err != nil {
				t.Errorf("counted %v, %v", got, err)
			}
			c.Node(1).Kill()
			c.Node(1).Start()
		}
	})
}

// A cut, a delay and a loss of one road or both, in both directions or one.
func TestRoadFaults(t *testing.T) {
	for name, c := range map[string]struct {
		roads  []actortest.Road
		faults func(c *actortest.Cluster)
		least  time.Duration // that a call takes
		lost   bool          // it cannot end before the faults do
	}{
		"the direct road is cut":   {nil, func(c *actortest.Cluster) { c.Cut(actortest.Direct, c.Node(0), c.Node(1)) }, 0, false},
		"the bus is cut":           {nil, func(c *actortest.Cluster) { c.Cut(actortest.Bus, c.Node(0), c.Node(1)) }, 0, false},
		"both are cut":             {nil, func(c *actortest.Cluster) { c.Cut(actortest.Both, c.Node(0), c.Node(1)) }, 0, true},
		"replies are cut":          {nil, func(c *actortest.Cluster) { c.CutOneWay(actortest.Both, c.Node(1), nil) }, 0, true},
		"everything is slow":       {nil, func(c *actortest.Cluster) { c.Faults(actortest.Both, nil, nil, memnet.Faults{MinDelay: time.Second}) }, 2 * time.Second, false},
		"the bus loses half of it": {[]actortest.Road{actortest.Bus}, func(c *actortest.Cluster) { c.Faults(actortest.Bus, nil, nil, memnet.Faults{Drop: 0.5}) }, 0, false},
		"links are reset": {nil, func(c *actortest.Cluster) {
			if c.Reset(actortest.Both, c.Node(0), nil) == 0 {
				panic("there is no link")
			}
		}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			clustered(t, actortest.ClusterConfig{Roads: c.roads, Setup: counters, Seed: 7}, func(t *testing.T, cl *actortest.Cluster) {
				counts(t, cl.Node(0), Counted{1, 1})
				c.faults(cl)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				call := actor.Ask(ctx, cl.Node(0).Ref("counter@n1"), Count{})
				if c.lost {
					time.Sleep(5 * time.Second)
					select {
					case <-call.Done():
						t.Error("the call has ended while nothing passes")
					default:
					}
					cl.Heal(actortest.Both, nil, nil)
				}
				if got, err := call.Await(ctx); got != (Counted{2, 2}) || err != nil {
					t.Errorf("counted %v, %v", got, err)
				}
				if took := time.Since(began); took < c.least {
					t.Errorf("the call took %v, want %v at least", took, c.least)
				}
			})
		})
	}
}

// What a test does wrong with a cluster ends it and says what.
func TestClusterMisuse(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(c *actortest.Cluster)
		says string
	}{
		"killed twice":         {func(c *actortest.Cluster) { c.Node(1).Kill(); c.Node(1).Kill() }, "node n1 is killed, and it is down: it is killed"},
		"stopped after a kill": {func(c *actortest.Cluster) { c.Node(1).Kill(); _ = c.Node(1).Stop() }, "node n1 is stopped, and it is down: it is killed"},
		"killed after a stop":  {func(c *actortest.Cluster) { _ = c.Node(1).Stop(); c.Node(1).Kill() }, "node n1 is killed, and it is down: it is stopped"},
		"started twice":        {func(c *actortest.Cluster) { c.Node(1).Start() }, "node n1 is started, and it is up"},
		"used when down":       {func(c *actortest.Cluster) { c.Node(1).Kill(); c.Node(1).Ref("counter") }, "node n1 has no system: it is killed"},
		"a disk when down":     {func(c *actortest.Cluster) { c.Node(1).Kill(); c.Node(1).Disk() }, "node n1 has no system: it is killed"},
		"no such node":         {func(c *actortest.Cluster) { c.Node(2) }, "there is no node 2: the cluster has 2"},
	} {
		t.Run(name, func(t *testing.T) {
			actortest.Bubble(t, func(t *testing.T) {
				f := &fake{TB: t}
				cluster := actortest.NewCluster(f, actortest.ClusterConfig{})
				f.try(func() { c.do(cluster) })
				f.wants(t, true, c.says)
			})
		})
	}
	for says, cfg := range map[string]actortest.ClusterConfig{
		"a cluster of -1 nodes":                 {Nodes: -1},
		`a cluster on a road "tcp"`:             {Roads: []actortest.Road{"tcp"}},
		"starting node n0: actor: Config.Setup": {Setup: func(*actortest.Node) error { return errors.New("no actor") }},
	} {
		t.Run(says, func(t *testing.T) {
			actortest.Bubble(t, func(t *testing.T) {
				f := &fake{TB: t}
				f.try(func() { actortest.NewCluster(f, cfg) })
				if len(f.said) == 0 || !f.fatal {
					t.Fatalf("the test is told %q", f.said)
				}
				f.said = f.said[:1]
				f.wants(t, true, says[:20])
			})
		})
	}
	f := &fake{TB: t}
	f.try(func() { actortest.NewCluster(f, actortest.ClusterConfig{}) })
	f.wants(t, true, "in fake time: run the test in actortest.Bubble")
}

// A cluster that is over says so.
func TestClusterAfterItsEnd(t *testing.T) {
	var c *actortest.Cluster
	f := &fake{}
	actortest.Bubble(t, func(t *testing.T) {
		f.TB = t
		c = actortest.NewCluster(f, actortest.ClusterConfig{})
	})
	for what, do := range map[string]func(){
		"node n0 is killed":  c.Node(0).Kill,
		"its network is use": func() { c.Cut(actortest.Both, nil, nil) },
	} {
		f.said, f.fatal = nil, false
		f.try(do)
		f.wants(t, true, what, "after the end of the cluster")
	}
}
