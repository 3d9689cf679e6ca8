package tandemotel_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// dropped is an exporter to nowhere.
type dropped struct{}

func (dropped) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (dropped) Shutdown(context.Context) error                             { return nil }

type echo struct {
	actor.Returns[[]byte]
	Data []byte
}

func (echo) WireName() string { return "test.Echo" }

// pair are two nodes on TCP that report as with says.
func pair(b *testing.B, with func() tandemotel.Config) (to actor.Ref, stop func()) {
	reg := static.New()
	var systems []*actor.System
	for _, name := range []string{"client", "server"} {
		cfg := actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}}
		if with != nil {
			if err := tandemotel.Instrument(&cfg, with()); err != nil {
				b.Fatal(err)
			}
		}
		sys, err := actor.NewSystem(cfg)
		if err != nil {
			b.Fatal(err)
		}
		systems = append(systems, sys)
	}
	kind := actor.Define("test.echo", func() struct{} { return struct{}{} }, actor.Answer(func(_ struct{}, _ *actor.Context, m echo) ([]byte, error) { return m.Data, nil }))
	if _, err := systems[1].Spawn("echo", kind); err != nil {
		b.Fatal(err)
	}
	return systems[0].Ref("echo@server"), func() {
		for _, s := range systems {
			_ = s.Shutdown(context.Background())
		}
	}
}

// asked has 64 callers call for a time, and returns how many calls a second there were, and the CPU time of one.
func asked(b *testing.B, to actor.Ref, d time.Duration) (perSecond float64, cpu time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var calls int
	before, begun := used(), time.Now()
	for range 64 {
		wg.Go(func() {
			data, n := make([]byte, 64), 0
			for time.Since(begun) < d {
				for range 32 {
					if _, err := actor.Call(context.Background(), to, echo{Data: data}); err != nil {
						b.Error(err)
						return
					}
				}
				n += 32
			}
			mu.Lock()
			calls += n
			mu.Unlock()
		})
	}
	wg.Wait()
	return float64(calls) / time.Since(begun).Seconds(), (used() - before) / time.Duration(max(calls, 1))
}

// used is the CPU time of this process.
func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkCost compares 64 callers over loopback TCP, with 64 bytes there and back, with this package and without, in turns, and
// prints the medians and the ratios to a system that does not know of it. A round takes 500 ms; -benchtime 9x makes nine.
func BenchmarkCost(b *testing.B) {
	tracers := func() *sdktrace.TracerProvider { return sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropped{})) }
	meters := func() *sdkmetric.MeterProvider {
		return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}
	rows := []struct {
		name string
		with func() tandemotel.Config
	}{
		{"without", nil},
		{"off", func() tandemotel.Config { return tandemotel.Config{} }},
		{"spans of none", func() tandemotel.Config { return tandemotel.Config{Tracers: tracers(), Sample: -1} }},
		{"spans of 1 %", func() tandemotel.Config { return tandemotel.Config{Tracers: tracers(), Sample: 0.01} }},
		{"spans of 1 %, sparse metrics", func() tandemotel.Config {
			return tandemotel.Config{Tracers: tracers(), Sample: 0.01, Meters: meters(), Sparse: true}
		}},
		{"metrics by message", func() tandemotel.Config { return tandemotel.Config{Meters: meters()} }},
		{"spans of all", func() tandemotel.Config { return tandemotel.Config{Tracers: tracers(), Sample: 1} }},
	}
	refs := make([]actor.Ref, len(rows))
	for i, r := range rows {
		to, stop := pair(b, r.with)
		defer stop()
		refs[i] = to
		asked(b, to, 200*time.Millisecond)
	}
	speed, cpu := make([][]float64, len(rows)), make([][]float64, len(rows))
	for b.Loop() {
		for i := range rows {
			s, c := asked(b, refs[i], 500*time.Millisecond)
			speed[i], cpu[i] = append(speed[i], s), append(cpu[i], float64(c))
		}
	}
	fmt.Printf("\n%-30s %10s %8s %10s %8s\n", "", "calls/s", "ratio", "CPU ns", "ratio")
	for i, r := range rows {
		fmt.Printf("%-30s %10.0f %8.3f %10.0f %8.3f\n", r.name, median(speed[i]), ratio(speed[i], speed[0]), median(cpu[i]), ratio(cpu[i], cpu[0]))
	}
}

func median(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] }

// ratio is the median of the ratios of what was measured in the same turn.
func ratio(a, to []float64) float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / to[i]
	}
	return median(all)
}

// BenchmarkSDK is what the SDK takes for the two spans of one call, with as many attributes and events.
func BenchmarkSDK(b *testing.B) {
	tracer := sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropped{})).Tracer("bench")
	b.ReportAllocs()
	for b.Loop() {
		for range 2 {
			_, span := tracer.Start(context.Background(), "test.Echo", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
				attribute.String("a", "x"), attribute.String("b", "x"), attribute.String("c", "x"), attribute.String("d", "x"), attribute.String("e", "x")))
			span.SetAttributes(attribute.String("f", "x"))
			span.AddEvent("sent", trace.WithAttributes(attribute.Int("attempt", 1), attribute.String("road", "direct")))
			span.End()
		}
	}
}
