// Package feed keeps the records that a registry serves, and reports their changes to
// watchers. All registries share it.
//
// A watcher gets states, not a history: the feed records which nodes have changed since the
// reader last got them, and looks up their state when the reader is ready. So a reader that
// falls behind costs one entry for each node, delays nobody, and always gets the latest
// state.
package feed

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/registry"
)

// Feed is a set of records with watchers. Its methods may be called concurrently. Records
// are cloned on the way in and out.
type Feed struct {
	done     chan struct{}  // closed by Close
	watching sync.WaitGroup // one for each watcher's goroutine

	mu       sync.Mutex // guards what follows, and the fields of watchers that say so
	closed   bool
	nodes    map[string]registry.Node
	watchers map[*watcher]struct{}
}

// watcher is one reader. Its goroutine owns reported.
type watcher struct {
	ready    chan struct{}            // holds a token when dirty is not empty
	reported map[string]registry.Node // what the reader knows

	// Guarded by Feed.mu.
	dirty []string                   // names that have changed since the reader got them, oldest first
	gone  map[string]registry.Change // for each name in dirty: how it was last removed, if it was
}

// New returns an empty feed.
func New() *Feed {
	return &Feed{
		done:     make(chan struct{}),
		nodes:    make(map[string]registry.Node),
		watchers: make(map[*watcher]struct{}),
	}
}

// Put adds n or replaces the record of its name.
func (f *Feed) Put(n registry.Node) {
	n = n.Clone()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[n.Name] = n
	for w := range f.watchers {
		w.touch(n.Name, 0)
	}
}

// Remove removes the record of name, if there is one; how is Left or Expired.
func (f *Feed) Remove(name string, how registry.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.nodes[name]; !ok {
		return
	}
	delete(f.nodes, name)
	for w := range f.watchers {
		w.touch(name, how)
	}
}

// Lookup returns the record of name.
func (f *Feed) Lookup(name string) (n registry.Node, ok bool) {
	f.mu.Lock()
	n, ok = f.nodes[name]
	f.mu.Unlock()
	return n.Clone(), ok // records in the map are never changed in place
}

// Nodes returns all records, sorted by name.
func (f *Feed) Nodes() []registry.Node {
	f.mu.Lock()
	nodes := slices.Collect(maps.Values(f.nodes))
	f.mu.Unlock()
	for i := range nodes {
		nodes[i] = nodes[i].Clone()
	}
	slices.SortFunc(nodes, func(a, b registry.Node) int {
		if a.Name < b.Name {
			return -1
		}
		return 1 // names are unique
	})
	return nodes
}

// Watch reports the records that exist and then changes, until ctx ends or the
// feed is closed; then the channel is closed. ok is false if the feed is closed.
func (f *Feed) Watch(ctx context.Context) (events <-chan registry.Event, ok bool) {
	w := &watcher{
		ready:    make(chan struct{}, 1),
		reported: make(map[string]registry.Node),
		gone:     make(map[string]registry.Change),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(f.nodes)) {
		w.touch(name, 0)
	}
	f.watchers[w] = struct{}{}
	ch := make(chan registry.Event)
	f.watching.Add(1)
	go f.serve(ctx, w, ch)
	return ch, true
}

// Close ends all watches and waits for their goroutines. The records are still served. It
// is idempotent.
func (f *Feed) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.done)
	}
	f.mu.Unlock()
	f.watching.Wait()
}

// serve is the goroutine of one watcher.
func (f *Feed) serve(ctx context.Context, w *watcher, ch chan<- registry.Event) {
	defer f.watching.Done()
	defer close(ch)
	defer func() {
		f.mu.Lock()
		delete(f.watchers, w)
		f.mu.Unlock()
	}()
	for {
		e, ok := f.next(w)
		if !ok {
			select {
			case <-w.ready:
				continue
			case <-ctx.Done():
				return
			case <-f.done:
				return
			}
		}
		select {
		case ch <- e:
		case <-ctx.Done():
			return
		case <-f.done:
			return
		}
	}
}

// next returns the next event for w, and false if there is none.
func (f *Feed) next(w *watcher) (registry.Event, bool) {
	for {
		f.mu.Lock()
		if len(w.dirty) == 0 {
			f.mu.Unlock()
			return registry.Event{}, false
		}
		name := w.dirty[0]
		w.dirty = w.dirty[1:]
		how := w.gone[name]
		delete(w.gone, name)
		now, exists := f.nodes[name]
		f.mu.Unlock()

		if !exists {
			now = registry.Node{}
		}
		if e, ok := w.tell(name, now, exists, how); ok {
			return e, true
		}
	}
}

// touch records that name has changed. The feed's lock is held.
func (w *watcher) touch(name string, how registry.Change) {
	if _, ok := w.gone[name]; !ok {
		w.dirty = append(w.dirty, name)
	}
	w.gone[name] = how
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// tell compares the state of the node with what the reader knows.
func (w *watcher) tell(name string, now registry.Node, exists bool, how registry.Change) (registry.Event, bool) {
	old, known := w.reported[name]
	switch {
	case !exists && !known:
		return registry.Event{}, false
	case !exists:
		delete(w.reported, name)
		return registry.Event{Change: how, Node: old.Clone()}, true
	case known && now.Equal(old):
		return registry.Event{}, false
	}
	w.reported[name] = now
	change := registry.Joined
	if known && now.Epoch == old.Epoch {
		change = registry.Updated
	}
	return registry.Event{Change: change, Node: now.Clone()}, true
}
