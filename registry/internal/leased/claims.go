package leased

import (
	"bytes"
	"context"
	"encoding/json"
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

// Register claims n.Name for n.Epoch, or replaces the record that this epoch
// registered before. If it fails with ErrUnavailable, the claim may have been made. Such a
// claim ends with its lease, and the same epoch may register again.
func (r *Registry) Register(ctx context.Context, n registry.Node) error {
	if err := r.replace(ctx, n, func(last Record) error {
		if last.Exists && last.Node.Epoch != n.Epoch {
			return &registry.TakenError{Holder: last.Node, Renewed: last.At}
		}
		return nil
	}); err != nil {
		return r.failed("register", n.Name, err)
	}
	return nil
}

// Update replaces the record of an epoch that holds the name. It claims nothing.
func (r *Registry) Update(ctx context.Context, n registry.Node) error {
	if err := r.replace(ctx, n, func(last Record) error {
		if !last.Exists || last.Node.Epoch != n.Epoch {
			return registry.ErrLost
		}
		return nil
	}); err != nil {
		return r.failed("update", n.Name, err)
	}
	return nil
}

// replace writes n in the place of the last record of its name, if may allows that.
func (r *Registry) replace(ctx context.Context, n registry.Node, may func(last Record) error) error {
	if err := n.Valid(); err != nil {
		return err
	}
	n = n.Clone() // the caller keeps the maps
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if len(value) > registry.MaxRecord {
		return fmt.Errorf("%w: a record of %d bytes, at most %d are allowed", registry.ErrTooLarge, len(value), registry.MaxRecord)
	}
	return r.retry(ctx, n.Name, func(last Record) error {
		if last.Broken != nil {
			return last.Broken
		}
		if err := may(last); err != nil {
			return err
		}
		return r.claim(ctx, &claim{node: n, value: value}, last)
	})
}

// Renew extends the lease of the record that this client has registered for epoch as name. If
// somebody else has changed the record, Renew restores it, and the log says so.
func (r *Registry) Renew(ctx context.Context, name, epoch string) error {
	if err := r.renew(ctx, name, epoch); err != nil {
		return r.failed("renew", name, err)
	}
	return nil
}

func (r *Registry) renew(ctx context.Context, name, epoch string) error {
	if (registry.Node{Name: name, Epoch: epoch}).Valid() != nil {
		return registry.ErrLost
	}
	if err := r.ready(); err != nil {
		return err
	}
	c, rev := r.claimed(name, epoch)
	if c == nil {
		return registry.ErrLost
	}
	rev, err := r.store.Renew(ctx, c.node, c.value, rev) // the usual case
	if err == nil {
		r.wrote(c, rev)
	}
	if !errors.Is(err, ErrConflict) {
		return r.noted(err)
	}
	return r.retry(ctx, name, func(last Record) error {
		c, _ := r.claimed(name, epoch) // it may have changed meanwhile
		if c == nil || last.Broken == nil && (!last.Exists || last.Node.Epoch != epoch) {
			r.forget(name, epoch)
			return registry.ErrLost
		}
		err := r.put(ctx, c, last)
		if err == nil && !bytes.Equal(last.Value, c.value) {
			r.log.Warn("somebody else had changed this node's record; it is written again", "node", name)
		}
		return err
	})
}

// Deregister gives up the claim. The last word replaces the record. If it is larger than the
// store accepts, it is left out, and the error is ErrTooLarge.
func (r *Registry) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	err := error(nil)
	if len(last) > registry.MaxLast {
		err = fmt.Errorf("%w: it leaves %d bytes behind, %d are allowed", registry.ErrTooLarge, len(last), registry.MaxLast)
	} else {
		err = r.release(ctx, name, epoch, last)
	}
	if err != nil {
		return r.failed("deregister", name, err)
	}
	return nil
}

// Evict removes the claim of an epoch that is known to be dead.
func (r *Registry) Evict(ctx context.Context, name, epoch string) error {
	if err := r.release(ctx, name, epoch, nil); err != nil {
		return r.failed("evict", name, err)
	}
	return nil
}

func (r *Registry) release(ctx context.Context, name, epoch string, what []byte) error {
	if (registry.Node{Name: name, Epoch: epoch}).Valid() != nil {
		return nil // nobody can hold it
	}
	return r.retry(ctx, name, func(last Record) error {
		if last.Broken != nil {
			return last.Broken
		}
		if !last.Exists || last.Node.Epoch != epoch {
			r.forget(name, epoch)
			r.apply(func(v *view) []registry.Event { return v.release(name, epoch) })
			return nil
		}
		d := registry.Departure{Epoch: epoch, Change: registry.Left, Last: what}
		rev, err := r.store.Delete(ctx, name, last, d)
		var unsaid error
		if errors.Is(err, registry.ErrTooLarge) { // it leaves nevertheless
			d.Last, unsaid = nil, err
			rev, err = r.store.Delete(ctx, name, last, d)
		}
		if err != nil {
			return err
		}
		r.forget(name, epoch)
		r.apply(func(v *view) []registry.Event { return v.removed(name, rev) })
		return unsaid
	})
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
func (r *Registry) claim(ctx context.Context, c *claim, last Record) error {
	name := c.node.Name
	r.mu.Lock()
	former := r.claims[name]
	r.claims[name] = c
	r.mu.Unlock()
	err := r.put(ctx, c, last)
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

// put replaces the last record by a claim, with a new lease.
func (r *Registry) put(ctx context.Context, c *claim, last Record) error {
	if err := r.ready(); err != nil {
		return err
	}
	rev, err := r.store.Put(ctx, c.node, c.value, last)
	if err != nil {
		return r.noted(err)
	}
	r.wrote(c, rev)
	return nil
}

// wrote serves a claim that is in the store.
func (r *Registry) wrote(c *claim, rev uint64) {
	r.apply(func(v *view) []registry.Event { return v.wrote(c.node, rev) })
	r.mu.Lock()
	defer r.mu.Unlock()
	c.rev = max(c.rev, rev)
}

// forget removes a claim that is gone.
func (r *Registry) forget(name, epoch string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[name]; c != nil && c.node.Epoch == epoch {
		delete(r.claims, name)
	}
}
