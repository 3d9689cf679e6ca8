package client

import (
	"slices"

	"github.com/tandem-go/tandem/rpc"
)

// copies is where the copies of one attempt at a request are. It decides whether the attempt may
// have run:
//
//	             sent                    lost
//	unsent ─────────────► on a link ─────────────► away ──sent──► on a link
//	   ▲                     │  │                    │
//	   │ lost in its queue,  │  └──── unresolve ─────┴──► away, until the server or its last word
//	   └─── or refused ──────┘                            says what became of it
//
// An attempt that is unsent has not run: it may be sent anywhere. One that is on a link or away
// may have run: it is sent again under the same number only, in the same session.
type copies struct {
	on     *Link   // the live link that has the latest copy; nil: none has it
	at     uint64  // position of the latest copy in the queue of its link
	away   bool    // an earlier copy may have left this node
	hedged bool    // a copy was sent over a second road
	also   []*Link // other links that were given a copy; nil for most
}

// sent notes that a copy is in the queue of k, and reports whether no live link had one before.
func (c *copies) sent(k *Link, at uint64) (first bool) {
	first = c.on == nil
	if !first {
		c.away = true
		if c.on != k {
			c.also = append(c.also, c.on)
		}
	}
	c.on, c.at = k, at
	return first
}

// lost notes that the link which had the latest copy has closed.
func (c *copies) lost() {
	c.away = c.away || c.on.Handed(c.at)
	c.on = nil
}

// refused notes that the server of k does not know the session. It reports whether the attempt is
// unsent again: its only copy was refused. On a bus there may be a duplicate of it.
func (c *copies) refused(k *Link) bool {
	if c.on != k || c.away || !k.Direct {
		return false
	}
	c.on = nil
	return true
}

// unresolve notes that the session of all copies is over.
func (c *copies) unresolve() { c.on, c.also, c.away = nil, nil, true }

// reset notes that the attempt provably did not run, whatever copies there were.
func (c *copies) reset() { *c = copies{} }

// isOn reports whether a copy was given to k. An answer counts only on such a link.
func (c *copies) isOn(k *Link) bool {
	return c.on == k || c.also != nil && slices.Contains(c.also, k)
}

// unsent reports whether no copy can have left this node. A copy that a live link has counts as
// sent, because it can leave the queue at any moment.
func (c *copies) unsent() bool { return !c.away && c.on == nil }

// verdict says whether a call that ends without an outcome may have run.
func (c *copies) verdict() rpc.Verdict {
	if c.unsent() {
		return rpc.NotRun
	}
	return rpc.Unknown
}
