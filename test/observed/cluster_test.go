package observed

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/otel/prometheus"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

type (
	ask struct {
		actor.Returns[int]
		N int
	}
	stall struct {
		actor.Returns[int]
	}
	note struct{ N int }
)

func (ask) WireName() string   { return "test.Ask" }
func (stall) WireName() string { return "test.Stall" }
func (note) WireName() string  { return "test.Note" }

// cluster are three nodes, a, b and c. Each has an actor "desk", which serves "desks", and a durable one, "vault".
type cluster struct {
	systems map[string]*actor.System
	serve   map[string]http.Handler // the metrics of each
	store   *store
	release chan struct{} // closed: what stalls goes on
	refuses atomic.Bool   // the desk of node c refuses all requests
}

func newCluster(t *testing.T, roads func(node string) []transport.Transport) *cluster {
	t.Helper()
	c := &cluster{systems: map[string]*actor.System{}, serve: map[string]http.Handler{}, store: new(store), release: make(chan struct{})}
	answer := func(_ struct{}, ctx *actor.Context, _ ask) (int, error) {
		if ctx.System().Name() == "c" && c.refuses.Load() {
			return 0, actor.Defer[int](ctx).Refuse(rpc.Overloaded, errors.New("not now"))
		}
		return 1, nil
	}
	desk := actor.Define("test.desk", func() struct{} { return struct{}{} }, actor.Answer(answer), actor.Handle(func(struct{}, *actor.Context, note) error { return nil }),
		actor.Answer(func(struct{}, *actor.Context, stall) (int, error) { <-c.release; return 1, nil }))
	vault := actor.Define("test.vault", func() struct{} { return struct{}{} }, actor.Answer(answer)).With(actor.Durable())
	reg := static.New()
	for _, name := range []string{"a", "b", "c"} {
		cfg := actor.Config{Name: name, Registry: reg, Transports: roads(name), Kinds: []*actor.Kind{vault}, Store: c.store, Logger: slog.New(slog.DiscardHandler),
			Setup: func(s *actor.System) error {
				_, err := s.Spawn("desk", desk, actor.Expose("desks"))
				_, other := s.Spawn("vault", vault)
				return errors.Join(err, other)
			}}
		var err error
		if c.serve[name], err = prometheus.Instrument(&cfg, tandemotel.Config{}); err != nil {
			t.Fatal(err)
		}
		if c.systems[name], err = actor.NewSystem(cfg); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range c.systems {
		_ = s.Shutdown(ctx)
	}
}

// traffic sends something from a that each metric of healthy systems says something about.
func (c *cluster) traffic(t *testing.T) {
	t.Helper()
	ctx, a := context.Background(), c.systems["a"]
	for _, to := range []actor.Ref{a.Ref("desk@b"), a.Ref("desk@c"), a.Service("desks"), a.Ref("vault@b")} {
		if _, err := actor.Call(ctx, to, ask{}); err != nil {
			t.Fatal(to, err)
		}
	}
	if err := actor.Tell(ctx, a.Ref("desk@b"), note{}); err != nil {
		t.Fatal(err)
	}
}

// store is a ledger.Store that can fail.
type store struct{ fails atomic.Bool }

func (s *store) Take(context.Context, string, string, func(ledger.Change)) (ledger.Log, error) {
	return &log{s}, nil
}

type log struct{ of *store }

func (l *log) Append(context.Context, []ledger.Change) error {
	if l.of.fails.Load() {
		return errors.New("the disk is full")
	}
	return nil
}
func (l *log) Rewrite(ctx context.Context, _ iter.Seq[ledger.Change]) error {
	return l.Append(ctx, nil)
}
func (l *log) Close() error { return nil }

// scraped is what a handler serves in text format.
func scraped(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	return w.Body.String()
}

// parsed are the metrics in a text.
func parsed(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}
