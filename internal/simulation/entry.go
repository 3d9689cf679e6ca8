package simulation

import (
	"context"
	"sync"

	"github.com/tandem-go/tandem/registry"
)

// entry is the registry for one start of a node. It keeps what that start has written last, also
// while the registry has forgotten the node. Its methods may be called concurrently.
type entry struct {
	registry.Registry

	mu     sync.Mutex // guards what follows, and is held while the registry in memory is written
	latest registry.Node
}

// Register implements registry.Registry.
func (e *entry) Register(ctx context.Context, n registry.Node) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.latest = n.Clone()
	return e.Registry.Register(ctx, n)
}

// Update implements registry.Registry.
func (e *entry) Update(ctx context.Context, n registry.Node) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.latest = n.Clone()
	return e.Registry.Update(ctx, n)
}

// again registers the node again, as it is now.
func (e *entry) again(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.Registry.Register(ctx, e.latest)
}
