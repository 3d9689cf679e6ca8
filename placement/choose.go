package placement

import (
	"cmp"
	"math"
	"slices"

	"github.com/tandem-go/tandem/internal/rendezvous"
)

// Host is a live node that hosts a kind.
type Host struct {
	Node     string
	Version  string // of the kind on that node
	Weight   int    // its share, relative to others; 0 means 1
	Draining bool   // it takes no new activations
}

// Hosts are the nodes of which one is chosen for a key. They do not change, and may be used
// concurrently.
type Hosts struct {
	all   []host // sorted by node
	equal bool   // all weights are the same
}

type host struct {
	node   string
	hash   uint64
	weight float64
}

// NewHosts returns those of all that may be chosen. Draining nodes are left out. So are nodes that
// have another version of the kind than the given one, unless that is empty: then any version will
// do. If that leaves none, there is no node for any key: a draining node, or one of another
// version, is never chosen instead. Of two entries for one node the first counts.
func NewHosts(version string, all []Host) *Hosts {
	h := &Hosts{equal: true}
	for _, c := range all {
		if c.Draining || version != "" && c.Version != version {
			continue
		}
		h.all = append(h.all, host{c.Node, rendezvous.Mix(rendezvous.Hash(c.Node)), float64(max(c.Weight, 1))})
	}
	slices.SortStableFunc(h.all, func(a, b host) int { return cmp.Compare(a.node, b.node) })
	h.all = slices.CompactFunc(h.all, func(a, b host) bool { return a.node == b.node })
	for _, c := range h.all {
		h.equal = h.equal && c.weight == h.all[0].weight
	}
	return h
}

// Len returns how many nodes there are.
func (h *Hosts) Len() int { return len(h.all) }

// Choose returns the node for a key, and false if there is none. Nodes in without are left out, as
// those that have just said that they do not take it.
//
// A node gets keys in proportion to its weight. When a node joins, only the keys that it takes over
// change their node; when it goes, only its own. Every process that knows the same hosts chooses
// the same node. (Where weights differ, processes of different architectures may differ about one
// key in about 10^15, because math.Log does. The claim decides.)
func (h *Hosts) Choose(key Key, without ...string) (node string, ok bool) {
	k := rendezvous.Hash(key.ID) ^ rendezvous.Mix(rendezvous.Hash(key.Kind))
	if h.equal {
		best := uint64(0)
		for i := range h.all {
			c := &h.all[i]
			if u := rendezvous.Mix(k^c.hash) >> 11; (u > best || !ok) && !slices.Contains(without, c.node) {
				node, best, ok = c.node, u, true
			}
		}
		return node, ok
	}
	best := math.Inf(-1)
	for i := range h.all {
		c := &h.all[i]
		u := (float64(rendezvous.Mix(k^c.hash)>>11) + 0.5) / (1 << 53) // in (0, 1)
		// Schindelhauer and Schomaker, SPAA '05.
		if score := -c.weight / math.Log(u); score > best && !slices.Contains(without, c.node) {
			node, best, ok = c.node, score, true
		}
	}
	return node, ok
}
