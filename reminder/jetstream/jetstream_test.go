package jetstream_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/reminder/remindertest"
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

func start(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	ok(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t testing.TB, s *embedded.Server, opts ...nats.Option) natsjs.JetStream {
	t.Helper()
	opts = append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...) // the default one prints
	nc, err := s.Connect(opts...)
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	return js
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within returns a context that ends after d, or with the test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, js natsjs.JetStream, cfg jetstream.Config) *jetstream.Store {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := jetstream.Open(within(t, patience), js, cfg)
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
	js := connect(t, start(t, embedded.Config{StoreDir: t.TempDir()}))
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
