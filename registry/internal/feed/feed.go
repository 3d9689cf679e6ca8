// Package feed keeps the records that a registry serves and tells watchers how
// they change. It is the part that every registry would otherwise write again.
//
// A watcher is told states, not a history: the feed notes which nodes changed since
// a reader was last told of them, and looks up how they stand when the reader is
// ready. So a reader that falls behind costs one entry a node, holds nobody up, and
// always ends on the latest state.
package feed

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/registry"
)

// Feed is a set of records with watchers. Methods may be called concurrently. What
// goes in and what comes out is cloned.
type Feed struct {
	done     chan struct{}  // closed by Close
	watching sync.WaitGroup // one for each watcher's goroutine

	mu       sync.Mutex // guards all below, and the fields of watchers that say so
	closed   bool
	nodes    map[string]registry.Node
	watchers map[*watcher]struct{}
}

// watcher is one reader. Its goroutine owns told.
type watcher struct {
	ready chan struct{}            // holds a token when dirty is not empty
	told  map[string]registry.Node // what the reader knows

	// Guarded by Feed.mu.
	dirty []string                   // names that changed since the reader was told, oldest first
	gone  map[string]registry.Change // for each name in dirty: how it was last removed, if it was
}

// New returns a feed of nothing.
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

// Remove takes the record of name out, if there is one; how is Left or Expired.
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
		ready: make(chan struct{}, 1),
		told:  make(map[string]registry.Node),
		gone:  make(map[string]registry.Change),
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

// Close ends all watches and waits for their goroutines. The records go on being
// served. It is idempotent.
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

// next returns what to tell w next, and false if w knows all.
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

// touch notes that name changed. The feed's lock is held.
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

// tell compares how the node stands with what the reader knows.
func (w *watcher) tell(name string, now registry.Node, exists bool, how registry.Change) (registry.Event, bool) {
	old, known := w.told[name]
	switch {
	case !exists && !known:
		return registry.Event{}, false
	case !exists:
		delete(w.told, name)
		return registry.Event{Change: how, Node: old.Clone()}, true
	case known && now.Equal(old):
		return registry.Event{}, false
	}
	w.told[name] = now
	change := registry.Joined
	if known && now.Epoch == old.Epoch {
		change = registry.Updated
	}
	return registry.Event{Change: change, Node: now.Clone()}, true
}
