package observer

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/queue"
)

// course is pictures one after another, a second apart.
type course struct {
	now  *picture
	at   time.Time
	t    *testing.T
	last []string // texts of the alerts
}

func newCourse(t *testing.T) *course {
	return &course{now: &picture{}, at: time.Unix(1_800_000_000, 0), t: t}
}

// see makes the next picture, after d.
func (c *course) see(d time.Duration, answers ...answer) *picture {
	c.at = c.at.Add(d)
	c.now = c.now.next(c.at, answers)
	c.last = nil
	for _, a := range c.now.Alerts {
		c.last = append(c.last, a.Text)
	}
	return c.now
}

func (c *course) alerts(want ...string) {
	c.t.Helper()
	if len(c.last) != len(want) {
		c.t.Errorf("alerts %q, want %q", c.last, want)
		return
	}
	for i := range want {
		if !strings.Contains(c.last[i], want[i]) {
			c.t.Errorf("alerts %q, want %q", c.last, want)
		}
	}
}

// healthy is the answer of a node that has both roads to its peers.
func healthy(node string, peers ...string) answer {
	a := answer{node: node}
	a.info.Name, a.info.Epoch = node, "e1"
	for _, p := range peers {
		a.info.Peers = append(a.info.Peers, inspect.Peer{Node: p, Up: true, Road: "tcp", Links: []inspect.Link{{Road: "tcp", Current: true, Open: true, RTT: time.Millisecond}, {Road: "nats", Open: true}}})
	}
	return a
}

// Nothing is wrong with a cluster that is well, from the first picture on.
func TestNoAlerts(t *testing.T) {
	c := newCourse(t)
	for range 3 {
		c.see(time.Second, healthy("a", "b"), healthy("b", "a"))
		c.alerts()
	}
	if len(c.now.Edges) != 2 || !reflect.DeepEqual(c.now.Edges[0].Roads, []string{"nats", "tcp"}) {
		t.Errorf("%+v", c.now.Edges)
	}
}

// A node that does not answer is an alert, since the first time, also when the cluster has forgotten it, for ten minutes.
func TestAway(t *testing.T) {
	c := newCourse(t)
	c.see(time.Second, healthy("a"), healthy("b"))
	c.see(time.Second, healthy("a"), answer{node: "b", err: errors.New("silent")})
	since := c.at
	c.alerts("node b does not answer: silent")
	c.see(5*time.Minute, healthy("a"))
	c.alerts("node b does not answer: it has left")
	if !c.now.Alerts[0].Since.Equal(since) || !c.now.Alerts[0].Severe || c.now.Nodes[1].Away == "" {
		t.Errorf("%+v", c.now)
	}
	c.see(5*time.Minute, healthy("a"))
	c.alerts()
	c.see(time.Second, healthy("a"), healthy("b"))
	c.alerts()
}

// That a road is gone which was there is an alert; that there is none is a severe one if requests wait, and nothing if nobody needs it.
func TestRoads(t *testing.T) {
	c := newCourse(t)
	c.see(time.Second, healthy("a", "b"))
	one := healthy("a", "b")
	one.info.Peers[0].Links = one.info.Peers[0].Links[1:]
	c.see(time.Second, one)
	c.alerts("a reaches b over nats only: tcp is gone")
	none := healthy("a", "b")
	none.info.Peers[0].Links, none.info.Peers[0].Road, none.info.Peers[0].Outstanding = nil, "", 3
	c.see(time.Second, none)
	c.alerts("a cannot reach b on any road, and 3 requests wait")
	if !c.now.Alerts[0].Severe {
		t.Error("it is not severe")
	}
	c.see(time.Second, healthy("a", "b"))
	c.alerts()
	none.info.Peers[0].Outstanding = 0
	c.see(time.Second, none)
	c.alerts()
	c.see(time.Second, one) // it was not there when it was last needed
	c.alerts()
}

// Queues, actors that take long, ejected instances and new dead letters are reasons to look.
func TestReasons(t *testing.T) {
	c := newCourse(t)
	a := healthy("a")
	a.info.Queues = []admin.Queue{{Name: "q", Stats: queue.Stats{Dead: 2, Paused: true, Oldest: oldItems + 1}}, {Name: "fine", Stats: queue.Stats{Oldest: oldItems}}, {Name: "deaf", Error: "no answer"}}
	a.info.Busy = []inspect.Actor{{Name: "x", For: busyLong + 1, Waiting: 1}, {Name: "idle", For: time.Hour}, {Name: "quick", For: busyLong, Waiting: 9}}
	a.info.Services = []inspect.Service{{Name: "mail", Instances: []inspect.Instance{{Address: "m@b", Ejected: true, Why: "silent"}, {Address: "m@c"}}}}
	c.see(time.Second, a)
	c.alerts("queue deaf@a does not answer", "queue q@a has 2 dead items", "queue q@a is paused", "queue q@a: the oldest item", "actor x@a has handled a message", "m@b is left out by a, because it is silent")
	b := healthy("a")
	b.info.Stats.DeadLetters, b.info.Stats.LettersKept = 5, 5
	c.see(time.Second, b)
	c.alerts("keeps 5 dead letters")
	c.see(newLetter-time.Second, b)
	c.alerts("keeps 5 dead letters")
	c.see(time.Second, b)
	c.alerts()
}

// Rates are those between two answers of one start of a node.
func TestRates(t *testing.T) {
	c := newCourse(t)
	count := func(epoch string, n uint64) answer {
		a := healthy("a", "b")
		a.info.Epoch, a.info.Stats.Handled, a.info.Peers[0].Requests, a.info.Peers[0].Tells = epoch, n, n, n
		return a
	}
	for i, s := range []struct {
		answer
		handled, edge float64
	}{{count("e1", 100), 0, 0}, {count("e1", 300), 100, 200}, {count("e2", 400), 0, 0}, {count("e2", 350), 0, 0}, {count("e2", 360), 5, 10}} {
		c.see(2*time.Second, s.answer)
		if got := c.now.Nodes[0].Handled; got != s.handled {
			t.Errorf("%d: %v handled a second, want %v", i, got, s.handled)
		}
		if got := c.now.Edges[0].Rate; got != s.edge {
			t.Errorf("%d: %v a second on the edge, want %v", i, got, s.edge)
		}
	}
}

// Of a cluster of 200 nodes that all talk to each other, what is cut off stays in the picture, and so does the most of the traffic.
func TestLargeCluster(t *testing.T) {
	c := newCourse(t)
	var first, second []answer
	for i := range 200 {
		for _, all := range []*[]answer{&first, &second} {
			a := healthy(fmt.Sprintf("n%03d", i))
			for j := range 200 {
				if i != j {
					p := healthy("", fmt.Sprintf("n%03d", j)).info.Peers[0]
					if all == &second {
						p.Requests = uint64(i * j)
					}
					a.info.Peers = append(a.info.Peers, p)
				}
			}
			for b := range 20 {
				a.info.Busy = append(a.info.Busy, inspect.Actor{Name: fmt.Sprint("x", b), Node: a.node, For: time.Duration(i*20 + b)})
			}
			*all = append(*all, a)
		}
	}
	cut := &second[3].info.Peers[5]
	cut.Road, cut.Links, cut.Outstanding = "", nil, 1
	c.see(time.Second, first...)
	begun := time.Now()
	p := c.see(time.Second, second...)
	t.Logf("a picture of 200 nodes and %d edges takes %v", 200*199, time.Since(begun))
	if len(p.Edges) != maxEdges || p.Cut != 200*199-maxEdges || p.Edges[0].From != "n003" || p.Edges[0].Road != "" || p.Edges[1].Rate < p.Edges[2].Rate {
		t.Errorf("%d edges, %d cut, %+v", len(p.Edges), p.Cut, p.Edges[:3])
	}
	if len(p.Busy) != maxBusy || p.Busy[0].For != 199*20+19 {
		t.Errorf("%d busy, %+v", len(p.Busy), p.Busy[0])
	}
	c.alerts("n003 cannot reach n006")
}

// Events of all nodes are in one list, the latest first, and not more than the page shows.
func TestEvents(t *testing.T) {
	c := newCourse(t)
	for i := range 150 {
		a, b := healthy("a"), healthy("b")
		a.events.Events = []admin.EventInfo{{Number: uint64(i), Time: c.at.Add(time.Duration(i) * time.Millisecond), Type: "t"}}
		b.events.Events = []admin.EventInfo{{Number: uint64(i), Time: c.at.Add(time.Duration(i)*time.Millisecond + 1), Type: "t"}}
		c.see(time.Second, a, b)
	}
	if len(c.now.Events) != maxEvents || c.now.Events[0].Node != "b" || c.now.Events[0].Number != 149 {
		t.Errorf("%d events, %+v", len(c.now.Events), c.now.Events[0])
	}
}
