package jetstream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/state/storetest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	_ = flag.Set("rapid.checks", "20") // by default; each needs a stream
	goleak.VerifyTestMain(m)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, js natsjs.JetStream, cfg jetstream.Config) *jetstream.Store {
	t.Helper()
	cfg.Logger, cfg.StartWait = slog.New(slog.DiscardHandler), time.Minute
	s, err := jetstream.Open(t.Context(), js, cfg)
	ok(t, err)
	return s
}

var alice = state.Key{Kind: "bank.account", ID: "alice"}

func record(text string) state.Record { return state.Record{Token: 1, State: []byte(text)} }

// commit commits to a key that nobody else commits to.
func commit(t testing.TB, s state.Store, key state.Key, text string, after state.Revision) state.Revision {
	t.Helper()
	rev, err := s.Commit(servers.Within(t, 20*time.Second), key, record(text), after)
	ok(t, err)
	return rev
}

func holds(t testing.TB, s state.Store, key state.Key, text string, rev state.Revision) {
	t.Helper()
	rec, at, err := s.Load(servers.Within(t, 20*time.Second), key)
	if err != nil || string(rec.State) != text || at != rev {
		t.Errorf("%v holds %q at %+v, %v; want %q at %+v", key, rec.State, at, err, text, rev)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{})
	clusters := 0
	storetest.Run(t, storetest.Config{
		Open: func(t *testing.T) func() state.Store {
			clusters++
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters)}
			return func() state.Store { return open(t, servers.Connect(t, s), cfg) }
		},
		TooLarge: 1 << 20,
	})
}

// Two clusters on one NATS do not see one another.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	a, b := open(t, js, jetstream.Config{Cluster: "a"}), open(t, js, jetstream.Config{Cluster: "b"})
	at := commit(t, a, alice, "of a", state.Revision{})
	if _, rev, err := b.Load(t.Context(), alice); !errors.Is(err, state.ErrNone) || rev != (state.Revision{}) {
		t.Errorf("got %v, %v", rev, err)
	}
	bt := commit(t, b, alice, "of b", state.Revision{})
	holds(t, a, alice, "of a", at)
	holds(t, b, alice, "of b", bt)
}

// The properties that the stream must have, and the streams that are refused.
func TestStream(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 30*time.Second)
	commit(t, open(t, js, jetstream.Config{}), alice, "x", state.Revision{})
	stream, err := js.Stream(ctx, "tandem_state")
	ok(t, err)
	c := stream.CachedInfo().Config
	if c.Storage != natsjs.FileStorage || c.Replicas != 1 || c.AllowDirect || c.MaxMsgsPerSubject != 1 || c.Discard != natsjs.DiscardNew {
		t.Errorf("config %+v", c)
	}
	if err := stream.Purge(ctx); err == nil {
		t.Error("it could be purged")
	}
	if err := stream.DeleteMsg(ctx, 2); err == nil {
		t.Error("a message could be deleted")
	}
	fit := natsjs.StreamConfig{MaxMsgsPerSubject: 1, Discard: natsjs.DiscardNew, DenyDelete: true, DenyPurge: true}
	for name, change := range map[string]func(*natsjs.StreamConfig){
		"direct reads":     func(c *natsjs.StreamConfig) { c.AllowDirect = true },
		"for ever":         func(c *natsjs.StreamConfig) { c.MaxAge = time.Hour },
		"one message":      func(c *natsjs.StreamConfig) { c.MaxMsgsPerSubject = 2 },
		"discards old":     func(c *natsjs.StreamConfig) { c.MaxBytes, c.Discard = 1<<20, natsjs.DiscardOld },
		"deleted":          func(c *natsjs.StreamConfig) { c.DenyDelete = false },
		"purged":           func(c *natsjs.StreamConfig) { c.DenyPurge = false },
		"any token":        func(c *natsjs.StreamConfig) { c.Subjects = []string{c.Name + ".>"} },
		"have one subject": func(c *natsjs.StreamConfig) { c.Subjects = append(c.Subjects, "other") },
	} {
		cluster := strings.ReplaceAll(name, " ", "_")
		cfg := fit
		cfg.Name = cluster + "_state"
		cfg.Subjects = []string{cfg.Name + ".x.>"}
		change(&cfg)
		_, err := js.CreateStream(ctx, cfg)
		ok(t, err)
		if _, err := jetstream.Open(ctx, js, jetstream.Config{Cluster: cluster}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fit.Name, fit.Subjects = "fit_state", []string{"fit_state.x.>"}
	_, err = js.CreateStream(ctx, fit)
	ok(t, err)
	commit(t, open(t, js, jetstream.Config{Cluster: "fit"}), alice, "x", state.Revision{})
	for _, cluster := range []string{"a.b", "*", ">", "a b"} {
		if _, err := jetstream.Open(ctx, js, jetstream.Config{Cluster: cluster}); err == nil {
			t.Errorf("cluster %q: no error", cluster)
		}
	}
}

// A stream that is full refuses new keys, which is a proof, and forgets nothing. A commit that
// replaces another one still has room.
func TestFull(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 30*time.Second)
	for name, limit := range map[string]func(*natsjs.StreamConfig){
		"messages": func(c *natsjs.StreamConfig) { c.MaxMsgs = 10 },
		"bytes":    func(c *natsjs.StreamConfig) { c.MaxBytes = 10 << 10 },
	} {
		cfg := natsjs.StreamConfig{Name: name + "_state", Subjects: []string{name + "_state.x.>"}, MaxMsgsPerSubject: 1, Discard: natsjs.DiscardNew, DenyDelete: true, DenyPurge: true}
		limit(&cfg)
		_, err := js.CreateStream(ctx, cfg)
		ok(t, err)
		s := open(t, js, jetstream.Config{Cluster: name})
		text := strings.Repeat("x", 800)
		var revs []state.Revision
		for {
			rev, err := s.Commit(ctx, state.Key{Kind: "k", ID: fmt.Sprint(len(revs))}, record(text), state.Revision{})
			if err != nil {
				if !errors.Is(err, state.ErrFull) || !errors.Is(err, state.ErrNotStored) || errors.Is(err, state.ErrUnknown) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			revs = append(revs, rev)
		}
		if n := len(revs); n != 9 && n != 10 {
			t.Errorf("%s: %d are stored", name, n)
		}
		revs[0] = commit(t, s, state.Key{Kind: "k", ID: "0"}, text, revs[0])
		for i, rev := range revs {
			holds(t, s, state.Key{Kind: "k", ID: fmt.Sprint(i)}, text, rev)
		}
	}
}

// Of a record that is too large, nothing is sent.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{MaxPayload: 10 << 10}))
	s := open(t, js, jetstream.Config{})
	rev := commit(t, s, alice, strings.Repeat("x", 9<<10), state.Revision{})
	before := js.Conn().Stats().OutMsgs
	if _, err := s.Commit(t.Context(), alice, record(strings.Repeat("x", 10<<10)), rev); !errors.Is(err, state.ErrTooLarge) || !errors.Is(err, state.ErrNotStored) {
		t.Errorf("got %v", err)
	}
	if sent := js.Conn().Stats().OutMsgs - before; sent != 0 {
		t.Errorf("%d messages were sent", sent)
	}
	commit(t, s, alice, "y", rev)
}

// What is stored outlives the server.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir(), SyncAlways: true}
	srv := servers.Start(t, cfg)
	cfg.Port = srv.Port()
	s := open(t, servers.Connect(t, srv), jetstream.Config{})
	rev := state.Revision{}
	for i := range 5 {
		rev = commit(t, s, alice, fmt.Sprint(i), rev)
		srv.Shutdown()
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := s.Commit(short, alice, record("x"), rev); !errors.Is(err, state.ErrNotStored) && !errors.Is(err, state.ErrUnknown) {
			t.Errorf("without a server: %v", err)
		}
		if _, _, err := s.Load(short, alice); !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("without a server: %v", err)
		}
		cancel()
		srv = servers.Start(t, cfg)
		holds(t, s, alice, fmt.Sprint(i), rev)
	}
}

// A message that is no record is an error of that key alone, and its bytes are shown. The key can
// be written again.
func TestStrangeMessage(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := open(t, js, jetstream.Config{})
	bob := state.Key{Kind: alice.Kind, ID: "bob"}
	rev := commit(t, s, bob, "x", state.Revision{})
	stream, err := js.Stream(t.Context(), "tandem_state")
	ok(t, err)
	prefix := strings.TrimSuffix(stream.CachedInfo().Config.Subjects[0], ">")
	_, err = js.Publish(t.Context(), prefix+"bank=2eaccount.alice", []byte("\x09strange"))
	ok(t, err)
	_, at, err := s.Load(t.Context(), alice)
	var bad *state.FormatError
	if !errors.Is(err, state.ErrFormat) || !errors.As(err, &bad) || string(bad.Data) != "\x09strange" || bad.Version != 9 {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Commit(t.Context(), alice, record("y"), state.Revision{}); !errors.Is(err, state.ErrConflict) {
		t.Errorf("got %v", err)
	}
	holds(t, s, bob, "x", rev)
	holds(t, s, alice, "y", commit(t, s, alice, "y", at))

	raw, err := stream.GetLastMsgForSubject(t.Context(), prefix+"bank=2eaccount.bob") // the record of somebody else
	ok(t, err)
	_, err = js.Publish(t.Context(), prefix+"bank=2eaccount.carol", raw.Data)
	ok(t, err)
	if _, _, err := s.Load(t.Context(), state.Key{Kind: alice.Kind, ID: "carol"}); !errors.Is(err, state.ErrFormat) {
		t.Errorf("got %v", err)
	}
}

// A closed connection is an error at once.
func TestClosed(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := open(t, js, jetstream.Config{})
	js.Conn().Close()
	if _, err := s.Commit(t.Context(), alice, record("x"), state.Revision{}); !errors.Is(err, state.ErrNotStored) {
		t.Errorf("got %v", err)
	}
	if _, _, err := s.Load(t.Context(), alice); !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
