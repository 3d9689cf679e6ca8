package observer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/inspect"
)

// Limits of what a picture has, so that a page can show a cluster of 200 nodes.
const (
	maxEdges  = 2000
	maxBusy   = 50
	maxEvents = 200
	maxAlerts = 200
	goneFor   = 10 * time.Minute // how long a node that is away is shown
	oldItems  = time.Minute      // an item that has been ready for longer is a reason to look
	busyLong  = 10 * time.Second // a handler that has been running for longer is
	newLetter = 10 * time.Minute // how long dead letters that came are a reason to look
)

// picture is what the page shows of the cluster at one moment. It is made of what the nodes have answered, and of the picture before.
type picture struct {
	At       time.Time
	Alerts   []alert
	Nodes    []nodeLine
	Edges    []edge
	Cut      int // edges that are left out
	Services []serviceLine
	Queues   []queueLine
	Busy     []inspect.Actor
	Events   []eventLine // the latest ones first

	seen map[string]memory // by node
}

// alert is what whoever is on call must see.
type alert struct {
	Severe bool
	Node   string
	Text   string
	View   string // the page's view that shows more
	Since  time.Time
	id     string
}

// nodeLine is one node. Rates are per second.
type nodeLine struct {
	Name, Epoch   string
	Version, Zone string
	Away          string // why it has not answered; empty: it has
	Since         time.Time
	Started       time.Time
	Actors        int
	Goroutines    int
	Heap          uint64
	Outstanding   int
	Handled       float64
	Requests      float64
	Served        float64
	Replayed      uint64
	Attached      uint64
	Refused       uint64
	Retries       uint64
	Letters       uint64
	LettersKept   int
	Panics        uint64
	Failed        uint64
	Records       int
	HeldBytes     int64
	Jobs          int
	Level         string

	handled, requests, served uint64 // totals
}

// edge is how one node sends to another one.
type edge struct {
	From, To string
	Road     string   // that is used; empty: none
	Roads    []string // on which there are links
	RTT      time.Duration
	Rate     float64 // messages a second
	Waiting  int     // requests that are not answered
}

// serviceLine is a service as all nodes together see it.
type serviceLine struct {
	Name, Policy string
	Weights      map[string]int
	Instances    []instanceLine
}

type instanceLine struct {
	Address, Version, Zone string
	EjectedBy              []string // nodes that send it nothing
	Why                    string
	Latency                time.Duration // the longest that a node has seen
	Outstanding            int
}

type queueLine struct {
	Node string
	admin.Queue
}

type eventLine struct {
	Node string
	admin.EventInfo
}

// memory is what a picture knows of a node from those before.
type memory struct {
	at       time.Time // of its last answer
	line     nodeLine
	sent     map[string]uint64   // messages to each peer
	roads    map[string][]string // on which there were links to each peer
	next     uint64              // of its events
	letters  uint64
	letterAt time.Time // when there were more dead letters
	away     time.Time // since when it does not answer; zero: it does
}

// answer is what one node has said.
type answer struct {
	node   string
	info   admin.OverviewInfo
	events admin.EventsInfo
	err    error
}

// next is the picture after p, of what all nodes have answered at a time.
func (p *picture) next(at time.Time, answers []answer) *picture {
	n := &picture{At: at, seen: map[string]memory{}}
	services := map[string]*serviceLine{}
	for _, a := range answers {
		was := p.seen[a.node]
		if a.err != nil {
			n.awayNode(a.node, a.err.Error(), was)
			continue
		}
		n.node(a, was)
		for _, s := range a.info.Services {
			n.service(services, a.node, s)
		}
	}
	for name, was := range p.seen { // those that the cluster does not know any more
		if _, known := n.seen[name]; !known && at.Sub(orTime(was.away, at)) < goneFor {
			n.awayNode(name, "it has left the cluster, or its lease has ended", was)
		}
	}
	for _, s := range services {
		slices.SortFunc(s.Instances, func(a, b instanceLine) int { return strings.Compare(a.Address, b.Address) })
		n.Services = append(n.Services, *s)
		for _, i := range s.Instances {
			if len(i.EjectedBy) > 0 {
				n.alert(false, "", fmt.Sprintf("service %s: %s is left out by %s, because it is %s", s.Name, i.Address, some(i.EjectedBy), i.Why), "services", "ejected "+s.Name+" "+i.Address)
			}
		}
	}
	n.Events = append(n.Events, p.Events...)
	slices.SortStableFunc(n.Events, func(a, b eventLine) int { return b.Time.Compare(a.Time) })
	n.Events = n.Events[:min(len(n.Events), maxEvents)]
	n.order(p)
	return n
}

// orTime returns t, or other if t is zero.
func orTime(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}

// some names the first of many.
func some(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

func (p *picture) alert(severe bool, node, text, view, id string) {
	p.Alerts = append(p.Alerts, alert{Severe: severe, Node: node, Text: text, View: view, Since: p.At, id: id})
}

// awayNode is a node that has not answered.
func (p *picture) awayNode(name, why string, was memory) {
	was.away = orTime(was.away, p.At)
	was.line.Name, was.line.Away, was.line.Since = name, why, was.away
	p.seen[name] = was
	p.Nodes = append(p.Nodes, was.line)
	p.alert(true, name, "node "+name+" does not answer: "+why, "nodes", "away "+name)
}

// node is a node that has answered.
func (p *picture) node(a answer, was memory) {
	i, s := a.info, a.info.Stats
	l := nodeLine{Name: a.node, Epoch: i.Epoch, Version: i.Version, Zone: i.Zone, Started: i.Started, Actors: s.Actors, Goroutines: i.Goroutines, Heap: i.Heap,
		Outstanding: s.RPC.Outstanding, Replayed: s.RPC.Replayed, Attached: s.RPC.Attached, Refused: s.RPC.Refused, Retries: s.RPC.Retries, Letters: s.DeadLetters, LettersKept: s.LettersKept,
		Panics: s.Panics, Failed: s.Failed, Records: s.RPC.Records, HeldBytes: s.RPC.HeldBytes, Jobs: i.Jobs, Level: i.Level}
	now := memory{at: p.At, sent: map[string]uint64{}, roads: map[string][]string{}, next: a.events.Next, letters: s.DeadLetters}
	same := was.line.Epoch == l.Epoch && !was.at.IsZero()
	passed := p.At.Sub(was.at).Seconds()
	rate := func(is, before uint64) float64 {
		if !same || is < before || passed <= 0 {
			return 0
		}
		return float64(is-before) / passed
	}
	now.line = l
	now.line.handled, now.line.requests, now.line.served = s.Handled, s.RPC.Requests, s.RPC.Served
	l.Handled, l.Requests, l.Served = rate(s.Handled, was.line.handled), rate(s.RPC.Requests, was.line.requests), rate(s.RPC.Served, was.line.served)
	if now.letterAt = was.letterAt; same && s.DeadLetters > was.letters {
		now.letterAt = p.At
	}
	if p.At.Sub(now.letterAt) < newLetter && s.LettersKept > 0 {
		p.alert(false, a.node, fmt.Sprintf("node %s keeps %d dead letters", a.node, s.LettersKept), "letters", "letters "+a.node)
	}
	for _, peer := range i.Peers {
		p.edge(a.node, peer, &now, was, rate)
	}
	for _, q := range i.Queues {
		p.Queues = append(p.Queues, queueLine{a.node, q})
		p.judgeQueue(a.node, q)
	}
	for _, b := range i.Busy {
		p.Busy = append(p.Busy, b)
		if b.For > busyLong && b.Waiting > 0 {
			p.alert(false, a.node, fmt.Sprintf("actor %s@%s has handled %s for %s, and %d messages wait", b.Name, a.node, cmp.Or(b.Running, "a message"), b.For.Round(time.Second), b.Waiting), "actors", "busy "+b.Name+"@"+a.node)
		}
	}
	for _, e := range a.events.Events {
		p.Events = append(p.Events, eventLine{a.node, e})
	}
	p.Nodes = append(p.Nodes, l)
	p.seen[a.node] = now
}

// edge is how a node sends to a peer. That a road is gone which was there is a reason to look, and that there is none.
func (p *picture) edge(from string, peer inspect.Peer, now *memory, was memory, rate func(uint64, uint64) float64) {
	e := edge{From: from, To: peer.Node, Road: peer.Road, Waiting: peer.Outstanding}
	sent := peer.Requests + peer.Tells
	now.sent[peer.Node] = sent
	if before, known := was.sent[peer.Node]; known {
		e.Rate = rate(sent, before)
	}
	for _, l := range peer.Links {
		if !slices.Contains(e.Roads, l.Road) && l.Open {
			e.Roads = append(e.Roads, l.Road)
		}
		if l.Current {
			e.RTT = l.RTT
		}
	}
	slices.Sort(e.Roads)
	had := was.roads[peer.Node]
	now.roads[peer.Node] = union(had, e.Roads)
	switch lost := without(now.roads[peer.Node], e.Roads); {
	case len(lost) == 0 || peer.Leaving:
	case len(e.Roads) == 0 && peer.Outstanding == 0: // nobody needs it
		now.roads[peer.Node] = nil
	case len(e.Roads) == 0:
		p.alert(true, from, fmt.Sprintf("%s cannot reach %s on any road, and %d requests wait", from, peer.Node, peer.Outstanding), "topology", "cut "+from+" "+peer.Node)
	default:
		p.alert(false, from, fmt.Sprintf("%s reaches %s over %s only: %s is gone", from, peer.Node, strings.Join(e.Roads, ", "), strings.Join(lost, ", ")), "topology", "road "+from+" "+peer.Node)
	}
	p.Edges = append(p.Edges, e)
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

func without(all, some []string) (rest []string) {
	for _, s := range all {
		if !slices.Contains(some, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

func (p *picture) judgeQueue(node string, q admin.Queue) {
	at := q.Name + "@" + node
	if q.Error != "" {
		p.alert(true, node, fmt.Sprintf("queue %s does not answer: %s", at, q.Error), "queues", "deaf "+at)
	}
	if q.Dead > 0 {
		p.alert(false, node, fmt.Sprintf("queue %s has %d dead items", at, q.Dead), "queues", "dead "+at)
	}
	if q.Paused {
		p.alert(false, node, fmt.Sprintf("queue %s is paused", at), "queues", "paused "+at)
	}
	if q.Oldest > oldItems {
		p.alert(false, node, fmt.Sprintf("queue %s: the oldest item has been ready for %s", at, q.Oldest.Round(time.Second)), "queues", "old "+at)
	}
}

func (p *picture) service(all map[string]*serviceLine, node string, s inspect.Service) {
	l := all[s.Name]
	if l == nil {
		l = &serviceLine{Name: s.Name, Policy: s.Policy, Weights: s.Weights}
		all[s.Name] = l
	}
	for _, i := range s.Instances {
		at := slices.IndexFunc(l.Instances, func(o instanceLine) bool { return o.Address == i.Address })
		if at < 0 {
			at, l.Instances = len(l.Instances), append(l.Instances, instanceLine{Address: i.Address, Version: i.Version, Zone: i.Zone})
		}
		o := &l.Instances[at]
		o.Latency, o.Outstanding = max(o.Latency, i.Latency), o.Outstanding+i.Outstanding
		if i.Ejected {
			o.EjectedBy, o.Why = append(o.EjectedBy, node), i.Why
		}
	}
}

// order puts everything in order, cuts what is too much, and gives alerts the time since which there are.
func (p *picture) order(before *picture) {
	slices.SortFunc(p.Nodes, func(a, b nodeLine) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Services, func(a, b serviceLine) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Queues, func(a, b queueLine) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Node, b.Node))
	})
	slices.SortFunc(p.Busy, func(a, b inspect.Actor) int {
		return cmp.Or(cmp.Compare(b.For, a.For), strings.Compare(a.Name, b.Name))
	})
	p.Busy = p.Busy[:min(len(p.Busy), maxBusy)]
	lame := func(e edge) int { // what is cut off is never left out
		if e.Road == "" && e.Waiting > 0 {
			return 0
		}
		return 1
	}
	slices.SortFunc(p.Edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(lame(a), lame(b)), cmp.Compare(b.Rate, a.Rate), strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	p.Cut = max(0, len(p.Edges)-maxEdges)
	p.Edges = p.Edges[:len(p.Edges)-p.Cut]
	since := map[string]time.Time{}
	for _, a := range before.Alerts {
		since[a.id] = a.Since
	}
	for i := range p.Alerts {
		if at, ok := since[p.Alerts[i].id]; ok {
			p.Alerts[i].Since = at
		}
	}
	slices.SortStableFunc(p.Alerts, func(a, b alert) int {
		if a.Severe != b.Severe {
			return map[bool]int{true: -1, false: 1}[a.Severe]
		}
		return b.Since.Compare(a.Since)
	})
	p.Alerts = p.Alerts[:min(len(p.Alerts), maxAlerts)]
}
