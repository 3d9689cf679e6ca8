package simulation

import (
	"bytes"
	"errors"
	"sync"
)

// ErrUnplugged is the error of a write by a start that is dead, or that a later one has replaced.
var ErrUnplugged = errors.New("simulation: this start of the node cannot write any more")

// Files are what a node's application keeps beyond the node's starts. Only its latest start can
// write.
type Files struct {
	mu     sync.Mutex // guards what follows
	kept   map[string][]byte
	latest int // start, the only one that can write
}

// Get returns a copy of what is kept under a name, and whether there is anything.
func (f *Files) Get(name string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, found := f.kept[name]
	return bytes.Clone(b), found
}

// Put keeps a copy of b under a name.
func (f *Files) Put(l *Life, name string, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.unplugged.Load() || l.No < f.latest {
		return ErrUnplugged
	}
	if f.kept == nil {
		f.kept = map[string][]byte{}
	}
	f.kept[name], f.latest = bytes.Clone(b), l.No
	return nil
}

// take makes a start the only one that can write.
func (f *Files) take(l *Life) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest = max(f.latest, l.No)
}
