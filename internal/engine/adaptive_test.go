package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// With Adaptive, a direct link is opened after this many messages within a heartbeat, and
// closed after this many heartbeats without any.
const (
	busy  = 200
	quiet = 15
)

func adaptive(c *Config) { c.Roads = rpc.Adaptive }

// linksOn counts a node's links on a road.
func (s *site) linksOn(road string) (n int) {
	for _, c := range s.liveConns() {
		if c.Road() == road {
			n++
		}
	}
	return n
}

// Adaptive starts on the bus, opens a direct link when there is enough traffic, and closes it
// when it is idle. Meanwhile nothing is lost, and nothing runs twice.
func TestAdaptive(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads, adaptive), r.start("b", "b1", twoRoads, adaptive)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		a.echoes("b", "x")
		time.Sleep(time.Minute)
		if a.linksOn("direct") != 0 || a.linksOn("bus") != 1 {
			t.Fatalf("%d direct links for one request", a.linksOn("direct"))
		}
		for range 10 {
			for range busy {
				a.echoes("b", "y")
			}
			time.Sleep(rpc.DefaultHeartbeat)
		}
		if a.linksOn("direct") != 1 || a.linksOn("bus") != 1 {
			t.Fatalf("%d direct links for much traffic", a.linksOn("direct"))
		}
		before := b.Stats().Served
		for range quiet * 3 { // a little traffic, also from the other side, keeps the link open
			a.handle(func(_ *server.Inbound, body string) string { return body })
			b.echoes("a", "back")
			time.Sleep(rpc.DefaultHeartbeat)
		}
		if a.linksOn("direct") != 1 || b.Stats().Served != before {
			t.Fatal("the direct link was closed although it was used")
		}
		time.Sleep(2 * quiet * rpc.DefaultHeartbeat)
		synctest.Wait()
		if a.linksOn("direct") != 0 || a.linksOn("bus") != 1 {
			t.Errorf("%d direct links after a while without traffic", a.linksOn("direct"))
		}
		a.echoes("b", "z")
		if b.ran("z") != 1 || a.linksOn("direct") != 0 {
			t.Errorf("ran %d times, %d direct links", b.ran("z"), a.linksOn("direct"))
		}
	})
}

// If the peer cannot be reached over the bus, or there is no bus, Adaptive uses the direct road
// at once.
func TestAdaptiveWithoutBus(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net.Partition("bus", "", "")
		a, _ := r.start("a", "a1", twoRoads, adaptive), r.start("b", "b1", twoRoads, adaptive)
		a.echoes("b", "x")
	})
	withRig(t, func(t *testing.T, r *rig) {
		a, _ := r.start("a", "a1", direct, adaptive), r.start("b", "b1", direct, adaptive)
		a.echoes("b", "x")
	})
}
