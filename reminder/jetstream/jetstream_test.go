package jetstream_test

import (
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/reminder/remindertest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// patience is the longest that a single step of a test may take.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	_ = flag.Set("rapid.checks", "10") // by default; each needs a stream
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
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := jetstream.Open(servers.Within(t, patience), js, cfg)
	ok(t, err)
	return s
}

// inTest is how long a handler may take in tests.
const inTest = 3 * time.Second

// slack is how much later than at its time a firing may come in the suite. An idle server is late by up to
// 250 ms, but the processors may be busy with something else.
const slack = 2 * time.Second

func TestConformance(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{StoreDir: t.TempDir()}))
	var cases atomic.Int32
	remindertest.Run(t, remindertest.Config{
		Open: func(t *testing.T) func() reminder.Store {
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", cases.Add(1)), Patience: inTest}
			return func() reminder.Store { return open(t, js, cfg) }
		},
		Patience: inTest,
		Slack:    slack,
	})
}
