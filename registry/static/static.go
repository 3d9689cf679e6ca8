// Package static is a registry in memory, without a service behind it: a fixed list of nodes,
// and the nodes that systems of this process register.
//
//	reg := static.New(
//		registry.Node{Name: "b", Addrs: map[string]string{"tcp": "10.0.0.2:7420"}},
//		registry.Node{Name: "c", Addrs: map[string]string{"tcp": "10.0.0.3:7420"}})
//
// Several systems of one process may share one Registry and find each other through it, as
// tests do. Processes exchange nothing: each has its own list, in which the epochs of the
// others are unknown (empty), and nobody notices a name that two processes use.
package static

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/feed"
)

// Registry is a registry in memory. Its methods may be called concurrently and
// never block; they fail with the sentinels of package registry, or if ctx ended.
type Registry struct {
	feed *feed.Feed // the records that are served

	mu     sync.Mutex                    // guards what follows; feed changes under it
	listed map[string]registry.Node      // given to New without an epoch
	held   map[string]string             // name → epoch that holds it
	past   map[string]registry.Departure // name → its latest end, for registry.Memory
}

var _ registry.Registry = (*Registry)(nil)

// New returns a registry of the given nodes. If two have one name, the later one counts. A
// node without an epoch is listed: it is served unless an epoch holds its name. A node with
// an epoch counts as registered.
func New(nodes ...registry.Node) *Registry {
	r := &Registry{
		feed:   feed.New(),
		listed: make(map[string]registry.Node),
		held:   make(map[string]string),
		past:   make(map[string]registry.Departure),
	}
	for _, n := range nodes {
		delete(r.listed, n.Name)
		delete(r.held, n.Name)
		if n.Epoch == "" {
			r.listed[n.Name] = n.Clone()
		} else {
			r.held[n.Name] = n.Epoch
		}
		r.feed.Put(n)
	}
	return r
}

// List replaces the listed nodes by the given ones, whose epochs do not count. A listed node
// whose name an epoch holds is served when that gives the name up.
func (r *Registry) List(nodes ...registry.Node) {
	listed := make(map[string]registry.Node, len(nodes))
	for _, n := range nodes {
		n = n.Clone()
		n.Epoch = ""
		listed[n.Name] = n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.listed {
		_, stays := listed[name]
		if _, held := r.held[name]; !stays && !held {
			r.feed.Remove(name, registry.Left)
		}
	}
	for name, n := range listed {
		if _, held := r.held[name]; !held {
			r.feed.Put(n)
		}
	}
	r.listed = listed
}

// Register claims n.Name for n.Epoch, or replaces the record that this epoch
// registered before. The record takes the place of a listed one as a whole.
func (r *Registry) Register(ctx context.Context, n registry.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.Valid(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch, ok := r.held[n.Name]; ok && epoch != n.Epoch {
		return fmt.Errorf("static: register %q: %w", n.Name, &registry.TakenError{Holder: r.holder(n.Name)})
	}
	r.held[n.Name] = n.Epoch
	r.feed.Put(n)
	return nil
}

// Update replaces the record of an epoch that holds the name. It claims nothing.
func (r *Registry) Update(ctx context.Context, n registry.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.Valid(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch, ok := r.held[n.Name]; !ok || epoch != n.Epoch {
		return fmt.Errorf("static: update %q: %w", n.Name, registry.ErrLost)
	}
	r.feed.Put(n)
	return nil
}

// holder returns the record under a name that is held. r.mu is held.
func (r *Registry) holder(name string) registry.Node {
	n, _ := r.feed.Lookup(name)
	return n
}

// Renew only says whether the claim is still there. A claim never expires.
func (r *Registry) Renew(ctx context.Context, name, epoch string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if held, ok := r.held[name]; !ok || held != epoch {
		return fmt.Errorf("static: renew %q: %w", name, registry.ErrLost)
	}
	return nil
}

// Deregister gives up the claim. A watcher sees the node leave or, if its name is listed,
// join again without an epoch.
func (r *Registry) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(last) > registry.MaxLast {
		return fmt.Errorf("static: deregister %q: %w: it leaves %d bytes behind, %d are allowed", name, registry.ErrTooLarge, len(last), registry.MaxLast)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if held, ok := r.held[name]; !ok || held != epoch {
		return nil
	}
	delete(r.held, name)
	now := time.Now()
	maps.DeleteFunc(r.past, func(_ string, d registry.Departure) bool { return forgotten(d, now) })
	r.past[name] = registry.Departure{Epoch: epoch, Change: registry.Left, At: now, Last: bytes.Clone(last)}
	if n, ok := r.listed[name]; ok {
		r.feed.Put(n)
	} else {
		r.feed.Remove(name, registry.Left)
	}
	return nil
}

// Evict removes the claim of an epoch that is known to be dead. A listed node stays.
func (r *Registry) Evict(ctx context.Context, name, epoch string) error {
	return r.Deregister(ctx, name, epoch, nil)
}

// Lookup returns the record of a node, ErrAway or ErrNotFound.
func (r *Registry) Lookup(ctx context.Context, name string) (registry.Node, error) {
	if n, ok := r.feed.Lookup(name); ok {
		return n, nil
	}
	if _, err := r.Departed(ctx, name); err == nil {
		return registry.Node{}, fmt.Errorf("static: lookup %q: %w", name, registry.ErrAway)
	}
	return registry.Node{}, fmt.Errorf("static: lookup %q: %w", name, registry.ErrNotFound)
}

// Departed says how the latest epoch that gave name up ended.
func (r *Registry) Departed(ctx context.Context, name string) (registry.Departure, error) {
	r.mu.Lock()
	d, ok := r.past[name]
	r.mu.Unlock()
	if !ok || forgotten(d, time.Now()) {
		return registry.Departure{}, fmt.Errorf("static: departure of %q: %w", name, registry.ErrNotFound)
	}
	d.Last = bytes.Clone(d.Last)
	return d, nil
}

// Refresh does nothing: there is no cache.
func (r *Registry) Refresh(ctx context.Context, name string) error { return ctx.Err() }

func forgotten(d registry.Departure, now time.Time) bool { return now.Sub(d.At) > registry.Memory }

// Nodes returns all records, sorted by name.
func (r *Registry) Nodes(ctx context.Context) ([]registry.Node, error) {
	return r.feed.Nodes(), nil
}

// Watch reports changes until ctx ends.
func (r *Registry) Watch(ctx context.Context) (<-chan registry.Event, error) {
	events, _ := r.feed.Watch(ctx) // this feed is never closed
	return events, nil
}

// Lease returns zero: a claim lives as long as the process.
func (r *Registry) Lease() time.Duration { return 0 }
