package simulation

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// Node is a name in the cluster. Its systems come and go.
type Node struct {
	Name string

	Disk  *Disk // of records; nil: none
	Files Files

	mu     sync.Mutex // guards what follows
	now    *Life      // nil: down
	past   []*Life
	starts int
}

// Life is a node from one start to its end.
type Life struct {
	Sys   *actor.System
	Gates []*Gate
	Drive *Drive // nil: none
	No    int    // of the start, from 1

	Deployed bool // it was shut down as a fault, and may have run out of time

	entry     *entry
	unplugged atomic.Bool // from its disk and files
}

// Live is the node's present start, or nil.
func (n *Node) Live() *Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// Down removes the present start from the node, so that another may follow. It returns nil if
// the node is down already.
func (n *Node) Down() *Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.now
	if n.now = nil; l != nil {
		n.past = append(n.past, l)
	}
	return l
}

// Past returns the starts that have ended.
func (n *Node) Past() []*Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.past)
}

// Lives returns all starts of the node.
func (n *Node) Lives() []*Life {
	lives := n.Past()
	if l := n.Live(); l != nil {
		lives = append(lives, l)
	}
	return lives
}

// CutOff separates a start of a node from the others, and from its disk. With a last word the
// others see its links end, as when a process is killed; otherwise they see silence.
func (l *Life) CutOff(lastWord bool) {
	l.Unplug()
	l.Silence(lastWord)
}

// Unplug makes the node's disk and files ignore this start from now on.
func (l *Life) Unplug() {
	l.unplugged.Store(true)
	l.Drive.Unplug()
}

// Silence separates a start from the others.
func (l *Life) Silence(lastWord bool) {
	for _, g := range l.Gates {
		g.Shut(lastWord)
	}
}

// Stall makes a start read nothing for a while.
func (l *Life) Stall(d time.Duration) {
	for _, g := range l.Gates {
		g.Stall(d)
	}
}
