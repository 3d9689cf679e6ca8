package dns

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// NodeName returns the name of the node at an address: the address with '-' for each '.' and ':'.
// An IPv4 address in IPv6 has the name of the IPv4 address, and a zone does not count.
func NodeName(a netip.Addr) string {
	return strings.NewReplacer(".", "-", ":", "-").Replace(a.Unmap().WithZone("").String())
}

// place is a node as DNS shows it.
type place struct{ name, addr string }

// ofTarget returns the node of an SRV record.
func ofTarget(t *net.SRV) place {
	host := strings.TrimSuffix(t.Target, ".")
	name, _, _ := strings.Cut(host, ".")
	return place{name, net.JoinHostPort(host, strconv.Itoa(int(t.Port)))}
}

// nodes returns the records of what was found, sorted by name. left says why some are left out; empty if none is.
func (c Config) nodes(found []place) (nodes []registry.Node, left string) {
	slices.SortFunc(found, func(a, b place) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.addr, b.addr)) })
	for _, p := range slices.Compact(found) {
		n := registry.Node{Name: p.name, Epoch: "e", Addrs: map[string]string{c.Road: p.addr}}
		err := n.Valid()
		n.Epoch = ""
		switch {
		case err != nil:
			left = err.Error()
		case len(nodes) > 0 && nodes[len(nodes)-1].Name == n.Name:
			left = fmt.Sprintf("node %s has two addresses", n.Name)
		case len(nodes) == c.MaxNodes:
			return nodes, fmt.Sprintf("there are more than Config.MaxNodes, %d", c.MaxNodes)
		default:
			nodes = append(nodes, n)
		}
	}
	return nodes, left
}

// list decides which nodes are listed. It has no lock, no clock and does no I/O.
type list struct{ known map[string]listed }

type listed struct {
	node    registry.Node
	missing time.Time // when the first answer came that the node was missing from; zero if it was in the last one
}

// answer takes an answer of DNS, and returns the nodes that are listed after it. A node that is missing is listed
// until an answer that comes grace after the first one without it.
func (l *list) answer(nodes []registry.Node, now time.Time, grace time.Duration) []registry.Node {
	next := make(map[string]listed, len(nodes))
	for _, n := range nodes {
		next[n.Name] = listed{node: n}
	}
	for name, e := range l.known {
		if _, ok := next[name]; ok {
			continue
		}
		if e.missing.IsZero() {
			e.missing = now
		}
		if now.Sub(e.missing) < grace {
			next[name] = e
		}
	}
	l.known = next
	all := make([]registry.Node, 0, len(next))
	for _, name := range slices.Sorted(maps.Keys(next)) {
		all = append(all, next[name].node)
	}
	return all
}
