package jetstream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(serveEnv); ok {
		serve(dir)
	}
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	goleak.VerifyTestMain(m)
}

func take(t testing.TB, ctx context.Context, store ledger.Store, epoch string) (ledger.Log, []ledger.Change) {
	t.Helper()
	var kept []ledger.Change
	log, err := store.Take(ctx, "n", epoch, func(c ledger.Change) { kept = append(kept, c) })
	if err != nil {
		t.Fatal(err)
	}
	return log, kept
}

func change(seq uint64) ledger.Change {
	return ledger.Change{Op: ledger.Begun, ID: ledger.ID{Grant: [16]byte{1}, Seq: seq}, Time: time.Unix(1, 2), Fingerprint: seq}
}

func some(from, to uint64) (changes []ledger.Change) {
	for seq := from; seq <= to; seq++ {
		changes = append(changes, change(seq))
	}
	return changes
}

func numbers(changes []ledger.Change) (all []uint64) {
	for _, c := range changes {
		all = append(all, c.ID.Seq)
	}
	return all
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{SyncAlways: true})
	clusters := 0
	storetest.Run(t, storetest.Config{
		Open: func(t *testing.T) func() ledger.Store {
			clusters++
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters)}
			return func() ledger.Store { return jetstream.New(servers.Connect(t, s), cfg) }
		},
		TooLarge: 1 << 20,
	})
}

func TestTooLarge(t *testing.T) {
	ctx := servers.Within(t, 20*time.Second)
	log, _ := take(t, ctx, jetstream.New(servers.Connect(t, servers.Start(t, embedded.Config{})), jetstream.Config{}), "e1")
	c := ledger.Change{Op: ledger.Done, ID: ledger.ID{Seq: 1}, Time: time.Unix(1, 2), Outcome: make([]byte, 1<<20)}
	if err := log.Append(ctx, []ledger.Change{c}); !errors.Is(err, jetstream.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// The properties that the stream must have, and the streams that are refused.
func TestStream(t *testing.T) {
	s := servers.Start(t, embedded.Config{})
	js := servers.Connect(t, s)
	ctx := servers.Within(t, 30*time.Second)
	take(t, ctx, jetstream.New(js, jetstream.Config{}), "e1")
	stream, err := js.Stream(ctx, "tandem_records")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.Storage != natsjs.FileStorage || c.Replicas != 1 || c.MaxAge != 0 || c.AllowDirect || !c.DenyDelete || c.Discard != natsjs.DiscardNew {
		t.Errorf("config %+v", c)
	}
	for name, cfg := range map[string]natsjs.StreamConfig{
		"AllowDirect":      {AllowDirect: true},
		"forgets":          {MaxAge: time.Hour},
		"discards old":     {MaxBytes: 1 << 20},
		"denies purges":    {DenyPurge: true},
		"at most":          {MaxMsgSize: 1000},
		"does not have":    {Subjects: []string{"other"}},
		"forgets messages": {MaxMsgsPerSubject: 1},
	} {
		cluster := strings.ReplaceAll(name, " ", "_")
		cfg.Name = cluster + "_records"
		if cfg.Subjects == nil {
			cfg.Subjects = []string{cfg.Name + ".*"}
		}
		if _, err := js.CreateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		_, err := jetstream.New(js, jetstream.Config{Cluster: cluster}).Take(ctx, "n", "e", nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, node := range []string{"", "a.b", "*", ">", "a b"} {
		if _, err := jetstream.New(js, jetstream.Config{}).Take(ctx, node, "e", nil); err == nil {
			t.Errorf("node %q: no error", node)
		}
	}
	small := servers.Connect(t, servers.Start(t, embedded.Config{MaxPayload: 64 << 10}))
	if _, err := jetstream.New(small, jetstream.Config{}).Take(ctx, "n", "e", nil); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("a small max_payload: %v", err)
	}
	js.Conn().Close()
	if _, err := jetstream.New(js, jetstream.Config{}).Take(ctx, "n", "e", nil); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("a closed connection: %v", err)
	}
}

// A log that is full refuses, and forgets nothing.
func TestFull(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 20*time.Second)
	_, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "tandem_records", Subjects: []string{"tandem_records.*"},
		Discard: natsjs.DiscardNew, MaxMsgs: 10})
	if err != nil {
		t.Fatal(err)
	}
	store := jetstream.New(js, jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	stored := uint64(0)
	for {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := log.Append(short, some(stored+1, stored+1))
		cancel()
		if err != nil {
			if errors.Is(err, ledger.ErrFenced) {
				t.Error(err)
			}
			break
		}
		stored++
	}
	stream, err := js.Stream(ctx, "tandem_records")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgs = -1
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, kept := take(t, ctx, store, "e2"); stored != 9 || !slices.Equal(numbers(kept), numbers(some(1, stored))) {
		t.Errorf("stored %d, kept %v", stored, numbers(kept))
	}
}

// Messages that are not the store's, or are missing, are reported as errors.
func TestStrangeStream(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 30*time.Second)
	short := func() context.Context { return servers.Within(t, 300*time.Millisecond) }

	store := jetstream.New(js, jetstream.Config{Cluster: "a"})
	log, _ := take(t, ctx, store, "e1")
	for seq := range uint64(5) {
		if err := log.Append(ctx, some(seq, seq)); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(ctx, "a_records")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(ctx, 3); err == nil {
		t.Error("a message of the stream could be deleted")
	}
	if err := stream.Purge(ctx, natsjs.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Take(ctx, "n", "e2", func(ledger.Change) {}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("the first records are missing: %v", err)
	}
	if err := stream.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	if err := log.Append(short(), some(9, 9)); err == nil || errors.Is(err, ledger.ErrFenced) {
		t.Errorf("an owner of a log that was purged: %v", err)
	}
	if _, kept := take(t, ctx, store, "e3"); kept != nil { // as if they were purged on purpose
		t.Errorf("kept %v", kept)
	}

	if _, err := js.Publish(ctx, "a_records.n", []byte("strange")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Take(ctx, "n", "e4", func(ledger.Change) {}); err == nil || !strings.Contains(err.Error(), "not a record") {
		t.Errorf("a strange message: %v", err)
	}
}

// Rewrite frees the space.
func TestRewritePurges(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 30*time.Second)
	store := jetstream.New(js, jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	if _, err := store.Take(ctx, "other", "e1", func(ledger.Change) {}); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(100) {
		if err := log.Append(ctx, some(seq, seq)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Rewrite(ctx, slices.Values(some(90, 99))); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, "tandem_records")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 4 { // mark, changes, commit, and the message of the other node
		t.Errorf("%d messages are left", n)
	}
	if _, kept := take(t, ctx, store, "e2"); !slices.Equal(numbers(kept), numbers(some(90, 99))) {
		t.Errorf("kept %v", numbers(kept))
	}
}

// Thousands of messages, more than are fetched at once, are read in order.
func TestLongLog(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	store := jetstream.New(js, jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	const many = 5000
	for seq := range uint64(many) {
		if err := log.Append(ctx, some(seq, seq)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	_, kept := take(t, ctx, store, "e2")
	t.Logf("%d messages in %v", many, time.Since(began))
	if !slices.Equal(numbers(kept), numbers(some(0, many-1))) {
		t.Errorf("kept %d", len(kept))
	}
}
