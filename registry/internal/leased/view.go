package leased

import (
	"time"

	"github.com/tandem-go/tandem/registry"
)

// view decides which records are served. Its inputs are the one watch of the store and,
// before the watch has them, this client's own writes; revisions order the two. It has no
// lock, no clock and does no I/O.
//
// A record that vanished while the store was in trouble has a grace period: it is served until that
// ends, or until its node writes again.
type view struct {
	keys     map[string]*entry
	streamed uint64 // highest revision that the watch has delivered

	mostServed, mostBytes int
	served, bytes         int    // records that are served, and their bytes
	refused               uint64 // how many found no room
}

// entry is the state of one key.
type entry struct {
	node     registry.Node
	rev      uint64
	served   bool      // false: only rev is valid, until the watch has caught up with it
	graceEnd time.Time // not zero: the record is gone from the store, and served until then
	listed   bool      // delivered by the snapshot that is being read, or written since it began
}

func newView(records, bytes int) view {
	return view{keys: make(map[string]*entry), mostServed: records, mostBytes: bytes}
}

// sizeOf returns about how many bytes a record takes in memory.
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

// room reports whether there is room for a record that replaces its node's former one, and counts
// the record.
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

// uncount ends the counting of an entry.
func (v *view) uncount(e *entry) {
	if e != nil && e.served {
		v.served--
		v.bytes -= sizeOf(e.node)
	}
}

// wrote adds a record that this client has written.
func (v *view) wrote(n registry.Node, rev uint64) []registry.Event {
	if rev <= v.streamed {
		return nil // the watch has delivered it, and perhaps what followed
	}
	return v.put(n, rev, true)
}

// read adds a record that this client has looked up.
func (v *view) read(n registry.Node, rev uint64) []registry.Event {
	if rev <= v.streamed {
		return nil
	}
	return v.put(n, rev, false)
}

// removed is called after this client has removed a record; the marker has the revision rev.
func (v *view) removed(name string, rev uint64) []registry.Event {
	e := v.keys[name]
	if rev <= v.streamed || e != nil && rev < e.rev {
		return nil
	}
	events := v.drop(name, registry.Left)
	v.keys[name] = &entry{rev: rev, listed: true} // older records may still follow
	return events
}

// watched adds a record from the watch; own says that it is this client's own.
func (v *view) watched(n registry.Node, rev uint64, own bool) []registry.Event {
	v.streamed = rev
	return v.put(n, rev, own)
}

// marker handles a marker from the watch. If grace is not zero, a record that has expired is
// served until then.
func (v *view) marker(name string, rev uint64, how registry.Change, grace time.Time) []registry.Event {
	v.streamed = rev
	e := v.keys[name]
	if e == nil || rev < e.rev {
		return nil
	}
	if how == registry.Expired && e.served && !grace.IsZero() {
		e.rev, e.listed, e.graceEnd = rev, true, grace
		return nil
	}
	return v.drop(name, how)
}

// put serves a record. A record of this client's own always finds room. If another finds
// none, its node's former record is still served.
func (v *view) put(n registry.Node, rev uint64, own bool) []registry.Event {
	old := entry{}
	if e := v.keys[n.Name]; e != nil {
		old = *e
	}
	if rev < old.rev {
		return nil // older than this client's own write
	}
	if own {
		v.uncount(v.keys[n.Name])
		v.served, v.bytes = v.served+1, v.bytes+sizeOf(n)
	} else if !v.room(n, old) {
		if e := v.keys[n.Name]; e != nil {
			e.rev, e.listed, e.graceEnd = rev, true, time.Time{}
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
	v.uncount(e)
	if e == nil || !e.served {
		return nil
	}
	return []registry.Event{{Change: how, Node: e.node}}
}

// beginSnapshot says that the watch starts again with the last state of each key. Its
// revisions may be lower than before, because the store may have lost its data.
func (v *view) beginSnapshot() {
	v.streamed = 0
	for name, e := range v.keys {
		if !e.served {
			delete(v.keys, name)
		}
		e.rev, e.listed = 0, false
	}
}

// endSnapshot says that the watch has delivered all keys. A record that it did not deliver
// has been gone for an unknown time; it is served until grace.
func (v *view) endSnapshot(grace time.Time) {
	for _, e := range v.keys {
		if e.served && !e.listed {
			e.graceEnd = grace
		}
	}
}

// release records that epoch certainly does not hold name any more.
func (v *view) release(name, epoch string) []registry.Event {
	e := v.keys[name]
	if e == nil || e.graceEnd.IsZero() || e.node.Epoch != epoch {
		return nil
	}
	return v.drop(name, registry.Left)
}

// expire drops the records whose grace period has ended.
func (v *view) expire(now time.Time) []registry.Event {
	var events []registry.Event
	for name, e := range v.keys {
		if !e.graceEnd.IsZero() && !now.Before(e.graceEnd) {
			events = append(events, v.drop(name, registry.Expired)...)
		}
	}
	return events
}

// next returns when expire has something to do next; zero if no record has a grace period.
func (v *view) next() time.Time {
	var first time.Time
	for _, e := range v.keys {
		if !e.graceEnd.IsZero() && (first.IsZero() || e.graceEnd.Before(first)) {
			first = e.graceEnd
		}
	}
	return first
}

// reached says that the watch has delivered all that the store held at revision rev.
func (v *view) reached(rev uint64) { v.streamed = max(v.streamed, rev) }
