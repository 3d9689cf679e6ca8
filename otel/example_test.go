package tandemotel_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/rpc"
)

// A call has a span where it is made, and below it one where it is handled.
func ExampleInstrument() {
	spans := tracetest.NewSpanRecorder() // in a program: sdktrace.WithBatcher(exporter)
	cfg := actor.Config{Logger: slog.New(slog.DiscardHandler)}
	err := tandemotel.Instrument(&cfg, tandemotel.Config{Tracers: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), Sample: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ref, _ := sys.Spawn("adder", adderKind())
	sum, err := actor.Call(context.Background(), ref, add{N: 2})
	fmt.Println(sum, err)
	_ = sys.Shutdown(context.Background())
	for _, s := range spans.Ended() {
		fmt.Println(s.SpanKind(), s.Name(), attr(s, "tandem.ran"))
	}
	// Output:
	// 2 <nil>
	// server test.Add ran
	// client test.Add ran
}

// Log lines of a message have the ids of its trace.
func ExampleNewLogHandler() {
	plain := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	log := slog.New(tandemotel.NewLogHandler(plain))
	ctx := rpc.WithTrace(context.Background(), rpc.Trace{0: 0xab, 23: 0xcd}) // a handler's context is one like it
	log.InfoContext(ctx, "paid")
	// Output: level=INFO msg=paid trace_id=ab000000000000000000000000000000 span_id=00000000000000cd
}

// The work on an item of a queue is linked to its push.
func ExampleLink() {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("app")
	pushed := rpc.Trace{0: 0xab, 23: 0xcd, 24: 1} // Trace of an actor.Delivery
	_, span := tracer.Start(context.Background(), "resize", trace.WithNewRoot(), trace.WithLinks(tandemotel.Link(pushed)))
	span.End()
	fmt.Println(spans.Ended()[0].Links()[0].SpanContext.SpanID())
	// Output: 00000000000000cd
}

// A span's context as messages carry it, and back.
func ExampleTraceOf() {
	sc := tandemotel.SpanContext(rpc.Trace{0: 0xab, 23: 0xcd, 24: 1})
	fmt.Println(sc.TraceID(), sc.IsSampled(), tandemotel.TraceOf(sc) == rpc.Trace{0: 0xab, 23: 0xcd, 24: 1})
	// Output: ab000000000000000000000000000000 true true
}

// All metrics are listed.
func ExampleMetrics() {
	m := tandemotel.Metrics()[0]
	fmt.Println(m.Name, m.Type, m.Labels)
	// Output: tandem.client.messages counter [node pattern service message code ran]
}
