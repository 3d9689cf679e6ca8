package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

var retryKey = settings.Key{Section: settings.RetrySection}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

// attempts is a value that is easy to see.
func attempts(n int) settings.Value { return settings.Retry{Retry: rpc.Retry{Attempts: n}} }

func create(t testing.TB, js jetstream.JetStream) *natskv.Store {
	t.Helper()
	s, err := natskv.Create(t.Context(), js, natskv.Config{Logger: quiet})
	ok(t, err)
	return s
}

func put(t testing.TB, s *natskv.Store, key settings.Key, v settings.Value, expected uint64) uint64 {
	t.Helper()
	revision, err := s.Put(servers.Within(t, 10*time.Second), key, v, expected, "ann")
	ok(t, err)
	return revision
}

// raw writes what no Put would, and returns the revision.
func raw(t testing.TB, js jetstream.JetStream, key, data string) uint64 {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), "tandem_settings")
	ok(t, err)
	revision, err := kv.PutString(t.Context(), key, data)
	ok(t, err)
	return revision
}

// node is a system that follows the bucket.
type node struct {
	*actor.System
	*settings.Watcher
	events <-chan actor.Event
}

// follow starts a node.
func follow(t testing.TB, js jetstream.JetStream, name string) *node {
	t.Helper()
	src, err := natskv.Open(js, natskv.Config{Logger: quiet, Check: 50 * time.Millisecond})
	ok(t, err)
	sys, err := actor.NewSystem(actor.Config{Name: name, Logger: quiet})
	ok(t, err)
	n := &node{System: sys, events: sys.Events(t.Context())}
	n.Watcher, err = settings.Watch(t.Context(), src, settings.Targets{System: sys, Logger: quiet})
	ok(t, err)
	t.Cleanup(func() {
		n.Watcher.Close()
		ok(t, sys.Shutdown(context.Background()))
	})
	return n
}

// event waits for an event of a type.
func (n *node) event(t testing.TB, typ rpc.EventType) *settings.Change {
	t.Helper()
	return n.eventWith(t, typ, func(*settings.Change) bool { return true })
}

// revision waits until a revision is in force.
func (n *node) revision(t testing.TB, revision uint64) {
	t.Helper()
	n.eventWith(t, settings.Changed, func(c *settings.Change) bool { return c.Version != nil && c.Version.Revision == revision })
}

func (n *node) eventWith(t testing.TB, typ rpc.EventType, is func(*settings.Change) bool) *settings.Change {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case <-late:
			t.Fatalf("no event %q; applied: %+v, away: %v", typ, n.Applied(), n.Away())
		case e := <-n.events:
			var c *settings.Change
			if e.Type == typ && errors.As(e.Err, &c) && is(c) {
				return c
			}
		}
	}
}
