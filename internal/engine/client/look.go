package client

import (
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/inspect"
)

// Peers returns what there is to see of the peers, by name, without this node itself. It locks one after another.
func (cl *Client) Peers() []inspect.Peer {
	cl.mu.Lock()
	peers := make([]*peer, 0, len(cl.peers))
	for _, p := range cl.peers {
		if !p.own {
			peers = append(peers, p)
		}
	}
	cl.mu.Unlock()
	all := make([]inspect.Peer, 0, len(peers))
	now := cl.host.Now()
	for _, p := range peers {
		all = append(all, p.look(now))
	}
	slices.SortFunc(all, func(a, b inspect.Peer) int { return strings.Compare(a.Node, b.Node) })
	return all
}

func (p *peer) look(now time.Duration) inspect.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := inspect.Peer{Node: p.name, Epoch: p.epoch, Principal: p.principal, Up: p.current != nil, Leaving: p.leaving,
		Outstanding: p.win.count, Unresolved: len(p.unresolved), Requests: p.sums.requests, Replies: p.sums.replies, Tells: p.sums.tells}
	if p.epoch == "" {
		v.Principal = ""
	}
	for _, c := range p.conns {
		l := inspect.Link{Road: c.Road(), Current: c == p.current, Open: c.ready, RTT: time.Duration(c.rtt.Load())}
		if at := time.Duration(c.answeredAt.Load()); at > 0 {
			l.Heard = max(now-at, 1)
		}
		if c.Addr.IsValid() {
			l.Addr = c.Addr.String()
		}
		if c.denied != nil {
			l.Denied = c.denied.Error()
		}
		if l.Current {
			v.Road = l.Road
		}
		v.Links = append(v.Links, l)
	}
	return v
}
