package natskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/registry"
)

// claim is what this client wrote for a node last, or is about to.
type claim struct {
	node  registry.Node
	value []byte
	rev   uint64 // guarded by Registry.mu
}

// Renew extends the lease of what this client registered for epoch as name. It writes that
// anew, never what it finds in the bucket: a record that somebody else has changed becomes the
// owner's own again, and the log says so.
func (r *Registry) Renew(ctx context.Context, name, epoch string) error {
	lost := fmt.Errorf("natskv: renew %q: %w", name, registry.ErrLost)
	if (registry.Node{Name: name, Epoch: epoch}).Valid() != nil {
		return lost
	}
	c, rev := r.claimed(name, epoch)
	if c == nil {
		if err := r.reachable(); err != nil {
			return fmt.Errorf("natskv: renew %q: %w", name, err)
		}
		return lost
	}
	err := r.write(ctx, c, rev) // the usual case: one round trip
	if errors.Is(err, errConflict) {
		err = r.retry(ctx, name, func(last record) error {
			c, _ := r.claimed(name, epoch) // it may have changed as well
			if c == nil || last.broken == nil && (!last.exists || last.node.Epoch != epoch) {
				r.forget(name, epoch)
				return registry.ErrLost
			}
			err := r.write(ctx, c, last.rev)
			if err == nil && !bytes.Equal(last.value, c.value) {
				r.log.Warn("somebody else had changed this node's record; it is written anew", "node", name)
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("natskv: renew %q: %w", name, err)
	}
	return nil
}

// claimed is what this client registered for an epoch of a node, nil for nothing, and the
// revision that it got.
func (r *Registry) claimed(name, epoch string) (*claim, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[name]; c != nil && c.node.Epoch == epoch {
		return c, c.rev
	}
	return nil, 0
}

// claim writes what is to be this client's record of a node from now on. It counts as such
// before it is written, so that a Renew meanwhile does not write the former one over it.
func (r *Registry) claim(ctx context.Context, c *claim, rev uint64) error {
	name := c.node.Name
	r.mu.Lock()
	former := r.claims[name]
	r.claims[name] = c
	r.mu.Unlock()
	err := r.write(ctx, c, rev)
	if err != nil {
		r.mu.Lock()
		if r.claims[name] == c {
			if r.claims[name] = former; former == nil {
				delete(r.claims, name)
			}
		}
		r.mu.Unlock()
	}
	return err
}

// write stores a claim over the record of revision rev, for a fresh lease. Zero means that
// there must be none.
func (r *Registry) write(ctx context.Context, c *claim, rev uint64) error {
	if err := r.reachable(); err != nil {
		return err
	}
	rev, err := r.bucket.put(ctx, c.node.Name, c.value, rev)
	if err != nil {
		return r.noted(err)
	}
	r.apply(func(v *view) []registry.Event { return v.wrote(c.node, rev) })
	r.mu.Lock()
	defer r.mu.Unlock()
	c.rev = max(c.rev, rev)
	return nil
}

// forget drops what this client remembers of a claim that is gone.
func (r *Registry) forget(name, epoch string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[name]; c != nil && c.node.Epoch == epoch {
		delete(r.claims, name)
	}
}
