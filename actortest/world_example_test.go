package actortest_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
)

// Safe is an actor that must not lose what was put into it, whatever happens to its node.
type Safe struct {
	disk *actortest.Disk
	sum  int
}

type PutIn struct {
	actor.Returns[int]
	Amount int
}

func (s *Safe) PutIn(_ *actor.Context, m PutIn) (int, error) {
	if err := s.disk.Write("sum", []byte(strconv.Itoa(s.sum+m.Amount))); err != nil {
		return 0, err
	}
	s.sum += m.Amount
	return s.sum, nil
}

func safeKind(d *actortest.Disk) *actor.Kind {
	return actor.Define("bank.safe", func() *Safe {
		sum, _ := strconv.Atoi(string(d.Read("sum"))) // without this, the simulation fails
		return &Safe{d, sum}
	}, actor.Answer((*Safe).PutIn))
}

// Nodes are killed, replaced and cut off while four callers put something into a safe. No amount
// of which a caller knows that it is there may be lost, and none may be there twice.
func ExampleSimulate() {
	inTest(func(t *testing.T) { // func TestSafe(t *testing.T) {
		actortest.Simulate(t, 5, func(w *actortest.World) {
			var surely, perhaps atomic.Int64
			w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
				_, err := n.Spawn("safe", safeKind(n.Disk()))
				return err
			}})
			w.Callers(4, func(c *actortest.Caller) {
				amount := 1 + c.Rand().IntN(9)
				_, err := actortest.Call(c, "safe@n0", PutIn{Amount: amount})
				if err == nil {
					surely.Add(int64(amount))
				}
				if rpc.Ran(err) != rpc.NotRun {
					perhaps.Add(int64(amount))
				}
			})
			w.Invariant("nothing is lost, and nothing is there twice", func() error {
				sum, _ := strconv.ParseInt(string(w.Node(0).Disk().Read("sum")), 10, 64)
				if sum < surely.Load() || sum > perhaps.Load() {
					return fmt.Errorf("the safe has %d; want %d to %d", sum, surely.Load(), perhaps.Load())
				}
				return nil
			})
		})
		fmt.Println("all seeds have passed")
	})
	// Output: all seeds have passed
}

// Callers may do anything; the judges see what they send by Call and Tell.
func ExampleWorld_Callers() {
	inTest(func(t *testing.T) {
		actortest.Simulate(t, 2, func(w *actortest.World) {
			w.Cluster(actortest.ClusterConfig{Nodes: 3, Setup: func(n *actortest.Node) error {
				_, err := n.Spawn("safe", safeKind(n.Disk()), actor.Expose("safes"))
				return err
			}})
			most := w.Rand("amounts").IntN(100) + 1
			w.Callers(2, func(c *actortest.Caller) {
				if c.Rand().IntN(2) == 0 {
					_ = actortest.Tell(c, "safe@"+c.Pick().Name(), PutIn{Amount: most})
					return
				}
				_, err := actortest.Call(c, "safes@*", PutIn{Amount: 1}, rpc.Key(c.Node().Name()))
				w.Logf("a call from %s: %v", c.Node().Name(), err)
			})
		})
		fmt.Println("all seeds have passed")
	})
	// Output: all seeds have passed
}

// Something that must hold all the time is checked where it can be seen.
func ExampleWorld_Errorf() {
	inTest(func(t *testing.T) {
		actortest.Simulate(t, 2, func(w *actortest.World) {
			w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
				_, err := n.Spawn("safe", safeKind(n.Disk()))
				return err
			}})
			w.Callers(1, func(c *actortest.Caller) {
				if sum, err := actortest.Call(c, "safe@n0", PutIn{Amount: 1}); err == nil && sum < 1 {
					w.Errorf("seed %d: the safe has %d", w.Seed(), sum)
				}
			})
			w.Invariant("all nodes are up", func() error {
				for _, n := range w.Nodes() {
					if !n.Up() {
						return fmt.Errorf("%s is down", n.Name())
					}
				}
				return nil
			})
		})
		fmt.Println("all seeds have passed")
	})
	// Output: all seeds have passed
}

// safes has callers use a safe on each of three nodes.
func safes(step func(c *actortest.Caller)) {
	inTest(func(t *testing.T) {
		actortest.Simulate(t, 2, func(w *actortest.World) {
			w.Cluster(actortest.ClusterConfig{Nodes: 3, Setup: func(n *actortest.Node) error {
				_, err := n.Spawn("safe", safeKind(n.Disk()))
				return err
			}})
			w.Callers(2, step)
		})
		fmt.Println("all seeds have passed")
	})
}

// The judges check that it runs once, and that its error says the truth.
func ExampleCall() {
	safes(func(c *actortest.Caller) {
		_, _ = actortest.Call(c, "safe@n2", PutIn{Amount: 5})
	})
	// Output: all seeds have passed
}

// A caller need not wait for what it asks.
func ExampleAsk() {
	safes(func(c *actortest.Caller) {
		first := actortest.Ask(c, "safe@n1", PutIn{Amount: 5})
		second := actortest.Ask(c, "safe@n2", PutIn{Amount: 5})
		<-first.Done()
		<-second.Done()
	})
	// Output: all seeds have passed
}

// The judges check that one-way messages of one caller are handled in order.
func ExampleTell() {
	safes(func(c *actortest.Caller) {
		for i := range 3 {
			_ = actortest.Tell(c, "safe@n2", PutIn{Amount: i})
		}
	})
	// Output: all seeds have passed
}
