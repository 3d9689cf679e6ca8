package rpc

import (
	"testing"
	"testing/synctest"
	"time"
)

func adaptive(c *Config) { c.Roads = Adaptive }

// linksOn counts a node's links on a road.
func (s *site) linksOn(road string) (n int) {
	for _, c := range s.liveConns() {
		if c.link.Road() == road {
			n++
		}
	}
	return n
}

// Adaptive starts on the bus, opens a direct link when the traffic earns it, and closes
// it when it is idle: nothing is lost, nothing runs twice.
func TestAdaptive(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads, adaptive), r.start("b", "b1", twoRoads, adaptive)
		b.handle(func(_ *Inbound, body string) string { return body })
		a.echoes("b", "x")
		time.Sleep(time.Minute)
		if a.linksOn("direct") != 0 || a.linksOn("bus") != 1 {
			t.Fatalf("%d direct links for one request", a.linksOn("direct"))
		}
		for range 10 {
			for range earnedBy {
				a.echoes("b", "y")
			}
			time.Sleep(DefaultHeartbeat)
		}
		if a.linksOn("direct") != 1 || a.linksOn("bus") != 1 {
			t.Fatalf("%d direct links for much traffic", a.linksOn("direct"))
		}
		before := b.Stats().Served
		for range idleAfter * 3 { // a little traffic, from the other side, keeps it
			a.handle(func(_ *Inbound, body string) string { return body })
			b.echoes("a", "back")
			time.Sleep(DefaultHeartbeat)
		}
		if a.linksOn("direct") != 1 || b.Stats().Served != before {
			t.Fatal("the direct link was closed although it was used")
		}
		time.Sleep(2 * idleAfter * DefaultHeartbeat)
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

// Where the bus leads nowhere, or there is none, Adaptive takes the direct road at once.
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
