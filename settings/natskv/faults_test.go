package natskv_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A server is killed and started again: the last good ones stay in force, and what was missed is applied.
func TestServerRestarted(t *testing.T) {
	cfg := embedded.Config{StoreDir: t.TempDir(), SyncAlways: true}
	srv := servers.Start(t, cfg)
	fast := []nats.Option{nats.ReconnectWait(10 * time.Millisecond), nats.MaxReconnects(-1)}
	slow := nats.CustomReconnectDelay(func(int) time.Duration { return 300 * time.Millisecond }) // so that it misses something
	js := servers.Connect(t, srv, fast...)
	s := create(t, js)
	first := put(t, s, retryKey, attempts(3), 0)
	n := follow(t, servers.Connect(t, srv, append(fast, slow)...), "a")
	cfg.Port = srv.Port()
	srv.Shutdown()
	n.event(t, settings.Away)
	want(t, "while it is away", n.Retry().Attempts, 3)
	servers.Start(t, cfg)
	for !js.Conn().IsConnected() {
		time.Sleep(time.Millisecond)
	}
	second := put(t, s, retryKey, attempts(4), first)
	raw(t, js, "retry", "{")
	c := n.event(t, settings.Refused)
	want(t, "refused", c.Version.Revision, second+1)
	n.revision(t, second)
	n.event(t, settings.Back)
	want(t, "when it is back", fmt.Sprint(n.Retry().Attempts, n.Away()), "4 <nil>")
}

// A node was cut off while more was written than the bucket remembers.
func TestHistoryCompacted(t *testing.T) {
	srv := servers.Start(t, embedded.Config{})
	js, relay := servers.Connect(t, srv), servers.Between(t, srv)
	s := create(t, js)
	revision := put(t, s, retryKey, attempts(1), 0)
	logged := put(t, s, settings.Key{Section: "log"}, settings.Log{}, 0)
	n := follow(t, relay.Connect(t), "a")
	relay.Mute()
	for i := range 3 * natskv.DefaultHistory {
		revision = put(t, s, retryKey, attempts(i+2), revision)
	}
	if _, err := s.Delete(t.Context(), settings.Key{Section: "log"}, logged, "ann"); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "tandem_settings")
	ok(t, err)
	ok(t, kv.PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1))) // nothing says any more that it was there
	all, err := s.History(t.Context(), retryKey)
	want(t, "the history", fmt.Sprint(len(all), err), fmt.Sprint(natskv.DefaultHistory, " <nil>"))
	relay.Speak()
	n.revision(t, revision)
	want(t, "in force", n.Retry().Attempts, 3*natskv.DefaultHistory+1)
	for _, st := range n.Applied() {
		want(t, "all that there is", st.Section, settings.RetrySection)
	}
}

// A bucket is deleted: the last good ones stay in force. It is made anew: it counts from then on, although its revisions are lower.
func TestBucketMadeAnew(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := create(t, js)
	revision := uint64(0)
	for i := range 5 {
		revision = put(t, s, retryKey, attempts(i+1), revision)
	}
	n := follow(t, js, "a")
	ok(t, js.DeleteKeyValue(t.Context(), "tandem_settings"))
	c := n.event(t, settings.Away)
	want(t, "away", fmt.Sprint(errors.Is(c, natskv.ErrNoBucket), n.Retry().Attempts), "true 5")
	ok(t, servers.Settled(servers.Within(t, 10*time.Second), func() error { _, err := natskv.Create(t.Context(), js, natskv.Config{Logger: quiet}); return err }))
	n.event(t, settings.Back)
	want(t, "empty", n.Retry().Attempts, 0)
	want(t, "its first revision", put(t, s, retryKey, attempts(7), 0), 1)
	n.revision(t, 1)
	want(t, "in force", n.Retry().Attempts, 7)
	ok(t, servers.Recreate(servers.Within(t, 10*time.Second), js, "KV_tandem_settings", nil)) // at once, so that nobody sees it gone
	n.eventWith(t, settings.Changed, func(c *settings.Change) bool { return c.Version == nil })
	put(t, s, retryKey, attempts(8), 0)
	n.wait(t, 8)
}

// A watch that has fallen silent, since its consumer is gone, is opened again.
func TestSilentWatch(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := create(t, js)
	revision := put(t, s, retryKey, attempts(1), 0)
	n := follow(t, js, "a")
	for i := range 3 {
		stream, err := js.Stream(t.Context(), "KV_tandem_settings")
		ok(t, err)
		for name := range stream.ConsumerNames(t.Context()).Name() {
			ok(t, stream.DeleteConsumer(t.Context(), name))
		}
		revision = put(t, s, retryKey, attempts(i+2), revision)
		n.wait(t, i+2)
	}
	want(t, "away", n.Away(), nil)
}
