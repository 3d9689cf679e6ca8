package actor

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
)

// redial is the time within which a second look-up of a node means that the address that the
// first one found did not work.
const redial = 10 * time.Second

// sighting is when a node was last looked up, and when its cached record was last refreshed.
type sighting struct{ sought, refreshed time.Time }

// refresh has the registry read the record of a node again if it was looked up shortly before,
// because the registry's cache may be out of date. That happens in the background, at most once
// a second.
func (m *members) refresh(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for name, s := range m.sought { // there are few: only those looked up lately
		if now.Sub(s.sought) > redial {
			delete(m.sought, name)
		}
	}
	s, again := m.sought[node]
	due := again && now.Sub(s.refreshed) >= time.Second
	if s.sought = now; due {
		s.refreshed = now
	}
	m.sought[node] = s
	if !due || m.closed {
		return
	}
	m.owned.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, time.Second)
		defer cancel()
		_ = m.sys.cfg.Registry.Refresh(ctx, node) // if it fails, the cached record is used
	})
}

// resolve returns the epoch, the addresses and the principal of a node.
func (m *members) resolve(ctx context.Context, node string) (client.Place, error) {
	m.refresh(node)
	n, err := m.sys.cfg.Registry.Lookup(ctx, node)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return client.Place{}, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node %s in the registry", node)
	case errors.Is(err, registry.ErrAway):
		return client.Place{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no node %s in the registry: %w", node, client.ErrAway)
	case err != nil:
		return client.Place{}, err
	}
	return client.Place{Epoch: n.Epoch, Addrs: n.Addrs, Principal: n.Principal}, nil
}
