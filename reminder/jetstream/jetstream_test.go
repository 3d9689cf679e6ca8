package jetstream_test

import (
	"context"
	"flag"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// patience is the longest that a single step of a test may take.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	_ = flag.Set("rapid.checks", "20") // by default; each needs a stream
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
