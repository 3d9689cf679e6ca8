package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/registry"
)

// evictDead removes the holder of a claim from the registry if its process has provably died, which only
// a node on the same machine can see. So its actors need not wait for the end of its lease.
func (m *members) evictDead(ctx context.Context, c placement.Claim) bool {
	m.mu.Lock()
	own, n := m.mine.Proof, m.nodes[c.Node]
	m.mu.Unlock()
	if n.Epoch != c.Epoch || !n.Proof.Same(own) || !n.Proof.Dead(own, registry.Look(n.Proof.PID)) {
		return false
	}
	m.sys.log.Warn("the process of a node has died: its virtual actors are activated elsewhere", "peer", c.Node, "epoch", c.Epoch)
	if err := m.sys.cfg.Registry.Evict(ctx, c.Node, c.Epoch); err != nil {
		m.sys.log.Warn("a dead node was not removed from the registry: its lease has to run out", "peer", c.Node, "err", err)
		return false
	}
	return true
}

// sight says what is known here of the holder of a claim.
func (m *members) sight(c placement.Claim) placement.Sight {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, there := m.nodes[c.Node]
	return placement.Look(c, n.Epoch, there, false)
}

// confirm reads from the registry what there is of the holder of a claim, which was read before.
func (m *members) confirm(ctx context.Context, c placement.Claim) (placement.Sight, error) {
	reg := m.sys.cfg.Registry
	if err := reg.Refresh(ctx, c.Node); err != nil {
		return placement.Unseen, fmt.Errorf("reading the record of node %s: %w", c.Node, err)
	}
	n, err := reg.Lookup(ctx, c.Node)
	if err != nil && !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrAway) {
		return placement.Unseen, fmt.Errorf("reading the record of node %s: %w", c.Node, err)
	}
	return placement.Look(c, n.Epoch, err == nil, true), nil
}
