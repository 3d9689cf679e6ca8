package rpc

import (
	"context"
	"fmt"
	"maps"

	"github.com/tandem-go/tandem/transport"
)

// phase is where a Node is in its life. It only ever goes on to a later one:
//
//	asleep ──Listen──► joining ──Serve──► serving ──Farewell──► leaving ──LastWords──► sealed
//	   └────────────────────────────── Close, from any of them ──────────────────────────► closed
type phase uint8

const (
	asleep  phase = iota // no road leads here
	joining              // peers may open links, and wait for their sessions
	serving
	leaving // peers know that they should ask others
	sealed  // nothing of any session runs any more
	closed
)

// opens reports whether new sessions are opened.
func (p phase) opens() bool { return p == serving }

// Start is TakeOver, Listen on all roads, and Serve. It returns this node's address on
// each road.
func (n *Node) Start(ctx context.Context) (map[string]string, error) {
	if err := n.TakeOver(ctx); err != nil {
		return nil, err
	}
	addrs, err := n.Listen(ctx, true)
	if err != nil {
		return nil, err
	}
	more, err := n.Listen(ctx, false)
	if err != nil {
		return nil, err
	}
	maps.Copy(addrs, more)
	n.Serve()
	return addrs, nil
}

// TakeOver takes over the records that earlier starts of the node have left in the store,
// if there is one, and so bars those from it: the name must be this node's by then.
func (n *Node) TakeOver(ctx context.Context) error {
	if n.cfg.Store == nil {
		return nil
	}
	var err error
	if n.journal, err = openJournal(ctx, n, n.cfg.Store); err != nil {
		return fmt.Errorf("rpc: taking over the records of node %s: %w", n.cfg.Name, err)
	}
	n.restore()
	n.owned.Go(func() { n.journal.run(n.ctx) })
	return nil
}

// Listen starts the transports of direct roads, or those of the others, and returns this
// node's address on each. Requests of other nodes wait at their senders until Serve. If a
// road cannot be started, all that were are closed and its error is returned; what is
// left to do then is Close.
func (n *Node) Listen(ctx context.Context, direct bool) (map[string]string, error) {
	n.mu.Lock()
	first := n.phase < joining
	n.phase = max(n.phase, joining)
	n.mu.Unlock()
	local := transport.Local{Cluster: n.cfg.Cluster, Node: n.cfg.Name, Epoch: n.cfg.Epoch, Logger: n.cfg.Logger, MaxMessage: n.cfg.MaxBody + headerRoom}
	if first {
		_, _ = n.self.Start(ctx, local, n.accept) // it has nothing that could fail
		n.owned.Go(n.sweep)
		n.owned.Go(n.report)
	}
	addrs := map[string]string{}
	for _, t := range n.cfg.Transports {
		if t.Direct() != direct {
			continue
		}
		local.Lookup = n.lookup(t.Road())
		addr, err := t.Start(ctx, local, n.accept)
		if err != nil {
			for _, started := range n.up {
				started.Close()
			}
			n.up = nil
			return nil, fmt.Errorf("rpc: starting road %q: %w", t.Road(), err)
		}
		n.up = append(n.up, t)
		n.sayIdentity(t)
		addrs[t.Road()] = addr
	}
	return addrs, nil
}

// Known are this node's addresses on the roads that know theirs before they are started, as
// a key is.
func (n *Node) Known() map[string]string {
	known := map[string]string{}
	for _, t := range n.cfg.Transports {
		if a, ok := t.(interface{ Addr() string }); ok {
			known[t.Road()] = a.Addr()
		}
	}
	return known
}

// lookup asks the registry for peers' addresses on a road.
func (n *Node) lookup(road string) func(ctx context.Context, node, epoch string, anew bool) (string, error) {
	if n.cfg.Registered == nil {
		return nil
	}
	return func(ctx context.Context, node, epoch string, anew bool) (string, error) {
		place, err := n.cfg.Registered(ctx, node, epoch, anew)
		return place.Addrs[road], err
	}
}

// Serve has peers open sessions. Those that have asked before are told to ask again.
func (n *Node) Serve() {
	n.mu.Lock()
	n.phase = max(n.phase, serving)
	n.mu.Unlock()
	for _, c := range n.liveConns() {
		c.send(&transport.Envelope{Verb: transport.VerbResync})
	}
}
