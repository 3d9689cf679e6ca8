package natskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/registry"
)

// claim is the record of a node that this client wrote last, or is about to write.
type claim struct {
	node  registry.Node
	value []byte
	rev   uint64 // guarded by Registry.mu
}

// Renew extends the lease of the record that this client has registered for epoch as name. It
// writes its own record again, and not what it finds in the bucket. So if somebody else has
// changed the record, Renew restores it, and the log says so.
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
			c, _ := r.claimed(name, epoch) // it may have changed meanwhile
			if c == nil || last.broken == nil && (!last.exists || last.node.Epoch != epoch) {
				r.forget(name, epoch)
				return registry.ErrLost
			}
			err := r.write(ctx, c, last.rev)
			if err == nil && !bytes.Equal(last.value, c.value) {
				r.log.Warn("somebody else had changed this node's record; it is written again", "node", name)
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("natskv: renew %q: %w", name, err)
	}
	return nil
}

// claimed returns the record that this client has registered for an epoch of a node, nil for none,
// and its revision.
func (r *Registry) claimed(name, epoch string) (*claim, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[name]; c != nil && c.node.Epoch == epoch {
		return c, c.rev
	}
	return nil, 0
}

// claim writes this client's new record of a node. The record counts as the client's own before it
// is written, so that a Renew at the same time does not write the former one over it.
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

// write replaces the record with the revision rev by a claim, with a new lease. If rev is zero,
// there must be no record.
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

// forget removes a claim that is gone.
func (r *Registry) forget(name, epoch string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[name]; c != nil && c.node.Epoch == epoch {
		delete(r.claims, name)
	}
}
