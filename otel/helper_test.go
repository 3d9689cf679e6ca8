package tandemotel_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

var quiet = slog.New(slog.DiscardHandler)

// The messages of the tests.
type (
	add struct {
		actor.Returns[int]
		N    int
		Fail bool
	}
	note   struct{ Text string }
	item   struct{ N int }
	news   struct{ Text string }
	ticked struct{}
	relay  struct {
		actor.Returns[int]
		To string
	}
)

func (add) WireName() string    { return "test.Add" }
func (note) WireName() string   { return "test.Note" }
func (item) WireName() string   { return "test.Item" }
func (news) WireName() string   { return "test.News" }
func (ticked) WireName() string { return "test.Ticked" }
func (relay) WireName() string  { return "test.Relay" }

// adder sums up, and handles what the tests send.
type adder struct{ sum int }

func (a *adder) add(_ *actor.Context, m add) (int, error) {
	if m.Fail {
		return 0, context.Canceled
	}
	a.sum += m.N
	return a.sum, nil
}
func (a *adder) note(*actor.Context, note) error { return nil }
func (a *adder) news(*actor.Context, news) error { return nil }
func (a *adder) tick(ctx *actor.Context, _ ticked) error {
	return actor.Tell(ctx, ctx.Self(), note{"from a timer"})
}
func (a *adder) relay(ctx *actor.Context, m relay) (int, error) {
	return actor.Call(ctx, ctx.System().Ref(m.To), add{N: 1})
}

func adderKind() *actor.Kind {
	return actor.Define("test.adder", func() *adder { return new(adder) }, actor.Answer((*adder).add), actor.Answer((*adder).relay),
		actor.Handle((*adder).note), actor.Handle((*adder).news), actor.Handle((*adder).tick))
}

func queueKind() *actor.Kind { return actor.QueueKind[item]("test.queue", queue.Config{}) }

// world are two nodes, a and b, on two roads, in a bubble. All their spans go to one place.
type world struct {
	net   *memnet.Network
	a, b  *actor.System
	spans *tracetest.SpanRecorder
}

// inWorld runs a test in a world. with changes how the nodes report.
func inWorld(t *testing.T, with tandemotel.Config, run func(t *testing.T, w *world), change ...func(*actor.Config)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &world{net: memnet.New(memnet.Config{Seed: 1}), spans: tracetest.NewSpanRecorder()}
		with := with
		if with.Tracers == nil {
			with.Tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans))
		}
		reg := static.New()
		for name, sys := range map[string]**actor.System{"a": &w.a, "b": &w.b} {
			cfg := actor.Config{Name: name, Registry: reg, Logger: quiet}
			for _, road := range []string{"direct", "bus"} {
				cfg.Transports = append(cfg.Transports, w.net.Transport(road, road == "direct"))
			}
			for _, fn := range change {
				fn(&cfg)
			}
			if err := tandemotel.Instrument(&cfg, with); err != nil {
				t.Fatal(err)
			}
			*sys = start(t, cfg)
		}
		spawn(t, w.b, "adder", adderKind())
		synctest.Wait()
		run(t, w)
	})
}

func start(t *testing.T, cfg actor.Config) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = sys.Shutdown(ctx)
	})
	return sys
}

func spawn(t *testing.T, sys *actor.System, name string, kind *actor.Kind, opts ...actor.SpawnOption) actor.Ref {
	t.Helper()
	ref, err := sys.Spawn(name, kind, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// take returns the spans that have ended since the last call, the parents first, once everything has settled.
func (w *world) take() []sdktrace.ReadOnlySpan {
	synctest.Wait()
	all := w.spans.Ended()
	w.spans.Reset()
	slices.Reverse(all)
	return all
}

// named returns the one span of that name and kind.
func named(t *testing.T, all []sdktrace.ReadOnlySpan, kind, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	var there []string
	for _, s := range all {
		there = append(there, s.SpanKind().String()+" "+s.Name())
		if s.Name() == name && s.SpanKind().String() == kind {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %s %q, want 1; there are: %s", len(found), kind, name, strings.Join(there, ", "))
	}
	return found[0]
}

// attr is an attribute of a span as text; empty: it has none.
func attr(s sdktrace.ReadOnlySpan, key string) string { return value(s.Attributes(), key) }

func value(all []attribute.KeyValue, key string) string {
	for _, a := range all {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func wantAttrs(t *testing.T, s sdktrace.ReadOnlySpan, want map[string]string) {
	t.Helper()
	for key, v := range want {
		if got := attr(s, key); got != v {
			t.Errorf("%s %q: %s is %q, want %q", s.SpanKind(), s.Name(), key, got, v)
		}
	}
}

// wantChild says that child belongs right below parent.
func wantChild(t *testing.T, parent, child sdktrace.ReadOnlySpan) {
	t.Helper()
	if p := child.Parent(); p.TraceID() != parent.SpanContext().TraceID() || p.SpanID() != parent.SpanContext().SpanID() {
		t.Errorf("the parent of %q is %v, want %q: %v", child.Name(), p.SpanID(), parent.Name(), parent.SpanContext().SpanID())
	}
	if parent.SpanContext().TraceID() != child.SpanContext().TraceID() {
		t.Errorf("%q and %q are of two traces", parent.Name(), child.Name())
	}
}

// wantLink says that s has exactly one link, to that span.
func wantLink(t *testing.T, s, to sdktrace.ReadOnlySpan) {
	t.Helper()
	if l := s.Links(); len(l) != 1 || l[0].SpanContext.TraceID() != to.SpanContext().TraceID() || l[0].SpanContext.SpanID() != to.SpanContext().SpanID() {
		t.Errorf("%q has the links %v, want one to %q: %v", s.Name(), l, to.Name(), to.SpanContext().SpanID())
	}
}

// eventsOf are the events of a span: "tandem.sent attempt=1 road=direct".
func eventsOf(s sdktrace.ReadOnlySpan) (all []string) {
	for _, e := range s.Events() {
		line := e.Name
		for _, key := range []string{"tandem.attempt", "tandem.road", "tandem.ran", "error.type", "tandem.replayed"} {
			if v := value(e.Attributes, key); v != "" {
				line += " " + strings.TrimPrefix(key, "tandem.") + "=" + v
			}
		}
		all = append(all, line)
	}
	return all
}

// metrics has a provider, and reads what it has.
type metrics struct {
	reader *sdkmetric.ManualReader
	meters *sdkmetric.MeterProvider
}

func newMetrics() *metrics {
	r := sdkmetric.NewManualReader()
	return &metrics{r, sdkmetric.NewMeterProvider(sdkmetric.WithReader(r))}
}

// point is one series: its labels, and its value, of a histogram the count.
type point struct {
	labels string
	value  float64
}

// read returns all series by the names of their metrics.
func (m *metrics) read(t *testing.T) map[string][]point {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := m.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	all := map[string][]point{}
	for _, s := range rm.ScopeMetrics {
		for _, x := range s.Metrics {
			add := func(set attribute.Set, v float64) {
				var labels []string
				for _, kv := range set.ToSlice() {
					if kv.Key != "node" {
						labels = append(labels, string(kv.Key)+"="+kv.Value.String())
					}
				}
				all[x.Name] = append(all[x.Name], point{strings.Join(labels, " "), v})
			}
			switch d := x.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Count))
				}
			default:
				t.Fatalf("%s: %T", x.Name, d)
			}
		}
	}
	return all
}

// want says that a metric has that value for those labels.
func want(t *testing.T, all map[string][]point, name, labels string, v float64) {
	t.Helper()
	for _, p := range all[name] {
		if p.labels == labels {
			if p.value != v {
				t.Errorf("%s{%s} is %v, want %v", name, labels, p.value, v)
			}
			return
		}
	}
	t.Errorf("%s has no series {%s}; it has %v", name, labels, all[name])
}
