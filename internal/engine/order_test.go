// Messages keep their order when they change from one road to another, and a one-way message is
// delivered at most once.

package engine

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// One-way messages are sent on the bus, then on the direct road when it opens, on the bus again
// when it dies, and so on. They arrive in order, and none arrives twice. As long as no link
// dies, none is lost.
func TestTellsKeepOrderAcrossRoads(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net.SetFaults("bus", "", "", memnet.Faults{MinDelay: 20 * time.Millisecond, MaxDelay: 40 * time.Millisecond})
		r.net.Partition("direct", "", "")
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		var want []string
		tell := func(n int) {
			for range n {
				body := fmt.Sprint(len(want))
				if err := a.tell("b", body); err != nil {
					t.Fatalf("tell %s: %v", body, err)
				}
				want = append(want, body)
				time.Sleep(time.Millisecond)
			}
		}
		tell(100)
		r.net.Heal("direct", "", "")
		for a.saw(rpc.RoadChanged) < 2 {
			tell(10)
		}
		tell(100)
		time.Sleep(time.Second)
		if got := b.received(); !slices.Equal(got, want) {
			t.Errorf("bus to direct: %d sent, %d arrived:\n%v", len(want), len(got), got)
		}
		if s := b.Stats(); s.TellsDropped != 0 || s.TellsMissed != 0 {
			t.Errorf("stats: %+v", s)
		}
		for range 5 {
			r.net.Reset("direct", "a", "b")
			tell(300)
		}
		time.Sleep(time.Second)
		last := -1
		for _, body := range b.received() {
			var n int
			fmt.Sscan(body, &n)
			if n <= last {
				t.Fatalf("%d came after %d", n, last)
			}
			last = n
		}
		if got, s := len(b.received()), b.Stats(); got < len(want)-20 || uint64(len(want)-got) > s.TellsMissed {
			t.Errorf("%d of %d arrived, %d counted as missed", got, len(want), s.TellsMissed)
		}
	})
}

func TestTellsAreNotDuplicated(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		r.setTap(func(hop) fate { return twice })
		for _, body := range numbers(100) {
			if err := a.tell("b", body); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := b.received(); !slices.Equal(got, numbers(100)) {
			t.Errorf("arrived: %v", got)
		}
		if s := b.Stats(); s.TellsServed != 100 || s.TellsDropped != 100 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// Requests keep the order of their first attempts when their link dies.
func TestRequestsKeepOrderAcrossRoads(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		a.echoes("b", "warm up")
		synctest.Wait()
		var order []string
		b.serve = nil
		b.instead = inOrder{func(in *server.Inbound) {
			order = append(order, string(in.TakeBody()))
			in.Start()
			in.Reply(1, 1, nil)
		}}
		n := 0
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbRequest && h.road == "direct" {
				if n++; n == 10 {
					return cut
				}
			}
			return pass
		})
		var all []*rpc.Future[string]
		for _, body := range numbers(20) {
			f, _ := a.send(request("b", body, patience))
			all = append(all, f)
		}
		for _, f := range all {
			if _, err := f.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(order, numbers(20)) {
			t.Errorf("order: %v", order)
		}
	})
}

// Before a client changes to a better road it waits until everything on the slow one has
// arrived, however long that takes, and even if the first ping for this is lost.
func TestFenceOnASlowBus(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex // guards order
		var order []string
		a := r.start("a", "a1", twoRoads)
		r.start("b", "b1", twoRoads, func(c *Config) {
			c.Handler = inOrder{func(in *server.Inbound) {
				in.Start()
				body := in.TakeBody()
				mu.Lock()
				order = append(order, string(body))
				mu.Unlock()
				in.Reply(1, 1, body)
			}}
		})
		a.echoes("b", "warm up")
		time.Sleep(time.Second)
		r.net.SetFaults("bus", "", "", memnet.Faults{MinDelay: 2600 * time.Millisecond, MaxDelay: 2600 * time.Millisecond})
		r.net.Reset("direct", "a", "b") // the bus takes over, and TCP comes back at once
		var all []*rpc.Future[string]
		for _, body := range numbers(50) {
			f, _ := a.send(request("b", body, patience))
			all = append(all, f)
			time.Sleep(100 * time.Millisecond)
		}
		for _, f := range all {
			if _, err := f.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if want := append([]string{"warm up"}, numbers(50)...); !slices.Equal(order, want) {
			t.Errorf("order: %v", order)
		}
	})
}

// A one-way message of a session that its client has left does not arrive after those of the
// next session.
func TestTellOfALeftSession(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		c := r.dialRaw("c", "bus", "b")
		left := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		next := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 2})).Grant
		tell := func(grant transport.Grant, seq uint64, body string) {
			c.say(t, transport.Envelope{Verb: transport.VerbTell, Grant: grant, Seq: seq, Target: "t", Body: []byte(body)})
		}
		tell(left, 1, "one")
		tell(next, 1, "two")
		tell(left, 2, "late")
		tell(next, 2, "three")
		if got := b.received(); !slices.Equal(got, []string{"one", "two", "three"}) || b.Stats().TellsDropped != 1 {
			t.Errorf("arrived: %v, %d dropped", got, b.Stats().TellsDropped)
		}
	})
}
