package natskv

import (
	"time"

	"github.com/tandem-go/tandem/registry"
)

// view decides what to make of what the bucket's stream says. It is fed by the one
// watch of the bucket and, ahead of that, by this client's own writes; revisions put
// the two in order. It has no lock, no clock and does no I/O.
//
// A record that vanished while NATS was in trouble is doubtful: it is served until
// its grace ends, or until its node writes again.
type view struct {
	keys     map[string]*entry
	streamed uint64 // highest revision that the watch has told

	mostServed, mostBytes int
	served, bytes         int    // records that are served, and what they take
	refused               uint64 // how often there was no room for one
}

// entry is what is known of one key.
type entry struct {
	node     registry.Node
	rev      uint64
	served   bool      // false: only rev counts, until the watch has caught up with it
	doubtful time.Time // not zero: the record is gone from the bucket, and served until then
	listed   bool      // told by the snapshot that is being read, or written since it began
}

func newView(records, bytes int) view {
	return view{keys: make(map[string]*entry), mostServed: records, mostBytes: bytes}
}

// sizeOf is what a record takes in memory, about.
func sizeOf(n registry.Node) int {
	const each = 128 // entry of a map, or of a list
	size := 4*each + len(n.Name) + len(n.Epoch) + len(n.Version) + len(n.Zone) + len(n.Principal)
	for road, addr := range n.Addrs {
		size += each + len(road) + len(addr)
	}
	for service, actors := range n.Services {
		size += each + len(service)
		for _, a := range actors {
			size += each + len(a)
		}
	}
	return size
}

// room reports whether a record finds room in place of what its node had, and counts it.
func (v *view) room(n registry.Node, old entry) bool {
	served, bytes := v.served+1, v.bytes+sizeOf(n)
	if old.served {
		served, bytes = served-1, bytes-sizeOf(old.node)
	}
	if served > v.mostServed || bytes > v.mostBytes {
		v.refused++
		return false
	}
	v.served, v.bytes = served, bytes
	return true
}

// lose ends the counting of an entry.
func (v *view) lose(e *entry) {
	if e != nil && e.served {
		v.served--
		v.bytes -= sizeOf(e.node)
	}
}

// wrote takes in a record that this client wrote.
func (v *view) wrote(n registry.Node, rev uint64) []registry.Event {
	if rev <= v.streamed {
		return nil // told already, and what followed it too
	}
	return v.put(n, rev, true)
}

// read takes in a record that this client has looked up.
func (v *view) read(n registry.Node, rev uint64) []registry.Event {
	if rev <= v.streamed {
		return nil
	}
	return v.put(n, rev, false)
}

// removed takes in that this client removed a record; the marker has revision rev.
func (v *view) removed(name string, rev uint64) []registry.Event {
	e := v.keys[name]
	if rev <= v.streamed || e != nil && rev < e.rev {
		return nil
	}
	events := v.drop(name, registry.Left)
	v.keys[name] = &entry{rev: rev, listed: true} // older records may still follow
	return events
}

// told takes in a record from the watch; own says that it is this client's own.
func (v *view) told(n registry.Node, rev uint64, own bool) []registry.Event {
	v.streamed = rev
	return v.put(n, rev, own)
}

// marker takes in a marker from the watch. An expiry is believed only if grace is
// zero; otherwise the record is served until then.
func (v *view) marker(name string, rev uint64, how registry.Change, grace time.Time) []registry.Event {
	v.streamed = rev
	e := v.keys[name]
	if e == nil || rev < e.rev {
		return nil
	}
	if how == registry.Expired && e.served && !grace.IsZero() {
		e.rev, e.listed, e.doubtful = rev, true, grace
		return nil
	}
	return v.drop(name, how)
}

// put serves a record. For one of this client's own there is always room; what finds none is
// left out, and what its node had before is served on.
func (v *view) put(n registry.Node, rev uint64, own bool) []registry.Event {
	old := entry{}
	if e := v.keys[n.Name]; e != nil {
		old = *e
	}
	if rev < old.rev {
		return nil // older than what this client wrote itself
	}
	if own {
		v.lose(v.keys[n.Name])
		v.served, v.bytes = v.served+1, v.bytes+sizeOf(n)
	} else if !v.room(n, old) {
		if e := v.keys[n.Name]; e != nil {
			e.rev, e.listed, e.doubtful = rev, true, time.Time{}
		}
		return nil
	}
	v.keys[n.Name] = &entry{node: n, rev: rev, served: true, listed: true}
	switch {
	case !old.served || old.node.Epoch != n.Epoch:
		return []registry.Event{{Change: registry.Joined, Node: n}}
	case !old.node.Equal(n):
		return []registry.Event{{Change: registry.Updated, Node: n}}
	}
	return nil
}

func (v *view) drop(name string, how registry.Change) []registry.Event {
	e := v.keys[name]
	delete(v.keys, name)
	v.lose(e)
	if e == nil || !e.served {
		return nil
	}
	return []registry.Event{{Change: how, Node: e.node}}
}

// beginSnapshot says that the watch starts over with the last state of each key.
// Its revisions need not follow on those before: the bucket may have been made anew.
func (v *view) beginSnapshot() {
	v.streamed = 0
	for name, e := range v.keys {
		if !e.served {
			delete(v.keys, name)
		}
		e.rev, e.listed = 0, false
	}
}

// endSnapshot says that the watch has told all keys. A record that it did not tell
// is gone for an unknown time; it is served until grace.
func (v *view) endSnapshot(grace time.Time) {
	for _, e := range v.keys {
		if e.served && !e.listed {
			e.doubtful = grace
		}
	}
}

// settle says that epoch does not hold name any more, for certain.
func (v *view) settle(name, epoch string) []registry.Event {
	e := v.keys[name]
	if e == nil || e.doubtful.IsZero() || e.node.Epoch != epoch {
		return nil
	}
	return v.drop(name, registry.Left)
}

// due ends the grace of doubtful records whose time has come.
func (v *view) due(now time.Time) []registry.Event {
	var events []registry.Event
	for name, e := range v.keys {
		if !e.doubtful.IsZero() && !now.Before(e.doubtful) {
			events = append(events, v.drop(name, registry.Expired)...)
		}
	}
	return events
}

// next returns when due has something to do next; zero if nothing is doubtful.
func (v *view) next() time.Time {
	var first time.Time
	for _, e := range v.keys {
		if !e.doubtful.IsZero() && (first.IsZero() || e.doubtful.Before(first)) {
			first = e.doubtful
		}
	}
	return first
}
