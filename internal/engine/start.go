package engine

import (
	"context"
	"fmt"
	"maps"

	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/transport"
)

// phase is the stage of a Node's life. It only changes to a later one:
//
//	asleep ──Listen──► joining ──Serve──► serving ──AnnounceLeaving──► leaving ──LastWords──► sealed
//	   └────────────────────────────── Close, from any of them ──────────────────────────► closed
type phase uint8

const (
	asleep  phase = iota // the roads have not been started
	joining              // peers may open links, but no sessions yet
	serving              // peers may open sessions
	leaving              // peers are told to send their requests to other nodes
	sealed               // no request of any session starts any more
	closed
)

// Start calls TakeOver, Listen for all roads, and Serve. It returns this node's address on each
// road.
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

// TakeOver takes over the records that earlier starts of the node have left in the store, if
// there is one. They cannot write there any more, so this node has to own its name before.
func (n *Node) TakeOver(ctx context.Context) error {
	if n.cfg.Store == nil {
		return nil
	}
	var err error
	cfg := journal.Config{Host: n.host, Account: n.account, Epoch: n.cfg.Epoch, Keep: n.cfg.KeyLife, Live: n.Server.Known, OnFenced: n.cfg.OnFenced}
	if n.journal, err = journal.Open(ctx, cfg, n.cfg.Store); err != nil {
		return fmt.Errorf("rpc: taking over the records of node %s: %w", n.cfg.Name, err)
	}
	n.Server.Keep(n.journal)
	n.restore()
	n.host.Go(func() { n.journal.Run(n.host.Context()) })
	return nil
}

// Listen starts the direct roads, or all others, and returns this node's address on each.
// Requests of other nodes wait at their senders until Serve. If a road cannot be started,
// Listen closes all roads that were started, and returns the error. Only Close may be called
// then.
func (n *Node) Listen(ctx context.Context, direct bool) (map[string]string, error) {
	n.mu.Lock()
	first := n.phase < joining
	n.phase = max(n.phase, joining)
	n.mu.Unlock()
	local := transport.Local{Cluster: n.cfg.Cluster, Node: n.cfg.Name, Epoch: n.cfg.Epoch, Logger: n.cfg.Logger, MaxMessage: n.cfg.MaxBody + headerRoom, Compression: n.cfg.Compression}
	if first {
		_, _ = n.self.Start(ctx, local, n.accept) // this cannot fail
		n.host.Go(n.sweep)
		n.host.Go(n.host.Report)
	}
	addrs := map[string]string{}
	for _, t := range n.cfg.Transports {
		if t.Direct() != direct {
			continue
		}
		local.Lookup = n.lookup(t.Road())
		addr, err := t.Start(ctx, local, n.accept)
		if err != nil {
			for _, started := range n.started {
				started.Close()
			}
			n.started = nil
			return nil, fmt.Errorf("rpc: starting road %q: %w", t.Road(), err)
		}
		n.started = append(n.started, t)
		n.logIdentity(t)
		addrs[t.Road()] = addr
	}
	return addrs, nil
}

// Known returns this node's addresses on the roads that know theirs before they are started,
// for example because the address is a key.
func (n *Node) Known() map[string]string {
	known := map[string]string{}
	for _, t := range n.cfg.Transports {
		if a, ok := t.(interface{ Addr() string }); ok {
			known[t.Road()] = a.Addr()
		}
	}
	return known
}

// lookup returns a function that asks the registry for a peer's address on a road, or nil if
// there is no registry.
func (n *Node) lookup(road string) func(ctx context.Context, node, epoch string, fresh bool) (string, error) {
	if n.cfg.Registered == nil {
		return nil
	}
	return func(ctx context.Context, node, epoch string, fresh bool) (string, error) {
		place, err := n.cfg.Registered(ctx, node, epoch, fresh)
		return place.Addrs[road], err
	}
}

// Serve lets peers open sessions. Those that have tried before are asked to try again.
func (n *Node) Serve() {
	n.mu.Lock()
	n.phase = max(n.phase, serving)
	n.Server.Open(n.phase == serving)
	n.mu.Unlock()
	for _, c := range n.liveConns() {
		_, _ = c.Post(&transport.Envelope{Verb: transport.VerbResync})
	}
}
