package memnet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Faults says what happens to the messages that one node sends to another. The numbers without
// a unit are probabilities between 0 and 1, drawn for every envelope.
type Faults struct {
	MinDelay, MaxDelay time.Duration // time in flight, evenly distributed; the order is kept

	// For a bus.
	Drop         float64       // the message is lost silently
	Duplicate    float64       // it is delivered twice
	Reorder      float64       // it is late by up to ReorderBy, and others overtake it
	ReorderBy    time.Duration // default 10 ms
	NoResponders bool          // dialling fails at once, and so does a link that sends

	// For a direct road.
	Kill float64 // the link dies instead of delivering the message
}

// block is a way to keep messages from arriving.
type block uint8

const (
	passing block = iota
	cut           // a direct road holds back, a bus loses
	held          // either holds back
)

// rule applies to messages on a road from one node to another. An empty name stands for any.
type rule struct {
	road, from, to string
	faults         *Faults // nil: the rule does not change the faults
	block          *block  // nil: the rule does not change the block
}

func (r rule) matches(road, from, to string) bool {
	return (r.road == "" || r.road == road) && (r.from == "" || r.from == from) && (r.to == "" || r.to == to)
}

// set adds r, which overrides the rules before it, and removes those of its kind that it covers
// completely.
func (n *Network) set(r rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rules := n.rules[:0:0]
	for _, o := range n.rules {
		if (o.faults != nil) == (r.faults != nil) && r.matches(o.road, o.from, o.to) {
			continue
		}
		rules = append(rules, o)
	}
	n.rules = append(rules, r)
	close(n.changed)
	n.changed = make(chan struct{})
}

// state returns what happens to messages from one node to another now, and a channel that is
// closed when that may have changed.
func (n *Network) state(road, from, to string) (f Faults, b block, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rules {
		if r.matches(road, from, to) {
			if r.faults != nil {
				f = *r.faults
			}
			if r.block != nil {
				b = *r.block
			}
		}
	}
	return f, b, n.changed
}

// SetFaults sets what happens to messages on a road from one node to another. An empty name
// stands for any. The last call that matches counts. The zero Faults means no faults.
func (n *Network) SetFaults(road, from, to string, f Faults) {
	n.set(rule{road: road, from: from, to: to, faults: &f})
}

func (n *Network) setBlock(road, from, to string, b block) {
	n.set(rule{road: road, from: from, to: to, block: &b})
}

// Partition cuts the road between a and b in both directions: on a direct road messages wait for
// Heal, and on a bus they are lost. An empty name stands for any, so Partition("", "a", "")
// isolates a.
func (n *Network) Partition(road, a, b string) {
	n.PartitionOneWay(road, a, b)
	n.PartitionOneWay(road, b, a)
}

// PartitionOneWay cuts the road in one direction only.
func (n *Network) PartitionOneWay(road, from, to string) { n.setBlock(road, from, to, cut) }

// Heal ends partitions and holds between a and b.
func (n *Network) Heal(road, a, b string) {
	n.setBlock(road, a, b, passing)
	n.setBlock(road, b, a, passing)
}

// Hold keeps what is sent from one node to another in a buffer, like a bus
// connection's reconnect buffer. Release, or Heal, delivers it late.
func (n *Network) Hold(road, from, to string) { n.setBlock(road, from, to, held) }

// Release delivers what Hold kept.
func (n *Network) Release(road, from, to string) { n.setBlock(road, from, to, passing) }

// Reset kills all links between a and b on a road, as the reset of a connection does. An empty
// name stands for any. Reset returns how many ends it closed.
func (n *Network) Reset(road, a, b string) int {
	ends := n.ends(func(e *end) bool {
		return rule{road: road, from: a, to: b}.matches(e.t.road, e.t.local.Node, e.peer.Node) ||
			rule{road: road, from: b, to: a}.matches(e.t.road, e.t.local.Node, e.peer.Node)
	})
	for _, e := range ends {
		e.Close(fmt.Errorf("%w: reset", transport.ErrClosed))
	}
	return len(ends)
}

// Disturb tells the links of node on a road that messages may have been lost.
func (n *Network) Disturb(road, node string) {
	for _, e := range n.ends(func(e *end) bool { return rule{road: road, from: node}.matches(e.t.road, e.t.local.Node, "") }) {
		e.disturb()
	}
}

// ends returns the ends for which that returns true, the oldest first.
func (n *Network) ends(which func(*end) bool) (ends []*end) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for e := range n.links {
		if which(e) {
			ends = append(ends, e)
		}
	}
	slices.SortFunc(ends, func(a, b *end) int { return cmp.Compare(a.id, b.id) })
	return ends
}
