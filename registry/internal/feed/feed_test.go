package feed

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/test/bubble"
)

func node(name, epoch, addr string) registry.Node {
	return registry.Node{Name: name, Epoch: epoch, Addrs: map[string]string{"tcp": addr}}
}

func line(e registry.Event) string {
	return fmt.Sprintf("%v %s/%s@%s", e.Change, e.Node.Name, e.Node.Epoch, e.Node.Addrs["tcp"])
}

// A reader that keeps up gets every change. The transcript is the contract.
func TestTranscript(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		f := New()
		f.Put(node("b", "1", "x"))
		f.Put(node("a", "1", "x"))
		ctx, cancel := context.WithCancel(t.Context())
		events, _ := f.Watch(ctx)
		expect := func(want string) {
			t.Helper()
			if got := line(<-events); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		expect("joined a/1@x")
		expect("joined b/1@x")
		f.Put(node("a", "1", "y"))
		expect("updated a/1@y")
		f.Put(node("a", "1", "y")) // nothing changed
		f.Put(node("a", "2", "y"))
		expect("joined a/2@y")
		f.Remove("a", registry.Left)
		expect("left a/2@y")
		f.Remove("a", registry.Left)
		f.Remove("b", registry.Expired)
		expect("expired b/1@x")
		cancel()
		if e, open := <-events; open {
			t.Errorf("after the end: %v", e)
		}
	})
}

// A reader that has not read for a while then gets the latest state of each node, once.
func TestSlowReader(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		f := New()
		events, _ := f.Watch(t.Context())
		f.Put(node("a", "1", "0"))
		synctest.Wait() // the watcher now holds this event in hand
		for i := range 1000 {
			f.Put(node("a", "1", fmt.Sprint(i)))
			f.Put(node("b", "1", "x"))
			f.Remove("b", registry.Left)
			f.Put(node("c", "1", "x"))
		}
		for _, want := range []string{"joined a/1@0", "updated a/1@999", "joined c/1@x"} {
			if got := line(<-events); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		synctest.Wait()
		select {
		case e := <-events:
			t.Errorf("more: %v", line(e))
		default:
		}
		f.Close()
		f.Close()
		if _, ok := f.Watch(t.Context()); ok {
			t.Error("a closed feed can be watched")
		}
		if n, ok := f.Lookup("a"); !ok || n.Addrs["tcp"] != "999" || len(f.Nodes()) != 2 {
			t.Error("a closed feed no longer serves")
		}
	})
}

// Whatever happens and however far readers lag, the events that they got add up to the state,
// and each event fits the one before it.
func TestEventsAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOf(rapid.IntRange(0, 99)).Draw(rt, "steps")
		bubble.Test(t, func(t *testing.T) {
			f := New()
			events, _ := f.Watch(t.Context())
			known := make(map[string]registry.Node)
			read := func() bool {
				synctest.Wait()
				select {
				case e := <-events:
					old, ok := known[e.Node.Name]
					fits := e.Change == registry.Joined && (!ok || old.Epoch != e.Node.Epoch) ||
						e.Change == registry.Updated && ok && old.Epoch == e.Node.Epoch && !old.Equal(e.Node) ||
						(e.Change == registry.Left || e.Change == registry.Expired) && ok && old.Equal(e.Node)
					if !fits {
						t.Fatalf("%s after %v", line(e), old)
					}
					if e.Change >= registry.Left {
						delete(known, e.Node.Name)
					} else {
						known[e.Node.Name] = e.Node
					}
					return true
				default:
					return false
				}
			}
			for _, s := range steps {
				name := string(rune('a' + s%3))
				switch s / 3 % 4 {
				case 0, 1:
					f.Put(node(name, fmt.Sprint(s%2), fmt.Sprint(s/12%3)))
				case 2:
					f.Remove(name, registry.Left+registry.Change(s%2))
				case 3:
					read()
				}
			}
			for read() {
			}
			nodes := f.Nodes()
			if len(nodes) != len(known) {
				t.Fatalf("told %v, is %v", known, nodes)
			}
			for _, n := range nodes {
				if !n.Equal(known[n.Name]) {
					t.Fatalf("told %v, is %v", known[n.Name], n)
				}
			}
			f.Close()
		})
	})
}
