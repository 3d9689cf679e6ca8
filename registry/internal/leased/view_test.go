package leased

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// TestView runs transcripts: the inputs of the view, and the events that must follow from them. Times
// are in seconds.
func TestView(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	node := func(name, epoch, addr string) registry.Node {
		return registry.Node{Name: name, Epoch: epoch, Addrs: map[string]string{"tcp": addr}}
	}
	type step struct {
		do   func(v *view) []registry.Event
		want string
	}
	told := func(name, epoch, addr string, rev uint64, want string) step {
		return step{func(v *view) []registry.Event { return v.watched(node(name, epoch, addr), rev, false) }, want}
	}
	wrote := func(name, epoch, addr string, rev uint64, want string) step {
		return step{func(v *view) []registry.Event { return v.wrote(node(name, epoch, addr), rev) }, want}
	}
	removed := func(name string, rev uint64, want string) step {
		return step{func(v *view) []registry.Event { return v.removed(name, rev) }, want}
	}
	left := func(name string, rev uint64, want string) step {
		return step{func(v *view) []registry.Event { return v.marker(name, rev, registry.Left, time.Time{}) }, want}
	}
	expired := func(name string, rev uint64, grace int, want string) step {
		until := time.Time{}
		if grace != 0 {
			until = at(grace)
		}
		return step{func(v *view) []registry.Event { return v.marker(name, rev, registry.Expired, until) }, want}
	}
	settle := func(name, epoch, want string) step {
		return step{func(v *view) []registry.Event { return v.release(name, epoch) }, want}
	}
	due := func(now int, want string) step {
		return step{func(v *view) []registry.Event { return v.expire(at(now)) }, want}
	}
	begin := step{func(v *view) []registry.Event { v.beginSnapshot(); return nil }, ""}
	end := func(grace int) step {
		return step{func(v *view) []registry.Event { v.endSnapshot(at(grace)); return nil }, ""}
	}

	for name, steps := range map[string][]step{
		"a life": {
			told("a", "1", "x", 1, "joined a/1@x"),
			told("a", "1", "x", 2, ""), // renewed
			told("a", "1", "y", 3, "updated a/1@y"),
			left("a", 4, "left a/1@y"),
			told("a", "2", "y", 5, "joined a/2@y"),
			expired("a", 6, 0, "expired a/2@y"),
			expired("a", 7, 0, ""),
		},
		"the watch repeats what this client wrote": {
			wrote("a", "1", "x", 1, "joined a/1@x"),
			wrote("a", "1", "y", 2, "updated a/1@y"),
			told("a", "1", "x", 1, ""),
			told("a", "1", "y", 2, ""),
			removed("a", 3, "left a/1@y"),
			left("a", 3, ""),
		},
		"this client learns late that its write was done": {
			told("a", "1", "x", 1, "joined a/1@x"),
			left("a", 2, "left a/1@x"),
			wrote("a", "1", "x", 1, ""),
			told("a", "2", "y", 3, "joined a/2@y"),
			removed("a", 2, ""),
		},
		"older records do not undo a removal": {
			told("a", "1", "x", 1, "joined a/1@x"),
			removed("a", 3, "left a/1@x"),
			told("a", "1", "y", 2, ""),
			left("a", 3, ""),
			told("a", "1", "y", 4, "joined a/1@y"),
		},
		"an expiry in trouble is not believed at once": {
			told("a", "1", "x", 1, "joined a/1@x"),
			told("b", "1", "x", 2, "joined b/1@x"),
			told("c", "1", "x", 3, "joined c/1@x"),
			told("d", "1", "x", 4, "joined d/1@x"),
			expired("a", 5, 10, ""),
			expired("b", 6, 10, ""),
			expired("c", 7, 11, ""),
			expired("d", 8, 12, ""),
			due(9, ""),
			told("b", "1", "x", 9, ""),              // it was alive
			told("d", "2", "x", 10, "joined d/2@x"), // it was not, and is back
			due(10, "expired a/1@x"),
			settle("c", "2", ""),
			settle("c", "1", "left c/1@x"), // somebody knows that it is dead
			due(99, ""),
		},
		"a snapshot confirms, changes, removes and leaves out": {
			told("a", "1", "x", 10, "joined a/1@x"),
			told("b", "1", "x", 11, "joined b/1@x"),
			told("c", "1", "x", 12, "joined c/1@x"),
			told("d", "1", "x", 13, "joined d/1@x"),
			begin, // of a bucket that was recreated: its revisions begin again
			told("a", "1", "x", 1, ""),
			told("b", "2", "x", 2, "joined b/2@x"),
			left("c", 3, "left c/1@x"),
			end(20),
			due(19, ""),
			due(20, "expired d/1@x"),
			due(99, ""),
		},
		"a second trouble renews the doubt": {
			told("a", "1", "x", 1, "joined a/1@x"),
			begin, end(10),
			begin, end(20),
			due(10, ""),
			begin, expired("a", 2, 30, ""), end(30),
			due(20, ""),
			due(30, "expired a/1@x"),
		},
		"what is written while a snapshot is read is not missing from it": {
			begin,
			wrote("a", "1", "x", 5, "joined a/1@x"),
			removed("b", 6, ""),
			end(10),
			due(99, ""),
		},
		"a removal from a snapshot's start is no reason to forget": {
			removed("a", 6, ""),
			begin,
			told("a", "1", "x", 1, "joined a/1@x"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newView(DefaultMaxRecords, DefaultMaxBytes)
			for i, s := range steps {
				var got []string
				for _, e := range s.do(&v) {
					got = append(got, fmt.Sprintf("%v %s/%s@%s", e.Change, e.Node.Name, e.Node.Epoch, e.Node.Addrs["tcp"]))
				}
				slices.Sort(got)
				if g := strings.Join(got, ", "); g != s.want {
					t.Errorf("step %d: got %q, want %q", i, g, s.want)
				}
			}
		})
	}
}

func TestViewNext(t *testing.T) {
	v := newView(DefaultMaxRecords, DefaultMaxBytes)
	if !v.next().IsZero() {
		t.Error("no record has a grace period")
	}
	for i, name := range []string{"a", "b"} {
		v.watched(registry.Node{Name: name, Epoch: "1"}, uint64(i+1), false)
		v.marker(name, uint64(i+3), registry.Expired, time.Unix(int64(20-i), 0))
	}
	if got := v.next(); !got.Equal(time.Unix(19, 0)) {
		t.Error(got)
	}
	if events := v.expire(time.Unix(20, 0)); len(events) != 2 || len(v.keys) != 0 || !v.next().IsZero() {
		t.Errorf("events %v, keys %v", events, v.keys)
	}
}
